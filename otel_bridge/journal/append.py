"""What one request wants journaled, and the wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextvars import Context
from typing import Any, NamedTuple

from otel_bridge.records import Record


class Duplicate(NamedTuple):
    """The record had been taken before."""

    arrived_us: int
    """When the first one arrived. The id that the bridge derived for it follows from its key and that day."""
    part: int = 0
    """The part of its session that the first one is in."""


class Conflict(NamedTuple):
    """The id is known with other content."""


Outcome = Duplicate | Conflict | None
"""What became of one record: None is a new one."""

CONFLICT = Conflict()


class Append:
    """What one request wants journaled, all or nothing but for repeats.

    ``keys[i]`` is the dedup key of record i: what a retry of it is recognised by, if anything. ``digests[i]`` (16
    bytes) is a digest of its content where the key says nothing of it (an id that the client chose). A session whose
    id the client chose has a digest and no key: the session itself is what remembers it.

    It is awaited itself, on the event loop, by one coroutine: it has the methods that a task asks of a future. (A
    future beside it costs an event 1.7 µs: to be made, and to pass its result through the loop's queue.)
    """

    outcomes: list[Outcome] | None = None
    """Set by the commit: one entry a record, or None where all were new."""
    _asyncio_future_blocking = False
    _callback: Callable[[Any], object] | None = None
    _error: Exception | None = None
    _settled = False

    def __init__(
        self, records: list[Record], keys: list[bytes | None], digests: dict[int, bytes] | None = None
    ) -> None:
        self.records = records
        self.keys = keys
        self.digests = {} if digests is None else digests

    def settle(self, error: Exception | None) -> None:
        """What waits goes on: the append is committed, or `error` says why it is not. On the event loop."""
        self._settled, self._error = True, error
        callback, self._callback = self._callback, None
        if callback is not None:
            callback(self)

    def __await__(self) -> Generator[Any, None, Append]:
        if not self._settled:
            self._asyncio_future_blocking = True
            yield self
        return self.result()

    # --- what a task asks of a future (asyncio.isfuture) ------------------------------------------------------------

    def result(self) -> Append:
        if self._error is not None:
            raise self._error
        return self

    def exception(self) -> Exception | None:
        return self._error

    def done(self) -> bool:
        return self._settled

    def cancelled(self) -> bool:
        return False

    def cancel(self, msg: object = None) -> bool:
        """Nothing that is handed to the journal can be taken back: a task that is cancelled learns it afterwards."""
        return False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        assert self._callback is None, "an append is awaited by one coroutine"
        if self._settled:
            self.get_loop().call_soon(callback, self, context=context)
        elif context is None:
            self._callback = callback
        else:
            self._callback = lambda append: context.run(callback, append)

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        self._callback = None
        return 1


def new_records(appends: Sequence[Append]) -> list[Record]:
    """The records of these appends, once they are written, that were new: in sequence order."""
    new: list[Record] = []
    for append in appends:
        if append.outcomes is None:
            new += append.records
        else:
            new += [r for r, outcome in zip(append.records, append.outcomes, strict=True) if outcome is None]
    return new
