"""A post on its connection: whatever comes with it, and however it comes, it goes the same way and is answered and
counted the same."""

from __future__ import annotations

import asyncio
import gc
import gzip
import http.client
import json
import signal
import socket
import sqlite3
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from otel_bridge import config
from otel_bridge.app import Bridge as App
from otel_bridge.http.bodies import Bodies, Body
from otel_bridge.http.exchange import Exchange
from otel_bridge.http.protocol import Protocol
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.waiting import wait_for

CHANGING = {"date", "x-request-id"}


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    started = Bridge(tmp_path_factory.mktemp("at-once")).start()
    yield started
    started.stop()


def event(session: str, **fields: Any) -> bytes:
    return json.dumps({**GUIDE_EVENT, "sesion_id": session, **fields}).encode()


def request(body: bytes, version: str = "1.1", **headers: str) -> bytes:
    lines = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body))} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"POST /api/events HTTP/{version}\r\n{head}\r\n".encode() + body


class Connection:
    def __init__(self, bridge: Bridge) -> None:
        self.socket = socket.create_connection(("127.0.0.1", bridge.port), timeout=20)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        line = self.file.readline().split()
        assert line, "closed without an answer"
        headers = {name.lower(): value for name, value in http.client.parse_headers(self.file).items()}
        return int(line[1]), headers, json.loads(self.file.read(int(headers["content-length"])))


def ask(bridge: Bridge, raw: bytes) -> tuple[int, dict[str, str], dict[str, Any]]:
    with Connection(bridge) as connection:
        connection.socket.sendall(raw)
        return connection.answer()


SAYS: dict[str, tuple[Callable[[str], bytes], dict[str, str], int]] = {
    "an event": (event, {}, 201),
    "its own time": (lambda session: event(session, timestamp="2025-06-29T20:00:01.000Z"), {}, 201),
    "an id that stands for another": (
        lambda session: event(session, id="0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", contenido=session[:18]), {}, 409),
    "a key of its own": (event, {"Idempotency_Key": "k-1"}, 201),
    "a key that is none": (event, {"Idempotency_Key": "a b"}, 400),
    "a trace that calls it": (
        event, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, 201),
    "no session": (lambda session: event("00000000-0000-4000-8000-000000000000"), {}, 404),
    "a wrong field": (lambda session: event(session, latency_ms=-1), {}, 422),
    "a time that is none": (lambda session: event(session, timestamp="2025-02-30T00:00:00Z"), {}, 422),
    "no JSON": (lambda session: b'{"sesion_id": ', {}, 400),
    "no body": (lambda session: b"", {}, 400),
    "a batch": (lambda session: b"[" + event(session) + b"]", {}, 201),
    "another type": (event, {"Content_Type": "text/plain"}, 415),
    "another compression": (event, {"Content_Encoding": "br"}, 415),
    "gzip": (lambda session: gzip.compress(event(session)), {"Content_Encoding": "gzip"}, 201),
}  # fmt: skip


def shape(answer: tuple[int, dict[str, str], dict[str, Any]]) -> tuple[Any, ...]:
    """An answer without what changes from one to the next."""
    status, headers, body = answer
    kept = {name: value for name, value in headers.items() if name not in CHANGING}
    if status == 201:
        body = {name: type(value).__name__ if name in ("id", "timestamp", "span_id", "resultados") else value
                for name, value in body.items() if name not in ("sesion_id", "trace_id")}  # fmt: skip
    return status, kept, body


def _counted(bridge: Bridge) -> dict[Any, float]:
    """What has been counted of posts. A request is counted after its answer has left, before the next is answered."""
    assert bridge.http.get(f"{bridge.url}/healthz", timeout=10).status_code == 200
    return {
        key: value for key, value in bridge.scrape().items()
        if key[0] in ("otel_bridge_records_total", "otel_bridge_request_duration_seconds_count")
        and not {("route", "/metrics"), ("route", "/healthz")} & set(key[1])
    }  # fmt: skip


@pytest.mark.parametrize("name", SAYS)
def test_a_browsers_post_is_answered_and_counted_as_any_other(bridge: Bridge, name: str) -> None:
    make, headers, expected = SAYS[name]
    bridge.event(bridge.session(), id="0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f")
    shapes, counts = [], []
    for way in ({}, {"Origin": "https://app.example"}):
        session = bridge.session()
        before = _counted(bridge)
        answer = ask(bridge, request(make(session), **headers, **way))
        assert answer[0] == expected, answer
        shapes.append(shape(answer))
        after = _counted(bridge)
        counts.append({key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)})
    assert shapes[0] == shapes[1]
    assert counts[0] == counts[1] != {}


def test_a_type_is_asked_of_browsers_alone(bridge: Bridge) -> None:
    session = bridge.session()
    assert ask(bridge, request(event(session), Content_Type=""))[0] == 201
    assert ask(bridge, request(event(session), Content_Type="", Origin="https://app.example"))[0] == 415


def test_pieces_of_any_size_make_the_same_request(bridge: Bridge) -> None:
    session = bridge.session()
    raw = request(event(session))
    for size in (1, 7, raw.index(b"\r\n\r\n") + 4, len(raw) - 1):
        with Connection(bridge) as connection:
            connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for start in range(0, len(raw), size):
                connection.socket.sendall(raw[start : start + size])
            assert connection.answer()[0] == 201


def test_chunks_make_a_body(bridge: Bridge) -> None:
    body = event(bridge.session())
    for pieces in ([body], [body[:50], body[50:]]):
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        raw = request(b"", Content_Length="", Transfer_Encoding="chunked") + chunks
        assert ask(bridge, raw)[0] == 201


def test_requests_behind_one_another_are_answered_in_order(bridge: Bridge) -> None:
    session = bridge.session()
    tokens = list(range(1, 21))
    with Connection(bridge) as connection:
        connection.socket.sendall(b"".join(request(event(session, tokens_entrada=n)) for n in tokens))
        told = [connection.answer()[2]["tokens_entrada"] for _ in tokens]
        connection.socket.sendall(request(event(session, tokens_entrada=99)))
        told.append(connection.answer()[2]["tokens_entrada"])
    assert told == [*tokens, 99]


def test_a_connection_is_kept_or_closed_as_its_client_asks(bridge: Bridge) -> None:
    session = bridge.session()
    with Connection(bridge) as connection:
        for _ in range(3):
            connection.socket.sendall(request(event(session)))
            status, headers, _ = connection.answer()
            assert status == 201 and "connection" not in headers
        connection.socket.sendall(request(event(session), Connection="close"))
        status, headers, _ = connection.answer()
        assert status == 201 and headers["connection"] == "close"
        assert connection.file.read(1) == b""
    status, headers, _ = ask(bridge, request(event(session), version="1.0"))
    assert status == 201 and headers["connection"] == "close"


def test_a_client_that_asks_first_is_told_to_go_on(bridge: Bridge) -> None:
    body = event(bridge.session())
    raw = request(body, Expect="100-continue")
    with Connection(bridge) as connection:
        connection.socket.sendall(raw[: -len(body)])
        assert connection.file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.socket.sendall(body)
        assert connection.answer()[0] == 201


@pytest.mark.parametrize("behind", [b"P", b"GET /healt"])
def test_an_answered_question_keeps_the_connection_for_what_has_begun_behind_it(bridge: Bridge, behind: bytes) -> None:
    with Connection(bridge) as connection:
        connection.socket.sendall(request(event(bridge.session()), Expect="100-continue") + behind)
        assert connection.file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.answer()[0] == 201
        rest = {b"P": request(event(bridge.session())), b"GET /healt": b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"}
        connection.socket.sendall(rest[behind][len(behind) :])
        assert connection.answer()[0] in (200, 201)


def test_posts_behind_a_get_keep_a_connection_alive() -> None:
    """The time without a request counts from the last answer, whoever gave it."""
    protocol = Protocol.__new__(Protocol)
    closed: list[bool] = []
    now = [100.0]
    protocol.loop = SimpleNamespace(time=lambda: now[0], call_later=lambda seconds, call: seconds)  # type: ignore[assignment]
    protocol.transport = SimpleNamespace(is_closing=lambda: False, close=lambda: closed.append(True))  # type: ignore[assignment]
    protocol.cycle = SimpleNamespace(response_complete=True)  # type: ignore[assignment]
    protocol.timeout_keep_alive, protocol._idle_since = 30, 95.0
    protocol.timeout_keep_alive_handler()  # uvicorn's, armed by a GET; a post was answered five seconds ago
    assert not closed and protocol.timeout_keep_alive_task == 25.0
    now[0] = 126.0
    protocol.timeout_keep_alive_handler()
    assert closed


def test_trailers_say_nothing_and_have_an_end(bridge: Bridge) -> None:
    body = event(bridge.session())
    chunked = request(b"", Content_Length="", Transfer_Encoding="chunked") + b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    assert ask(bridge, chunked + b"Idempotency-Key: a b\r\n\r\n")[0] == 201
    with Connection(bridge) as connection:
        with suppress(OSError):
            connection.socket.sendall(chunked + b"X-A: %b\r\n" % (b"v" * 1000) * 200)
        assert connection.answer()[0] == 400


def test_a_body_in_the_smallest_chunks_costs_no_more_than_its_bytes(bridge: Bridge) -> None:
    body = event(bridge.session(), contenido="x" * 200_000)
    chunks = b"".join(b"2\r\n%b\r\n" % body[i : i + 2] for i in range(0, len(body) // 2 * 2, 2))
    chunks += (b"1\r\n%b\r\n" % body[-1:] if len(body) % 2 else b"") + b"0\r\n\r\n"
    assert ask(bridge, request(b"", Content_Length="", Transfer_Encoding="chunked") + chunks)[0] == 201
    received = Body(Bodies(config.load(str(config.SHIPPED), {})), {})
    tracemalloc.start()
    for _ in range(500_000):
        received.add(bytes(2))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 3 << 20 and received.whole() == bytes(1_000_000)


def test_a_question_that_is_refused_with_its_whole_body_keeps_the_connection(bridge: Bridge) -> None:
    with Connection(bridge) as connection:
        connection.socket.sendall(request(b"{}", Expect="100-continue"))
        assert connection.file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.answer()[0] == 422
        connection.socket.sendall(request(event(bridge.session())))
        assert connection.answer()[0] == 201


def test_a_question_behind_another_request_is_answered(bridge: Bridge) -> None:
    body = event(bridge.session())
    asked = request(body, Expect="100-continue")[: -len(body)]
    with Connection(bridge) as connection:
        connection.socket.sendall(request(body) + asked)
        assert connection.answer()[0] == 201
        assert connection.file.read(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.socket.sendall(body)
        assert connection.answer()[0] == 201


@pytest.mark.parametrize("size", [1, 50, 100_000])
def test_an_offer_of_another_protocol_is_ignored(bridge: Bridge, size: int) -> None:
    """Java's HttpClient offers HTTP/2 with its requests over plain HTTP."""
    offers = {
        "Connection": "Upgrade, HTTP2-Settings",
        "Upgrade": "h2c",
        "HTTP2_Settings": "AAEAAEAAAAIAAAABAAMAAABkAAQBAAAA",
    }
    raw = request(event(bridge.session(), tokens_entrada=7), **offers)
    with Connection(bridge) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            for start in range(0, len(raw), size):
                connection.socket.sendall(raw[start : start + size])
            status, headers, body = connection.answer()
            assert (status, body["tokens_entrada"]) == (201, 7) and "connection" not in headers
        connection.socket.sendall(raw.replace(b"Upgrade, HTTP2", b"close, Upgrade, HTTP2") + b"PRI * HTTP/2.0\r\n\r\n")
        status, headers, _ = connection.answer()
        assert status == 201 and headers["connection"] == "close"


def test_many_requests_and_the_start_of_one_in_a_single_read_are_no_large_head(bridge: Bridge) -> None:
    raw = request(event(bridge.session(), contenido="x" * 9_000))
    assert bridge.process is not None
    with Connection(bridge) as connection:
        bridge.process.send_signal(signal.SIGSTOP)
        connection.socket.sendall(raw * 8 + raw[:60])
        bridge.process.send_signal(signal.SIGCONT)
        assert [connection.answer()[0] for _ in range(8)] == [201] * 8
        connection.socket.sendall(raw[60:])
        assert connection.answer()[0] == 201


class Answers:
    """A connection that only keeps what is answered."""

    peer = "127.0.0.1"

    def __init__(self) -> None:
        self.statuses: asyncio.Queue[int] = asyncio.Queue()

    def send_continue(self) -> None:
        pass

    def send(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
        self.statuses.put_nowait(status)


async def _serve(app: App, body: bytes) -> int:
    """The status that a post of one event is answered with, without a socket."""
    connection = Answers()
    post = app.application.posts[b"/api/events"]
    exchange = Exchange(app.application, connection, post, [(b"content-type", b"application/json")], True)
    exchange.receive(body)
    exchange.received()
    return await asyncio.wait_for(connection.statuses.get(), 10)


def test_what_was_served_leaves_nothing_for_the_collector(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    settings = {"OTEL_BRIDGE_JOURNAL": f"sqlite:///{tmp_path}/j.db", "OTEL_BRIDGE_METRICS_PORT": "0"}
    app = App(config.load(str(root / "otel-bridge.toml"), settings))
    app.journal.start()
    gpt = b'{"gpt_id":"devops-expert","usuario_id":"u","timestamp_inicio":"2025-06-29T20:00:00Z"}'

    async def serve() -> tuple[int, list[int]]:
        created = await app.ingest.finish(app.ingest.create_session(gpt, app.access.caller([], "127.0.0.1")))
        session, statuses = str(json.loads(created.body)["id"]), []
        for fields in ({}, {"tipo": 5}, {"id": "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"}, {
            "id": "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", "contenido": "otro"
        }):  # fmt: skip
            statuses.append(await _serve(app, event(session, **fields)))
        gc.collect()
        gc.disable()
        try:
            for n in range(50):
                await _serve(app, event(session, id="0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", contenido=str(n)))
                await _serve(app, event(session))
            return sum(isinstance(one, Exchange) for one in gc.get_objects()), statuses
        finally:
            gc.enable()

    left, statuses = asyncio.run(serve())
    app.stop()
    assert statuses == [201, 422, 201, 409]
    assert left <= 1  # the last one's, in the loop's hands


def test_a_client_that_leaves_before_its_answer_loses_nothing(bridge: Bridge) -> None:
    session = bridge.session()
    counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
    for _ in range(20):
        with Connection(bridge) as connection:
            connection.socket.sendall(request(event(session)))
    wait_for(lambda: bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == counted + 20,
             "twenty events")  # fmt: skip
    assert ask(bridge, request(event(session)))[0] == 201
    assert "unexpected" not in bridge.output() and "Traceback" not in bridge.output()


def test_a_client_that_leaves_with_requests_in_line_harms_nobody(bridge: Bridge) -> None:
    session = bridge.session()
    for _ in range(20):
        with Connection(bridge) as connection:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.socket.sendall(request(event(session)) * 50)
    assert ask(bridge, request(event(session)))[0] == 201
    assert "unexpected" not in bridge.output() and "Traceback" not in bridge.output()


def test_guesses_and_posts_are_counted_once_by_the_limits(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, OTEL_BRIDGE_RATE_LIMIT="5/minute").start()
    session = bridge.session()
    statuses = [ask(bridge, request(event(session)))[0] for _ in range(6)]
    assert statuses == [201] * 4 + [429] * 2  # the session was the first of five
    bridge.stop()


def test_a_stop_that_cannot_wait_says_that_it_knows_nothing(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, OTEL_BRIDGE_SHUTDOWN_SECONDS="1").start()
    session = bridge.session()
    with closing(sqlite3.connect(bridge.journal, isolation_level=None)) as other, Connection(bridge) as connection:
        other.execute("BEGIN IMMEDIATE")  # the bridge's commits wait for this
        connection.socket.sendall(request(event(session)) * 2)
        for _ in range(3):  # what came before these has been read when they are answered
            assert bridge.http.get(f"{bridge.url}/healthz", timeout=10).status_code == 200
        assert bridge.process is not None
        bridge.process.send_signal(signal.SIGTERM)
        status, headers, body = connection.answer()
        assert (status, headers["retry-after"], headers["connection"]) == (503, "5", "close")
        assert body["type"] == "urn:otel-bridge:resultado-desconocido"
        assert connection.file.read(1) == b""  # the one behind it was not begun
        other.execute("ROLLBACK")
    assert bridge.process.wait(20) == 0
