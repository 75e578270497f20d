"""Which objective a GPT would have kept, and what a tighter one costs."""

from __future__ import annotations

from typing import NamedTuple

from otel_bridge.objectives.minutes import NICE, Minutes
from otel_bridge.objectives.rules import Fired, Judge

TARGETS = (0.999, 0.998, 0.995, 0.99, 0.98, 0.97, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Shares of good answers that somebody would write down."""

FEWEST_ANSWERS = 100
"""With fewer of them nothing is proposed: a single slow answer would decide."""

TIGHTER, LOOSER = 3, 2
"""How many objectives are compared beside the one that would have been kept."""


class Row(NamedTuple):
    """One objective, judged."""

    seconds: float
    kept: float
    """Share of good answers."""
    budget: float
    """Bad answers over those that the target allows: above 1 it was not kept."""
    fired: Fired


class Suggestion(NamedTuple):
    target: float
    """Share of answers that must be good."""
    rows: list[Row]
    """The tightest first; today's objective is among them where there is one."""
    proposed: Row | None
    """The tightest that would have been kept, and with which there would have been no more pages than with the loosest:
    those are of incidents that any of them shows. None: none would have been kept, or there are too few answers."""
    only_errors: bool
    """Failed answers alone spend more than the budget: no objective of latency can be kept at this target."""

    @property
    def tighter(self) -> Row | None:
        """The next tighter one than the one that is proposed."""
        if self.proposed is None:
            return None
        place = self.rows.index(self.proposed)
        return self.rows[place - 1] if place else None


def suggest(minutes: Minutes, judge: Judge, target: float, today: float | None) -> Suggestion:
    """Compares objectives over these minutes, which count at least one answer. `today`: seconds, among their bounds."""
    shares = {seconds: minutes.within(seconds) / minutes.answers for seconds in NICE}
    keeps = next((place for place, share in enumerate(shares.values()) if share >= target), None)
    # Where none keeps the target, those that the answers without an error would reach are shown.
    good = 1 - minutes.failed / minutes.answers
    middle = keeps if keeps is not None else next(
        (place for place, share in enumerate(shares.values()) if share >= good * 0.99), len(NICE) - 1
    )  # fmt: skip
    compared = {*NICE[max(0, middle - TIGHTER) : middle + LOOSER + 1], *(() if today is None else (today,))}
    rows = [_judged(minutes, judge, seconds, target) for seconds in sorted(compared)]
    proposed = None
    if minutes.answers >= FEWEST_ANSWERS:
        proposed = next((row for row in rows if row.budget <= 1 and row.fired.pages <= rows[-1].fired.pages), None)
    return Suggestion(target, rows, proposed, 1 - good > 1 - target)


def reachable(minutes: Minutes) -> float | None:
    """The highest target that the answers reach whatever their latency; None: not even the lowest."""
    good = 1 - minutes.failed / minutes.answers
    return next((target for target in TARGETS if target <= good), None)


def _judged(minutes: Minutes, judge: Judge, seconds: float, target: float) -> Row:
    kept = minutes.within(seconds) / minutes.answers
    return Row(seconds, kept, (1 - kept) / (1 - target), judge(minutes, seconds, target))
