"""One measurement: what `question`, `medir` and `instrument` hand out, and turn into an event when it ends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from otel_bridge_client.ids import new_uuid
from otel_bridge_client.readings import Reading
from otel_bridge_client.usage import Usage

_current: ContextVar[Measure | None] = ContextVar("otel_bridge_client_measure", default=None)


class Measure:
    """Fill in what is known. Nothing of it raises."""

    def __init__(
        self,
        session_id: str,
        event_type: str,
        content: str = "",
        *,
        model: str | None = None,
        version: str | None = None,
        event_id: str | None = None,
    ) -> None:
        self.event_id = event_id or new_uuid()
        """Known from the start: `client.rate(m.event_id, 1)` may follow at any time."""
        self.session_id = session_id
        self.event_type = event_type
        self.content = content
        self.tokens_in: int = 0
        self.tokens_out: int = 0
        self.tokens_cached: int | None = None
        self.tokens_reasoning: int | None = None
        self.ttft_ms: float | None = None
        self.model = model
        self.version = version
        self.error: str | None = None
        self.tools: list[dict[str, Any]] = []
        self._unknown = 0
        self._started = time.perf_counter()

    def tokens(
        self, tokens_in: int, tokens_out: int, tokens_cached: int | None = None, tokens_reasoning: int | None = None
    ) -> None:
        self.tokens_in, self.tokens_out, self.tokens_cached = tokens_in, tokens_out, tokens_cached
        self.tokens_reasoning = tokens_reasoning
        self._unknown = 0

    @property
    def unknown(self) -> bool:
        """Whether an answer was read that does not say its tokens, or not yet, and nobody told them."""
        return self._unknown > 0

    def first_token(self) -> None:
        """The answer's first token is here. Only the first call counts."""
        if self.ttft_ms is None:
            self.ttft_ms = self.elapsed_ms()

    def restart(self) -> None:
        """What was measured so far was not yet the call."""
        self._started = time.perf_counter()

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000

    @contextlib.contextmanager
    def tool(self, name: str) -> Iterator[None]:
        """A tool that is called on the way to the answer: name, time and error go with the event."""
        started = time.perf_counter()
        call: dict[str, Any] = {"name": name}
        try:
            yield
        except BaseException as error:
            call["error"] = type(error).__name__
            raise
        finally:
            call["ms"] = (time.perf_counter() - started) * 1000
            self.tools.append(call)

    def read(self, answer: Any) -> Any:
        """Adds tokens, model and error of a response of OpenAI's API, or of one alike; returns it. A stream is read
        while you consume it. An answer that does not say its tokens costs the event, unless you tell them."""
        self._unknown += 1
        return Reading(self, lambda reading, error: self._read(reading.usage), with_text=False).given(answer)

    def _read(self, usage: Usage) -> None:
        self._unknown = max(0, self._unknown - 1)
        self.add(usage)

    def add(self, usage: Usage) -> None:
        if usage.known:
            self.tokens_in += usage.tokens_in
            self.tokens_out += usage.tokens_out
            self.tokens_cached = _sum(self.tokens_cached, usage.tokens_cached)
            self.tokens_reasoning = _sum(self.tokens_reasoning, usage.tokens_reasoning)
        else:
            self._unknown += 1
        self.model = usage.model or self.model
        self.error = usage.error or self.error

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """What runs inside finds it as `current()`."""
        token = _current.set(self)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # an asynchronous generator that another task closed
                _current.reset(token)


Question = Measure


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None and other is None else (one or 0) + (other or 0)


def current() -> Measure | None:
    """The measurement that this code runs in: of `medir`, of a tool that `instrument` measures; else None."""
    return _current.get()
