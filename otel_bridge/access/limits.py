"""How often a caller may post: sliding windows, counted in memory or in Redis.

`limits` does the counting. In memory it does so through a storage of our own (`BoundedMemory`): the library's takes
4 to 10 µs a hit and starts a thread every 10 ms (`benchmarks/gate.py`), and keeps an entry for every caller. In Redis
it is the library's storage and scripts (`redis.py`), so that several replicas share what is counted.

A Redis that does not answer never refuses or loses a record: each replica counts by itself in memory meanwhile
(`RateLimits.fallback`), and asks again after a pause.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from typing import Any

from limits.storage.base import SlidingWindowCounterSupport, Storage

from otel_bridge import errors
from otel_bridge.access.redis import Count, RedisLimits
from otel_bridge.config import Rate
from otel_bridge.errors import Problem

log = logging.getLogger(__name__)

CALLERS_REMEMBERED = 50_000
"""Callers counted at once. The oldest entry goes when there are more: about 15 MB at the most."""
REDIS_PAUSE_SECONDS = (1.0, 15.0)
"""After a failure Redis is asked again when this has passed: the first pause, and the longest."""

_monotonic = time.monotonic


class BoundedMemory(Storage, SlidingWindowCounterSupport):
    """A storage of the `limits` library for one process: one entry a key, no thread, no lock (one event loop uses
    it), and never more than `size` entries, whatever addresses clients come from."""

    STORAGE_SCHEME = ["bounded-memory"]  # noqa: RUF012 as the library's metaclass wants it

    def __init__(self, uri: str | None = None, size: int = CALLERS_REMEMBERED, **options: Any) -> None:
        super().__init__(uri, **options)
        self._size = size
        self._entries: dict[str, list[int]] = {}
        """key → number of its current window, count in it, count in the one before."""

    def __len__(self) -> int:
        return len(self._entries)

    def take(self, key: str, limit: int, seconds: int, amount: int) -> bool:
        """Counts `amount` where the limit leaves room for it, and says whether it did."""
        position = _monotonic() / seconds
        window = int(position)
        entry = self._entries.get(key)
        if entry is None:
            if len(self._entries) >= self._size:
                del self._entries[next(iter(self._entries))]
            entry = self._entries[key] = [window, 0, 0]
        elif entry[0] != window:
            entry[2] = entry[1] if entry[0] == window - 1 else 0
            entry[0] = window
            entry[1] = 0
        if int(entry[2] * (1 - position + window)) + entry[1] + amount > limit:
            return False
        entry[1] += amount
        return True

    # --- the library's interface ------------------------------------------------------------------------------------

    def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self.take(key, limit, expiry, amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        position = _monotonic() / expiry
        window = int(position)
        left = (1 - position + window) * expiry
        entry = self._entries.get(key)
        if entry is None or entry[0] < window - 1:
            return 0, 0.0, 0, 0.0
        if entry[0] == window - 1:
            return entry[1], left, 0, 0.0
        return entry[2], left if entry[2] else 0.0, entry[1], left + expiry

    def clear_sliding_window(self, key: str, expiry: int) -> None:
        self.clear(key)

    def clear(self, key: str) -> None:
        self._entries.pop(key, None)

    def reset(self) -> int | None:
        count = len(self._entries)
        self._entries.clear()
        return count

    def check(self) -> bool:
        return True

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        return ValueError

    # Fixed windows, which nobody here counts in.
    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        raise NotImplementedError

    def get(self, key: str) -> int:
        raise NotImplementedError

    def get_expiry(self, key: str) -> float:
        raise NotImplementedError


def wait_seconds(limit: int, seconds: int, amount: int, count: Count) -> int:
    """Seconds until `amount` would be let in, if nothing else comes. At least 1."""
    before, before_left, now, now_left = count
    room = limit - amount + 1  # what has been counted must weigh less
    if room <= 0:
        return seconds
    if now < room:
        return 1 + max(0, math.floor(before_left - (room - now) * seconds / before)) if before else 1
    rest = max(0.0, now_left - seconds) if now_left else 0.0
    return 1 + math.floor(rest + seconds * max(0.0, 1 - room / now))


def _refusal(rate: Rate, amount: int, count: Count) -> Problem:
    wait = wait_seconds(rate.amount, rate.seconds, amount, count)
    before, before_left, now, _ = count
    remaining = max(0, rate.amount - int(before * before_left / rate.seconds) - now)
    detail = f"El límite es {rate.amount} registros cada {_period(rate.seconds)}. Reintenta en {wait} s."
    if amount > rate.amount:
        detail = (
            f"El límite es {rate.amount} registros cada {_period(rate.seconds)} y el lote tiene {amount}: "
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


def _period(seconds: int) -> str:
    return {1: "segundo", 60: "minuto", 3600: "hora", 86_400: "día"}[seconds]


class RateLimits:
    """Counts callers, in memory or in Redis."""

    def __init__(self, storage_url: str) -> None:
        self.memory = BoundedMemory()
        self._redis = RedisLimits(storage_url) if storage_url.startswith(("redis://", "rediss://")) else None
        self._down_until = 0.0
        self._pause = REDIS_PAUSE_SECONDS[0]
        self.fallback = False
        """Whether Redis does not answer, and each replica counts by itself."""

    def take(self, key: str, rate: Rate, amount: int) -> asyncio.Future[None] | None:
        """Counts `amount` for a caller. Raises Problem (429) where there is no room for it. Where Redis has to be
        asked, returns what must be awaited, and that raises it."""
        if self._redis is None or _monotonic() < self._down_until:
            self.take_here(key, rate, amount)
            return None
        # A task of its own: the redis client needs one, and who awaits this may have none.
        return asyncio.ensure_future(self._take_shared(self._redis, key, rate, amount))

    def take_here(self, key: str, rate: Rate, amount: int) -> None:
        """Counts in this process alone. Raises Problem (429)."""
        if not self.memory.take(key, rate.amount, rate.seconds, amount):
            raise _refusal(rate, amount, self.memory.get_sliding_window(key, rate.seconds))

    def refuse_spent(self, key: str, rate: Rate) -> None:
        """Counts nothing. Raises Problem (429) where there is no room for one more in this process."""
        before, before_left, now, _ = count = self.memory.get_sliding_window(key, rate.seconds)
        if int(before * before_left / rate.seconds) + now >= rate.amount:
            raise _refusal(rate, 1, count)

    async def _take_shared(self, redis: RedisLimits, key: str, rate: Rate, amount: int) -> None:
        try:
            count = await redis.take(key, rate, amount)
        except Exception as error:
            self._down_until = _monotonic() + self._pause
            self._pause = min(REDIS_PAUSE_SECONDS[1], self._pause * 2)
            if not self.fallback:
                log.warning(
                    "Redis does not answer (%s): limits are counted by this process alone meanwhile",
                    type(error).__name__,
                )
            self.fallback = True
            self.take_here(key, rate, amount)
            return
        if self.fallback:
            log.info("Redis answers again: limits are shared")
            self.fallback = False
            self._pause = REDIS_PAUSE_SECONDS[0]
        if count is not None:
            raise _refusal(rate, amount, count)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.close()
