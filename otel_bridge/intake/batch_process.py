"""What a batch asks for, in a process of its own, on another core: beside the event loop a thread would only take turns
with it. Events are made ready there (preparation.py), and texts are redacted.

It is asked by a `Body` or `Texts` a frame (export/answering.py), started for the first batch that is worth the way, and
ends when the bridge's end of the pipe closes. It keeps nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import msgspec

from otel_bridge.config import Config
from otel_bridge.export import answering
from otel_bridge.export.answering import AnsweringProcess
from otel_bridge.intake.preparation import Preparation, Prepared
from otel_bridge.privacy.redaction import Redactor

ANSWER_SECONDS = 20.0
"""A process that takes longer is ended: the dearest texts of one frame take less than a second, and its start does."""

Kept = tuple[str | None, dict[str, int]]
"""What is kept of a text (None: nothing), and what was found in it, by kind."""

R = TypeVar("R")


class Settings(msgspec.Struct, array_like=True):
    """Of the process. In the pipe and not in its arguments, which others can read."""

    key: bytes
    redaction: Literal["on", "off", "full"]
    regions: tuple[str, ...]


class Body(msgspec.Struct, array_like=True, tag="body"):
    """A batch to be made ready."""

    body: bytes
    now_us: int
    """Its arrival."""
    max_chars: int
    """Of a content that is kept."""


class Texts(msgspec.Struct, array_like=True, tag="texts"):
    """Texts to be redacted."""

    texts: list[str]


_settings = msgspec.msgpack.Decoder(Settings).decode
_question = msgspec.msgpack.Decoder(Body | Texts).decode
_kept = msgspec.msgpack.Decoder(list[Kept]).decode
_prepared = msgspec.msgpack.Decoder(Prepared | None).decode


class BatchProcess:
    """Asked from one event loop; what is asked waits for its turn in a thread."""

    def __init__(self, config: Config, key: bytes) -> None:
        settings = Settings(key, config.redaction, tuple(config.regions))
        self._process = AnsweringProcess(__name__, "batches", lambda: settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch-process")
        self._asked = 0

    @property
    def is_busy(self) -> bool:
        """Whether more than one question waits for its answer."""
        return self._asked > 1

    async def prepare(self, body: bytes, now_us: int, max_chars: int) -> Prepared | None:
        """A batch's events, where none is wrong. None: the bridge has to do all of it itself."""
        return await self._aside(Body(body, now_us, max_chars), _prepared)

    async def redact(self, texts: list[str]) -> list[Kept] | None:
        """What is kept of these texts. None: no process answers."""
        return await self._aside(Texts(texts), _kept)

    def close(self) -> None:
        """Waits for no answer: a process that hangs holds up no stop."""
        self._process.close()
        self._thread.shutdown(wait=True)
        self._process.end()

    async def _aside(self, question: Body | Texts, read: Callable[[bytes], R]) -> R | None:
        self._asked += 1
        try:
            loop, ask = asyncio.get_running_loop(), self._process.ask
            return await loop.run_in_executor(self._thread, ask, question, read, ANSWER_SECONDS)
        finally:
            self._asked -= 1


class _Work:
    """The process's own side."""

    def __init__(self, settings: Settings) -> None:
        self._redactor = Redactor(settings.redaction, settings.regions)
        self._preparation = Preparation(settings.key, self._redactor.leaves)

    def answer(self, frame: bytes) -> Prepared | list[Kept] | None:
        question = _question(frame)
        if isinstance(question, Body):
            return self._preparation.prepare(question.body, question.now_us, question.max_chars)
        answer: list[Kept] = []
        for text in question.texts:
            counts: dict[str, int] = {}
            answer.append((self._redactor.redact(text, counts), counts))
        return answer


def main() -> None:
    answering.answer(lambda settings: _Work(_settings(settings)).answer)


if __name__ == "__main__":
    main()
