"""Looks on while a stream is consumed, at the consumer's pace, and changes nothing of it.

The streams of the `openai` package read themselves through an attribute, which is replaced: the caller keeps the very
object. Any other iterator is returned in a shell that passes everything through.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any, Callable, Protocol


class Watcher(Protocol):
    """Is told what happens. Must not raise."""

    def begun(self) -> None:
        """The request is made now: only of streams that are entered first."""

    def item(self, item: Any) -> None: ...

    def ended(self, error: BaseException | None = None) -> None:
        """By itself, by an exception, closed or forgotten. May be called again."""


def is_stream(thing: Any) -> bool:
    """Whether it gives its answer bit by bit. A list or a response does not."""
    kind = type(thing)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__") or is_manager(thing)


def is_manager(thing: Any) -> bool:
    """Whether the request is made where it is entered, as with `responses.stream(…)`. What can be iterated, such as a
    response of `requests`, is a thing of its own that a shell would be no stand-in for."""
    kind = type(thing)
    iterates = hasattr(kind, "__iter__") or hasattr(kind, "__aiter__")
    return not iterates and (hasattr(kind, "__enter__") or hasattr(kind, "__aenter__"))


def watched(stream: Any, watcher: Watcher) -> Any:
    """The stream, or its shell."""
    if is_manager(stream):
        return _Manager(stream, watcher)
    inner: Any = getattr(stream, "_iterator", None)
    try:
        if hasattr(type(inner), "__next__"):
            stream._iterator = _items(inner, watcher)
        elif hasattr(type(inner), "__anext__"):
            stream._iterator = _async_items(inner, watcher)
        else:
            return _shell(stream, watcher)
        _watch_close(stream, watcher)
    except (AttributeError, TypeError):
        return _shell(stream, watcher)
    return stream


def _shell(stream: Any, watcher: Watcher) -> Any:
    return _AsyncShell(stream, watcher) if hasattr(type(stream), "__anext__") else _Shell(stream, watcher)


def _watch_close(stream: Any, watcher: Watcher) -> None:
    """`close` of the object, which its `__exit__` calls too; and its being forgotten."""
    weakref.finalize(stream, watcher.ended).atexit = False
    before = vars(stream).get("close")
    kind = type(stream)
    mine = weakref.ref(stream)  # no circle: a forgotten stream gives its connection back at once

    def close() -> Any:
        """Of an asynchronous stream, something to await."""
        watcher.ended()
        return before() if before is not None else kind.close(mine())

    stream.close = close


@contextlib.contextmanager
def _ending(watcher: Watcher) -> Iterator[None]:
    """Tells how what is read within ends: whole, closed by its reader, or with an error."""
    try:
        yield
    except GeneratorExit:
        watcher.ended()
        raise
    except BaseException as error:
        watcher.ended(error)
        raise
    watcher.ended()


def _items(inner: Iterator[Any], watcher: Watcher) -> Iterator[Any]:
    with _ending(watcher):
        for item in inner:
            watcher.item(item)
            yield item


async def _async_items(inner: AsyncIterator[Any], watcher: Watcher) -> AsyncIterator[Any]:
    with _ending(watcher):
        async for item in inner:
            watcher.item(item)
            yield item


class _Passing:
    """Passes on what it does not watch, and says that it is what it holds."""

    _thing: Any

    def __init__(self, thing: Any, watcher: Watcher) -> None:
        object.__setattr__(self, "_thing", thing)
        object.__setattr__(self, "_watcher", watcher)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._thing, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._thing, name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._thing)

    def __repr__(self) -> str:
        return repr(self._thing)


class _Shell(_Passing):
    """Around an iterator or a generator."""

    _watcher: Watcher

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._step(self._thing.__next__)

    def send(self, value: Any) -> Any:
        return self._step(self._thing.send, value)

    def throw(self, *error: Any) -> Any:
        return self._step(self._thing.throw, *error)

    def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            item = step(*arguments)
        except StopIteration:
            self._watcher.ended()
            raise
        except BaseException as error:
            self._watcher.ended(error)
            raise
        self._watcher.item(item)
        return item

    def close(self) -> Any:
        self._watcher.ended()
        return self._thing.close()

    def __enter__(self) -> Any:
        self._thing.__enter__()
        return self

    def __exit__(self, *exception: Any) -> Any:
        self._watcher.ended(exception[1])
        return self._thing.__exit__(*exception)

    def __del__(self) -> None:
        self._watcher.ended()


class _AsyncShell(_Passing):
    """Around an asynchronous one."""

    _watcher: Watcher

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._step(self._thing.__anext__)

    async def asend(self, value: Any) -> Any:
        return await self._step(self._thing.asend, value)

    async def athrow(self, *error: Any) -> Any:
        return await self._step(self._thing.athrow, *error)

    async def _step(self, step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            item = await step(*arguments)
        except StopAsyncIteration:
            self._watcher.ended()
            raise
        except BaseException as error:
            self._watcher.ended(error)
            raise
        self._watcher.item(item)
        return item

    async def aclose(self) -> Any:
        self._watcher.ended()
        return await self._thing.aclose()

    async def close(self) -> Any:
        self._watcher.ended()
        return await self._thing.close()

    async def __aenter__(self) -> Any:
        await self._thing.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        self._watcher.ended(exception[1])
        return await self._thing.__aexit__(*exception)

    def __del__(self) -> None:
        self._watcher.ended()


class _Manager(_Passing):
    """Around what makes the request when it is entered."""

    _watcher: Watcher

    def __enter__(self) -> Any:
        self._watcher.begun()
        try:
            return _entered(self._thing.__enter__(), self._watcher)
        except BaseException as error:
            self._watcher.ended(error)
            raise

    def __exit__(self, *exception: Any) -> Any:
        self._watcher.ended(exception[1])
        return self._thing.__exit__(*exception)

    async def __aenter__(self) -> Any:
        self._watcher.begun()
        try:
            return _entered(await self._thing.__aenter__(), self._watcher)
        except BaseException as error:
            self._watcher.ended(error)
            raise

    async def __aexit__(self, *exception: Any) -> Any:
        self._watcher.ended(exception[1])
        return await self._thing.__aexit__(*exception)


def _entered(inside: Any, watcher: Watcher) -> Any:
    if is_stream(inside):
        return watched(inside, watcher)
    watcher.item(inside)
    return inside
