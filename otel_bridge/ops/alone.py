"""One machine counts for itself: it folds what it commits, and saves what it counts in its journal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

from otel_bridge.config import Config
from otel_bridge.cores import has_second_core
from otel_bridge.gzipped import Begun
from otel_bridge.journal import Journal, Reader, Store, StoreError
from otel_bridge.metrics.cost import Cost
from otel_bridge.metrics.ledger import LedgerView
from otel_bridge.metrics.own import OwnCounts, SelfMetrics
from otel_bridge.metrics.pace import Pace
from otel_bridge.metrics.page_process import MIN_SERIES, PageProcess, Settings
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shared import Shared, ShownLedger, shared
from otel_bridge.metrics.state import MetricState
from otel_bridge.ops import snapshot
from otel_bridge.ops.snapshot import Counted, Saved
from otel_bridge.ops.supervisor import Worker

log = logging.getLogger(__name__)

SNAPSHOT_SECONDS = 2.0
SNAPSHOT_RECORDS = 100_000
SNAPSHOT_FACTOR = 50
"""A snapshot costs with the series that have changed. From one to the next it is so many times as long as one took."""
DEAR_BYTES = 1 << 20
"""A snapshot that is longer is not written for a page: answers wait for it (6 MB, of 1,000 GPTs: 30 ms). A page shows
the bridge's own counters then as they were saved last."""
QUIET_SNAPSHOT_SECONDS = 3_600.0
"""Where nothing comes: a snapshot tells the next start until when the clock was believed."""
PAGE_SECONDS = 1.0
"""That a page of `/metrics` waits for its snapshot; Prometheus waits four for the page."""


class Alone:
    """A `Counting`."""

    is_steward = True
    doubts: Mapping[int, object] = {}

    def __init__(self, config: Config, store: Store, own: SelfMetrics) -> None:
        """Goes on from the last snapshot. Raises StartRefused."""
        self._config = config
        self._state = MetricState(config.gpts, config.max_models_per_gpt, config.max_errors_per_gpt)
        self.scrapers = Scrapers()
        self._counted = Counted(self._state, own, self.scrapers)
        snapshot.restore(store, self._counted)
        self.fold = self._state.apply
        self._saved_seq = 0
        self._saved_at = 0.0
        self._dumping = threading.Lock()
        self._dumped: tuple[int, bytes] | None = None
        """What is counted of the records as it was dumped last, and the sequence number of the last of them."""
        self._dump_cost = Cost()
        self._kept = own.counts()
        """The bridge's own part as it was saved last."""
        self._saves = 0
        """Snapshots that were put into a transaction; counted in the writer thread."""
        self._kept_save = 0
        """Which of them `_kept` is of."""
        self._keeping = threading.Lock()
        self._pages = PageProcess(self._begin_pages) if has_second_core() else None
        self._shown_unsaved = False
        """Whether the last page showed more of the bridge's own part than is saved."""
        self._on_page: OwnCounts | None = None
        """The same, where the last page has shown that."""

    def begin(self, journal: Journal) -> None:
        self._journal = journal
        self._reader: Reader = journal.store.reader()
        self._ledger = LedgerView(journal, self._reader, self._state)

    def workers(self) -> list[Worker]:
        return []

    def stop(self) -> None:
        pass

    def readiness(self) -> None:
        return None

    def configure(self, config: Config) -> None:
        with self._dumping:
            self._config = config
            if self._pages is not None:
                self._pages.reconfigured()
            self._state.configure(config)
            # What was counted by the old objectives and prices is saved before a page shows more of it: a restart that
            # folded it again would go by the new ones.
            self._dumped = None

    def save_if_due(self) -> None:
        seq, age = self._state.seq, time.monotonic() - self._saved_at
        if self._pages is not None:
            self._pages.follow(seq)
        if age < SNAPSHOT_FACTOR * self._dump_cost.seconds:
            return
        changed = seq != self._saved_seq or (self._is_dear and self._counted.own.counts() != self._kept)
        if (changed or not self._saved_seq or age > QUIET_SNAPSHOT_SECONDS) and (
            age > SNAPSHOT_SECONDS or seq > self._saved_seq + SNAPSHOT_RECORDS
        ):
            self._dump(Pace())
            self._saved_seq, self._saved_at = self._save(None).seq, time.monotonic()

    def save(self) -> None:
        self._dump(None)
        self._saved_seq, self._saved_at = self._save(None).seq, time.monotonic()

    def _dump(self, pace: Pace | None) -> None:
        with self._dumping:
            self._dump_now(pace)

    def _dump_now(self, pace: Pace | None) -> tuple[int, bytes]:
        """With `_dumping` held."""
        began = time.thread_time()
        self._dumped = self._state.dump_at(pace)
        self._dump_cost.took(time.thread_time() - began)
        return self._dumped

    def _begin_pages(self) -> Settings:
        """For the process that writes pages. Not the last dump: a page may have shown a lot more since."""
        with self._dumping:
            config = self._config
            return Settings(
                self._journal.store.url, dict(config.gpts), self._state.left(), config.max_models_per_gpt,
                config.max_errors_per_gpt, *self._dump_now(Pace()),
            )  # fmt: skip

    @property
    def _is_dear(self) -> bool:
        """Whether pages do without a snapshot of their own. Not while the journal cannot be written: what it refuses is
        news, and no snapshot will say so."""
        dumped = self._dumped
        return dumped is not None and len(dumped[1]) > DEAR_BYTES and self._journal.last_error is None

    def close(self) -> None:
        if self._pages is not None:
            self._pages.close()
        self._reader.close()

    def shared(self, scraper: Scraper) -> Shared:
        state, scrapers, kept = self._state, self.scrapers, self._kept
        is_kept = self._is_dear and not self._shown_unsaved  # what is saved would be a fall after that
        own = kept if is_kept else self._counted.own.counts()
        seq, sets = state.label_sets_at()
        to_promise = scrapers.begin_page(scraper, sets, own.label_sets())
        is_saved = True
        if to_promise or not (is_kept or own == self._on_page):
            saved = self._save_for_page()
            is_saved = saved is not None
            if is_saved:
                scrapers.saved(scraper)
            # What cannot be saved is shown nevertheless: refusals of a full journal are news. But a process that ends
            # with it would be followed by one that counts from less.
            self._on_page, own = saved, saved or self._kept_for_page() or own
            self._shown_unsaved = not (is_saved or is_kept)
        held = scrapers.held(scraper, is_saved)

        def packed(openmetrics: bool) -> Begun | None:
            # Another file may have the journal's name while it is displaced.
            if self._pages is None or state.series_count() < MIN_SERIES or self._journal.store.displaced:
                return None
            at_0 = [] if held.has_none_of(sets) else [each for each in sets if each in held]
            return self._pages.write(seq, openmetrics, at_0)

        return shared(state, own, held, self._shown_ledger(), packed=packed)

    def _save(self, timeout: float | None) -> Saved:
        """Saves what is counted: of the records as it was dumped last, the bridge's own part as it is now. The next
        start goes on from there. Called from any thread. Raises StoreError, TimeoutError after `timeout` seconds."""
        if self._dumped is None:
            self._dump(Pace())
        number, saved = self._journal.transact(self._put).result(timeout)
        with self._keeping:  # two that were put into one commit may be told in any order
            if number > self._kept_save:
                self._kept_save, self._kept = number, saved.own
        return saved

    def _put(self, store: Store) -> tuple[int, Saved]:
        self._saves += 1
        return self._saves, snapshot.save(store, self._counted, self._dumped)

    def _save_for_page(self) -> OwnCounts | None:
        """Saves before a page of `/metrics` shows it; None where it cannot be saved in time. What is counted of records
        needs no saving for that: they are in the journal."""
        try:
            return self._save(PAGE_SECONDS).own
        except (StoreError, TimeoutError):
            return None  # housekeeping and `/readyz` say so

    def _kept_for_page(self) -> OwnCounts | None:
        """What a page may show of the bridge's own counters after the journal's writer has died, else None."""
        return self._kept if self._journal.fatal_error is not None else None

    def _shown_ledger(self) -> ShownLedger | None:
        try:
            accepted, ledger = self._ledger.read()
        except Exception as error:
            # An old ledger would look like a good one: what cannot be counted now is not shown.
            log.warning("the ledger cannot be counted: %s", type(error).__name__)
            return None
        return ShownLedger(accepted, ledger.exported, ledger.pending, ledger.parked, self._ledger.lag())
