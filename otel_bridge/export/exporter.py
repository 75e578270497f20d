"""The bridge's side of delivery: starts the process, restarts it, knows its state, hands its reports on."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from otel_bridge.config import PROXY_VARIABLES, Config, Gpt, Otlp
from otel_bridge.export import frames
from otel_bridge.export.frames import read_frame, write_frame
from otel_bridge.export.pipe import Report, Setup, Stop
from otel_bridge.journal import DamagedPart, Journal, Store, StoreDamaged, StoreUnavailable

log = logging.getLogger(__name__)

_MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""For glibc: a request's bytes (up to 4 MiB) are made and freed all the time, and by default each is given back to the
system and faulted in again. Drain 137,000 → 150,000 spans/s."""

QUIET_GRPC = {"GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "NONE")}
"""gRPC's core writes lines of its own to standard error; what it fails at comes as an error of Python's as well."""

IN_TROUBLE = frozenset(("retry", "config"))
"""States in which nothing is delivered."""
WORDS_SECONDS = 60.0
FLAPPING_SECONDS = 5.0
"""An endpoint that is well and unwell by turns is told so often at the most."""


class Exporter:
    """Keeps the delivery process running and hands its reports on. `run` is a supervised worker's body.

    starting ──first report──▶ the last result's kind: ok, retry, config … ──process ends──▶ restarting
                                                  ▲                                              │
                                                  └──────────────── first report ────────────────┘

    """

    def __init__(self, config: Config, otlp: Otlp, journal: Journal, attempts: Counter[str]) -> None:
        """`attempts`: counts requests by their result's kind."""
        self._setup = Setup(journal.store.url, msgspec.to_builtins(otlp), dict(config.gpts), list(config.resource))
        self._logs = (config.log_format, config.log_level)
        self._journal = journal
        self._attempts = attempts
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._restart = False
        """Whether the process was ended because it is started again with other GPTs, or in another lane."""
        self.state = "starting"
        self._waits = False
        """Whether the log says that delivery waits: since `_told_at`, with these words."""
        self._told, self._told_at = "", float("-inf")
        self.message = ""
        """The endpoint's last text."""

    def configure(self, config: Config) -> None:
        """Takes on a configuration: where spans show another registry of GPTs, or logs are to be others, the process is
        started again."""
        logs = (config.log_format, config.log_level)
        if _as_exported(self._setup.gpts) == _as_exported(config.gpts) and self._logs == logs:
            return
        self._setup.gpts, self._logs = dict(config.gpts), logs
        self._start_again()

    def follow(self) -> None:
        """Where the store goes on in another lane, the process is started again in that. What it leaves is delivered by
        who adopts the lane. Any thread; called about once a second."""
        if self._setup.journal != self._journal.store.url:
            self._start_again()

    def _start_again(self) -> None:
        process = self._process
        if process is not None:
            self._restart = True
            process.kill()

    def run(self) -> None:
        """Until the process ends. Raises RuntimeError where that was not asked for."""
        self._run_process()
        while self._restart:
            self._run_process()

    def _run_process(self) -> None:
        self._restart = False
        if self._stopping.is_set():
            return
        self._setup.journal = self._journal.store.url
        process = _start(self._logs)
        self._process = process
        assert process.stdin is not None and process.stdout is not None
        try:
            write_frame(process.stdin, self._setup)
            while (frame := read_frame(process.stdout)) is not None:
                self._take(msgspec.msgpack.decode(frame, type=Report))
        finally:
            self._process = None
            with contextlib.suppress(OSError):
                process.stdin.close()  # which ends the process, if it has not ended
            try:
                code = process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            process.stdout.close()
        if not self._stopping.is_set() and not self._restart:
            if self.state != "damaged":
                self.state = "restarting"
            raise RuntimeError(f"the export process ended with code {code}")

    def _take(self, report: Report) -> None:
        """Notes a report in the journal. While that cannot be written, the process waits for the pipe to be read."""
        if report.damaged is not None:
            self._journal.damage.note(StoreDamaged(report.message, report.damaged))
            if report.damaged != DamagedPart.PARKED:  # which holds up nothing but what is asked for again
                self.state, self.message = "damaged", report.message
            return
        self.state, self.message = report.state, report.message  # before a word of it: `/readyz` agrees with the log
        self._tell(report)
        logged = False
        while True:
            try:
                self._note(report)
                return
            except StoreUnavailable as error:
                if self._stopping.is_set():
                    raise
                if not logged:
                    log.error("what was delivered cannot be noted, delivery waits: %s", error)
                    logged = True
                self._stopping.wait(1.0)

    def _tell(self, report: Report) -> None:
        """Logs that delivery waits and goes on again; while it waits, once a minute what else the endpoint says. Its
        words are read here and beside the parked records alone."""
        if report.state in IN_TROUBLE:
            passed = time.monotonic() - self._told_at
            if passed > (WORDS_SECONDS if self._waits else FLAPPING_SECONDS) and report.message != self._told:
                log.warning("delivery waits (%s): %s", report.state, report.message)
                self._waits, self._told, self._told_at = True, report.message, time.monotonic()
        elif self._waits:
            log.info("delivery goes on")
            self._waits, self._told = False, ""

    def _note(self, report: Report) -> None:
        """Moves the cursor with what was delivered and parked. Raises StoreUnavailable."""
        if report.cursor or report.replayed or report.reparked:
            self._journal.transact(lambda store: _write(store, report, self._setup.journal)).result()
        self._attempts.update(report.attempts)

    def stop(self, seconds: float) -> None:
        """Asks for a last flush; `run` returns when it is over, or the process is ended after `seconds` more."""
        self._stopping.set()
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            write_frame(process.stdin, Stop(seconds))
        except (OSError, ValueError):
            return
        try:
            process.wait(seconds + 2)
        except subprocess.TimeoutExpired:
            process.kill()


def _start(logs: tuple[str, str]) -> subprocess.Popen[bytes]:
    """The delivery process, as it starts. `logs`: their format and level."""
    # The proxy is in the set-up; no library is to read the variables in its own way.
    env = {name: value for name, value in os.environ.items() if name not in PROXY_VARIABLES}
    return frames.start("otel_bridge.export", *logs, env=env | _MALLOC | QUIET_GRPC)


def _write(store: Store, report: Report, url: str) -> None:
    if store.url != url:
        return  # of the lane before: its records are delivered once more
    if report.cursor:
        store.advance(report.cursor, report.exported, report.parked)
    if report.replayed:
        store.unpark(report.replayed)
    if report.reparked:
        store.repark(report.reparked)


def _as_exported(gpts: Mapping[str, Gpt]) -> list[tuple[object, ...]]:
    """What spans show of the registry."""
    return [(gpt.id, gpt.name, gpt.provider, gpt.model, gpt.event_types) for gpt in gpts.values()]
