"""Slow and hostile clients: bounded memory and time, a clear error, and others are served meanwhile."""

from __future__ import annotations

import gzip
import http.client
import json
import select
import socket
import statistics
import struct
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from otel_bridge.contract import MAX_BATCH_ITEMS
from otel_bridge.http.bodies import MAX_BATCH_BYTES, MAX_BODIES_BYTES
from otel_bridge.http.protocol import HEAD_SECONDS
from otel_bridge.server import SPARE_FILES
from tests.chaos.conftest import long_form
from tests.chaos.lanes import LONG
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
def _bounded(bridge: Bridge, say: Say, what: str, wait_seconds: float = 2.0, memory: int = MEMORY) -> Iterator[None]:
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
    assert added < memory, f"{added >> 20} MiB"
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


def test_past_the_cap_a_connection_gets_503_and_the_others_are_served(
    make_bridge: Callable[..., Bridge], say: Say
) -> None:
    """The cap follows the open files that the process may have: with few of them, it is soon reached."""
    bridge, cap = make_bridge(), 144
    bridge.under = ["prlimit", f"--nofile={cap + SPARE_FILES}:{cap + SPARE_FILES}"]
    bridge.start()
    session = bridge.session()
    wait_for(lambda: _connections(bridge) == 1, "one alone, which is kept open")
    with ExitStack() as stack:
        idle = [stack.enter_context(_connect(bridge)) for _ in range(cap - 1)]
        wait_for(lambda: _connections(bridge) == cap, "as many connections as there may be")
        with ExitStack() as refused:
            for beyond in [refused.enter_context(_connect(bridge)) for _ in range(2 * SPARE_FILES)]:
                status, data = _answer(beyond)
                head, _, body = data.partition(b"\r\n\r\n")
                assert status == 503 and b"\r\nretry-after: 5\r\n" in head + b"\r\n", data
                assert b"application/problem+json" in head and b"connection: close" in head
                assert json.loads(body)["type"] == "urn:otel-bridge:cola-llena"
        wait_for(lambda: _connections(bridge) == cap, "the refused connections' end")
        assert bridge.event(session).status_code == 201  # on the connection that is one of them
        assert not select.select(idle, [], [], 0)[0]  # nor has any other been answered or ended
        for _ in range(50):  # and so it is for those that have posted before they read
            post = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=10)
            post.request("POST", "/api/events", b"{}" * 20_000, {"Content-Type": "application/json"})
            with post.getresponse() as refusal:
                assert refusal.status == 503
            post.close()
        say(f"{cap} connections, and {2 * SPARE_FILES} more were refused")
        idle.pop().close()
        wait_for(lambda: _connections(bridge) < cap, "a connection's end")
        with _connect(bridge) as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert _answer(client)[0] == 200
    assert bridge.metric("otel_bridge_worker_restarts_total") == 0 and "Traceback" not in bridge.output()


def _connections(bridge: Bridge) -> int:
    """Connections of the API that the bridge has a file open for."""
    assert bridge.process is not None
    held = psutil.Process(bridge.process.pid).net_connections("tcp")
    return sum(one.status != psutil.CONN_LISTEN and one.laddr.port == bridge.port for one in held)


@long_form
def test_a_client_has_ten_seconds_for_its_headers(make_bridge: Callable[..., Bridge], say: Say) -> None:
    """As nobody has configured anything; the tests beside this one have less time."""
    bridge = make_bridge().start()
    with _bounded(bridge, say, "headers for ten seconds"), _connect(bridge) as silent, _connect(bridge) as slow:
        started, sent = time.monotonic(), 0
        slow.sendall(b"POST /api/events HTTP/1.1\r\nHost: x\r\n")
        while not select.select([slow], [], [], 0.25)[0]:
            assert time.monotonic() - started < HEAD_SECONDS + 5
            slow.sendall(b"X-Slow: 1\r\n")
            sent += 1
        status, data = _answer(slow)
        took = time.monotonic() - started
        assert status == 408 and b"urn:otel-bridge:tiempo-de-envio-agotado" in data, data
        assert HEAD_SECONDS - 0.5 < took < HEAD_SECONDS + 2 and sent > HEAD_SECONDS
        assert _answer(silent)[0] == 0
        assert HEAD_SECONDS - 0.5 < time.monotonic() - started < HEAD_SECONDS + 2


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


def test_all_bodies_together_are_bounded_and_the_one_too_many_gets_503(
    make_bridge: Callable[..., Bridge], say: Say
) -> None:
    """Each sender is honest by itself, and holds the end of its body back: all of it stays in the bridge's memory."""
    bridge = make_bridge().start()
    session = bridge.session()
    size = MAX_BATCH_BYTES - (96 << 10)
    fits = MAX_BODIES_BYTES // size
    end = json.dumps({**GUIDE_EVENT, "sesion_id": session}).encode() + b"]"
    start = b"[" + b" " * (size - len(end) - 1)
    head = _head(Content_Length=size)
    with (
        ExitStack() as stack,
        _bounded(bridge, say, f"{fits + 1} bodies of {size / (1 << 20):.1f} MiB", memory=MAX_BODIES_BYTES + (64 << 20)),
    ):
        clients = [stack.enter_context(_connect(bridge)) for _ in range(fits + 1)]
        for client in clients:
            client.sendall(head + start)
        refused = wait_for(lambda: select.select(clients, [], [], 0)[0], "a refusal")
        assert len(refused) == 1
        answer = _first_answer(refused[0])
        assert answer[0] == 503 and b"\r\nretry-after: 1\r\n" in answer[1].lower(), answer
        assert b"urn:otel-bridge:cola-llena" in answer[1]
        # The others lose nothing by it: each is taken as soon as it is whole.
        for client in clients:
            if client is not refused[0]:
                client.sendall(end)
                assert _first_answer(client)[0] == 201
        # And there is room for what was refused.
        with _connect(bridge) as again:
            again.sendall(head + start)
            again.sendall(end)
            assert _first_answer(again)[0] == 201
    assert bridge.metric("otel_bridge_records_total", result="rejected", reason="urn:otel-bridge:cola-llena") == 1


def test_many_large_batches_at_once_are_taken_in_bounded_memory(make_bridge: Callable[..., Bridge], say: Say) -> None:
    """Decoded, a batch takes many times its body: few are in hand together, the others wait as bytes."""
    bridge = make_bridge().start()
    session = bridge.session()
    body = json.dumps([{**GUIDE_EVENT, "sesion_id": session}] * MAX_BATCH_ITEMS).encode()
    statuses: list[int] = []

    def post() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=60)
        connection.request("POST", "/api/events", body, {"Content-Type": "application/json"})
        with connection.getresponse() as answer:
            answer.read()
            statuses.append(answer.status)
        connection.close()

    count = 40
    what = f"{count} batches of {MAX_BATCH_ITEMS:,} events at once"
    with _bounded(bridge, say, what, memory=(256 << 20) + count * len(body), wait_seconds=10):
        senders = [threading.Thread(target=post) for _ in range(count)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert statuses == [201] * count
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") >= count * MAX_BATCH_ITEMS


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


def _bomb(blocks: int, block_bytes: int = 16 << 20) -> bytes:
    """gzip of an empty array with that much space in it. A block that refers to none before it is compressed once."""
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    blank = b" " * block_bytes
    start = squeeze.compress(b"[") + squeeze.flush(zlib.Z_FULL_FLUSH)
    block = squeeze.compress(blank) + squeeze.flush(zlib.Z_FULL_FLUSH)
    end = squeeze.compress(b"]") + squeeze.flush()
    check = zlib.crc32(b"[")
    for _ in range(blocks):
        check = zlib.crc32(blank, check)
    check = zlib.crc32(b"]", check)
    sums = struct.pack("<II", check, (blocks * block_bytes + 2) & 0xFFFFFFFF)
    return gzip.compress(b"")[:10] + start + block * blocks + end + sums


BOMB = _bomb(64)
LARGE = b'[{"contenido": "' + b"a" * 10_000_000 + b'"}]'
# Python up to 3.13 counts levels and cannot read the batch; 3.14 measures the stack and refuses its one item.
TOO_DEEP = 207 if sys.version_info >= (3, 14) else 400
BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "a gzip bomb of 1 GiB": (BOMB, {"Content-Encoding": "gzip"}, 413),
    "10 MB of JSON": (LARGE, {}, 413),
    "an object of 2 MB": (b'{"contenido": "' + b"a" * 2_000_000 + b'"}', {}, 413),
    "arrays nested 100,000 deep": (b"[" * 100_000 + b"]" * 100_000, {}, TOO_DEEP),
    "objects nested 100,000 deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, {}, 400),
    "nested 100,000 deep inside an item": (
        b'[{"contenido": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        {},
        TOO_DEEP,
    ),
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


UNREAD_SECONDS = 2  # as the fixture configures it


def _asking(requests: bytes, bridge: Bridge) -> socket.socket:
    """A connection with a small window, on which so much has been asked."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(30)
    client.connect(("127.0.0.1", bridge.port))
    client.sendall(requests)
    return client


GET = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
LISTED = b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}'
LIST = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nAccept: %b\r\n\r\n%b"
WRONG = b"[" + b",".join([b"{}"] * MAX_BATCH_ITEMS) + b"]"
UNREAD = {
    "documents": GET * 250,
    "documents, and the end": GET * 250 + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    "refused batches": (_head(Content_Length=len(WRONG)) + WRONG) * 6,
    "lists of tools": LIST % (len(LISTED), b"*/*", LISTED) * 1000,
    "streams": LIST % (len(LISTED), b"text/event-stream", LISTED) * 1000,
}


def test_answers_that_nobody_reads_lose_their_connection(bridge: Bridge, say: Say) -> None:
    with ExitStack() as stack, _bounded(bridge, say, "answers that nobody reads", wait_seconds=5):
        before, started = _connections(bridge), time.monotonic()
        clients = [stack.enter_context(_asking(requests, bridge)) for requests in UNREAD.values() for _ in range(2)]
        for client in clients:
            ended = select.poll()
            ended.register(client, select.POLLHUP)
            assert ended.poll(60_000), "it is held"
            with pytest.raises(ConnectionResetError):
                while client.recv(65536):
                    pass
        wait_for(lambda: _connections(bridge) <= before, "their end")
        took = time.monotonic() - started
        say(f"ended after {took:.1f} s")
        assert took > UNREAD_SECONDS
    # A client that is gone is no error of ours.
    assert '"level":"error"' not in bridge.output().replace(" ", "")


def test_a_client_that_reads_slowly_gets_all_of_its_answers(bridge: Bridge, say: Say) -> None:
    count = 200  # far more than the kernel takes at once
    with _bounded(bridge, say, "a slow reader"), _asking(GET * count, bridge) as client:
        data, started = bytearray(), time.monotonic()
        while data.count(b"HTTP/1.1 200 OK") < count or not data.endswith(b"}"):
            piece = client.recv(65536)
            assert piece, f"ended after {time.monotonic() - started:.1f} s and {len(data)} bytes"
            data += piece
            if time.monotonic() - started < 3 * UNREAD_SECONDS:
                time.sleep(0.05)
        assert time.monotonic() - started > 2 * UNREAD_SECONDS


def test_clients_that_hang_up_leave_nothing_behind(bridge: Bridge) -> None:
    for _ in range(200):
        with _connect(bridge) as client:
            client.sendall(_head(Content_Length=1000) + b'{"half":')
    for requests in (GET * 250, LIST % (len(LISTED), b"*/*", LISTED) * 300):
        for _ in range(10):
            with _asking(requests, bridge) as client:
                assert client.recv(1)  # the answers have begun
    assert bridge.event(bridge.session()).status_code == 201
    wait_for(lambda: _connections(bridge) < 18, "closed connections")
    assert "Traceback" not in bridge.output()
    assert '"level":"error"' not in bridge.output().replace(" ", "")
