"""The lanes of replicas that are gone: what they have left is delivered, one lane at a time, and the lane given back.

    looking ──an orphan──▶ draining: a journal and an exporter of its own ──all is delivered──▶ given back ──▶ looking

Nothing is counted here: what such a lane holds the steward folds as it does of every other.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence

from otel_bridge.config import Config, Otlp
from otel_bridge.errors import StartRefused
from otel_bridge.export.exporter import Exporter
from otel_bridge.journal import Journal, Reader, Replicas, Store, StoreError, StoreLost, StoreUnavailable
from otel_bridge.ops.supervisor import Worker
from otel_bridge.records import Record

log = logging.getLogger(__name__)

LOOK_SECONDS = 3.0
STEP_SECONDS = 0.5
"""Between two looks at how far a lane is; the store has its lease renewed with them."""


class Adoption:
    """`run` is a supervised worker's body; the rest is called from any thread."""

    def __init__(self, config: Config, otlp: Otlp, replicas: Replicas, attempts: Counter[str]) -> None:
        """`attempts`: counts requests by their result's kind; nobody else writes it."""
        self._config = config
        self._otlp = otlp
        self._replicas = replicas
        self._attempts = attempts
        self._exporter: Exporter | None = None
        self._ends = threading.Event()
        self._waits_for: str | None = None

    def configure(self, config: Config) -> None:
        """Takes on a configuration."""
        self._config = config
        exporter = self._exporter
        if exporter is not None:
            exporter.configure(config)

    def stop(self) -> None:
        """`run` gives the lane back and returns."""
        self._ends.set()

    def run(self) -> None:
        """Until `stop`."""
        while not self._ends.is_set():
            store = self._adopt()
            if store is not None:
                self._drain(store)
            self._ends.wait(LOOK_SECONDS)

    def _adopt(self) -> Store | None:
        try:
            store = self._replicas.adopt()
        except (StoreError, StartRefused) as error:
            if self._waits_for != str(error):
                log.error("nobody looks for what replicas that are gone have left: %s", error)
            self._waits_for = str(error)
            return None
        self._waits_for = None
        return store

    def _drain(self, store: Store) -> None:
        log.info("a replica that is gone has left records that are not delivered: %s", store.place)
        journal = Journal(store, _fold_nothing)
        journal.start()
        try:
            reader = store.reader()
            try:
                self._deliver(store, journal, reader)
            finally:
                reader.close()
        finally:
            journal.stop()

    def _deliver(self, store: Store, journal: Journal, reader: Reader) -> None:
        exporter = Exporter(self._config, self._otlp, journal, self._attempts)
        self._exporter = exporter
        worker = Worker(f"exporter of {store.place}", exporter.run)
        worker.start()
        try:
            while not self._ends.wait(STEP_SECONDS) and journal.fatal_error is None:
                if self._is_drained(store, journal, reader):
                    log.info("what was left is delivered: %s", store.place)
                    return
        finally:
            self._exporter = None
            worker.stopping.set()
            exporter.stop(0)
            worker.stop()

    def _is_drained(self, store: Store, journal: Journal, reader: Reader) -> bool:
        try:
            store.maintain(0, lambda run: journal.run_between_commits(run).result())
            return reader.cursor() >= store.last
        except (StoreUnavailable, StoreLost):  # the journal's writer says so, and ends where it is lost
            return False


def _fold_nothing(records: Sequence[Record], seq: int) -> None:
    pass
