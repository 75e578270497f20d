"""Runs a bridge behind uvicorn: binds, announces, stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from otel_bridge import api, errors
from otel_bridge.app import Bridge
from otel_bridge.config import Config
from otel_bridge.errors import Problem, StartRefused

log = logging.getLogger(__name__)


HEAD_SECONDS = 10.0
"""Time a client has to send a request's line and headers, or body_timeout_seconds where that is less."""
HEAD_BYTES = 64 << 10
"""What a request's line and headers may take, as far as they have not come in one piece."""
LATE_BODY_SECONDS = 5.0
"""Time past the body's own, in which the bridge answers that it came late: then the connection ends."""
REFUSED_BODY_BYTES = 64 << 20
"""What is read and dropped of a body that has been refused, so that its sender gets to read the answer."""
MAX_CONNECTIONS = 10_000
SPARE_FILES = 256
"""File descriptors that connections leave to the journal, the exporter and the scrapes."""
DRAIN_SECONDS = 0.25
"""Time after the signal in which connections are still served, each told that this answer is its last."""


def write_whole(send: Any, status: int, headers: api.Pairs, body: bytes) -> bool:
    """Writes an answer, head and body, with one system call. False: it cannot here, `send` has to.

    uvicorn writes each ASGI message by itself (two writes an answer, by strace), and its `send` is where a bare post
    spends 43 % of its samples (py-spy, on the machine of benchmarks/RESULTS.md). Does what `send` does to the
    cycle's state; names and values of `headers` must be fit for a header, which ours are.
    """
    cycle = getattr(send, "__self__", None)
    if (
        not isinstance(cycle, RequestResponseCycle)
        or cycle.response_started
        or cycle.disconnected
        or cycle.flow.write_paused
    ):
        return False
    parts = [STATUS_LINE[status]]
    for name, value in (*cycle.default_headers, *headers):
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
    parts.append(body)
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


_EXTENSIONS = {api.WHOLE: write_whole}


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, and what it leaves unbounded: the time a request takes to arrive, the size of its headers,
    the number of connections. What it refuses itself has the shape of every other refusal.

    A whole request usually comes in one piece: then none of this costs more than a look at a flag.
    """

    max_connections = MAX_CONNECTIONS
    head_seconds = HEAD_SECONDS
    body_seconds = 20.0
    draining = False
    """Set on the class when the server stops: every answer from then on is its connection's last."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _in_message = False
    _head_bytes = 0
    _dropped = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            self._refuse(Problem(errors.QUEUE_FULL, "Demasiadas conexiones abiertas.", headers={"Retry-After": "5"}))
            return
        self._deadline = self.loop.call_later(self.head_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(
                    Problem(errors.HEADER_INVALID, f"Las cabeceras superan {HEAD_BYTES >> 10} KiB: envía menos.")
                )
        elif not self._in_message:
            if self.cycle is None or self.cycle.response_complete:
                # Line breaks before a request: they are allowed, and not for ever.
                self._deadline = self._deadline or self.loop.call_later(self.head_seconds, self._late)
            return
        if self._deadline is None and not self.transport.is_closing():
            seconds = self.head_seconds if self._in_head else self.body_seconds + LATE_BODY_SECONDS
            self._deadline = self.loop.call_later(seconds, self._late)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = _EXTENSIONS  # type: ignore[typeddict-item]
        self._in_head = self._in_message = True
        self._head_bytes = self._dropped = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._in_head = False
        self._set_deadline(None)
        if self.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        if self.cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > REFUSED_BODY_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_message = False
        self._set_deadline(None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.expect_100_continue and self._in_message:
            # Refused before it was asked for its body: whether the client sends that now nobody knows.
            self.transport.close()

    def shutdown(self) -> None:
        if self._in_head:
            self._late()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(errors.HEADER_INVALID, "La petición no es HTTP/1.1 válido."))

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _late(self) -> None:
        """The request has not come within its time."""
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            if self._in_head:  # behind one that is still being answered
                self._deadline = self.loop.call_later(1.0, self._late)
                return
            self.transport.close()
        elif self._in_head:
            self._refuse(Problem(errors.BODY_TIMEOUT, "Las cabeceras no llegaron completas a tiempo. Reintenta."))
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Answers outside of any request that could be read, and ends the connection."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(problem.document())
            head = [
                f"HTTP/1.1 {problem.kind.status} {http.HTTPStatus(problem.kind.status).phrase}",
                "content-type: application/problem+json",
                f"content-length: {len(body)}",
                "connection: close",
                *(f"{name.decode()}: {value.decode()}" for name, value in api.SECURITY),
                *(f"{name.lower()}: {value}" for name, value in problem.headers.items()),
            ]
            self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        self.transport.close()


def _room_for_connections() -> int:
    """Connections that may be open at once: each takes a file descriptor, and the journal needs some, too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + SPARE_FILES
    if soft < wanted:
        try:
            soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return max(16, min(MAX_CONNECTIONS, soft - SPARE_FILES))


class _Server(uvicorn.Server):
    """uvicorn's server with our signals: the first stops in order and exits with 0, a second ends at once."""

    stopped_by: int | None = None
    on_hangup: Callable[[], None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def stop(number: int) -> None:
            if self.stopped_by is not None:
                os._exit(128 + number)
            self.stopped_by = number
            log.info("stopping: what was taken on is answered, then what waits for export gets its time")
            self.should_exit = True

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        if self.on_hangup is not None:
            loop.add_signal_handler(signal.SIGHUP, self.on_hangup)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves a moment longer, so that requests on their way are answered and connections end by agreement."""
        Protocol.draining = True
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False
        await asyncio.sleep(DRAIN_SECONDS)
        await super().shutdown(sockets)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, so that a taken port is told before anything else has started."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"the API cannot listen on {host}:{port}: {error.strerror}. Choose another with --port or --host."
        ) from None
    listener.setblocking(False)
    return listener


def serve(config: Config, announce: Callable[[Bridge, int], None], read_config: Callable[[], Config]) -> int:
    """Serves until a signal; returns the exit code. SIGHUP reads the configuration again. Raises StartRefused."""
    Protocol.max_connections = _room_for_connections()
    Protocol.body_seconds = config.body_timeout_seconds
    Protocol.head_seconds = min(HEAD_SECONDS, config.body_timeout_seconds)
    listener = bind(config.host, config.port)
    bridge = Bridge(config, read_config)
    server = _Server(
        uvicorn.Config(
            bridge.door,
            loop="uvloop",
            http=Protocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, int(config.shutdown_seconds)),
        )
    )

    # What is here now stays: the collector need not look at it again, and looks less often at what comes and goes.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

    async def run() -> int:
        bridge.start()
        announce(bridge, listener.getsockname()[1])
        watch = asyncio.create_task(_watch(bridge, server))
        server.on_hangup = bridge.reloader.soon
        async with bridge.serving():
            await server.serve(sockets=[listener])
        watch.cancel()
        # A second signal must be able to end the process while this waits.
        await asyncio.get_running_loop().run_in_executor(None, bridge.stop)
        return 1 if bridge.journal.death is not None else 0

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run())


def _loop_factory() -> Any:
    import uvloop

    return uvloop.new_event_loop


async def _watch(bridge: Bridge, server: uvicorn.Server) -> None:
    """A bridge whose writer is dead can promise nothing: it ends, so that what runs it starts it anew."""
    while bridge.journal.death is None:  # noqa: ASYNC110 a thread's death sets no asyncio event
        await asyncio.sleep(0.5)
    await asyncio.sleep(2.0)  # `/readyz` says so meanwhile
    server.should_exit = True
