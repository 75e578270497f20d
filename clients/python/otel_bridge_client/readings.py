"""What is read off one answer of a model while it comes: usage, time to the first token, text where it is wanted."""

from __future__ import annotations

import inspect
import threading
from typing import Any, Callable, Protocol

from otel_bridge_client.streams import is_stream, watched
from otel_bridge_client.usage import Usage, add_item, add_usage, output_of, text_of


class Clock(Protocol):
    def elapsed_ms(self) -> float: ...

    def first_token(self) -> None: ...

    def restart(self) -> None: ...


class Reading:
    """A watcher of streams. `done` is told once: when the answer is whole, failed, closed or forgotten."""

    def __init__(self, clock: Clock, done: Callable[[Reading, BaseException | None], None], with_text: bool) -> None:
        self.usage = Usage()
        self.last_ms: float | None = None
        """When the last piece came. A consumer that thinks between two, or holds a stream open, is not the model's
        time."""
        self._clock = clock
        self._done = done
        self._with_text = with_text
        self._text: list[str] = []
        self._lock = threading.Lock()
        self._over = False

    @property
    def text(self) -> str:
        return "".join(self._text)

    def given(self, answer: Any) -> Any:
        """The answer, to hand on: a stream may have a shell around it."""
        try:
            if is_stream(answer):
                return watched(answer, self)
            plain = _parsed(answer)
            if is_stream(plain):
                watched(plain, self)
                return answer
            add_usage(self.usage, plain)
            if self._with_text:
                self._text.append(text_of(plain))
        except Exception:  # noqa: S110 what cannot be read says nothing
            pass
        self.ended()
        return answer

    # --- of a stream ------------------------------------------------------------------------------------------------

    def begun(self) -> None:
        self._clock.restart()

    def item(self, item: Any) -> None:
        try:
            piece = output_of(item)
            if piece:
                self._clock.first_token()
                if self._with_text:
                    self._text.append(piece)
            self.last_ms = self._clock.elapsed_ms()
            add_item(self.usage, item)
        except Exception:  # noqa: S110 what cannot be read says nothing
            pass
        if self.usage.over:
            self.ended()

    def ended(self, error: BaseException | None = None) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
        self._done(self, None if isinstance(error, GeneratorExit) else error)


def _parsed(answer: Any) -> Any:
    """What `with_raw_response` of the `openai` package holds: it is parsed once, for us and for the caller."""
    parse = getattr(type(answer), "parse", None)
    if parse is None or not hasattr(answer, "http_response") or inspect.iscoroutinefunction(parse):
        return answer
    return answer.parse()
