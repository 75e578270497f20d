"""What is folded from records as a page's text, by a process of its own on another core. For 1,000 GPTs that is 48 MB
at each scrape: beside the event loop, a thread that writes them doubles the time of the slowest answers.

It folds what is journaled from a dump of what this process has counted: the same records in the same order give the
same state. It never goes past the last record that it was told of. So it is always as of a moment at which its
configuration was in force; with another one it is ended, and starts anew from a dump.

Nothing depends on it. Where it is not there, or cannot say it, the page is written here, as without it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import msgspec

from otel_bridge import __version__, gzipped, journal
from otel_bridge.config import Config, Gpt
from otel_bridge.errors import OperatorError
from otel_bridge.export import frames
from otel_bridge.export.answering import AnsweringProcess
from otel_bridge.export.frames import read_frame, write_frame
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.gzipped import Begun
from otel_bridge.journal import StoreError
from otel_bridge.metrics.scrapers import LabelSet
from otel_bridge.metrics.state import MetricState
from otel_bridge.metrics.text import FamilyText
from otel_bridge.records import decode

MIN_SERIES = 100_000
"""Fewer are written here: that takes less time than is worth a process, which takes the memory of all series again."""
START_SECONDS = 30.0
ANSWER_SECONDS = 2.0
"""That a page waits for it; Prometheus waits ten for the page, and this process needs less than one to write it."""
MAX_BEHIND = 100_000
"""Records that it folds for one page. Past that it is ended: a dump is nearer."""
PAUSE_SECONDS = 60.0
"""From one that could not answer to the next start."""
UNWANTED_SECONDS = 600.0
"""Without a page after which it is ended: its memory is for somebody who scrapes."""
_SEGMENTS = 500
"""That are read at a time."""


class Settings(msgspec.Struct, array_like=True):
    """What it begins with."""

    journal: str
    """Its URL."""
    gpts: dict[str, Gpt]
    max_models: int
    max_errors: int
    seq: int
    """Of the last record in `state`."""
    state: bytes
    """As `MetricState.dump_at` gave it."""


class Follow(msgspec.Struct, array_like=True, tag="follow"):
    """It may fold so far. Answered by True where it is there."""

    seq: int


class Write(msgspec.Struct, array_like=True, tag="write"):
    """The text as of this record. Answered by a `Begun`; None: it cannot say."""

    seq: int
    openmetrics: bool
    held: list[LabelSet]
    """Label sets that are at 0."""


_settings = msgspec.msgpack.Decoder(Settings).decode
_question = msgspec.msgpack.Decoder(Follow | Write).decode
_begun = msgspec.msgpack.Decoder(Begun | None).decode
_there = msgspec.msgpack.Decoder(bool).decode


class PageProcess:
    """Called from any thread. What is asked waits for its turn in a thread of its own."""

    def __init__(self, begin: Callable[[], tuple[Config, int, bytes]]) -> None:
        """`begin`: what the process begins with: the configuration in force, the sequence number of the last record
        that is counted, and the state as of it as `MetricState.dump_at` gives it. Called in that thread."""
        self._begin = begin
        self._process = AnsweringProcess(__name__, "pages", self._settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="page-process")
        self._lock = threading.Lock()
        self._doing: Future[Any] | None = None
        """What its thread was given last."""
        self._is_ready = self._is_closed = False
        self._generation = self._of = 0
        """Of the configuration: as it is now, and as the process began with it."""
        self._not_before = 0.0
        self._wanted_at = 0.0
        """When a page was asked for last."""

    def reconfigured(self) -> None:
        """Another configuration counts from now on. Called before it does."""
        self._generation += 1

    def follow(self, seq: int) -> None:
        """Lets it fold up to this record, so that a page has less to wait for. Asked about once a second; waits for
        nothing."""
        with self._lock:
            if self._is_ready and self._is_idle:
                self._doing = self._thread.submit(self._follow, seq)

    def write(self, seq: int, openmetrics: bool, held: list[LabelSet]) -> Begun | None:
        """What is folded up to this record, as text in gzip. None: it has to be written here."""
        with self._lock:
            now = self._wanted_at = time.monotonic()
            if not self._is_ready:
                if self._is_idle and now >= self._not_before:
                    self._doing = self._thread.submit(self._start)
                return None
            asked = self._doing = self._thread.submit(self._write, Write(seq, openmetrics, held))
        written: Begun | None = asked.result()
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
        config, seq, state = self._begin()
        gpts, models, errors = dict(config.gpts), config.max_models_per_gpt, config.max_errors_per_gpt
        return Settings(config.journal, gpts, models, errors, seq, state)

    def _start(self) -> None:
        if self._process.start(START_SECONDS):
            self._is_ready = True
        else:
            self._end(PAUSE_SECONDS)

    def _follow(self, seq: int) -> None:
        if time.monotonic() - self._wanted_at > UNWANTED_SECONDS:
            self._end(0)
        elif self._is_current and not self._process.ask(Follow(seq), _there, ANSWER_SECONDS):
            self._end(PAUSE_SECONDS)

    def _write(self, question: Write) -> Begun | None:
        if not self._is_current:
            return None
        written = self._process.ask(question, _begun, ANSWER_SECONDS)
        if written is None:
            self._end(PAUSE_SECONDS)
        return written

    @property
    def _is_current(self) -> bool:
        """Whether it counts by the configuration in force. One that does not is ended."""
        if self._of != self._generation:
            self._end(0)
        return self._is_ready

    def _end(self, pause: float) -> None:
        """The next page after so many seconds starts another."""
        self._is_ready = False
        self._not_before = time.monotonic() + pause
        self._process.end()


class _Pages:
    """The process's own side."""

    def __init__(self, settings: Settings) -> None:
        self._state = MetricState(settings.gpts, settings.max_models, settings.max_errors)
        self._state.load(settings.seq, settings.state)
        self._reader = journal.open_reader(settings.journal, CONSUMER)
        self._text = FamilyText()

    def answer(self, question: Follow | Write) -> bool | Begun | None:
        followed = self._follow(question.seq)
        if isinstance(question, Follow):
            return followed
        if not followed:
            return None
        return gzipped.begun(self._families(question.openmetrics, frozenset(question.held)))

    def _families(self, openmetrics: bool, held: frozenset[LabelSet]) -> Iterator[bytes]:
        for metric, rows in self._state.snapshot():
            yield from self._text.render(metric, rows, openmetrics, held)

    def _follow(self, seq: int) -> bool:
        """Whether the state is as of this record now. Not where a record cannot be read, that this process has folded
        nevertheless, from memory."""
        state = self._state
        if seq - state.seq > MAX_BEHIND:
            return False
        try:
            while state.seq < seq:
                segments = self._reader.segments(state.seq, _SEGMENTS)
                if not segments:
                    return False
                for segment in segments:
                    if state.seq == seq:
                        break
                    if segment.damaged or segment.last - segment.size != state.seq or segment.last > seq:
                        return False
                    state.apply(decode(segment.body), segment.last)
        except StoreError:
            return False
        return state.seq == seq


def main() -> None:
    stdin, stdout = frames.streams()
    frame = read_frame(stdin)
    if frame is None:
        return
    try:
        pages = _Pages(_settings(frame))
    except OperatorError:  # the bridge itself says what its journal has
        return
    with contextlib.suppress(BrokenPipeError):
        write_frame(stdout, __version__)
        while (frame := read_frame(stdin)) is not None:
            write_frame(stdout, pages.answer(_question(frame)))


if __name__ == "__main__":
    main()
