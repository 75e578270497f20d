"""`medir`: measures a block, a function, a coroutine or a generator, and records it as one event."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar, cast

from otel_bridge_client.client import BridgeClient
from otel_bridge_client.measures import Measure, current
from otel_bridge_client.subjects import Option, Subject

F = TypeVar("F")


def medir(
    client: BridgeClient,
    event_type: Option,
    *,
    session: Option = None,
    user: Option = None,
    conversation: Option = None,
    content: Option = None,
    model: Option = None,
    version: Option = None,
    event_id: Option = None,
) -> Medir:
    """For `with`, `async with`, or above a function. An exception marks the event as failed with its class's name, and
    goes on.

    `session`: an id. Without one: that of `conversation` and `user`; without those, the one that this code runs in
    (a tool that `instrument` measures, an outer `medir`), else this process's anonymous one.
    `content`: nothing is sent unless you say what. `event_id`: your own, to rate the event later.
    Above a function each of them may be a function of its arguments."""
    return Medir(
        Subject(
            client,
            event_type,
            session=session,
            user=user,
            conversation=conversation,
            content=content,
            model=model,
            version=version,
            event_id=event_id,
        )
    )


class Medir:
    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._open: dict[Measure | None, AbstractContextManager[None]] = {}

    def __enter__(self) -> Measure:
        measure = self._subject.begin()
        entered = measure.entered()
        entered.__enter__()
        self._open[measure] = entered
        return measure

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        # One object may be entered by several threads and tasks: each ends its own.
        mine = current()
        measure = mine if mine in self._open else next(reversed(self._open), None)
        if measure is not None:
            self._open.pop(measure).__exit__(None, None, None)
            self._end(measure, error)

    async def __aenter__(self) -> Measure:
        return self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        kinds = (
            (inspect.isasyncgenfunction, self._async_generator),
            (inspect.isgeneratorfunction, self._generator),
            (inspect.iscoroutinefunction, self._coroutine),
        )
        wrap = next((wrap for is_it, wrap in kinds if is_it(function)), self._function)
        wrapped: Any = functools.wraps(function)(wrap(function))  # type: ignore[arg-type]
        return cast(F, wrapped)

    def _end(self, measure: Measure, error: BaseException | None = None) -> None:
        if error is not None and not isinstance(error, GeneratorExit):
            measure.error = measure.error or type(error).__name__
        self._subject.client.record(measure)

    # --- what is wrapped --------------------------------------------------------------------------------------------

    def _function(self, function: Any) -> Any:
        def measured(*arguments: Any, **options: Any) -> Any:
            measure = self._subject.begin(*arguments, **options)
            try:
                with measure.entered():
                    result = function(*arguments, **options)
            except BaseException as error:
                self._end(measure, error)
                raise
            if inspect.iscoroutine(result):  # of a function that is none itself, such as a partial
                return self._awaited(measure, result)
            self._end(measure)
            return result

        return measured

    def _coroutine(self, function: Any) -> Any:
        async def measured(*arguments: Any, **options: Any) -> Any:
            measure = self._subject.begin(*arguments, **options)
            return await self._awaited(measure, function(*arguments, **options))

        return measured

    async def _awaited(self, measure: Measure, coroutine: Any) -> Any:
        try:
            with measure.entered():
                result = await coroutine
        except BaseException as error:
            self._end(measure, error)
            raise
        self._end(measure)
        return result

    def _generator(self, function: Any) -> Any:
        def measured(*arguments: Any, **options: Any) -> Generator[Any, Any, Any]:
            measure = self._subject.begin(*arguments, **options)
            inner = function(*arguments, **options)
            step, given = inner.send, None
            try:
                while True:
                    try:
                        with measure.entered():  # only while it runs: its consumer is not inside
                            item = step(given)
                    except StopIteration as stop:
                        self._end(measure)
                        return stop.value
                    try:
                        step, given = inner.send, (yield item)
                    except GeneratorExit:
                        inner.close()
                        raise
                    except BaseException as error:
                        step, given = inner.throw, error
            except BaseException as error:
                self._end(measure, error)
                raise

        return measured

    def _async_generator(self, function: Any) -> Any:
        async def measured(*arguments: Any, **options: Any) -> AsyncIterator[Any]:
            measure = self._subject.begin(*arguments, **options)
            inner = function(*arguments, **options)
            step, given = inner.asend, None
            try:
                while True:
                    try:
                        with measure.entered():
                            item = await step(given)
                    except StopAsyncIteration:
                        self._end(measure)
                        return
                    try:
                        step, given = inner.asend, (yield item)
                    except GeneratorExit:
                        await inner.aclose()
                        raise
                    except BaseException as error:
                        step, given = inner.athrow, error
            except BaseException as error:
                self._end(measure, error)
                raise

        return measured
