"""What a batch asks for, in a process of its own, on another core: beside the event loop a thread would only take turns
with it. Events are made ready there (preparation.py), and texts are redacted.

    bridge ──`Settings`, then a `Body` or `Texts` a frame──▶ `python -m otel_bridge.intake.batch_process`
    bridge ◀──its release, then an answer a frame─────────── the same

It is started for the first batch that is worth the way, and ends when the bridge's end of the pipe closes. It keeps
nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar

import msgspec

from otel_bridge import __version__
from otel_bridge.config import Config
from otel_bridge.export import frames
from otel_bridge.export.deadline import watch
from otel_bridge.export.frames import read_frame, write_frame
from otel_bridge.intake.preparation import Preparation, Prepared
from otel_bridge.privacy.redaction import Redactor

log = logging.getLogger(__name__)

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
_release = msgspec.msgpack.Decoder(str).decode
_kept = msgspec.msgpack.Decoder(list[Kept]).decode
_prepared = msgspec.msgpack.Decoder(Prepared | None).decode


def has_second_core() -> bool:
    """Whether there is another processor that this process may run on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or 1) > 1


class BatchProcess:
    """Asked from one event loop; what is asked waits for its turn in a thread."""

    def __init__(self, config: Config, key: bytes) -> None:
        self._settings = Settings(key, config.redaction, tuple(config.regions))
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch-process")
        self._asked = 0
        self._closing = False
        self._is_other = False
        """What is installed is another release than this process: it was replaced while this runs."""

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
        self._closing = True
        self._end_late()
        self._thread.shutdown(wait=True)
        self._end()

    async def _aside(self, question: Body | Texts, read: Callable[[bytes], R]) -> R | None:
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question, read)
        finally:
            self._asked -= 1

    def _ask(self, question: Body | Texts, read: Callable[[bytes], R]) -> R | None:
        """None: no process answers; the next question starts another."""
        if self._closing or self._is_other:
            return None
        answer: R | None = None
        understood = False
        try:
            with watch.within(ANSWER_SECONDS, self._end_late):  # a frame may be longer than the pipe
                frame = self._answer(question)
            if frame is not None:
                answer, understood = read(frame), True
        except OSError as error:
            log.warning("the process for batches cannot be used: %s", error)
        except msgspec.DecodeError as error:  # of another release, where this one was replaced while it runs
            log.warning("the process for batches does not answer as it should: %s", error)
        finally:
            if not understood:  # what is left in its pipe would be taken for the answer to another question
                self._end()
        return answer

    def _answer(self, question: Body | Texts) -> bytes | None:
        process = self._process or self._start()
        if process is None or self._closing:  # one that `close` has not seen is seen here
            return None
        assert process.stdin is not None
        write_frame(process.stdin, question)
        return self._read(process)

    def _start(self) -> subprocess.Popen[bytes] | None:
        """None: it does not answer, or is of another release, which may make other records of the same events."""
        process = self._process = frames.start(__name__)
        assert process.stdin is not None
        write_frame(process.stdin, self._settings)
        frame = self._read(process)
        if frame is None:
            return None
        installed = _release(frame)
        if installed == __version__:
            return process
        self._is_other = True
        log.warning(
            "otel-bridge %s is installed, %s runs: until it starts anew it makes batches ready itself",
            installed, __version__,
        )  # fmt: skip
        return None

    def _read(self, process: subprocess.Popen[bytes]) -> bytes | None:
        assert process.stdout is not None
        frame = read_frame(process.stdout)
        if frame is None and not self._closing:
            log.warning("the process for batches does not answer: it is ended")
        return frame

    def _end_late(self) -> None:
        process = self._process
        if process is not None:
            process.kill()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


class _Work:
    """The process's own side."""

    def __init__(self, settings: Settings) -> None:
        self._redactor = Redactor(settings.redaction, settings.regions)
        self._preparation = Preparation(settings.key, self._redactor.leaves)

    def answer(self, question: Body | Texts) -> Prepared | list[Kept] | None:
        if isinstance(question, Body):
            return self._preparation.prepare(question.body, question.now_us, question.max_chars)
        answer: list[Kept] = []
        for text in question.texts:
            counts: dict[str, int] = {}
            answer.append((self._redactor.redact(text, counts), counts))
        return answer


def main() -> None:
    stdin, stdout = frames.streams()
    frame = read_frame(stdin)
    if frame is None:
        return
    work = _Work(_settings(frame))
    write_frame(stdout, __version__)
    while (frame := read_frame(stdin)) is not None:
        try:
            write_frame(stdout, work.answer(_question(frame)))
        except BrokenPipeError:
            return


if __name__ == "__main__":
    main()
