"""Callers counted in sliding windows by this process."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import NamedTuple

CALLERS_REMEMBERED = 50_000
"""Callers counted at once. The oldest entry goes when there are more: about 15 MB at the most."""

_monotonic = time.monotonic


class Count(NamedTuple):
    """What has been counted of a caller. What was counted in the window before weighs less and less."""

    before: int
    before_left: float
    """Seconds until that weighs nothing."""
    now: int
    left: float
    """Seconds until this window ends."""


class BoundedMemory:
    """One entry a caller, no thread, no lock (one event loop uses it), and never more than `size` entries, whatever
    addresses clients come from. A library's storage takes 4 to 10 µs a hit (`benchmarks/gate.py`)."""

    def __init__(self, size: int = CALLERS_REMEMBERED) -> None:
        self._shift = 0.0
        """Seconds that the clock which windows go by is ahead of the monotonic one."""
        self._size = size
        self._entries: OrderedDict[str, list[int]] = OrderedDict()
        """key → number of its window, count in it, count in the one before. Of a plain dictionary the oldest is found
        behind the places of all that went before: with all of them taken 10 µs a new caller, instead of 0.4."""

    def __len__(self) -> int:
        return len(self._entries)

    def go_by(self, now: float) -> None:
        """Windows go by another clock from now on: this is what it shows. It is theirs who count in it, too."""
        self._shift = now - _monotonic()

    def take(self, key: str, limit: int, seconds: int, amount: int) -> bool:
        """Counts `amount` where the limit leaves room for it, and says whether it did."""
        position = (_monotonic() + self._shift) / seconds
        window = int(position)
        entry = self._entries.get(key)
        if entry is None:
            entry = self._add(key, window)
        elif entry[0] != window:
            _go_to(entry, window)
        if int(entry[2] * (1 - position + window)) + entry[1] + amount > limit:
            return False
        entry[1] += amount
        return True

    def has_room(self, key: str, limit: int, seconds: int, amount: int) -> bool:
        """Whether the limit leaves room for `amount`. Counts nothing."""
        if key not in self._entries:
            return amount <= limit
        count = self.look(key, seconds)
        return int(count.before * count.before_left / seconds) + count.now + amount <= limit

    def look(self, key: str, seconds: int) -> Count:
        position = (_monotonic() + self._shift) / seconds
        window = int(position)
        left = (1 - position + window) * seconds
        entry = self._entries.get(key)
        if entry is None or not window - 1 <= entry[0] <= window + 1:
            return Count(0, 0.0, 0, left)
        if entry[0] == window - 1:
            return Count(entry[1], left, 0, left)
        return Count(entry[2], left if entry[2] else 0.0, entry[1], left)

    def learn(self, key: str, window: int, now: int, before: int) -> None:
        """Takes over what others have counted of a caller, where that is more."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._add(key, window)
        elif entry[0] != window:
            _go_to(entry, window)
        entry[1] = max(entry[1], now)
        entry[2] = max(entry[2], before)

    def _add(self, key: str, window: int) -> list[int]:
        if len(self._entries) >= self._size:
            self._entries.popitem(last=False)
        entry = self._entries[key] = [window, 0, 0]
        return entry


def _go_to(entry: list[int], window: int) -> None:
    """Another window than the entry's has begun."""
    if entry[0] == window + 1:
        pass  # the other clock was a little ahead of ours: what it had begun goes on
    elif entry[0] == window - 1:
        entry[2] = entry[1]
        entry[1] = 0
    else:
        entry[1] = entry[2] = 0
    entry[0] = window
