"""Rate limits counted in Redis, so that several replicas share what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits import RateLimitItemPerSecond as PerSecond

from otel_bridge.config import Rate
from otel_bridge.errors import StartRefused

TIMEOUT_SECONDS = 0.25
"""For each step: to get a connection, to connect, to be answered."""
CONNECTIONS = 32

Count = tuple[int, float, int, float]
"""As the `limits` library tells it: count of the window before, seconds until it weighs nothing, count of this window,
seconds until that weighs nothing."""

_ITEMS: Mapping[int, type[RateLimitItem]] = {
    1: PerSecond,
    60: RateLimitItemPerMinute,
    3600: RateLimitItemPerHour,
    86_400: RateLimitItemPerDay,
}


class RedisLimits:
    """The `limits` library's sliding window and scripts, over a bounded pool of connections."""

    def __init__(self, url: str) -> None:
        """Raises StartRefused where the redis package is not installed, or takes no such URL."""
        try:
            import redis.asyncio as client
            from limits.aio.storage import RedisStorage
            from limits.aio.strategies import SlidingWindowCounterRateLimiter
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
        except ImportError:
            raise StartRefused(
                "rate_limit_storage: redis:// needs the redis package: pip install 'otel-bridge[redis]'"
            ) from None
        try:
            pool = client.BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=TIMEOUT_SECONDS,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                retry=Retry(NoBackoff(), 0),
            )
            storage = RedisStorage(f"async+{url}", implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]
        except ValueError:  # the path and the query are the client's to read
            raise StartRefused(
                "rate_limit_storage: expected redis://host:port/database; the redis client refuses an option of "
                "the URL (what was found is not shown)"
            ) from None
        self._storage: Any = storage
        self._limiter: Any = SlidingWindowCounterRateLimiter(storage)

    async def take(self, key: str, rate: Rate, amount: int) -> Count | None:
        """Counts `amount` where the limit leaves room for it: None, else what has been counted. Raises whatever the
        redis client raises."""
        item = _ITEMS[rate.seconds](rate.amount, namespace="otel-bridge")
        if await self._limiter.hit(item, key, cost=amount):
            return None
        count: Count = await self._storage.get_sliding_window(item.key_for(key), rate.seconds)
        return count

    async def close(self) -> None:
        await self._storage.bridge.storage.aclose(close_connection_pool=True)
