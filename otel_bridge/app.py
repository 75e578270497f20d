"""The one place where things are built: started in order, stopped in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

from otel_bridge import journal, logs
from otel_bridge.access import hosts, keys
from otel_bridge.access.caller import Access
from otel_bridge.access.hosts import Hosts
from otel_bridge.access.jwks import IssuerKeys
from otel_bridge.config import Config
from otel_bridge.cores import has_second_core
from otel_bridge.export.exporter import Exporter
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.export.span_size import SpanSize
from otel_bridge.http import app as http
from otel_bridge.http import request_spans
from otel_bridge.http.app import App
from otel_bridge.http.bodies import Bodies
from otel_bridge.http.protocol import MAX_CONNECTIONS, Bounds
from otel_bridge.http.resource import ResourceMetadata
from otel_bridge.intake.batch_process import BatchProcess
from otel_bridge.intake.contents import Contents
from otel_bridge.intake.conversations import Conversations
from otel_bridge.intake.endings import Endings
from otel_bridge.intake.ingest import Ingest
from otel_bridge.intake.ratings import Ratings
from otel_bridge.intake.sessions import Sessions
from otel_bridge.journal import Journal, StoreError
from otel_bridge.mcp.mount import McpMount, make_app
from otel_bridge.metrics.listener import MetricsListener
from otel_bridge.metrics.otlp import resources
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.page import BridgeCollector, Sources
from otel_bridge.metrics.pusher import Pusher
from otel_bridge.ops import going_back, housekeeping
from otel_bridge.ops.adoption import Adoption
from otel_bridge.ops.alone import Alone
from otel_bridge.ops.counting import Counting
from otel_bridge.ops.health import Health
from otel_bridge.ops.housekeeping import Housekeeping
from otel_bridge.ops.reload import Reloader
from otel_bridge.ops.replica import Replica
from otel_bridge.ops.space import Space
from otel_bridge.ops.supervisor import Worker, periodic
from otel_bridge.ops.windows import Windows
from otel_bridge.privacy.redaction.findings import PLACEHOLDERS
from otel_bridge.privacy.users import UserHasher, keep_key, key_file, user_hash_key

log = logging.getLogger(__name__)

SESSIONS_AGE_SECONDS = 3_600.0
LOOP_SECONDS = 5.0
"""That another thread waits for the event loop to do something for it."""
_LOOP_ENDED_SECONDS = 0.05
"""After which such a thread sees that the loop has ended: what is given to it in its last moment is never done."""


class Configurable(Protocol):
    """What takes on a changed configuration while it runs."""

    def configure(self, config: Config) -> None: ...


class Bridge:
    """Everything that runs, for one configuration. Several may live in one process."""

    def __init__(
        self,
        config: Config,
        read_config: Callable[[], Config] | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        """Builds everything and starts nothing. `read_config` reads the configuration again. Raises StartRefused."""
        keys.refuse_keyless(config)
        self.config = config
        key = user_hash_key(config, journal.exists(config.journal), journal.carried_key(config.journal))
        kept_key = key_file(config)
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

        # 1. The journal, and the state that its records fold to.
        self._request_spans = request_spans.open(config)
        own = SelfMetrics((http.SESSIONS, http.EVENTS), PLACEHOLDERS)
        store = journal.open(config.journal, CONSUMER)
        for seen in store.warnings:
            log.warning("%s", seen)
        self.went_back = store.went_back
        if store.went_back is not None:
            log.warning("%s", going_back.warning(store.place, store.went_back))
        span_size = SpanSize(store.parts, config)
        self._replicas = replicas = store.replicas
        self._counting: Counting = (
            Alone(config, store, own) if replicas is None else Replica(config, store, replicas, own, key)
        )
        store.begin_service()
        space = Space(store, config)
        self.journal = Journal(store, self._counting.fold, space.why_full, config.queue_max_records)
        self._counting.begin(self.journal)
        self._readers = [store.reader() for _ in range(4)]
        for_sessions, for_events, for_windows, for_housekeeping = self._readers

        # 2. What works in the background.
        self._exporter = None if config.otlp is None else Exporter(config, config.otlp, self.journal, own.attempts)
        self._adoption: Adoption | None = None
        if config.otlp is not None and replicas is not None:
            self._adoption = Adoption(config, config.otlp, replicas, own.attempts_for_others)
        self._sessions = sessions = Sessions(for_sessions, self.journal.damage)
        self._sessions_aged = time.monotonic()
        self._housekeeping = Housekeeping(
            self.journal, for_housekeeping, space, self._counting, config, self._stopping,
            refuse=lambda ids: self._run_on_loop(lambda: sessions.refuse(ids)),
            readmit=lambda ids: self._run_on_loop(lambda: sessions.readmit(ids)),
            keep_key=lambda: None if kept_key is None else keep_key(kept_key, key),
            tend=self._tend,
        )  # fmt: skip
        windows = Windows(for_windows, config, self.journal.damage, lambda: self._counting.is_steward)
        self._issuer_keys = IssuerKeys(config)
        self.reloader = Reloader(config, read_config or (lambda: self.config), self._reconfigure)

        # 3. What answers.
        self.access = Access(config, self._issuer_keys, key)
        batches = BatchProcess(config, key) if has_second_core() else None
        contents = Contents(config, batches)
        self.ingest = Ingest(config, self.journal, sessions, contents, UserHasher(key), own, key, batches)
        self.ratings = Ratings(config, self.journal, for_events, contents, own, key)
        self.endings = Endings(self.ingest, self.journal)
        conversations = Conversations(self.ingest, own, key)
        bodies = Bodies(config)
        self._mcp = McpMount(
            lambda: make_app(
                self.config, self.access, self.ingest, conversations, self.ratings, self.endings, bodies, own, key
            )
        )
        resource = ResourceMetadata(config)
        workers: list[Worker] = []
        self._pusher: Pusher | None = None
        health = Health(
            self.journal,
            space,
            self._exporter,
            self.reloader,
            self.access.limits,
            self._issuer_keys,
            workers,
            self._counting.readiness,
            lambda: None if self._pusher is None else self._pusher.state,
        )
        self.bounds = Bounds(config, max_connections)
        self.application = App(
            config, self.access, self.journal, self.ingest, conversations, self.ratings, self.endings, bodies, own,
            health.readiness, [*self._mcp.routes, *resource.routes], self._request_spans,
        )  # fmt: skip
        sources = Sources(
            shared=self._counting.shared,
            gpts=lambda: self.config.gpts,
            windows=lambda: windows.latest,
            workers=health.workers,
            journal_bytes=lambda: (space.used, space.byte_limit()),
            journal_in_place=lambda: not store.displaced,
            journal_backend=store.backend,
            went_back=lambda: self._housekeeping.went_back,
            export_configured=config.otlp is not None,
            started=time.time(),
            reload_failed=lambda: self.reloader.failure is not None,
            limits_fallback=lambda: self.access.limits.fallback,
            pushes=lambda: None if self._pusher is None else self._pusher.counts(),
        )
        collector = BridgeCollector(sources)
        metrics_names = Hosts(config, lambda now: now.metrics_host)
        self.listener = MetricsListener(
            collector.render, self._counting.scrapers,
            lambda values, version: metrics_names.check(hosts.the_one(values, version)),
            config.metrics_host, config.metrics_port, self._stopping, one_of_many=replicas is not None,
        )  # fmt: skip

        if config.push is not None:
            # Of one bridge, what it counts is its journal's, wherever that is served.
            instance = for_housekeeping.identity().id if replicas is None else socket.gethostname()
            self._pusher = Pusher(
                config.push, collector.page, self._counting.scrapers,
                resources(
                    config.service_name, config.resource, instance,
                    None if replicas is None else self.listener.port,
                ),
                lambda: 0 if (found := self._housekeeping.went_back) is None else found.since_us,
            )  # fmt: skip

        # 4. Who runs it. Started in this order, stopped in reverse.
        if self._pusher is not None:
            workers.append(Worker("metrics-pusher", self._pusher.run))
        if self._exporter is not None:
            workers.append(Worker("exporter", self._exporter.run))
        if self._adoption is not None:
            workers.append(Worker("lanes", self._adoption.run))
        workers += self._counting.workers()
        workers.append(periodic("housekeeping", lambda: housekeeping.STEP_SECONDS, self._housekeeping.step))
        workers.append(periodic("windows", windows.pause_seconds, windows.step))
        workers.append(Worker("issuer-keys", self._issuer_keys.run))
        workers.append(Worker("reload", self.reloader.run))
        workers.append(Worker("metrics-listener", self.listener.run))
        self.workers = workers
        self._configured_anywhere: list[Configurable] = [
            self._housekeeping, windows, self._counting, metrics_names, span_size, self._issuer_keys
        ]  # fmt: skip
        self._configured_anywhere += [part for part in (self._exporter, self._adoption) if part is not None]
        self._configured_on_loop: list[Configurable] = [
            self.access, self.ingest, self.ratings, bodies, self.bounds, self.application, self._mcp, resource
        ]  # fmt: skip

    def start(self) -> None:
        self.journal.start()
        self._housekeeping.measure()
        for worker in self.workers:
            worker.start()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """What the event loop needs while requests are answered. Entered after `start`, left before `stop`."""
        self._loop = asyncio.get_running_loop()
        async with self._mcp.running():
            await self.access.limits.open()
            try:
                yield
            finally:
                self._loop = None
                await self.access.limits.close()

    def stop(self) -> None:
        """After the last answer has left: flushes what is exported within its time, saves the snapshot, closes."""
        for worker in self.workers:
            worker.stopping.set()  # before anything that ends one of them: none ends without having been asked to
        self._stopping.set()
        self._counting.stop()
        if self._adoption is not None:
            self._adoption.stop()
        self.reloader.stop()
        self._issuer_keys.stop()
        for worker in reversed(self.workers):
            if worker.name == "metrics-pusher" and self._pusher is not None:
                self._pusher.stop()  # the last: what it pushes is how all of it has ended
            if worker.name == "exporter" and self._exporter is not None:
                self._exporter.stop(self.config.shutdown_seconds)
            worker.stop()
        if self._request_spans is not None:
            self._request_spans.close()
        self.ratings.close()
        self.ingest.close()
        try:
            self._counting.save()
        except StoreError as error:
            # Nothing is lost: the next start folds what came after the last snapshot.
            log.warning("no snapshot at the stop: %s", error)
        self.listener.close()
        # Before the store: it tidies the journal when it is the last to close.
        self._counting.close()
        for reader in self._readers:
            reader.close()
        self.journal.stop()

    def _reconfigure(self, config: Config) -> None:
        """Takes on a configuration. Called in the reloader's thread."""
        before, self.config = self.config, config
        for part in self._configured_anywhere:
            part.configure(config)
        if (before.log_format, before.log_level) != (config.log_format, config.log_level):
            logs.set_up(config.log_format, config.log_level)

        def on_loop() -> None:
            # Between two requests' steps: keys, limits and the registry change together.
            for part in self._configured_on_loop:
                part.configure(config)

        self._run_on_loop(on_loop)

    def _tend(self) -> None:
        """Once a second, in housekeeping's thread: what follows from other replicas' doing."""
        if self._exporter is not None:
            self._exporter.follow()
        if self._replicas is not None:
            # Well before its retention is over a session that nothing comes for is looked up again.
            age = time.monotonic() - self._sessions_aged
            if age > min(SESSIONS_AGE_SECONDS, self.config.shortest_retention_days * 86_400 / 4):
                self._sessions_aged = time.monotonic()
                self._run_on_loop(self._sessions.age)

    def _run_on_loop(self, run: Callable[[], None]) -> bool:
        """Runs it between two steps of requests, from another thread. False: not within `LOOP_SECONDS`, or nobody asks
        now."""
        loop, done = self._loop, threading.Event()
        if loop is None:
            return False
        with contextlib.suppress(RuntimeError):  # the loop is closed meanwhile
            loop.call_soon_threadsafe(run)
            loop.call_soon_threadsafe(done.set)
        deadline = time.monotonic() + LOOP_SECONDS
        while not done.wait(_LOOP_ENDED_SECONDS):
            if self._loop is not loop or time.monotonic() > deadline:
                return False
        return True
