"""Rates: how many requests are allowed a period."""

from __future__ import annotations

from dataclasses import dataclass

PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
"""Seconds of each period that a rate may be given for."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests allowed a period; a batch counts each item. False where it is `NO_LIMIT`."""

    amount: int
    seconds: int

    def __bool__(self) -> bool:
        return self.amount > 0

    def __str__(self) -> str:
        if not self:
            return "off"
        period = next(name for name, seconds in PERIODS.items() if seconds == self.seconds)
        return f"{self.amount}/{period}"


NO_LIMIT = Rate(0, 60)
"""A GPT's own «off», whatever the general limit is."""
