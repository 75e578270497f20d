"""Slow and hostile clients: bounded memory and time, a clear error, and others are served meanwhile."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from tests.chaos.conftest import LONG
from tests.chaos.ledger import Say
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.waiting import wait_for

MEMORY = 160 << 20
"""What an attack may add to the bridge's memory."""


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """One for all of them: what one attack leaves behind, the next one meets."""
    started = Bridge(tmp_path_factory.mktemp("hostile"), OTEL_BRIDGE_BODY_TIMEOUT_SECONDS="2").start()
    yield started
    started.close()


def _memory(bridge: Bridge) -> int:
    assert bridge.process is not None
    return int(psutil.Process(bridge.process.pid).memory_info().rss)


@contextmanager
def _bounded(bridge: Bridge, say: Say, what: str, wait_seconds: float = 2.0) -> Iterator[None]:
    """Others are served, and memory stays within bounds, while the block runs."""
    session = bridge.session()
    before, peak, took, failures = _memory(bridge), [0], [], []
    ending = threading.Event()

    def others() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=30)
        body = json.dumps({**GUIDE_EVENT, "sesion_id": session})
        while not ending.is_set():
            started = time.monotonic()
            connection.request("POST", "/api/events", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            took.append(time.monotonic() - started)
            if response.status != 201:
                failures.append(response.status)
            time.sleep(0.01)
        connection.close()

    def measure() -> None:
        while not ending.wait(0.005):
            peak[0] = max(peak[0], _memory(bridge))

    other = threading.Thread(target=others, daemon=True)
    other.start()
    threading.Thread(target=measure, daemon=True).start()
    time.sleep(0.1)
    try:
        yield
    finally:
        ending.set()
        other.join(30)
    assert not other.is_alive() and took and not failures, (len(took), failures)
    added = max(0, peak[0] - before)
    say(
        f"{what}: memory +{added >> 20} MiB; {len(took)} posts of others meanwhile, median "
        f"{1000 * statistics.median(took):.1f} ms, slowest {1000 * max(took):.0f} ms"
    )
    assert added < MEMORY, f"{added >> 20} MiB"
    assert max(took) < wait_seconds
    assert "Traceback" not in bridge.output()


def _connect(bridge: Bridge) -> socket.socket:
    return socket.create_connection(("127.0.0.1", bridge.port), timeout=30)


def _answer(client: socket.socket) -> tuple[int, bytes]:
    """Status and everything up to the connection's end (0: closed without an answer)."""
    data = b""
    try:
        while chunk := client.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return (int(data.split(b" ", 2)[1]) if data else 0), data


def _head(path: str = "/api/events", **headers: object) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Content-Type: application/json"]
    return "\r\n".join(lines + [f"{k.replace('_', '-')}: {v}" for k, v in headers.items()]).encode() + b"\r\n\r\n"


def test_a_thousand_idle_connections_hold_nobody_up_and_are_ended(bridge: Bridge, say: Say) -> None:
    with ExitStack() as stack, _bounded(bridge, say, "1,000 idle connections"):
        clients = [stack.enter_context(_connect(bridge)) for _ in range(1000)]
        assert bridge.event(bridge.session()).status_code == 201
        for client in (clients[0], clients[-1]):
            assert _answer(client)[0] == 0  # ended by the bridge; the socket's own time-out is 30 s


def test_headers_that_trickle_are_ended_with_408(bridge: Bridge, say: Say) -> None:
    with ExitStack() as stack, _bounded(bridge, say, "50 clients that trickle their headers"):
        clients = [stack.enter_context(_connect(bridge)) for _ in range(50)]
        late = stack.enter_context(_connect(bridge))
        late.sendall(b"POST /api/events HTTP/1.1\r\nHost: x\r\n")
        started, ended = time.monotonic(), None
        for i in range(200):
            for client in clients:
                try:
                    client.sendall(b"POST /api/events HTTP/1.1\r\nHost: x\r\n" if i == 0 else b"X-Slow: %d\r\n" % i)
                except OSError:
                    ended = time.monotonic()
            if ended is not None:
                break
            time.sleep(0.25)
        assert ended is not None and 1.5 < ended - started < 15
        status, data = _answer(late)
        assert status == 408 and b"application/problem+json" in data and b"urn:otel-bridge:tiempo" in data


def test_headers_without_end_are_refused(bridge: Bridge, say: Say) -> None:
    with _bounded(bridge, say, "100 MB of headers"), _connect(bridge) as client:
        client.sendall(b"POST /api/events HTTP/1.1\r\nHost: x\r\n")
        line = b"X-Filler: " + b"a" * 8000 + b"\r\n"
        with pytest.raises(OSError):
            for _ in range(12_500):
                client.sendall(line)
    with _connect(bridge) as client:
        client.sendall(b"POST /api/events HTTP/1.1\r\nHost: x\r\n" + b"X-One: " + b"a" * 40_000)
        client.sendall(b"a" * 40_000)
        status, data = _answer(client)
        assert status in (400, 0) and (status == 0 or b"urn:otel-bridge:cabecera-invalida" in data)


def test_bodies_that_stop_half_way_are_answered_with_408(bridge: Bridge, say: Say) -> None:
    with ExitStack() as stack, _bounded(bridge, say, "100 bodies that stop half-way"):
        clients = [stack.enter_context(_connect(bridge)) for _ in range(100)]
        for i, client in enumerate(clients):
            client.sendall(_head(Content_Length=100_000) + b"[" * (i % 2 * 70_000))
        started = time.monotonic()
        for client in clients:
            status, data = _first_answer(client)
            assert status == 408 and b"urn:otel-bridge:tiempo-de-envio-agotado" in data
        assert time.monotonic() - started < 15
        # The rest of the body does not keep the connection for ever.
        trickled = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - trickled < 60:
                clients[0].sendall(b" ")
                time.sleep(0.2)
        assert time.monotonic() - trickled < 20


def _first_answer(client: socket.socket) -> tuple[int, bytes]:
    data = client.recv(65536)
    while not data.endswith(b"}"):
        data += client.recv(65536)
    return int(data.split(b" ", 2)[1]), data


def _post(bridge: Bridge, body: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=60)
    connection.request("POST", "/api/events", body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    answer = json.loads(response.read())
    connection.close()
    return response.status, answer


BOMB = gzip.compress(b"[" + b" " * (1 << 30) + b"]", 1)
LARGE = b'[{"contenido": "' + b"a" * 10_000_000 + b'"}]'
BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "a gzip bomb of 1 GiB": (BOMB, {"Content-Encoding": "gzip"}, 413),
    "10 MB of JSON": (LARGE, {}, 413),
    "an object of 2 MB": (b'{"contenido": "' + b"a" * 2_000_000 + b'"}', {}, 413),
    "arrays nested 100,000 deep": (b"[" * 100_000 + b"]" * 100_000, {}, 400),
    "objects nested 100,000 deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {}, 400),
    "nested 100,000 deep inside an item": (b'[{"contenido": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]", {}, 400),
    "an array of a million numbers": (b"[" + b"1," * 999_999 + b"1]", {}, 413),
    "an array of four million numbers": (b"[" + b"1," * 3_999_999 + b"1]", {}, 413),
    "an array of a million empty objects": (b"[" + b"{}," * 999_999 + b"{}]", {}, 413),
    "a number of a million digits": (b'{"latency_ms": ' + b"9" * 1_000_000 + b"}", {}, 400),
    "a million unclosed brackets": (b"[" * 1_000_000, {}, 400),
    "10,000 items that are all wrong": (b"[" + b",".join([b'{"tipo": 1, "x": [1, 2]}'] * 10_000) + b"]", {}, 207),
}


SHORT = (
    "a gzip bomb of 1 GiB",
    "10 MB of JSON",
    "arrays nested 100,000 deep",
    "nested 100,000 deep inside an item",
    "an array of a million numbers",
    "an array of four million numbers",
    "10,000 items that are all wrong",
)


@pytest.mark.parametrize("name", BODIES if LONG else SHORT)
def test_a_hostile_body_costs_no_more_than_an_honest_one(bridge: Bridge, say: Say, name: str) -> None:
    body, headers, expected = BODIES[name]
    with _bounded(bridge, say, name):
        started = time.monotonic()
        statuses = []
        clients = [
            threading.Thread(target=lambda: statuses.append(_post(bridge, body, **headers)), daemon=True)
            for _ in range(4)
        ]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
        took = time.monotonic() - started
    assert [status for status, _ in statuses] == [expected] * 4, [(s, str(a)[:300]) for s, a in statuses]
    if expected != 207:
        assert all(str(answer["type"]).startswith("urn:otel-bridge:") for _, answer in statuses)
    assert took < 20


def test_what_is_no_http_is_refused_in_the_same_shape(bridge: Bridge) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 300, b"HELO there\r\n\r\n", b"\0" * 100):
        with _connect(bridge) as client:
            client.sendall(garbage)
            status, data = _answer(client)
            assert status == 400 and b"urn:otel-bridge:cabecera-invalida" in data, data
    assert bridge.event(bridge.session()).status_code == 201


def test_clients_that_hang_up_leave_nothing_behind(bridge: Bridge) -> None:
    assert bridge.process is not None
    for _ in range(200):
        with _connect(bridge) as client:
            client.sendall(_head(Content_Length=1000) + b'{"half":')
    assert bridge.event(bridge.session()).status_code == 201
    sockets = lambda: len(psutil.Process(bridge.process.pid).net_connections("tcp"))  # type: ignore[union-attr]  # noqa: E731
    wait_for(lambda: sockets() < 20, "closed connections")
    assert "Traceback" not in bridge.output()
