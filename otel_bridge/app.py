"""The one place where things are built: started in order, stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from otel_bridge import catalog, logs
from otel_bridge.access import keys
from otel_bridge.access.caller import Access
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.export.exporter import Exporter
from otel_bridge.export.pipe import SINK, Report
from otel_bridge.http.app import App
from otel_bridge.http.bodies import Bodies
from otel_bridge.http.request_spans import RequestSpans
from otel_bridge.intake.contents import Contents
from otel_bridge.intake.conversations import Conversations
from otel_bridge.intake.ingest import Ingest
from otel_bridge.intake.sessions import Sessions
from otel_bridge.journal import Journal, Store
from otel_bridge.journal.sqlite import SqliteStore
from otel_bridge.journal.store import Reader, StoreUnavailable, TopUser, Window
from otel_bridge.mcp.mount import McpMount
from otel_bridge.metrics.listener import MetricsListener
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.page import BridgeCollector, LedgerView, Sources
from otel_bridge.metrics.state import MetricState
from otel_bridge.ops.reload import Reloader
from otel_bridge.ops.supervisor import Worker, periodic
from otel_bridge.privacy.users import UserHasher, load_or_create_key
from otel_bridge.records import decode

if TYPE_CHECKING:
    from otel_bridge.mcp.tools import McpApp

log = logging.getLogger(__name__)

HOUSEKEEPING_SECONDS = 1.0
CHECKPOINT_SECONDS = 2.0
CHECKPOINT_RECORDS = 100_000
TRIM_ROWS = 100
"""Of each table that one step deletes. Answers wait for a step: 500 took 4 to 17 ms, 100 take 1 to 11."""
TRIM_PAUSES = 4
"""Times that a step of trimming took, in which answers have the writer to themselves before the next."""
IDLE_BATCH = 500
LOG_PAGES = 500
"""A write-ahead log of so many pages is begun anew, which takes a few milliseconds between two commits. Left alone
under load, it grows to its limit every few seconds, and that step holds answers up for 50 ms."""
LOG_LIMIT_BYTES = 64 << 20
"""A write-ahead log longer than this is moved into the file although answers wait for it."""
SIZE_TRIM_SHARE = 0.9
"""Share of the size limit from which exported records go before their retention is over."""


class Configurable(Protocol):
    """What takes on a changed configuration while it runs."""

    def configure(self, config: Config) -> None: ...


class Bridge:
    """Everything that runs, for one configuration."""

    def __init__(self, config: Config, read_config: Callable[[], Config] | None = None) -> None:
        keys.refuse_keyless(config)
        self.config = config
        self.started = time.time()
        if not config.user_hash_key and config.journal_path.exists() and not config.key_path.exists():
            log.warning(
                "journal %s has no key beside it (%s): a new one is made, and every user will look new. "
                "If you have a backup of the key, stop now and restore it.",
                config.journal_path, config.key_path.name,
            )  # fmt: skip
        key = load_or_create_key(_parent(config).joinpath(config.key_path.name), config.user_hash_key)
        # 1. The journal, and the state that its records fold to.
        self.store = SqliteStore(config.journal_path)
        self.state = MetricState(config.gpts, config.max_models_per_gpt, config.max_errors_per_gpt)
        self.own = SelfMetrics()
        try:
            self._restore()
        except sqlite3.Error as error:
            raise StartRefused(self.store.advice(error)) from error
        self.journal = Journal(self.store, self.state.apply, config.queue_max_records)
        self._journal_folder = str(config.journal_path.parent)
        self._min_free = config.disk_min_free
        self.journal.room = self._room
        # 2. What reads it.
        self._reader = self.store.reader()
        self._window_reader = self.store.reader()
        self._house_reader = self.store.reader()
        self._ledger_reader = self.store.reader()
        self.ledger = LedgerView(self.journal, self._ledger_reader, self.state)
        self._windows: tuple[list[Window], list[TopUser]] | None = None
        self._bytes_used = 0
        self._size_full = False
        self._saved_at = 0.0
        # 3. What works in the background.
        self._stopping = threading.Event()
        self.exporter: Exporter | None = None
        self.workers: list[Worker] = []
        if config.otlp is not None:
            self.exporter = Exporter(
                config.journal_path, config.otlp, dict(config.gpts), config.resource, self._on_report
            )
            self.workers.append(Worker("exporter", self.exporter.run))
        self.workers.append(periodic("housekeeping", lambda: HOUSEKEEPING_SECONDS, self._housekeeping))
        self._windows_cost = 0.0
        self.workers.append(periodic("windows", self._windows_pause, self._count_windows))
        # 4. What answers.
        self.access = Access(config)
        sessions = Sessions(self._reader)
        hasher = UserHasher(key)
        self.ingest = Ingest(config, self.journal, sessions, Contents(config), hasher, self.own, key)
        conversations = Conversations(self.ingest, self.own, key)
        bodies = Bodies(config)

        def make_mcp() -> McpApp:
            from otel_bridge.mcp.tools import McpApp  # see mcp/mount.py

            return McpApp(self.config, self.access, conversations, bodies, self.own)

        self.mcp = McpMount(make_mcp)
        self.application = App(
            config, self.access, self.ingest, conversations, bodies, self.own, self.readiness, self.mcp.routes
        )
        self.configurable: list[Configurable] = [self.access, self.ingest, bodies, self.application, self.mcp]
        """What takes on a changed configuration on the event loop, in this order."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self.reloader = Reloader(config, read_config or (lambda: self.config), self._reconfigure)
        self.workers.append(Worker("reload", self.reloader.run))
        self.request_spans: RequestSpans | None = None
        if config.otlp is not None and config.request_spans != "off":
            self.request_spans = RequestSpans(config.service_name, config.otlp, config.request_spans)
            self.own.on_request = self.request_spans
        collector = BridgeCollector(
            Sources(
                state=self.state,
                own=self.own,
                ledger=self.ledger,
                gpts=lambda: self.config.gpts,
                windows=lambda: self._windows,
                workers=self._worker_states,
                journal_bytes=lambda: (self._bytes_used, self._byte_limit()),
                export_configured=config.otlp is not None,
                started=self.started,
                reload_failed=lambda: self.reloader.failure is not None,
                limits_fallback=lambda: self.access.limits.fallback,
            )
        )
        self.listener = MetricsListener(collector.render, config.metrics_host, config.metrics_port, self._stopping)
        self.workers.append(Worker("metrics-listener", self.listener.run))

    # --- life ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """What the event loop needs while requests are answered. Entered after `start`, left before `stop`."""
        self._loop = asyncio.get_running_loop()
        async with self.mcp.running():
            try:
                yield
            finally:
                self._loop = None
                await self.access.limits.close()

    def start(self) -> None:
        self.journal.start()
        self._measure()
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        """After the last answer has left: flushes what is exported within its time, checkpoints, closes."""
        self._stopping.set()
        for worker in self.workers:
            worker.stopping.set()  # before any of them ends: none ends without having been asked to
        self.reloader.stop()
        for worker in reversed(self.workers):
            if worker.name == "exporter" and self.exporter is not None:
                worker.stopping.set()
                self.exporter.stop(self.config.shutdown_seconds)
            worker.stop()
        if self.request_spans is not None:
            self.request_spans.close()
        self.ingest.close()
        try:
            self._checkpoint(force=True)
        except StoreUnavailable as error:
            # Nothing is lost: the next start folds what came after the last checkpoint.
            log.warning("no checkpoint at the stop: %s", error)
        self.journal.stop()
        self.listener.close()
        for reader in (self._reader, self._window_reader, self._house_reader, self._ledger_reader):
            reader.close()

    def _restore(self) -> None:
        """The state as of the last checkpoint, and every record since folded in."""
        started = time.monotonic()
        saved = self.store.checkpoint()
        if saved is not None:
            try:
                document = msgspec.msgpack.decode(saved[1])
                state, own = document["state"], document["own"]
            except (msgspec.MsgspecError, KeyError, TypeError) as error:
                raise StartRefused(
                    f"journal {self.config.journal_path}: the checkpoint of metrics cannot be read "
                    f"({type(error).__name__}). The file is damaged and is left as it is: restore it from a backup, or "
                    "move it away to start with an empty journal: what it held and was not exported is then lost."
                ) from None
            try:
                self.state.load(saved[0], state)
            except (ValueError, KeyError) as error:
                raise StartRefused(
                    f"journal {self.config.journal_path}: {error}. It was written by another release: run that one."
                ) from None
            self.own.load(own)
        reader: Reader = self.store.reader()
        folded = 0
        while segments := reader.segments(self.state.seq, 1_000):
            for segment in segments:
                if segment.damaged:
                    log.error("segment %d of the journal is damaged: its records cannot be counted", segment.last)
                    self.state.seq = segment.last
                    continue
                self.state.apply(decode(segment.body), segment.last)
                folded += segment.size
        reader.close()
        log.info(
            "journal %s: %d records, %d of them folded since the checkpoint, in %.2f s",
            self.config.journal_path, self.store.last, folded, time.monotonic() - started,
        )  # fmt: skip

    # --- background ----------------------------------------------------------------------------------------------

    def _housekeeping(self) -> None:
        self._measure()
        try:
            self._keep()
        except StoreUnavailable as error:
            # The journal says so to its senders, and `/readyz` to everyone; this goes on as soon as it can.
            if self.journal.death is not None:
                raise
            if self._hindrance != str(error):
                log.error("housekeeping waits: %s", error)
            self._hindrance = str(error)
            self.journal.refusal = self.journal.refusal or str(error)
        else:
            if self._hindrance is not None:
                log.info("housekeeping goes on")
            self._hindrance = None

    def _keep(self) -> None:
        if self.journal.refusal is not None:
            # Nobody may be posting: whether the journal can be written again shows by writing.
            self._checkpoint(force=True)
            self.journal.refusal = None
        if time.monotonic() - self._saved_at > CHECKPOINT_SECONDS or self.state.seq > self._saved + CHECKPOINT_RECORDS:
            self._checkpoint()
        self._fall_idle()
        self._trim()
        if self._house_reader.move_log() > LOG_PAGES:
            self.journal.between(self.store.finish_log).result()
        # Its file counts against the size limit: a small limit must not be used up by the log alone.
        if self._house_reader.log_bytes() > min(LOG_LIMIT_BYTES, self.config.journal_max_size // 8):
            self.journal.between(self.store.restart_log).result()

    _saved = 0
    _hindrance: str | None = None

    def _checkpoint(self, force: bool = False) -> None:
        if self.state.seq == self._saved and self._saved and not force:
            return

        def save(store: Store) -> int:
            # In the writer thread, before the group's new records are folded: state and sequence number agree.
            body = msgspec.msgpack.encode({"state": self.state.dump(), "own": self.own.dump()})
            store.save_checkpoint(self.state.seq, body)
            return self.state.seq

        self._saved = self.journal.transact(save).result()
        self._saved_at = time.monotonic()

    def _fall_idle(self) -> None:
        before_us = time.time_ns() // 1000 - int(self.config.idle_after_seconds * 1e6)
        idles = [idle for _, idle in self._house_reader.idle_candidates(before_us, IDLE_BATCH)]
        if idles:
            self.journal.transact(lambda store: store.fall_idle(idles, before_us)).result()

    def _trim(self) -> None:
        before_us = time.time_ns() // 1000 - int(self.config.retention_days * 86_400e6)
        pauses = TRIM_PAUSES
        if self._bytes_used > SIZE_TRIM_SHARE * self.config.journal_max_size:
            before_us = time.time_ns() // 1000  # out of room: whatever is exported may go
            pauses = 0
        deadline = time.monotonic() + HOUSEKEEPING_SECONDS / 2
        while time.monotonic() < deadline and not self._stopping.is_set():
            started = time.monotonic()
            trimmed, forgotten = self.journal.transact(
                lambda store: (store.trim(before_us, TRIM_ROWS, SINK), store.forget(TRIM_ROWS))
            ).result()
            loop = self._loop
            if trimmed.sessions and loop is not None:
                loop.call_soon_threadsafe(self.ingest.sessions.forget, trimmed.sessions)
            if not trimmed.rows and not forgotten:
                return
            now = time.monotonic()
            self._stopping.wait(min(pauses * (now - started), max(0.0, deadline - now)))

    def _measure(self) -> None:
        self._bytes_used = self._house_reader.bytes_used()
        self._size_full = self._bytes_used > self.config.journal_max_size

    def _windows_pause(self) -> float:
        # Counting may cost with the sessions kept: it never takes more than a twentieth of a core.
        return max(self.config.windows_interval_seconds, 20 * self._windows_cost)

    def _count_windows(self) -> None:
        started = time.monotonic()
        now_us = time.time_ns() // 1000
        windows = self._window_reader.windows(now_us, catalog.WINDOWS)
        top = self._window_reader.top_users(now_us, catalog.WINDOWS["1d"], catalog.TOP_USERS)
        self._windows = (windows, top)
        self._windows_cost = time.monotonic() - started

    def _on_report(self, report: Report) -> None:
        if not (report.cursor or report.replayed or report.reparked):
            self.own.attempts.update(report.attempts)
            return

        def write(store: Store) -> None:
            if report.cursor:
                store.advance(SINK, report.cursor, report.exported, report.parked)
            if report.replayed:
                store.unpark(report.replayed, SINK)
            if report.reparked:
                store.repark(report.reparked)

        self.journal.transact(write).result()
        self.own.attempts.update(report.attempts)

    # --- what others ask -------------------------------------------------------------------------------------------

    def _room(self) -> str | None:
        if self._size_full:
            return "the journal has reached journal_max_size"
        if self._disk_free() < self._min_free:
            return "the disk that holds the journal has less than disk_min_free left"
        return None

    def _disk_free(self) -> int:
        try:
            stat = os.statvfs(self._journal_folder)
        except OSError:
            return 0
        return stat.f_bavail * stat.f_frsize

    def _byte_limit(self) -> int:
        room = self._bytes_used + max(0, self._disk_free() - self._min_free)
        return min(self.config.journal_max_size, room)

    def _worker_states(self) -> list[tuple[str, bool, int]]:
        states = [("journal-writer", self.journal.alive and self.journal.death is None, 0)]
        return states + [(worker.name, worker.alive, worker.restarts) for worker in self.workers]

    def readiness(self) -> tuple[bool, dict[str, object]]:
        """Whether records can be accepted safely, and everything an operator would ask next."""
        problems = []
        room = self._room()
        if room is not None:
            problems.append(f"disco: {room}")
        if self.journal.refusal is not None and room is None:
            problems.append(f"diario: {self.journal.refusal}")
        for name, up, _ in self._worker_states():
            if not up:
                problems.append(f"proceso de fondo caído: {name}")
        export: dict[str, object] = {"estado": "sin destino configurado; los registros esperan en el diario"}
        if self.exporter is not None:
            export = {"estado": self.exporter.state}
            if self.exporter.message:
                export["ultima_respuesta"] = self.exporter.message
        return not problems, {
            "estado": "no listo" if problems else "listo",
            "problemas": problems,
            "exportacion": export,
            "configuracion": self._config_state(),
            "limites": "Redis no responde; cada réplica cuenta sola" if self.access.limits.fallback else "normales",
        }

    def _config_state(self) -> dict[str, object]:
        """Says that something is wrong, and not what: that may name paths, and anyone may ask."""
        state: dict[str, object] = {"estado": "vigente"}
        if self.reloader.failure is not None:
            state["estado"] = "el archivo tiene un error y sigue vigente la anterior; el log dice cuál"
        if self.reloader.pending:
            state["requieren_reinicio"] = list(self.reloader.pending)
        return state

    def _reconfigure(self, config: Config) -> None:
        """Takes on a configuration. Called in the reloader's thread."""
        before, self.config = self.config, config
        self._min_free = config.disk_min_free
        self.state.configure(config.gpts)
        if self.exporter is not None:
            self.exporter.configure(config)
        if (before.log_format, before.log_level) != (config.log_format, config.log_level):
            logs.set_up(config.log_format, config.log_level)
        loop = self._loop
        if loop is None:
            return
        done = threading.Event()

        def on_loop() -> None:
            # Between two requests' steps: keys, limits and the registry change together.
            for part in self.configurable:
                part.configure(config)
            done.set()

        with contextlib.suppress(RuntimeError):  # the loop ends: nobody asks any more
            loop.call_soon_threadsafe(on_loop)
            done.wait(5)


def _parent(config: Config) -> Path:
    """The journal's directory, made where it is missing."""
    parent = config.journal_path.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StartRefused(f"journal {config.journal_path}: cannot make {parent}: {error.strerror}") from None
    return parent
