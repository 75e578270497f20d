"""Connections that are made anew before they grow old.

A connection that works is never looked at again: the endpoint's name may lead elsewhere by now, and what still answers
at the old address be about to go, or no longer what the name stands for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

MAX_AGE_SECONDS = 60.0

T = TypeVar("T")


class _Made(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value
        self.until = time.monotonic() + MAX_AGE_SECONDS
        self.users = 0


class Renewed(Generic[T]):
    """What `make` makes, made anew for the first who asks after `MAX_AGE_SECONDS` or after `renew`. The old one is
    closed when its last user is done. From any thread."""

    def __init__(self, make: Callable[[], T], close: Callable[[T], None]) -> None:
        """Raises what `make` raises: so does `use`, where it is due."""
        self._make = make
        self._close = close
        self._lock = threading.Lock()
        self._current: _Made[T] | None = _Made(make())

    @contextmanager
    def use(self) -> Iterator[T]:
        with self._lock:
            made, unused = self._current, None
            if made is None or time.monotonic() > made.until:
                fresh = _Made(self._make())
                unused = self._replace(fresh)
                made = fresh
            made.users += 1
        self._end(unused)
        try:
            yield made.value
        finally:
            with self._lock:
                made.users -= 1
                unused = made if made is not self._current and not made.users else None
            self._end(unused)

    def renew(self) -> None:
        """The next user gets a new one."""
        with self._lock:
            unused = self._replace(None)
        self._end(unused)

    close = renew

    def _replace(self, fresh: _Made[T] | None) -> _Made[T] | None:
        """Under the lock. What is to be closed: the old one, unless somebody uses it."""
        old, self._current = self._current, fresh
        return old if old is not None and not old.users else None

    def _end(self, unused: _Made[T] | None) -> None:
        if unused is not None:
            self._close(unused.value)
