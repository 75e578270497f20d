"""The time that the bridge goes by: the machine's wall clock, as long as that runs as the steady one does.

    believed ──wall clock more than BOUND off──▶ stepped: time goes on as before ──back──▶ believed
        ▲                                           │ it runs on there for a while (`_patience`)
        └──it has run so for `settle_seconds`── followed: its time is taken, nothing is deleted by it

What daemons correct in silence is followed at once. The steady clock counts sleep (CLOCK_BOOTTIME), so a laptop that
wakes has not stepped; a virtual machine that was halted has, and its time is followed within minutes.

Why, and each case: docs/decisions/0011-clock.md.

A process that starts has no steady clock of before. There the journal is the witness: a wall clock behind the time that
the journal knew last, or more than GAP ahead of it, is followed and not believed until it has run for as long.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

log = logging.getLogger(__name__)

BOUND_NS = 300 * 10**9
"""A smaller step does nothing that cannot be undone: a sixth of the time after which a session is idle."""
GAP_NS = 86_400 * 10**9
"""A start so long after the journal's last time may be a bridge that was away, or a clock that is wrong."""
UNSET_NS = 1_420_070_400 * 10**9
"""2015: a wall clock before it was never set. It is never followed, and the first one that is set is."""
CENTURY_US = 100 * 365 * 86_400 * 10**6
SETTLE_SECONDS = 3600.0

_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Where there is no CLOCK_BOOTTIME (macOS), the monotonic clock that `clock_gettime` reads counts sleep, too."""


_steady_ns: Callable[[], int] = partial(time.clock_gettime_ns, _STEADY)


class Clock:
    """`watch` belongs to one thread, about once a second; the rest is for any thread."""

    def __init__(self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = _steady_ns) -> None:
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        self.settle_seconds = SETTLE_SECONDS
        self.held: tuple[int, int] | None = None
        """Since when keys are held for a doubt, and when that was last (microseconds): the next process goes on so."""
        self.begin(None)

    def begin(self, journal_us: int | None) -> None:
        """Starts anew. `journal_us`: when the journal's last bridge believed its clock last; 0 where there are records
        and nothing tells that, None where there is nothing that a wrong clock could harm."""
        steady, self._offset = self._read()
        """The bridge's time is the steady clock and this."""
        self._since = steady
        """Since when the wall clock runs so."""
        self._journal = None if journal_us is None else journal_us * 1000 - steady
        self._known: int | None = self._offset if self._is_likely(self._offset) else None
        """The offset that is believed; None: no wall clock has been believed yet."""
        self._known_since = steady
        self._elsewhere: tuple[int, int] | None = None
        """The offset that the wall clock has now, where that is another, and since when."""
        self._known_us = journal_us or 0
        self._is_set = self._offset + steady >= UNSET_NS
        if self._known is None and journal_us is not None:
            told = _text(steady + self._offset), _text(journal_us * 1000)
            log.warning("the clock is not believed yet: it says %s, the journal knew %s last", *told)
        if not self._is_set and self._journal is not None:
            self._offset = max(self._offset, self._journal)

    # --- the time -------------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        """Microseconds since the Unix epoch."""
        return (self._steady_ns() + self._offset) // 1000

    @property
    def believed(self) -> bool:
        """Whether what cannot be undone may go by this time."""
        return self._elsewhere is None and self._known is not None and abs(self._offset - self._known) <= BOUND_NS

    def known_us(self) -> int:
        """The time when it was believed last: the next process's witness."""
        return self.now_us() if self.believed else self._known_us

    def skew_us(self) -> int:
        """How far the wall clock is ahead of this one (less than 0: behind)."""
        return (self._read()[1] - self._offset) // 1000

    def ahead_us(self) -> int:
        """What a time may be further ahead, since nobody knows which of the two clocks is right."""
        if not self._is_set:
            return CENTURY_US
        skew = self.skew_us()
        return skew if skew > BOUND_NS // 1000 else 0

    # --- watching it ------------------------------------------------------------------------------------------------

    def watch(self) -> None:
        """Compares the clocks."""
        steady, offset = self._read()
        if abs(offset - self._offset) <= BOUND_NS:
            self._offset, self._elsewhere = offset, None
        elif self._was_here(offset):
            log.warning("the wall clock is back: %s", _text(offset + steady))
            self._follow(offset, steady)
        elif self._elsewhere is None or abs(offset - self._elsewhere[0]) > BOUND_NS:
            log.error(
                "the wall clock stepped by %s, to %s: time goes on as before, and nothing is deleted by it",
                timedelta(seconds=round((offset - self._offset) / 1e9)), _text(offset + steady),
            )  # fmt: skip
            self._elsewhere = offset, steady
        elif steady - self._elsewhere[1] >= self._patience(offset, steady):
            log.warning("the wall clock is followed: %s; nothing is deleted by it yet", _text(offset + steady))
            self._follow(offset, self._elsewhere[1])
        if self._elsewhere is None:
            self._believe(steady)
        if self.believed:
            self._known_us = self.now_us()

    def _read(self) -> tuple[int, int]:
        """The steady clock, and how far the wall clock is ahead of it."""
        while True:
            steady = self._steady_ns()
            wall = self._wall_ns()
            if self._steady_ns() - steady < BOUND_NS:  # the process was not halted in between
                return steady, wall - steady

    def _follow(self, offset: int, since: int) -> None:
        self._offset, self._since, self._elsewhere = offset, since, None
        self._is_set = True

    def _believe(self, steady: int) -> None:
        settle = self.settle_seconds * 1e9
        if self._known is not None and abs(self._offset - self._known) <= BOUND_NS:
            # Small steps are measured from here, so that many of them do not make a large one.
            if steady - self._known_since >= settle:
                self._known, self._known_since = self._offset, steady
        elif self._is_set and (
            steady - self._since >= settle or (self._known is None and self._is_likely(self._offset))
        ):
            log.info("the clock is believed: %s", _text(self._offset + steady))
            self._known, self._known_since = self._offset, steady

    def _is_likely(self, offset: int) -> bool:
        """Whether that wall clock is one that the journal bears out."""
        if offset + self._steady_ns() < UNSET_NS:
            return False
        return self._journal is None or -BOUND_NS <= offset - self._journal <= GAP_NS

    def _was_here(self, offset: int) -> bool:
        if self._known is None:
            return self._is_likely(offset)
        return abs(offset - self._known) <= BOUND_NS

    def _patience(self, offset: int, steady: int) -> float:
        """How long a wall clock that stepped must run on before it is followed: what has held longer wins. Forward
        that is minutes at the most, for what was stamped too late can be mended, and a machine that was halted is
        right. Backward it is as long as it takes to be believed."""
        if offset + steady < UNSET_NS:
            return float("inf")
        if not self._is_set:
            return 0
        settle = self.settle_seconds * 1e9
        if self._known is not None and offset < self._offset and not self._is_likely(offset):
            return settle  # the journal is a witness against it, however short this process has run
        held = max(settle / 60, (self._elsewhere or (0, steady))[1] - self._since)
        return min(held, settle / 6 if offset > self._offset else settle)


def _text(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns // 10**9))


CLOCK = Clock()
"""This process's, for it has one wall clock."""
now_us = CLOCK.now_us
