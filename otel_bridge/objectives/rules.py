"""When the alerts on an objective would have fired over counted minutes.

The numbers are those of `prometheus/rules/gpt.alerts.yml`; `tests/objectives/test_rules.py` holds them equal, and
compares the answer with a real Prometheus. It looks once a minute and counts exactly; Prometheus looks at a sample
each few seconds and extrapolates, so the two may differ by a minute at an edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from otel_bridge import catalog
from otel_bridge.objectives.minutes import Minutes, over


class Burn(NamedTuple):
    """An alert on the speed at which the budget is spent, over a long and a short window (minutes)."""

    window: str
    page: bool
    """Else it is a ticket."""
    long: int
    short: int
    factor: float
    """How many times faster than the objective allows."""
    answers: int
    """In the long window there must be more of them."""
    wait: int
    """Minutes for which it must go on."""


BURNS = (
    Burn("1h", True, 60, 5, 14.4, 20, 2),
    Burn("6h", True, 360, 30, 6, 50, 15),
    Burn("1d", False, 1440, 120, 3, 100, 60),
    Burn("3d", False, 4320, 360, 1, 200, 180),
)
LEAST_BAD = 2
"""In a long window there must be more bad answers."""

SLOW_WINDOW, SLOW_SHARE, SLOW_ANSWERS, SLOW_WAIT = 5, 0.05, 10, 5
"""Of GPTLatencyHigh: minutes, share of slow answers, least answers, minutes for which it must go on."""
FIRST_TOKEN_WINDOW, FIRST_TOKEN_ANSWERS, FIRST_TOKEN_WAIT = 10, 20, 5
"""Of GPTFirstTokenSlow, likewise."""


class Fired(NamedTuple):
    """How often each alert would have begun to fire."""

    burns: tuple[int, ...]
    """In the order of `BURNS`."""
    slow: int
    """GPTLatencyHigh, or GPTFirstTokenSlow for an objective of the first token."""

    @property
    def pages(self) -> int:
        return sum(count for burn, count in zip(BURNS, self.burns, strict=False) if burn.page)

    @property
    def tickets(self) -> int:
        return self.slow + sum(count for burn, count in zip(BURNS, self.burns, strict=False) if not burn.page)


def latency(minutes: Minutes, seconds: float, target: float) -> Fired:
    """Of an objective of latency: `target` of the answers within `seconds` and without an error."""
    totals, bad = minutes.totals(), minutes.bad(seconds)
    burns = tuple(times(burning(totals, bad, target, burn), burn.wait) for burn in BURNS)
    return Fired(burns, times(slow(minutes, totals, bad, seconds), SLOW_WAIT))


def first_token(minutes: Minutes, seconds: float, target: float) -> Fired:
    """Of an objective of the time to the first token."""
    return Fired((), times(first_token_slow(minutes.totals(), minutes.bad(seconds), target), FIRST_TOKEN_WAIT))


def burning(totals: list[int], bad: list[int], target: float, burn: Burn) -> list[bool]:
    """Whether GPTLatencyBudgetBurn holds in each minute."""
    share = burn.factor * (1 - target)
    if burn.window == "1h" and target < 1 - 1 / burn.factor:
        share = 1 - target / 2  # a budget as large as that cannot burn so fast: the rule with `causa: parte`
    of_long, bad_of_long, of_short, bad_of_short = (
        over(counts, minutes) for minutes in (burn.long, burn.short) for counts in (totals, bad)
    )
    return [
        bad_in_short > share * in_short > 0 and in_long > burn.answers and bad_in_long > max(share * in_long, LEAST_BAD)
        for in_long, bad_in_long, in_short, bad_in_short in zip(
            of_long, bad_of_long, of_short, bad_of_short, strict=True
        )
    ]


def slow(minutes: Minutes, totals: list[int], bad: list[int], seconds: float) -> list[bool]:
    """Whether GPTLatencyHigh holds in each minute."""

    def estimate(minute: int) -> float:
        bounds = catalog.OPERATION_DURATION.buckets
        return quantile(0.95, bounds, minutes.durations(minute, SLOW_WINDOW, bounds))

    return [
        answers > SLOW_ANSWERS and bad_answers > SLOW_SHARE * answers and estimate(minute) > seconds
        for minute, (answers, bad_answers) in enumerate(
            zip(over(totals, SLOW_WINDOW), over(bad, SLOW_WINDOW), strict=True)
        )
    ]


def first_token_slow(totals: list[int], bad: list[int], target: float) -> list[bool]:
    """Whether GPTFirstTokenSlow holds in each minute."""
    return [
        answers > FIRST_TOKEN_ANSWERS and late > (1 - target) * answers
        for answers, late in zip(over(totals, FIRST_TOKEN_WINDOW), over(bad, FIRST_TOKEN_WINDOW), strict=True)
    ]


def times(holds: Sequence[bool], wait: int) -> int:
    """How often an alert fires that must hold for so many minutes before it does."""
    fired = held = 0
    for one in holds:
        held = held + 1 if one else 0
        fired += held == wait + 1
    return fired


def quantile(q: float, bounds: Sequence[float], counts: Sequence[int]) -> float:
    """As Prometheus' `histogram_quantile` estimates it from counts by bucket (the last is +Inf): linear within a
    bucket, and the highest bound past the last."""
    rank = q * sum(counts)
    below = 0
    for place, count in enumerate(counts):
        if below + count >= rank and count:
            if place == len(bounds):
                return bounds[-1]
            lower = bounds[place - 1] if place else 0.0
            return lower + (bounds[place] - lower) * (rank - below) / count
        below += count
    return bounds[-1]


Judge = Callable[[Minutes, float, float], Fired]
"""`latency` or `first_token`."""
