"""What may happen to a connection between the read of its bytes and the end of that turn of the event loop."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from uvicorn.server import ServerState

from otel_bridge import config
from otel_bridge.app import Bridge as App
from otel_bridge.http.exchange import Exchange
from otel_bridge.http.protocol import PARSED_LATER_BYTES, Protocol
from otel_bridge.server import settings
from tests.e2e.test_posts import Answers, event, request
from tests.harness.bridge import GUIDE_SESSION, ROOT

SESSION = json.dumps(GUIDE_SESSION).encode()


class Wire(asyncio.Transport):
    """A connection that is fed by hand, and keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.is_broken = False
        self.protocol: Protocol

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.is_broken

    def breaks(self) -> None:
        """As when a reset is read: the protocol is told at the end of the turn."""
        if not self.is_broken:
            self.is_broken = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    close = abort = breaks

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 40_000) if name in ("peername", "sockname") else default

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", self.written)]


class Served:
    """A bridge in this process, with one connection."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.session = ""
        self.wire = self.connect()

    def connect(self) -> Wire:
        served, wire = settings(self.app), Wire()
        served.load()
        loop = asyncio.get_running_loop()
        wire.protocol = Protocol(self.app.bounds, self.app.application, served, ServerState(), {}, loop)
        wire.protocol.connection_made(wire)
        return wire

    async def journaled(self) -> int:
        """Records, once everything that this turn has read has had its commit."""
        for _ in range(5):
            await asyncio.sleep(0)
            await asyncio.wrap_future(self.app.journal.run_between_commits(lambda: None))
        return self.app.journal.store.last


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Callable[[Served], Awaitable[None]]], None]:
    environ = {"OTEL_BRIDGE_JOURNAL": f"sqlite:///{tmp_path}/j.db", "OTEL_BRIDGE_METRICS_PORT": "0"}
    app = App(config.load(str(ROOT / "otel-bridge.toml"), environ))
    app.journal.start()

    def run(scenario: Callable[[Served], Awaitable[None]]) -> None:
        async def served() -> None:
            made = Served(app)
            created = await app.ingest.finish(app.ingest.create_session(SESSION, app.access.caller([], "127.0.0.1")))
            made.session = re.findall(r'"id":"([^"]+)"', created.body.decode())[0]
            await scenario(made)
            made.wire.close()
            await asyncio.sleep(0)

        try:
            asyncio.run(served())
        finally:
            app.stop()

    return run


Run = Callable[[Callable[[Served], Awaitable[None]]], None]


def test_a_post_that_was_read_whole_is_taken_in_though_its_connection_breaks_in_that_turn(run: Run) -> None:
    async def scenario(served: Served) -> None:
        served.wire.protocol.data_received(request(event(served.session)))
        served.wire.breaks()
        assert await served.journaled() == 2
        assert served.wire.written == b""

    run(scenario)


@pytest.mark.parametrize("refused", [1, 2])
def test_one_behind_refused_ones_is_taken_in_though_the_connection_breaks(run: Run, refused: int) -> None:
    async def scenario(served: Served) -> None:
        served.wire.protocol.data_received(request(b'{"a": ') * refused + request(event(served.session)))
        served.wire.breaks()
        assert await served.journaled() == 2

    run(scenario)


def test_one_behind_a_refused_one_that_had_asked_for_its_body_is_answered(run: Run) -> None:
    async def scenario(served: Served) -> None:
        refused = request(b'{"a": ', Expect="100-continue")
        served.wire.protocol.data_received(refused + request(event(served.session)))
        assert await served.journaled() == 2
        assert served.wire.statuses == [100, 400, 201] and not served.wire.is_broken

    run(scenario)


@pytest.mark.parametrize("before", [0, 40, -20], ids=["nothing", "a part of its head", "all but the end of its body"])
def test_time_runs_out_for_nothing_that_has_been_read(run: Run, before: int) -> None:
    async def scenario(served: Served) -> None:
        raw, protocol = request(event(served.session)), served.wire.protocol
        if before:
            protocol.data_received(raw[:before])
            await asyncio.sleep(0)
        protocol.data_received(raw[before:])
        protocol._late()
        assert await served.journaled() == 2
        assert served.wire.statuses == [201] and not served.wire.is_broken

    run(scenario)


def test_time_runs_out_for_what_is_still_no_whole_request(run: Run) -> None:
    async def scenario(served: Served) -> None:
        served.wire.protocol.data_received(request(event(served.session))[:-20])
        served.wire.protocol._late()  # the end of the head begins the body's own time
        assert served.wire.statuses == []
        served.wire.protocol._late()
        assert served.wire.statuses == [408] and served.wire.is_broken
        assert await served.journaled() == 1

    run(scenario)


def test_a_connection_that_waits_for_its_next_request_is_not_closed_over_one_that_was_read(run: Run) -> None:
    async def scenario(served: Served) -> None:
        protocol = served.wire.protocol
        protocol.data_received(request(event(served.session)))
        assert await served.journaled() == 2
        protocol._idle_since = -1e9
        protocol.data_received(request(event(served.session, contenido="otra")))
        protocol._idle()
        assert not served.wire.is_broken
        assert await served.journaled() == 3
        protocol._idle_since = -1e9
        protocol._idle()
        assert served.wire.is_broken

    run(scenario)


def test_reads_of_one_turn_are_parsed_in_their_order_whatever_their_size(run: Run) -> None:
    async def scenario(served: Served) -> None:
        large = event(served.session, contenido="x" * PARSED_LATER_BYTES)
        raw = b"".join(request(event(served.session, contenido=str(n))) for n in range(3)) + request(large)
        for start in range(0, len(raw), 700):
            served.wire.protocol.data_received(raw[start : start + 700])
        served.wire.protocol.data_received(request(large.replace(b"x", b"y")))
        while len(served.wire.statuses) < 5:
            await served.journaled()
        assert served.wire.statuses == [201] * 5
        assert await served.journaled() == 6

    run(scenario)


def test_what_comes_behind_the_last_answer_is_not_taken_in(run: Run) -> None:
    """Its sender is told by the end of the connection, and may send it again."""

    async def scenario(served: Served) -> None:
        served.wire.protocol.data_received(request(event(served.session), Connection="close"))
        assert await served.journaled() == 2
        served.wire.protocol.data_received(request(event(served.session, contenido="otra")))
        assert await served.journaled() == 2
        assert served.wire.statuses == [201] and served.wire.is_broken

    run(scenario)


def test_a_client_that_ends_its_half_in_the_same_turn_is_answered(run: Run) -> None:
    async def scenario(served: Served) -> None:
        served.wire.protocol.data_received(request(event(served.session)))
        assert served.wire.protocol.eof_received()
        assert await served.journaled() == 2
        assert served.wire.statuses == [201] and served.wire.is_broken

    run(scenario)


@pytest.mark.parametrize("meanwhile", ["lost", "give_up"])
def test_between_the_end_of_its_body_and_the_end_of_the_turn(run: Run, meanwhile: str) -> None:
    """Who hangs up as soon as he has sent it has sent it; what a stop has given up is not taken any more."""

    async def scenario(served: Served) -> None:
        application, connection = served.app.application, Answers()
        post = application.posts[b"/api/sessions"]
        exchange = Exchange(application, connection, post, [(b"content-type", b"application/json")], True)
        exchange.receive(SESSION)
        exchange.received()
        getattr(exchange, meanwhile)()
        journaled = await served.journaled() - 1
        statuses = [connection.statuses.get_nowait() for _ in range(connection.statuses.qsize())]
        assert (statuses, journaled) == (([], 1) if meanwhile == "lost" else ([503], 0))

    run(scenario)
