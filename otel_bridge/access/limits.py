"""How often a caller may post: counted by this process, or in Redis by all replicas.

A Redis that is away never refuses, loses or delays a record: this process counts alone meanwhile, and goes on from what
Redis has told of a caller.
"""

from __future__ import annotations

import asyncio
import logging

from otel_bridge.access.memory import BoundedMemory
from otel_bridge.access.redis import Redis
from otel_bridge.access.refusal import refusal
from otel_bridge.access.shared import SharedCounts
from otel_bridge.config import LIMITS_IN_MEMORY, Rate

log = logging.getLogger(__name__)


class RateLimits:
    """Counts callers. Used from one event loop."""

    def __init__(self, storage_url: str, key: bytes = b"") -> None:
        """`key`: of the user hash; the replicas that share limits have the same. Raises StartRefused."""
        self._memory = BoundedMemory()
        self._redis = None if storage_url == LIMITS_IN_MEMORY else Redis(storage_url, key)
        self._shared = None if self._redis is None else SharedCounts(self._redis, self._memory)

    @property
    def fallback(self) -> bool:
        """Whether Redis is away, and this process counts alone. Any thread."""
        return self._shared is not None and self._shared.alone

    async def open(self) -> None:
        if self._shared is not None and self._redis is not None:
            log.info(
                "limits are counted in Redis under %s…: by all replicas with this user hash key", self._redis.prefix
            )
            await self._shared.open()

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    def take(self, key: str, rate: Rate, amount: int) -> asyncio.Future[None] | None:
        """Counts `amount` for a caller. Raises Problem (429) where there is no room for it. Where Redis has to be
        asked, returns what must be awaited, and that raises it."""
        shared = self._shared
        if shared is None or shared.alone:
            if shared is not None:
                shared.counted_alone += 1
            self._take_here(key, rate, amount)
            return None
        # Others only add to what is known here: who is past the limit costs Redis nothing.
        if not self._memory.has_room(key, rate.amount, rate.seconds, amount):
            raise refusal(rate, amount, self._memory.look(key, rate.seconds))
        return shared.ask(key, rate, amount)

    def guess(self, key: str, rate: Rate, amount: int) -> None:
        """Counts guesses, which wait for nobody: here, and for the other replicas as soon as Redis has it. Raises
        Problem (429)."""
        self._take_here(key, rate, amount)
        if self._shared is not None:
            self._shared.tell(key, rate, amount)

    def refuse_spent(self, key: str, rate: Rate) -> None:
        """Counts nothing. Raises Problem (429) where there is no room for one more, as far as this process knows."""
        if not self._memory.has_room(key, rate.amount, rate.seconds, 1):
            raise refusal(rate, 1, self._memory.look(key, rate.seconds))

    def _take_here(self, key: str, rate: Rate, amount: int) -> None:
        if not self._memory.take(key, rate.amount, rate.seconds, amount):
            raise refusal(rate, amount, self._memory.look(key, rate.seconds))
