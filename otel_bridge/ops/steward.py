"""The steward's work: it folds what all replicas journal into one state, saves that, and hands it to pages.

    contender ──the lease is free──▶ takes over: loads, folds what came since ──▶ steward ─┐ follows, saves, holds
        ▲                                                                           ▲      │ the lease; pages
        │                                                                           └──────┘
        └── the lease is another's, or the journal went back: everything is dropped ───────┘

A page is saved before it is shown, in the transaction that read it: the next steward goes on from what was shown. While
the store cannot be used the state is kept, and no page shows it.

All of it runs in one thread, the worker's. A page asks that thread, and does without where it does not answer in time.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from itertools import chain

import msgspec

from otel_bridge import clock
from otel_bridge.clock import CLOCK
from otel_bridge.config import Config
from otel_bridge.journal import Position, Segment, Steward, StoreDamaged, StoreError, StoreLost, Total
from otel_bridge.journal.damage import Damage
from otel_bridge.metrics import own as own_counts
from otel_bridge.metrics.cost import Cost
from otel_bridge.metrics.ledger import Lag, is_young
from otel_bridge.metrics.own import OwnCounts
from otel_bridge.metrics.pace import Pace
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shared import Shared, ShownLedger, folded, shared
from otel_bridge.metrics.state import MetricState
from otel_bridge.ops import snapshot

log = logging.getLogger(__name__)

CONTEND_SECONDS = 1.0
HOLD_SECONDS = 2.0
FOLLOW_SECONDS = 0.25
SAVE_SECONDS = 2.0
QUIET_SAVE_SECONDS = 3_600.0
"""Where nothing comes: what is saved tells the next start until when the clock was believed."""
PAGE_SECONDS = 3.0
"""That a page waits for the steward; Prometheus waits four for the page."""


class Account:
    """What one stewardship has counted."""

    def __init__(self, config: Config, position: Position) -> None:
        self.state = MetricState(config.gpts, config.max_models_per_gpt, config.max_errors_per_gpt)
        self.position = position
        self.caught_up = False
        self.behind = True
        """Whether the last look left something to fold."""
        self.changed = False
        """Whether something was folded that is not saved."""
        self.saved_at = time.monotonic()
        self.ledger: tuple[int, Total] | None = None
        """(accepted, ledger) as they were counted last, of one state of the journal."""
        self.counted_at, self._cost = -math.inf, Cost()
        self.lag = Lag()

    def fold(self, segments: list[Segment]) -> None:
        self.changed = True
        for segment in segments:
            snapshot.fold(self.state, segment)

    @property
    def wants_ledger(self) -> bool:
        return not is_young(self.counted_at, self._cost)

    def counted(self, total: Total, began: float) -> None:
        self.ledger = sum(self.state.accepted.values()), total
        self.counted_at = time.monotonic()
        self._cost.took(self.counted_at - began)
        oldest_us = total.oldest_pending_us if total.pending else None
        self.lag.seen(oldest_us or 0, oldest_us)

    def shown_ledger(self) -> ShownLedger | None:
        if self.ledger is None:
            return None
        accepted, total = self.ledger
        return ShownLedger(accepted, total.exported, total.pending, total.parked, self.lag.seconds())


class Stewardship:
    """`run` is a supervised worker's body; the rest is called from any thread."""

    def __init__(self, steward: Steward, config: Config, scrapers: Scrapers, zeros: OwnCounts, damage: Damage) -> None:
        """`scrapers`: whoever scrapes this process; loaded anew with each stewardship. `zeros`: what of replicas' own
        counters stands at 0 from the start."""
        self._steward = steward
        self._config = config
        self._scrapers = scrapers
        self._zeros = zeros
        self._damage = damage
        self._account: Account | None = None
        self._until = 0.0
        """Until when the lease is surely held (monotonic)."""
        self._hold_at = 0.0
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ends = threading.Event()
        self.failure: str | None = None
        """Why the store cannot be used by the steward now."""
        self._told: str | None = None
        """What the log says of that."""
        self.doubts: dict[int, object] = {}
        """By lane: when its replica did not believe its clock last."""

    def configure(self, config: Config) -> None:
        """Takes on a configuration."""
        self._config = config
        account = self._account
        if account is not None:
            account.state.configure(config)

    @property
    def leads(self) -> bool:
        """Whether this replica is the steward, and has folded all that it found."""
        account = self._account
        return account is not None and account.caught_up and time.monotonic() < self._until

    def stop(self) -> None:
        """`run` gives the lease up and returns."""
        self._ends.set()
        self._asked.put(None)

    # --- pages ------------------------------------------------------------------------------------------------------

    def page(self, scraper: Scraper) -> Shared | None:
        """What is shown to this scraper; None: another replica shows it, or it cannot be saved now. The scrape's
        thread."""
        if not self.leads or self.failure is not None:
            return None
        # A copy: a page that comes too late must not have numbered what its scraper gets instead of it.
        trial = scraper.copy()
        made: Future[Shared | None] = Future()

        def make() -> None:
            if made.set_running_or_notify_cancel():
                try:
                    made.set_result(self._page(trial))
                except BaseException as error:
                    made.set_result(None)
                    if not isinstance(error, StoreError):
                        raise

        self._asked.put(make)
        try:
            page = made.result(PAGE_SECONDS)
        except TimeoutError:
            made.cancel()
            return None
        if page is not None:
            scraper.become(trial)
        return page

    def _page(self, scraper: Scraper) -> Shared | None:
        account = self._account
        if account is None or not account.caught_up:
            return None
        own = self._zeros

        def state(saved: dict[int, bytes]) -> bytes:
            nonlocal own
            own = own_counts.total([self._zeros, *(snapshot.own_of(body) for _, body in sorted(saved.items()))])
            self._scrapers.begin_page(scraper, account.state.label_sets(), own.label_sets())
            return self._document(account)

        self._save(account, state, account.wants_ledger)
        self._scrapers.saved(scraper)
        held = self._scrapers.held(scraper, True)
        copied = folded(account.state, held, Pace())  # here: it is folded on as soon as this page is made
        return shared(account.state, own, held, account.shown_ledger(), self._until, of_records=lambda: copied)

    # --- the worker's thread ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Until `stop`. What it cannot fold (a record of a newer release) it leaves to another replica."""
        try:
            while not self._ends.is_set():
                self._step()
            if self._account is not None and self._account.changed:
                self._try(lambda account: self._save(account, lambda _: self._document(account), False))
        finally:
            self._drop()
            self._steward.close()

    def _step(self) -> None:
        if time.monotonic() >= self._hold_at:
            self._hold()
        if self._account is not None and self.failure is None:
            self._try(self._follow)
        account = self._account
        if account is None or self.failure is not None:
            pause = CONTEND_SECONDS
        else:
            pause = 0.0 if account.behind else FOLLOW_SECONDS
        try:
            asked = self._asked.get(timeout=pause) if pause else self._asked.get_nowait()
        except queue.Empty:
            return
        if asked is not None:
            asked()

    def _hold(self) -> None:
        began = time.monotonic()
        try:
            held = self._steward.hold()
            if held and self._account is None:
                self._take_over()
        except StoreError as error:
            self._fail(error)
            held = False
        else:
            self.failure = None
            if held:
                self._until = began + self._steward.lease_seconds
        self._hold_at = time.monotonic() + (HOLD_SECONDS if held else CONTEND_SECONDS)

    def _take_over(self) -> None:
        position, body = self._steward.load()
        account = Account(self._config, position)
        if body is None:
            self._scrapers.load(None)
            self._scrapers.began_us = clock.now_us()
            # More than these zeros was shown to nobody.
            self._scrapers.stand(chain(account.state.label_sets(), self._zeros.label_sets()))
        else:
            document = msgspec.msgpack.decode(body)
            account.state.load(0, document["state"])
            self._scrapers.load(document["scrapers"])
        self._account = account
        account.state.configure(self._config)  # it may have changed meanwhile
        log.info("this replica is the steward now: it counts for all")

    def _follow(self, account: Account) -> None:
        account.behind = self._steward.follow(account.position, account.fold)
        account.caught_up = account.caught_up or not account.behind
        age = time.monotonic() - account.saved_at
        if age > (SAVE_SECONDS if account.changed else QUIET_SAVE_SECONDS):
            self._save(account, lambda _: self._document(account), False)

    def _save(self, account: Account, state: Callable[[dict[int, bytes]], bytes], count: bool) -> None:
        began = time.monotonic()

        def told(saved: dict[int, bytes]) -> bytes:
            doubts = {lane: snapshot.doubt_of(body) for lane, body in saved.items()}
            self.doubts = {lane: doubt for lane, doubt in doubts.items() if doubt is not None}
            return state(saved)

        try:
            total = self._steward.save(account.position, account.fold, told, count)
        except StoreError as error:
            self._fail(error)
            raise
        account.changed, account.saved_at = False, time.monotonic()
        self._until = began + self._steward.lease_seconds
        self._hold_at = began + HOLD_SECONDS
        if total is not None:
            account.counted(total, began)

    def _document(self, account: Account) -> bytes:
        return msgspec.msgpack.encode(
            {"state": account.state.dump_at(Pace())[1], "scrapers": self._scrapers.dump(), "clock": CLOCK.known_us()}
        )

    def _try(self, work: Callable[[Account], None]) -> None:
        account = self._account
        assert account is not None
        try:
            work(account)
        except StoreError as error:
            self._fail(error)
        else:
            self.failure = self._told = None

    def _fail(self, error: StoreError) -> None:
        if isinstance(error, StoreDamaged):
            self._damage.note(error)
        if isinstance(error, StoreLost):
            if self._account is not None:
                log.warning("this replica is not the steward any more: %s", error)
            self._drop()
            self.failure = None
            return
        if self._told != str(error):
            log.error("the steward's part waits: %s", error)
        self.failure = self._told = str(error)

    def _drop(self) -> None:
        self._account, self._until = None, 0.0
