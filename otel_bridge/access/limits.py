"""Who may come in, and how often: keys, the client's address, and rate limits. The `Gate` of every door.

A limit is a sliding window, counted per API key, else per GPT and client address; a batch counts each item.
`limits` does the counting. In memory it does so through a storage of our own (`BoundedMemory`): its own one takes
4 to 10 µs a hit and starts a thread every 10 ms (`benchmarks/gate.py`), and keeps an entry for whoever comes. In
Redis it is the library's storage and scripts, awaited, so that several replicas share what is counted.

A Redis that does not answer never refuses or loses a record: each replica counts by itself in memory meanwhile
(`RateLimits.fallback`), and asks again after a pause.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import time
from collections.abc import Awaitable, Mapping
from typing import Any

from limits import RateLimitItem, RateLimitItemPerDay, RateLimitItemPerHour, RateLimitItemPerMinute
from limits import RateLimitItemPerSecond as PerSecond
from limits.storage.base import SlidingWindowCounterSupport, Storage
from starlette.types import Scope

from otel_bridge import errors
from otel_bridge.access import keys
from otel_bridge.config import Config, Gpt, Rate
from otel_bridge.errors import Problem, StartRefused
from otel_bridge.intake.ingest import OPEN_GATE, Gate

log = logging.getLogger(__name__)

CALLERS_REMEMBERED = 50_000
"""Callers counted at once. The one that came first goes when there are more: about 15 MB at the most."""
ADDRESSES_REMEMBERED = 10_000
REDIS_SECONDS = 0.25
REDIS_CONNECTIONS = 32
REDIS_PAUSE_SECONDS = (1.0, 15.0)

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


Window = tuple[int, float, int, float]
"""As the library tells it: count before, seconds until it weighs nothing, count now, seconds until that does."""


def wait_seconds(limit: int, seconds: int, amount: int, window: Window) -> int:
    """Seconds until `amount` would be let in, if nothing else comes. At least 1."""
    before, before_left, now, now_left = window
    room = limit - amount + 1  # what has been counted must weigh less
    if room <= 0:
        return seconds
    if now < room:
        return 1 + max(0, math.floor(before_left - (room - now) * seconds / before)) if before else 1
    rest = max(0.0, now_left - seconds) if now_left else 0.0
    return 1 + math.floor(rest + seconds * max(0.0, 1 - room / now))


def _refusal(rate: Rate, amount: int, window: Window) -> Problem:
    wait = wait_seconds(rate.amount, rate.seconds, amount, window)
    before, before_left, now, _ = window
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
        self._redis: Any = None
        self._down_until = 0.0
        self._pause = REDIS_PAUSE_SECONDS[0]
        if storage_url.startswith(("redis://", "rediss://")):
            self._redis = _redis(storage_url)
        self.shared = self._redis is not None
        """Whether to count may mean to ask Redis, and to wait."""
        self.fallback = False
        """Whether Redis does not answer, and each replica counts by itself."""

    def take(self, key: str, rate: Rate, amount: int) -> Awaitable[None] | None:
        """Counts, or raises Problem (429); what it returns must be awaited if it is not None, and may raise it, too."""
        if self._redis is None or _monotonic() < self._down_until:
            self.take_here(key, rate, amount)
            return None
        return self._take_shared(key, rate, amount)

    def take_here(self, key: str, rate: Rate, amount: int) -> None:
        if not self.memory.take(key, rate.amount, rate.seconds, amount):
            raise _refusal(rate, amount, self.memory.get_sliding_window(key, rate.seconds))

    async def _take_shared(self, key: str, rate: Rate, amount: int) -> None:
        item = _ITEMS[rate.seconds](rate.amount, namespace="otel-bridge")
        window: Window | None = None
        try:
            allowed = await self._redis.hit(item, key, cost=amount)
            if not allowed:
                window = await self._redis.storage.get_sliding_window(item.key_for(key), rate.seconds)
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
        if window is not None:
            raise _refusal(rate, amount, window)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.storage.bridge.storage.aclose(close_connection_pool=True)


_ITEMS: Mapping[int, type[RateLimitItem]] = {
    1: PerSecond,
    60: RateLimitItemPerMinute,
    3600: RateLimitItemPerHour,
    86_400: RateLimitItemPerDay,
}


def _redis(url: str) -> Any:
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
    pool = client.BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=REDIS_SECONDS,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    storage = RedisStorage(f"async+{url}", implementation="redispy", connection_pool=pool)  # type: ignore[arg-type]
    return SlidingWindowCounterRateLimiter(storage)


# --- the gate -------------------------------------------------------------------------------------------------------


class Gatekeeper:
    """Makes the gate of each request. `gate` costs nothing where no GPT has a key and no limit is set."""

    def __init__(self, config: Config) -> None:
        self.limits = RateLimits(config.rate_limit_storage)
        self.configure(config)

    def configure(self, config: Config) -> None:
        self.rate: Rate | None = config.rate_limit
        hashes = [one for gpt in config.gpts.values() for one in gpt.api_key_hashes]
        self.hashes = tuple(dict.fromkeys(hashes))
        self._open = not hashes and self.rate is None and all(not gpt.rate_limit for gpt in config.gpts.values())
        self._proxies = tuple(ipaddress.ip_network(one, strict=False) for one in config.trusted_proxies)
        self._gpts = tuple(config.gpts.values())
        self._addresses: dict[str, tuple[str, bool]] = {}

    def gate(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Gate:
        if self._open:
            return OPEN_GATE
        return CallerGate(self, scope, headers)

    def gpt_of_key(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The one GPT that a request's key belongs to."""
        key = keys.presented(headers)
        if key is None:
            return None
        found = keys.hash_of(key)
        gpts = [gpt.id for gpt in self._gpts if keys.among(found, gpt.api_key_hashes)]
        return gpts[0] if len(gpts) == 1 else None

    def address(self, scope: Scope) -> str:
        """The client's address: the connection's, or behind trusted proxies the last one that they did not add."""
        client = scope.get("client")
        address, trusted = self._known(client[0] if client else "")
        if not trusted:
            return address
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if not forwarded:
            return address
        for hop in reversed(b",".join(forwarded).decode("latin-1").split(",")[-32:]):
            address, trusted = self._known(hop.strip())
            if not trusted:
                break
        return address

    def _known(self, text: str) -> tuple[str, bool]:
        found = self._addresses.get(text)
        if found is None:
            if len(self._addresses) >= ADDRESSES_REMEMBERED:
                self._addresses.clear()
            found = self._read(text)
            if len(text) <= 64:
                self._addresses[text] = found
        return found

    def _read(self, text: str) -> tuple[str, bool]:
        """An address as it is counted, and whether it is a trusted proxy's."""
        try:
            bare = text
            if text.startswith("["):
                bare = text[1:].partition("]")[0]
            elif text.count(":") == 1:
                bare = text.partition(":")[0]
            address: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(bare.partition("%")[0])
        except ValueError:
            return "?", False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        trusted = any(address in network for network in self._proxies)
        if isinstance(address, ipaddress.IPv6Address):
            # Whoever has one IPv6 address has its whole /64.
            return f"{ipaddress.ip_network((address, 64), strict=False).network_address}/64", trusted
        return str(address), trusted


class CallerGate:
    """The gate of one request."""

    __slots__ = ("_headers", "_keeper", "_scope")

    def __init__(self, keeper: Gatekeeper, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        self._keeper = keeper
        self._scope = scope
        self._headers = headers

    @property
    def waits(self) -> bool:
        return self._keeper.limits.shared

    def check(self, gpt: Gpt, items: int) -> Awaitable[None] | None:
        keeper = self._keeper
        rate = keeper.rate if gpt.rate_limit is None else gpt.rate_limit
        if gpt.api_key_hashes:
            key = keys.presented(self._headers)
            found = "" if key is None else keys.hash_of(key)
            if not keys.among(found, gpt.api_key_hashes):
                # Guessing is limited by where it comes from, and only here: it must cost nobody a way to Redis.
                if rate:
                    keeper.limits.take_here(f"{gpt.id}/!{keeper.address(self._scope)}", rate, 1)
                if keys.among(found, keeper.hashes):
                    raise Problem(errors.FORBIDDEN)
                raise Problem(errors.UNAUTHENTICATED, headers={"WWW-Authenticate": 'Bearer realm="otel-bridge"'})
            if not rate:
                return None
            return keeper.limits.take(f"{gpt.id}/{found[7:39]}", rate, items)
        if not rate:
            return None
        return keeper.limits.take(f"{gpt.id}/{keeper.address(self._scope)}", rate, items)

    def stray(self, items: int) -> None:
        keeper = self._keeper
        if keeper.rate:
            # By address, and only here, like guessing: it must cost nobody a way to Redis.
            keeper.limits.take_here(f"?/{keeper.address(self._scope)}", keeper.rate, items)
