"""Callers counted in Redis by all replicas, and by this one alone while that cannot be.

    ALONE ──connected, and a probe is counted in time──▶ SHARED
      ▲ │                                                  │
      │ └──────── tried again, at least once a second      │
      └──── an error, or no answer within ANSWER_SECONDS ──┘

One task has one connection. What comes while a call is under way goes together with the next: under load a call counts
many callers. Nobody waits for a connection, nor longer for an answer: all that wait are counted here then, and so are
those who come later. Redis is asked each second even when nobody comes, so what is wrong is seen by itself, and so is
its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Sequence

from otel_bridge.access.memory import BoundedMemory
from otel_bridge.access.redis import Counted, Redis, Take, why
from otel_bridge.access.refusal import refusal
from otel_bridge.config import Rate

log = logging.getLogger(__name__)

ANSWER_SECONDS = 0.1
"""Time for one answer, and so what a request waits when Redis begins to hang."""
STALL_SECONDS = 0.01
"""What the event loop may be late itself before an answer that has arrived is taken for missing."""
CONNECT_SECONDS = 2.0
START_SECONDS = 1.0
"""How long a start waits to know whether Redis is there."""
PAUSES_SECONDS = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Before the first try after a failure, and those after it."""
ASKED_EVERY_SECONDS = 1.0
TOGETHER = 256
"""Callers that one call counts: Redis does nothing else meanwhile (about 2 µs each)."""
TOLD_EVERY_SECONDS = 60.0
"""Of a Redis that comes and goes, what is wrong is not told more often; of one that stays away, once."""


class SharedCounts:
    """Used from one event loop; `alone` is read by anybody."""

    def __init__(self, redis: Redis, memory: BoundedMemory) -> None:
        """What Redis tells of a caller is kept in `memory` too: this process goes on from there when it is alone."""
        self.alone = True
        self.counted_alone = 0
        """Requests since Redis was lost."""
        self._redis = redis
        self._memory = memory
        self._waiting: list[Take] = []
        self._asked: list[Take] = []
        """Under way to Redis."""
        self._wake: asyncio.Future[None] | None = None
        """Waits for somebody who waits."""
        self._task: asyncio.Task[None] | None = None
        self._serving: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._known = asyncio.Event()
        """Whether Redis is there has been seen once."""
        self._late = False
        self._lost_at = 0.0
        self._told: dict[str, float] = {}
        """What was told to be wrong, and when."""
        self._tells_end = False

    async def open(self) -> None:
        """Returns when it is known whether Redis is there, and after START_SECONDS at the latest."""
        self._task = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._known.wait()
        except TimeoutError:
            pass

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def ask(self, key: str, rate: Rate, amount: int) -> asyncio.Future[None]:
        """Counts a caller. What is returned raises Problem (429) where its rate leaves no room."""
        future = asyncio.get_running_loop().create_future()
        self._add(Take(key, rate, amount, future))
        return future

    def tell(self, key: str, rate: Rate, amount: int) -> None:
        """Counts, for all replicas, what has been counted here already. Nobody waits."""
        if not self.alone:
            self._add(Take(key, rate, amount))

    def _add(self, take: Take) -> None:
        self._waiting.append(take)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # --- the connection's life ----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        try:
            while True:
                try:
                    await self._connect()
                    failures = 0
                    await self._served()
                except Exception as error:
                    self._lost(error, failures)
                finally:
                    with contextlib.suppress(Exception):
                        await self._redis.close()
                await asyncio.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)])
                failures += 1
        finally:
            self.alone = True
            self._count_here()

    async def _connect(self) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            await self._redis.connect()
            await self._redis.probe()  # the first one brings the script along
        async with asyncio.timeout(ANSWER_SECONDS):
            self._memory.go_by(await self._redis.probe())
        self.alone = False
        self._known.set()
        if self._tells_end:
            self._tells_end = False
            log.info(
                "Redis is there again: limits are shared. It was away for %.1f s; %d requests were counted by this "
                "process alone",
                time.monotonic() - self._lost_at, self.counted_alone,
            )  # fmt: skip

    def _lost(self, error: Exception, failures: int) -> None:
        now = time.monotonic()
        if failures == 0:
            self._lost_at, self.counted_alone = now, 0
            self._told = {what: told for what, told in self._told.items() if now - told < TOLD_EVERY_SECONDS}
        self.alone = True
        self._count_here()
        self._known.set()
        what = why(error)
        if what not in self._told:
            self._told[what] = now
            self._tells_end = True
            log.warning("Redis is away (%s): limits are counted by this process alone meanwhile", what)

    async def _served(self) -> None:
        """Counts until something goes wrong, and raises it."""
        self._late = False
        serving = self._serving = asyncio.create_task(self._serve())
        try:
            await serving
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if self._late and this is not None and not this.cancelling():
                raise TimeoutError from None
            raise

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                self._wake = loop.create_future()
                timer = loop.call_later(ASKED_EVERY_SECONDS, self._nobody_came)
                await self._wake
                timer.cancel()
            asked = self._asked = self._waiting[:TOGETHER]
            del self._waiting[:TOGETHER]
            self._timer = loop.call_later(ANSWER_SECONDS, self._overdue, loop.time() + ANSWER_SECONDS)
            try:
                if asked:
                    now, counted = await self._redis.count(asked)
                    self._memory.go_by(now)
                    self._settle(asked, counted)
                else:
                    self._memory.go_by(await self._redis.probe())
            finally:
                self._timer.cancel()

    def _nobody_came(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _overdue(self, due: float) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - due > STALL_SECONDS:  # the loop stood still itself: what has come meanwhile is read first
            self._timer = loop.call_later(STALL_SECONDS, self._overdue, math.inf)
        elif self._serving is not None:
            self._late = True
            self._serving.cancel()

    # --- what becomes of who waits ------------------------------------------------------------------------------------

    def _settle(self, asked: Sequence[Take], counted: Sequence[Counted]) -> None:
        self._asked = []
        for take, its in zip(asked, counted, strict=True):
            self._memory.learn(take.key, its.window, its.now, its.before)
            _tell(take, its.taken, self._memory)

    def _count_here(self) -> None:
        """Whoever waits is counted by this process. What Redis was asked it may have counted, too: it is forgiven."""
        takes, self._asked, self._waiting = [*self._asked, *self._waiting], [], []
        for take in takes:
            if take.future is not None:
                self.counted_alone += 1
                _tell(take, self._memory.take(take.key, take.rate.amount, take.rate.seconds, take.amount), self._memory)


def _tell(take: Take, taken: bool, memory: BoundedMemory) -> None:
    """Whether it was taken, to who waits for it."""
    if take.future is None or take.future.done():  # who asked has gone
        return
    if taken:
        take.future.set_result(None)
    else:
        take.future.set_exception(refusal(take.rate, take.amount, memory.look(take.key, take.rate.seconds)))
