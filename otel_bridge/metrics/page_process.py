"""What is folded from records as a page's text, by a process of its own on another core. For 1,000 GPTs that is 48 MB
at each scrape: beside the event loop, a thread that writes them doubles the time of the slowest answers.

It folds what is journaled from a dump of what this process has counted: the same records in the same order give the
same state. It never goes past the last record that it was told of. So it is always as of a moment at which its
configuration was in force; with another one it is ended, and starts anew from a dump.

Nothing depends on it. Where it is not there, or cannot say it, the page is written here, as without it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from otel_bridge import gzipped, journal
from otel_bridge.config import Gpt
from otel_bridge.errors import OperatorError
from otel_bridge.export import answering
from otel_bridge.export.answering import AnsweringProcess
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.gzipped import Begun
from otel_bridge.journal import StoreError
from otel_bridge.metrics.scrapers import LabelSet
from otel_bridge.metrics.state import MetricState
from otel_bridge.metrics.text import FamilyText
from otel_bridge.records import decode

log = logging.getLogger(__name__)

R = TypeVar("R")

MIN_SERIES = 100_000
"""Fewer are written here: that takes less time than is worth a process, which takes the memory of all series again."""
START_SECONDS = 30.0
ANSWER_SECONDS = 2.0
"""That a page waits for it; Prometheus waits four for the page. It takes 0.3 s for 1,000 GPTs."""
MAX_BEHIND = 100_000
"""Records that it folds for one page. Past that it is ended: a dump is nearer."""
PAUSE_SECONDS = (60.0, 3_600.0)
"""From one that could not answer to the next start, the first time and at the most. Each time it is twice as long."""
UNWANTED_SECONDS = 600.0
"""Without a page after which it is ended: its memory is for somebody who scrapes."""
_SEGMENTS = 500
"""That are read at a time."""


class Settings(msgspec.Struct, array_like=True):
    """What it begins with, as of one moment."""

    journal: str
    """Its URL."""
    gpts: dict[str, Gpt]
    """As configured."""
    left: dict[str, Gpt]
    """As `MetricState.left` has them."""
    max_models: int
    max_errors: int
    seq: int
    """Of the last record in `state`."""
    state: bytes
    """As `MetricState.dump_at` gave it."""


class Follow(msgspec.Struct, array_like=True, tag="follow"):
    """It may fold so far. Answered by True where it is there, or further."""

    seq: int


class Write(msgspec.Struct, array_like=True, tag="write"):
    """The text as of this record. Answered by a `Begun`; True: it is further; False: it cannot say."""

    seq: int
    openmetrics: bool
    held: list[LabelSet]
    """Label sets that are at 0."""


_settings = msgspec.msgpack.Decoder(Settings).decode
_question = msgspec.msgpack.Decoder(Follow | Write).decode
_begun = msgspec.msgpack.Decoder(Begun | bool).decode
_there = msgspec.msgpack.Decoder(bool).decode


class PageProcess:
    """Called from any thread. What is asked waits for its turn in a thread of its own."""

    def __init__(self, begin: Callable[[], Settings]) -> None:
        """`begin`: called in that thread."""
        self._begin = begin
        self._process = AnsweringProcess(__name__, "pages", self._settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="page-process")
        self._lock = threading.Lock()
        self._doing: Future[Any] | None = None
        """What its thread was given last."""
        self._is_ready = self._is_closed = False
        self._generation = self._of = 0
        """Of the configuration: as it is now, and as the process began with it."""
        self._not_before, self._pause = 0.0, PAUSE_SECONDS[0]
        self._wanted_at = 0.0
        """When a page was asked for last."""
        self._counted = 0
        """What `follow` was told last."""

    def reconfigured(self) -> None:
        """Another configuration counts from now on. Called before it does."""
        self._generation += 1

    def follow(self, seq: int) -> None:
        """Lets it fold up to the record that was told the time before: a page has less to wait for, and is seldom
        overtaken while it is made. Asked about once a second; waits for nothing."""
        with self._lock:
            before, self._counted = self._counted, seq
            if self._is_ready and self._is_idle:
                self._doing = self._thread.submit(self._guarded, self._follow, Follow(before))

    def write(self, seq: int, openmetrics: bool, held: list[LabelSet]) -> Begun | None:
        """What is folded up to this record, as text in gzip. None: it has to be written here."""
        with self._lock:
            now = self._wanted_at = time.monotonic()
            if not self._is_ready:
                if self._is_idle and now >= self._not_before:
                    self._doing = self._thread.submit(self._guarded, self._start)
                return None
            question = Write(seq, openmetrics, held)
            asked = self._doing = self._thread.submit(self._guarded, self._write, question)
        try:
            written: Begun | None = asked.result(ANSWER_SECONDS)
        except TimeoutError:
            asked.cancel()
            return None
        return written

    def close(self) -> None:
        """Waits for no answer."""
        with self._lock:
            self._is_closed, self._is_ready = True, False
        self._process.close()
        self._thread.shutdown(wait=True)
        self._process.end()

    @property
    def _is_idle(self) -> bool:
        return not self._is_closed and (self._doing is None or self._doing.done())

    # --- in its thread ------------------------------------------------------------------------------------------------

    def _settings(self) -> Settings:
        self._of = self._generation
        return self._begin()

    def _guarded(self, run: Callable[..., R], *question: Any) -> R | None:
        try:
            return run(*question)
        except Exception:
            log.exception("the process for pages cannot be used")
            self._fail()
            return None

    def _start(self) -> None:
        started = self._process.start(START_SECONDS)
        with self._lock:
            self._is_ready = started and not self._is_closed
        if not started:
            self._fail()

    def _follow(self, question: Follow) -> None:
        if time.monotonic() - self._wanted_at > UNWANTED_SECONDS:
            self._end()
        elif self._is_current and not self._process.ask(question, _there, ANSWER_SECONDS):
            self._fail()

    def _write(self, question: Write) -> Begun | None:
        if not self._is_current:
            return None
        written = self._process.ask(question, _begun, ANSWER_SECONDS)
        if isinstance(written, Begun):
            self._pause = PAUSE_SECONDS[0]
            return written
        if written is not True:
            self._fail()
        return None

    @property
    def _is_current(self) -> bool:
        """Whether it counts by the configuration in force. One that does not is ended."""
        if self._of != self._generation:
            self._end()
        return self._is_ready

    def _fail(self) -> None:
        """After a pause, the next page starts another."""
        self._end()
        if not self._is_closed:
            log.warning("pages are written without a process of their own for %g s", self._pause)
        self._not_before = time.monotonic() + self._pause
        self._pause = min(PAUSE_SECONDS[1], 2 * self._pause)

    def _end(self) -> None:
        """The next page starts another."""
        self._is_ready = False
        self._process.end()


class _Pages:
    """The process's own side."""

    def __init__(self, settings: Settings) -> None:
        self._state = MetricState(settings.gpts, settings.max_models, settings.max_errors)
        self._state.load(settings.seq, settings.state, settings.left)
        self._reader = journal.open_reader(settings.journal, CONSUMER)
        self._text = FamilyText()
        for _ in self._families(True, frozenset()):  # so that the first page has as little to do as the others
            pass

    def answer(self, frame: bytes) -> bool | Begun:
        question = _question(frame)
        at = self._follow(question.seq)
        if isinstance(question, Follow) or at != question.seq:
            return at is not None
        return gzipped.begun(self._families(question.openmetrics, frozenset(question.held)))

    def _families(self, openmetrics: bool, held: frozenset[LabelSet]) -> Iterator[bytes]:
        for metric, rows in self._state.snapshot():
            yield from self._text.render(metric, rows, openmetrics, held)

    def _follow(self, seq: int) -> int | None:
        """Folds up to this record. What record the state is as of then; None: it cannot be had, since one before it
        cannot be read, that the bridge has folded from memory, or since it is too far."""
        state = self._state
        if seq - state.seq > MAX_BEHIND:
            return None
        try:
            while state.seq < seq:
                segments = self._reader.segments(state.seq, _SEGMENTS)
                if not segments:
                    return None
                for segment in segments:
                    if state.seq >= seq:
                        break
                    if segment.damaged or segment.last - segment.size != state.seq:
                        return None
                    state.apply(decode(segment.body), segment.last)
        except StoreError:
            return None
        return state.seq


def main() -> None:
    with contextlib.suppress(OperatorError):  # the bridge itself says what its journal has
        answering.answer(lambda settings: _Pages(_settings(settings)).answer)


if __name__ == "__main__":
    main()
