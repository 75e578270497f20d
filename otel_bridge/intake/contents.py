"""Content as it may be kept: redacted and cut to length, without holding up who else waits for the event loop.

Nearly every text costs less than a microsecond, and some are made to cost a thousand times as much. So a long text is
redacted in a thread of its own, and so is every text while the event loop has spent its share of time on them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from otel_bridge.config import Config
from otel_bridge.privacy.redaction import Redactor

R = TypeVar("R")

LOOKED_AT_CHARS = 16_384
"""What is looked at of a content at the most; where less is kept of it, less is looked at."""
LONG_CHARS = 1_024
"""A longer text is never redacted on the event loop: 3 µs a character were the worst found."""
PERIOD_SECONDS = 0.020
SHARE_SECONDS = 0.004
"""Of each period of the event loop that texts may take, before the next go to the thread."""
CUT_MARK = "…[recortado]"
NEIGHBOURHOOD = 256
"""Characters before a cut that go with it: what is cut might be half of a secret."""


class Contents:
    """Keeps contents. Used from one event loop."""

    def __init__(self, config: Config) -> None:
        self._redactor = Redactor(config.redaction, config.regions)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="redaction")
        self._period = 0.0
        self._spent = 0.0
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._max_chars: int = config.content_max_chars
        self._looked_at = min(LOOKED_AT_CHARS, 2 * self._max_chars + LONG_CHARS)

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def leaves(self, content: str) -> bool:
        """Whether a content is kept as it is: nearly every one is, and this look costs 0.3 µs."""
        return len(content) <= self._max_chars and self._redactor.leaves(content)

    def must_wait(self, content: str, alone: bool) -> bool:
        """Whether this text has to be kept by `kept_elsewhere`, so that nobody else waits for it. `alone`: it is not of
        a batch, which lets others have their turn by itself."""
        if len(content) > LONG_CHARS:
            return True
        return alone and self._spent > SHARE_SECONDS and time.perf_counter() < self._period + PERIOD_SECONDS

    def kept(self, content: str, counts: dict[str, int]) -> str | None:
        """What is kept of a content, None for nothing; adds what was found to `counts`, by kind."""
        started = time.perf_counter()
        text = self._keep(content, counts)
        now = time.perf_counter()
        if now > self._period + PERIOD_SECONDS:
            self._period = now
            self._spent = 0.0
        self._spent += now - started
        return text

    async def kept_elsewhere(self, content: str, counts: dict[str, int]) -> str | None:
        """What `kept` does, in the thread."""
        return await self.aside(self._keep, content, counts)

    async def aside(self, work: Callable[..., R], *arguments: object) -> R:
        """Does any work that may take long in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*arguments))

    def _keep(self, content: str, counts: dict[str, int]) -> str | None:
        if len(content) > self._looked_at:
            text = self._redactor.redact(content[: self._looked_at], counts)
            text = None if text is None else text[:-NEIGHBOURHOOD]
        else:
            text = self._redactor.redact(content, counts)
        if text is not None and len(text) > self._max_chars:
            text = text[: self._max_chars] + CUT_MARK
        return text
