"""Answers of one GPT, counted by the minute in which they ended and by how long they took.

A minute without answers takes no memory; one with answers takes about 500 bytes, however many they were.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate, pairwise
from operator import sub

MINUTE_US = 60_000_000

NICE = (
    *(0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.5, 10.0),
    *(12.5, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 60.0, 75.0, 90.0, 120.0, 150.0, 180.0, 240.0, 300.0, 600.0),
)
"""Objectives, in seconds, that somebody would write down."""


class Minutes:
    """`bounds`: seconds, whatever an answer is to be told apart by: objectives, and buckets of a histogram."""

    def __init__(self, bounds: Iterable[float]) -> None:
        self.bounds = sorted(set(bounds))
        self._places = {bound: place for place, bound in enumerate(self.bounds)}
        self._good: dict[int, array[int]] = {}
        self._failed: dict[int, array[int]] = {}
        self.answers = 0
        self.failed = 0

    def add(self, end_us: int, seconds: float, failed: bool = False) -> None:
        """Counts one answer."""
        rows = self._failed if failed else self._good
        minute = end_us // MINUTE_US
        row = rows.get(minute)
        if row is None:
            row = rows[minute] = array("Q", bytes(8 * (len(self.bounds) + 1)))
        row[bisect_left(self.bounds, seconds)] += 1
        self.answers += 1
        self.failed += failed

    @property
    def first(self) -> int:
        """The first minute with an answer, since the Unix epoch."""
        return min(min(rows) for rows in (self._good, self._failed) if rows)

    @property
    def last(self) -> int:
        """The last one."""
        return max(max(rows) for rows in (self._good, self._failed) if rows)

    def within(self, seconds: float) -> int:
        """Answers that came within so many seconds (one of the bounds) and did not fail."""
        place = self._places[seconds] + 1
        return sum(sum(row[:place]) for row in self._good.values())

    def totals(self) -> list[int]:
        """Answers of each minute from the first to the last."""
        first = self.first
        counts = [0] * (self.last - first + 1)
        for rows in (self._good, self._failed):
            for minute, row in rows.items():
                counts[minute - first] += sum(row)
        return counts

    def bad(self, seconds: float) -> list[int]:
        """Of each minute, the answers that failed or came later than so many seconds (one of the bounds)."""
        first, place = self.first, self._places[seconds] + 1
        counts = [0] * (self.last - first + 1)
        for minute, row in self._good.items():
            counts[minute - first] = sum(row[place:])
        for minute, row in self._failed.items():
            counts[minute - first] += sum(row)
        return counts

    def durations(self, minute: int, minutes: int, bounds: Iterable[float]) -> list[int]:
        """A histogram's counts (by bucket, the last is +Inf) of the `minutes` up to and with this one, counted from the
        first. `bounds` are among the bounds."""
        newest = self.first + minute
        row = [0] * (len(self.bounds) + 1)
        for at in range(newest - minutes + 1, newest + 1):
            for rows in (self._good, self._failed):
                if at in rows:
                    row = [a + b for a, b in zip(row, rows[at], strict=True)]
        places = [0, *(self._places[bound] + 1 for bound in bounds), len(row)]
        return [sum(row[begin:end]) for begin, end in pairwise(places)]


def over(counts: list[int], minutes: int) -> list[int]:
    """For each minute, the sum of the last `minutes` of them."""
    sums = list(accumulate(counts))
    return list(map(sub, sums, [0] * min(minutes, len(sums)) + sums[:-minutes]))
