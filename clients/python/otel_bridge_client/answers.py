"""`medir_respuesta`: measures a call of a model, and reads off its answer or stream what it says of itself."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import Any, Callable, TypeVar

from otel_bridge_client.client import BridgeClient
from otel_bridge_client.measures import Measure
from otel_bridge_client.streams import is_stream, watched
from otel_bridge_client.subjects import Option, Subject
from otel_bridge_client.usage import Usage, add_item, add_usage, output_of, text_of

F = TypeVar("F")
Count = Callable[[dict[str, Any], str], "tuple[int, int]"]
"""(the call's keyword arguments, the text of the answer so far) → tokens in, tokens out"""


def medir_respuesta(
    client: BridgeClient,
    event_type: Option,
    *,
    session: Option = None,
    user: Option = None,
    conversation: Option = None,
    content: Option = None,
    version: Option = None,
    count: Count | None = None,
) -> Callable[[F], F]:
    """Wraps a function that calls a model: `openai.responses.create`, `…chat.completions.create`, `….stream`, those of
    the asynchronous client, of a compatible API, or one of yours that returns what they return. The answer comes back
    as it is; a stream is watched while you consume it, and recorded when it is over, closed or forgotten.

    Options as `medir` has them, each a value or a function of the call's arguments. `count`: tells tokens where the
    answer does not; without it such an event is dropped as `no_usage`, for tokens are never invented. A call that
    fails is recorded whatever is known: it is an error, with the tokens that were told, or none."""
    subject = Subject(
        client,
        event_type,
        session=session,
        user=user,
        conversation=conversation,
        content=content,
        version=version,
    )

    def decorate(function: F) -> F:
        call: Any = function

        def begin(arguments: Any, options: dict[str, Any]) -> _Answer:
            return _Answer(client, subject.begin(*arguments, **options), options, count)

        async def finish(answer: _Answer, coming: Any) -> Any:
            try:
                with answer.measure.entered():
                    result = await coming
            except BaseException as error:
                answer.ended(error)
                raise
            return answer.given(result)

        async def measured_async(*arguments: Any, **options: Any) -> Any:
            return await finish(begin(arguments, options), call(*arguments, **options))

        def measured(*arguments: Any, **options: Any) -> Any:
            answer = begin(arguments, options)
            try:
                with answer.measure.entered():
                    result = call(*arguments, **options)
            except BaseException as error:
                answer.ended(error)
                raise
            if inspect.isawaitable(result) and not is_stream(result):
                return finish(answer, result)
            return answer.given(result)

        wrapped: F = functools.wraps(call)(measured_async if inspect.iscoroutinefunction(call) else measured)  # type: ignore[assignment]
        return wrapped

    return decorate


class _Answer:
    """One call, from its start to its only event. A watcher of streams."""

    def __init__(self, client: BridgeClient, measure: Measure, request: dict[str, Any], count: Count | None) -> None:
        self.measure = measure
        self._client = client
        self._request = request
        self._count = count
        self._usage = Usage()
        self._text: list[str] = []
        self._last_ms: float | None = None
        self._lock = threading.Lock()
        self._recorded = False

    def given(self, result: Any) -> Any:
        """What the call returned, to hand on."""
        try:
            if is_stream(result):
                return watched(result, self)
            add_usage(self._usage, result)
            if self._count is not None:
                self._text.append(text_of(result))
            self.ended()
        except Exception as error:
            self._client.note("internal", f"medir_respuesta: {type(error).__name__}")
        return result

    def begun(self) -> None:
        self.measure.restart()

    def item(self, item: Any) -> None:
        try:
            piece = output_of(item)
            if piece:
                self.measure.first_token()
                if self._count is not None:
                    self._text.append(piece)
            self._last_ms = self.measure.elapsed_ms()
            add_item(self._usage, item)
            if self._usage.over:
                self.ended()
        except Exception as error:
            self._client.note("internal", f"medir_respuesta: {type(error).__name__}")

    def ended(self, error: BaseException | None = None) -> None:
        with self._lock:
            if self._recorded:
                return
            self._recorded = True
        measure = self.measure
        failed = error is not None and not isinstance(error, GeneratorExit)
        # A consumer that thinks between two items, or holds a stream open, is not the model's time.
        latency = measure.elapsed_ms() if failed or self._last_ms is None else self._last_ms
        measure.take(self._usage)
        if failed:
            measure.error = measure.error or type(error).__name__
        if not self._usage.known and not self._counted() and measure.error is None:
            self._client.drop(measure.event_id, measure.session_id, "no_usage")
            return
        self._client.record(measure, latency)

    def _counted(self) -> bool:
        if self._count is None:
            return False
        try:
            self.measure.tokens(*self._count(self._request, "".join(self._text)))
            return True
        except Exception as error:
            self._client.note("option", f"count: {type(error).__name__}")
            return False
