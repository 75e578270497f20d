"""Runs a bridge behind uvicorn: binds, announces, stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import uvicorn

from otel_bridge import signals
from otel_bridge.app import Bridge
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused, of_system
from otel_bridge.http import tls
from otel_bridge.http.protocol import MAX_CONNECTIONS, Bounds, Protocol
from otel_bridge.orders import Orders, Worker

log = logging.getLogger(__name__)


SPARE_FILES = 256
"""File descriptors that connections leave to the journal, the exporter and the scrapes."""
SWITCH_SECONDS = 0.001
"""Time for which a thread that computes (a scrape, a window) keeps the interpreter from one that waits for it. With
Python's own 5 ms every answer waits so long for a scrape: 20,000 lines a second at half of the maximum, p99 33 → 16 ms.
It would cost speed if a commit handed the interpreter over more than once."""
DRAIN_SECONDS = 0.25
"""Time after the signal in which connections are still served, each told that this answer is its last."""


def _max_connections() -> int:
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

    def __init__(
        self, config: uvicorn.Config, bounds: Bounds, on_hangup: Callable[[], None], orders: Orders | None
    ) -> None:
        """`orders`: of who started this process, where it is one of several. They come beside signals, which may have
        been sent to both: an order and a signal are not two signals."""
        super().__init__(config)
        self._orders = orders
        self._stopping = False
        self.stopped_by: int | None = None
        self._bounds = bounds
        self._on_hangup = on_hangup

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in signals.STOPPING:
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        for kept in signals.take():
            self._on_signal(kept) if kept in signals.STOPPING else self._on_hangup()
        if self._orders is not None:
            self._orders.follow(self._stop, self._on_hangup)
        yield

    def _on_signal(self, number: int) -> None:
        if self.stopped_by is not None:
            os._exit(128 + number)
        self.stopped_by = number
        self._stop()

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        log.info("stopping: what was taken on is answered, then what waits for export gets its time")
        self.should_exit = True
        # Nothing is reloaded any more, and a loop that closes leaves a signal to what it does by default.
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._orders is not None:
            self._orders.say_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Serves a moment longer, so that requests on their way are answered and connections end by agreement."""
        self._bounds.draining = True
        for greeting in list(self._bounds.greeting):
            greeting.transport.abort()
        for connection in self.server_state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                cycle.keep_alive = False
        await asyncio.sleep(DRAIN_SECONDS)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            if isinstance(connection, Protocol):
                connection.give_up()


def bind(host: str, port: int, shared: bool = False) -> socket.socket:
    """A listening socket, so that a taken port is told before anything else has started. `shared`: with others of this
    user, between which Linux divides the connections; it does not listen yet, and gets none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
        if not shared:
            listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartRefused(
            f"la API no puede escuchar en {host}:{port}{of_system(error)}. Elige otro con --port o --host."
        ) from None
    listener.setblocking(False)
    return listener


def settings(bridge: Bridge) -> uvicorn.Config:
    """How uvicorn serves a bridge."""
    return uvicorn.Config(
        bridge.application,
        loop="uvloop",
        http=tls.factory(partial(Protocol, bridge.bounds, bridge.application), bridge.bounds),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=max(1, int(bridge.config.shutdown_seconds)),
    )


def serve(
    config: Config,
    announce: Callable[[Bridge, int], None],
    read_config: Callable[[], Config],
    worker: Worker | None = None,
) -> int:
    """Serves until a signal; returns the exit code. SIGHUP reads the configuration again. `worker`: as one of several
    that share the port. Raises StartRefused."""
    if signals.stopped_by() is not None:
        log.info("stopped before it had started")
        return 0
    listener = bind(config.host, config.port, shared=worker is not None)
    bridge = Bridge(config, read_config, _max_connections())
    server = _Server(settings(bridge), bridge.bounds, bridge.reloader.soon, worker and worker.orders)

    # What is here now stays: the collector need not look at it again, and looks less often at what comes and goes.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(SWITCH_SECONDS)

    async def run() -> int:
        bridge.start()
        announce(bridge, listener.getsockname()[1])
        watch = asyncio.create_task(_watch(bridge, server))
        async with bridge.serving():
            await server.serve(sockets=[listener])
        watch.cancel()
        # A second signal must be able to end the process while this waits.
        await asyncio.get_running_loop().run_in_executor(None, bridge.stop)
        return 1 if bridge.journal.fatal_error is not None else 0

    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run())


def _loop_factory() -> Any:
    import uvloop

    return uvloop.new_event_loop


async def _watch(bridge: Bridge, server: uvicorn.Server) -> None:
    """A bridge whose writer is dead can promise nothing: it ends, so that what runs it starts it anew."""
    while bridge.journal.fatal_error is None:  # noqa: ASYNC110 a thread's death sets no asyncio event
        await asyncio.sleep(0.5)
    await asyncio.sleep(2.0)  # `/readyz` says so meanwhile
    server.should_exit = True
