"""What a caller past its limit is told, and for how long it has to wait."""

from __future__ import annotations

import math

from otel_bridge import errors
from otel_bridge.access.memory import Count
from otel_bridge.config import Rate
from otel_bridge.errors import Problem

_PERIODS = {1: "segundo", 60: "minuto", 3600: "hora", 86_400: "día"}


def wait_seconds(limit: int, seconds: int, amount: int, count: Count) -> int:
    """Seconds until `amount` would be let in, if nothing else comes. At least 1."""
    room = limit - amount + 1  # what has been counted must weigh less
    if room <= 0:
        return seconds
    if count.now < room:
        if not count.before:
            return 1
        return 1 + max(0, math.floor(count.before_left - (room - count.now) * seconds / count.before))
    return 1 + math.floor(count.left + seconds * max(0.0, 1 - room / count.now))


def refusal(rate: Rate, amount: int, count: Count) -> Problem:
    """The answer (429) to a caller who wants `amount`, of whom so much has been counted."""
    wait = wait_seconds(rate.amount, rate.seconds, amount, count)
    remaining = max(0, rate.amount - int(count.before * count.before_left / rate.seconds) - count.now)
    period = _PERIODS[rate.seconds]
    detail = f"El límite es {rate.amount} registros cada {period}. Reintenta en {wait} s."
    if amount > rate.amount:
        detail = (
            f"El límite es {rate.amount} registros cada {period} y el lote tiene {amount}: "
            f"divídelo en lotes de {rate.amount} como mucho."
        )
    return Problem(
        errors.RATE_LIMITED,
        detail,
        headers={
            "Retry-After": str(wait),
            "RateLimit-Limit": str(rate.amount),
            "RateLimit-Remaining": str(remaining),
            "RateLimit-Reset": str(wait),
            "RateLimit-Policy": f"{rate.amount};w={rate.seconds}",
        },
    )
