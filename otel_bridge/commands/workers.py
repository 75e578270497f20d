"""`otel-bridge serve --workers N`: N processes behind one port, each a replica, and this one, which keeps them.

    the first, alone ──ready──▶ the others ──▶ each is kept: one that ends is started again, after a pause that grows
         └─ one that is refused before it has ever served (exit code 2) ends all, with its words

Each worker has a socket of its own on the port (SO_REUSEPORT), and Linux divides the connections between those that
listen, which is those that are ready. On one socket for all, the first that woke took all that waited: of 16
connections at once one of two workers had them all, at two thirds of the speed. This process holds the port without
listening, shows no page and has no connection to the journal.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys

from otel_bridge import logs, server, signals
from otel_bridge.commands.configuration import load
from otel_bridge.errors import StartRefused
from otel_bridge.orders import READY, RELOAD, STOP

log = logging.getLogger(__name__)

REFUSED = 2
"""The exit code of a start that was refused."""
PAUSES_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Before a worker that has ended is started again: at once, then later and later."""
SETTLED_SECONDS = 60.0
"""A worker that has served for so long begins with the first pause again."""
_FORWARDED = ("config", "host", "tls_cert", "tls_key", "metrics_host", "journal")


def run(arguments: argparse.Namespace) -> int:
    """Serves until a signal; returns the exit code. Raises StartRefused."""
    loaded = load(arguments)
    count: int = arguments.workers
    if not loaded.in_database:
        raise StartRefused(
            f"--workers: se encontró {count}, se esperaba 1 con el diario {loaded.journal_shown}: un archivo lo "
            "escribe un solo proceso. Con --journal postgresql://… puede haber los que hagan falta "
            "(docs/postgresql.md)."
        )
    last_port = loaded.metrics_port + count - 1
    if loaded.metrics_port and last_port > 65_535:
        raise StartRefused(
            f"--workers: se encontró {count}, que ocupa los puertos {loaded.metrics_port} a {last_port} para "
            "/metrics; se esperaba que terminaran en 65535 como mucho (--metrics-port)"
        )
    logs.set_up(loaded.log_format, loaded.log_level)
    with server.bind(loaded.host, loaded.port) as alone:  # a port that others share already is refused as a taken one
        port: int = alone.getsockname()[1]
    flags = ["serve", "--port", str(port)]
    for name in _FORWARDED:
        if getattr(arguments, name) is not None:
            flags += [f"--{name.replace('_', '-')}", getattr(arguments, name)]
    with server.bind(loaded.host, port, shared=True):
        return asyncio.run(Workers(count, loaded.metrics_port, flags).run())


class Workers:
    """Used from one event loop."""

    def __init__(self, count: int, metrics_port: int, flags: list[str]) -> None:
        """`flags`: of `otel-bridge`, for each worker."""
        self._numbers = range(1, count + 1)
        self._metrics_port = metrics_port
        self._flags = flags
        self._running: dict[asyncio.subprocess.Process, socket.socket] = {}
        """With this end of the line to it."""
        self._served: set[int] = set()
        """Numbers of workers that have been ready once."""
        self._begun = asyncio.Event()
        """The first is ready, or all end."""
        self._ending = asyncio.Event()
        self._stopped_by: int | None = None
        self._code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for number in signals.STOPPING:
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._tell, RELOAD)
        for kept in signals.take():
            self._stop(kept) if kept in signals.STOPPING else self._tell(RELOAD)
        first, *others = self._numbers
        kept_ones = [asyncio.create_task(self._keep(first))]
        await self._begun.wait()
        kept_ones += [asyncio.create_task(self._keep(number)) for number in others]
        await asyncio.gather(*kept_ones)
        return self._code

    async def _keep(self, number: int) -> None:
        loop, failures = asyncio.get_running_loop(), 0
        while not self._ending.is_set():
            began = loop.time()
            process, code = await self._serve(number)
            if self._ending.is_set():
                self._code = self._code or code
                return
            if code == REFUSED and number not in self._served:
                self._code = code
                self._end()
                return
            if loop.time() - began > SETTLED_SECONDS:
                failures = 0
            pause = PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)]
            failures += 1
            words = "worker %d (process %d) has ended with exit code %d: it is started again in %g s"
            log.error(words, number, process, code, pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), pause)

    async def _serve(self, number: int) -> tuple[int, int]:
        """One life of a worker: its process id, and its exit code."""
        ours, its = socket.socketpair()
        ours.setblocking(False)
        with ours:
            with its:
                process = await self._start(number, its)
            self._running[process] = ours
            log.info("worker %d is process %d", number, process.pid)
            if self._ending.is_set():
                _say(ours, STOP)
            hears = asyncio.create_task(self._hear(number, ours))
            code = await process.wait()
            del self._running[process]
            hears.cancel()
            await asyncio.wait([hears])
        return process.pid, code if code >= 0 else 128 - code

    async def _start(self, number: int, its: socket.socket) -> asyncio.subprocess.Process:
        port = self._metrics_port and self._metrics_port + number - 1
        announces = "yes" if number == 1 and not self._served else "no"
        # A signal to all processes would end it before it can keep it.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ALL)
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable, "-m", "otel_bridge.commands.worker", str(number), str(its.fileno()), announces,
                *self._flags, "--metrics-port", str(port),
                pass_fds=(its.fileno(),),
                start_new_session=True,  # Ctrl-C in a terminal goes to the whole group: it is this process's to pass on
            )  # fmt: skip
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    async def _hear(self, number: int, ours: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := await asyncio.get_running_loop().sock_recv(ours, 16):
                if READY in said:
                    self._served.add(number)
                    self._begun.set()

    def _tell(self, order: bytes) -> None:
        for line in self._running.values():
            _say(line, order)

    def _end(self) -> None:
        self._ending.set()
        self._begun.set()
        self._tell(STOP)

    def _stop(self, number: int) -> None:
        if self._stopped_by is not None:
            for process in self._running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            os._exit(128 + number)
        self._stopped_by = number
        log.info("stopping: each worker answers what it has taken on, then what waits for export gets its time")
        self._end()


def _say(line: socket.socket, order: bytes) -> None:
    with contextlib.suppress(OSError):  # it has just ended
        line.send(order)
