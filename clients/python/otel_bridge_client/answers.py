"""`medir_respuesta`: measures a call of a model, and reads off its answer or stream what it says of itself."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, TypeVar

from otel_bridge_client.client import BridgeClient
from otel_bridge_client.measures import Measure
from otel_bridge_client.readings import Reading
from otel_bridge_client.streams import is_stream
from otel_bridge_client.subjects import Option, Subject

F = TypeVar("F")
Count = Callable[..., Any]
"""(the answer's text so far, *the call's arguments) → (tokens in, out), and cached and reasoning where you know them"""


def medir_respuesta(
    client: BridgeClient,
    event_type: Option,
    *,
    session: Option = None,
    user: Option = None,
    conversation: Option = None,
    content: Option = None,
    version: Option = None,
    event_id: Option = None,
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
        event_id=event_id,
    )

    def decorate(function: F) -> F:
        call: Any = function

        def begin(arguments: Any, options: dict[str, Any]) -> tuple[Measure, Reading]:
            measure = subject.begin(*arguments, **options)
            tell = None if count is None else functools.partial(_tell, count, arguments, options)
            return measure, Reading(measure, functools.partial(_record, client, measure, tell), count is not None)

        async def finish(measure: Measure, reading: Reading, coming: Any) -> Any:
            try:
                with measure.entered():
                    answer = await coming
            except BaseException as error:
                reading.ended(error)
                raise
            return reading.given(answer)

        async def measured_async(*arguments: Any, **options: Any) -> Any:
            return await finish(*begin(arguments, options), call(*arguments, **options))

        def measured(*arguments: Any, **options: Any) -> Any:
            measure, reading = begin(arguments, options)
            try:
                with measure.entered():
                    answer = call(*arguments, **options)
            except BaseException as error:
                reading.ended(error)
                raise
            if inspect.isawaitable(answer) and not is_stream(answer):
                return finish(measure, reading, answer)
            return reading.given(answer)

        wrapped: Any = functools.wraps(call)(measured_async if inspect.iscoroutinefunction(call) else measured)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def _tell(count: Count, arguments: Any, options: dict[str, Any], text: str) -> Any:
    return count(text, *arguments, **options)


def _record(
    client: BridgeClient, measure: Measure, tell: Callable[[str], Any] | None, reading: Reading, error: Any
) -> None:
    latency = measure.elapsed_ms() if error is not None or reading.last_ms is None else reading.last_ms
    measure.add(reading.usage)
    if error is not None:
        measure.error = measure.error or type(error).__name__
    if not reading.usage.known and tell is not None:
        try:
            measure.tokens(*tell(reading.text))
        except Exception as problem:
            client.note("option", f"count: {type(problem).__name__}")
    client.record(measure, latency)
