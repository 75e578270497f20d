"""The ledger that `/metrics` shows: what was accepted against what became of it."""

from __future__ import annotations

import threading
import time

from otel_bridge import clock
from otel_bridge.journal import Journal, Ledger, Reader, StoreDamaged
from otel_bridge.metrics.cost import Cost
from otel_bridge.metrics.state import MetricState

LEDGER_SECONDS = 0.5
"""A ledger that young is shown again; counting it costs with the backlog, so an older one may be, too."""


def is_young(counted_at: float, cost: Cost) -> bool:
    """Whether a ledger that was counted then (monotonic) is shown again."""
    return time.monotonic() - counted_at < max(LEDGER_SECONDS, 10 * cost.seconds)


class Lag:
    """How long the oldest pending record waits."""

    def __init__(self) -> None:
        self._taken = 0.0
        self._oldest_us: int | None = None
        self._since: tuple[int, float] | None = None
        """What stood at the same place, and since when it has been seen there (monotonic)."""

    def seen(self, place: int, oldest_us: int | None) -> None:
        """The ledger was counted now. `place`: changes when another record is the oldest; `oldest_us`: when it arrived,
        None where none waits."""
        self._taken, self._oldest_us = time.monotonic(), oldest_us
        if self._since is None or self._since[0] != place or oldest_us is None:
            self._since = (place, self._taken)

    def seconds(self) -> float:
        """Of the last count, at the least: the wall clock's answer, or, where that was set back, the time that the same
        record has been seen to be the oldest."""
        if self._oldest_us is None or self._since is None:
            return 0.0
        counted = time.monotonic() - self._taken
        wall = (clock.now_us() - self._oldest_us) / 1e6 - counted
        return max(0.0, wall, self._taken - self._since[1])


class LedgerView:
    """The ledger's two sides as of one moment: what the metric state has accepted, what the store holds.

    The writer fixes the moment between two commits, where both sides are at the same record; the counting is then
    done on that snapshot, in the reading thread.
    """

    def __init__(self, journal: Journal, reader: Reader, state: MetricState) -> None:
        self._journal = journal
        self._reader = reader
        self._state = state
        self._lock = threading.Lock()
        self._taken = 0.0
        self._cost = Cost()
        self._last: tuple[int, Ledger] | None = None
        self._lag = Lag()

    def lag(self) -> float:
        """Seconds that the oldest pending record waits, at the least."""
        return self._lag.seconds()

    def read(self) -> tuple[int, Ledger]:
        """(accepted, ledger). Raises TimeoutError where the writer does not answer, StoreError."""
        with self._lock:
            if self._last is not None and is_young(self._taken, self._cost):
                return self._last
            started = time.monotonic()
            accepted = self._journal.run_between_commits(self._begin_snapshot).result(timeout=5)
            try:
                self._last = (accepted, self._reader.ledger())
            except StoreDamaged as error:
                self._journal.damage.note(error)
                raise
            self._taken = time.monotonic()
            self._cost.took(self._taken - started)
            ledger = self._last[1]
            self._lag.seen(ledger.cursor, ledger.oldest_pending_us if ledger.pending else None)
            return self._last

    def _begin_snapshot(self) -> int:
        self._reader.begin_snapshot()
        return sum(self._state.accepted.values())
