"""Content as it may be kept: redacted and cut to length, without holding up who else waits for the event loop.

Nearly every text costs less than a microsecond, and some are made to cost a thousand times as much. So a long text is
redacted in a thread of its own, and so is every text while the event loop has spent its share of time on them. Those of
a batch go to the process for batches together, where there is one (batch_process.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from otel_bridge.config import Config
from otel_bridge.intake.batch_process import BatchProcess, Kept
from otel_bridge.privacy.redaction import Redactor

R = TypeVar("R")

LOOKED_AT_CHARS = 16_384
"""What is looked at of a content at the most; where less is kept of it, less is looked at."""
LONG_CHARS = 1_024
"""A longer text is never redacted on the event loop: 3 µs a character were the worst found."""
PERIOD_SECONDS = 0.020
SHARE_SECONDS = 0.004
"""Of each period of the event loop that texts may take, before the next go to the thread."""
TOGETHER = 16
"""Texts of a batch that are worth the way to another process: they take a quarter of a millisecond."""
FRAME_CHARS = 65_536
"""Of the texts of one frame, more or less: a text of somebody else's may wait for the thread, too. The realistic ones
of a batch of 1,000 are 20,000: in one frame they take two thirds of the time that they take in four."""
CUT_MARK = "…[recortado]"
NEIGHBOURHOOD = 256
"""Characters before a cut that go with it: what is cut might be half of a secret."""


class _Lengths(NamedTuple):
    kept: int
    looked_at: int


class Contents:
    """Keeps contents. Used from one event loop."""

    def __init__(self, config: Config, process: BatchProcess | None = None) -> None:
        """`process`: None on one core."""
        self._redactor = Redactor(config.redaction, config.regions)
        self._process = process if config.redaction == "on" else None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="redaction")
        self._period = 0.0
        self._spent = 0.0
        self.configure(config)

    def configure(self, config: Config) -> None:
        self.max_chars: int = config.content_max_chars
        # One value: a text is looked at and cut by the same lengths, whatever is reloaded in between.
        self._lengths = _Lengths(self.max_chars, min(LOOKED_AT_CHARS, 2 * self.max_chars + LONG_CHARS))

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def leaves(self, content: str) -> bool:
        """Whether a content is kept as it is: nearly every one is, and this look costs 0.3 µs."""
        return len(content) <= self.max_chars and self._redactor.leaves(content)

    def must_wait(self, content: str) -> bool:
        """Whether this text has to be kept by `kept_elsewhere`, so that nobody else waits for it."""
        if len(content) > LONG_CHARS:
            return True
        return self._spent > SHARE_SECONDS and time.perf_counter() < self._period + PERIOD_SECONDS

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

    async def kept_together(self, contents: Sequence[str]) -> list[Kept]:
        """What is kept of each of a batch's contents, and what was found in it: from another process, where there is
        one and they are worth the way."""
        kept: list[Kept] = []
        if self._process is not None and len(contents) >= TOGETHER:
            for frame in _frames(contents):
                redacted, lengths = None, self._lengths
                if not self._process.is_busy:  # else both cores have their part: 56,000 → 64,000 realistic events/s
                    redacted = await self._process.redact([content[: lengths.looked_at] for content in frame])
                if redacted is None:
                    kept += await self.aside(self._keep_all, frame)
                else:
                    kept += [
                        (_cut(text, whole, lengths), found)
                        for (text, found), whole in zip(redacted, frame, strict=True)
                    ]
            return kept
        began = time.perf_counter()
        for content in contents:
            counts: dict[str, int] = {}
            if len(content) > LONG_CHARS:
                kept.append((await self.kept_elsewhere(content, counts), counts))
            else:
                kept.append((self.kept(content, counts), counts))
            if time.perf_counter() - began > SHARE_SECONDS:
                await asyncio.sleep(0)  # others have their turn
                began = time.perf_counter()
        return kept

    async def aside(self, work: Callable[..., R], *arguments: object) -> R:
        """Does any work that may take long in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*arguments))

    def _keep_all(self, contents: Sequence[str]) -> list[Kept]:
        found: list[dict[str, int]] = [{} for _ in contents]
        return [(self._keep(*one), one[1]) for one in zip(contents, found, strict=True)]

    def _keep(self, content: str, counts: dict[str, int]) -> str | None:
        lengths = self._lengths
        return _cut(self._redactor.redact(content[: lengths.looked_at], counts), content, lengths)


def _cut(text: str | None, content: str, lengths: _Lengths) -> str | None:
    """What is kept of what redaction has left of as much of a content as is looked at."""
    if text is not None and len(content) > lengths.looked_at:
        text = text[:-NEIGHBOURHOOD]
    if text is not None and len(text) > lengths.kept:
        text = text[: lengths.kept] + CUT_MARK
    return text


def _frames(contents: Sequence[str]) -> Iterator[list[str]]:
    frame: list[str] = []
    chars = 0
    for content in contents:
        frame.append(content)
        chars += min(len(content), LOOKED_AT_CHARS)
        if chars >= FRAME_CHARS:
            yield frame
            frame, chars = [], 0
    if frame:
        yield frame
