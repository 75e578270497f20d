"""The clock's effect on the journal: what is held while it is not believed, and mended when it is believed again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from otel_bridge.clock import BOUND_NS, CLOCK
from otel_bridge.config import Config
from otel_bridge.journal import DEDUP_HORIZON_US, Journal, Reader, Store

SESSIONS = 2_000
"""That one step looks at, off the way of the answers: 2 ms."""
ROWS = 100
"""Of each table that one commit mends."""
HOLD_SECONDS = DEDUP_HORIZON_US / 1e6
"""That dedup keys are held after a doubt: by then their horizon is over, whatever the clock said meanwhile."""


class Timekeeping:
    """`step` and `mend` are housekeeping's: every process holds keys for its own doubts, and one mends for all."""

    def __init__(self, journal: Journal, reader: Reader, config: Config) -> None:
        """Before the journal starts."""
        self._journal = journal
        self._reader = reader
        self._doubted_at: float | None = None
        """When the clock was not believed last (monotonic); None: keys are not held."""
        self._mend_from: bytes | None = b""
        """The session behind which the walk goes on; None: all is mended. A process may have ended in the middle."""
        self._doubts: dict[int, object] = {}
        self.configure(config)
        if not CLOCK.believed:
            self._doubt()
        elif CLOCK.held is not None:
            # A restart ends no doubt: it may have been of hours ago.
            age = max(0, CLOCK.now_us() - CLOCK.held[1]) / 1e6
            self._doubted_at = time.monotonic() - age
        if CLOCK.held is not None:
            journal.store.hold_keys(CLOCK.held[0])

    def configure(self, config: Config) -> None:
        """Takes on a configuration."""
        CLOCK.settle_seconds = config.clock_settle_seconds

    def step(self) -> None:
        """After a look at the clock. Raises StoreError."""
        if not CLOCK.believed:
            held = CLOCK.held
            since_us = self._doubt()
            if held is None or since_us < held[0]:
                self._hold(since_us)
            self._mend_from = b""
            return
        if self._doubted_at is not None and time.monotonic() - self._doubted_at > HOLD_SECONDS:
            self._hold(None)
            self._doubted_at = CLOCK.held = None

    def mend(self, doubts: Mapping[int, object]) -> None:
        """A step of what is mended. `doubts`: changes where another replica did not believe its clock. Raises
        StoreError."""
        if doubts != self._doubts:
            self._doubts, self._mend_from = dict(doubts), b""
        if CLOCK.believed and self._mend_from is not None:
            self._mend(self._mend_from, CLOCK.now_us())

    def _doubt(self) -> int:
        """The clock is not believed now. Returns since when keys are held for it."""
        self._doubted_at = time.monotonic()
        since_us = _known_since()
        if CLOCK.held is not None:  # by the clock of another doubt
            since_us = min(since_us, CLOCK.held[0])
        CLOCK.held = since_us, CLOCK.now_us()
        return since_us

    def _mend(self, start: bytes, now_us: int) -> None:
        """A step of a walk through all sessions, which ends with the rest."""
        ahead, self._mend_from = self._reader.sessions_ahead(now_us + BOUND_NS // 1000, start, SESSIONS)
        for i in range(0, len(ahead), ROWS):
            self._journal.transact(partial(_mend, now_us, ahead[i : i + ROWS])).result()
        if self._mend_from is None and self._journal.transact(partial(_mend, now_us, [])).result():
            self._mend_from = start

    def _hold(self, since_us: int | None) -> None:
        self._journal.run_between_commits(lambda: self._journal.store.hold_keys(since_us)).result()


def _known_since() -> int:
    """What arrived before then is past its horizon, whichever clock is right."""
    return min(CLOCK.known_us(), CLOCK.now_us()) - DEDUP_HORIZON_US


def _mend(now_us: int, sessions: list[bytes], store: Store) -> int:
    return store.mend(now_us, sessions, ROWS)
