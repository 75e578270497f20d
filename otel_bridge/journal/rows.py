"""Segments as a backend finds them by their keys, where some of them cannot be read."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from otel_bridge.journal.store import Segment, StoreDamaged
from otel_bridge.records import decode

READ_BYTES = 4 << 20
"""Of segments that are read at once."""


class Row(NamedTuple):
    """A segment without its body."""

    last: int
    records: int
    spans: int
    arrived_us: int

    @property
    def before(self) -> int:
        """The sequence number before its first record."""
        return self.last - self.records


class Bad(NamedTuple):
    """No row that can be believed is to be read there."""


BAD = Bad()

Body = tuple[int, bytes]
"""Checksum, body."""


class Pending(NamedTuple):
    """What is behind a cursor."""

    spans: int
    unreadable: int
    """Those of them that cannot be read."""
    oldest_us: int | None
    """When the first segment that has spans arrived."""

    @classmethod
    def of(cls, segments: Iterable[Segment]) -> Pending:
        """Counted one by one, where their sum is not to be believed."""
        spans, unreadable, oldest_us = 0, 0, None
        for segment in segments:
            spans += segment.spans
            unreadable += segment.spans * segment.damaged
            if oldest_us is None and segment.spans:
                oldest_us = segment.arrived_us
        return cls(spans, unreadable, oldest_us)


def read(
    after: int,
    limit: int,
    size: int,
    run: Callable[[int, int], tuple[list[Segment], bool]],
    step: Callable[[int], Segment | None],
) -> list[Segment]:
    """Up to `limit` segments after a sequence number, of about `size` bytes. `run`: up to so many that follow one
    another, and whether what ended them was no doubt. `step`: the one after a sequence number that the next does not
    simply follow; None: there is none. Raises StoreDamaged as `step` does, where nothing can be read before that."""
    found, is_all = run(after, limit)
    while not is_all and len(found) < limit and sum(len(one.body) for one in found) <= size:
        try:
            segment = step(found[-1].last if found else after)
        except StoreDamaged:
            if found:
                break  # what could be read goes first
            raise
        if segment is None:
            break
        following, is_all = run(segment.last, limit - len(found) - 1)
        found += [segment, *following]
    return found


def as_segment(row: Row, found: Body | None, told: Callable[[], int | None]) -> Segment:
    """The row's segment. `found`: its body, None where that cannot be read; `told`: what sums say of its spans, if they
    do, asked where the body is not what was written."""
    crc, body = found or (None, b"")
    if zlib.crc32(body) == crc:
        return Segment(*row, body)
    spans = told()
    return Segment(*row, body, damaged=True)._replace(
        spans=row.spans if spans is None or not 0 <= spans <= row.records else spans
    )


def is_intact(row: Row, found: Body | None) -> bool:
    """Whether a row's body is what was written, and says the same."""
    if found is None or zlib.crc32(found[1]) != found[0]:
        return False
    try:
        return len(decode(found[1])) == row.records
    except msgspec.DecodeError:
        return False


def first_of(row: Row, tried: int, row_up_to: Callable[[int], Row | Bad | None]) -> Row:
    """The first of the rows before this one, down to a key that was tried, that can be read and follow. `row_up_to`:
    the last row up to a key."""
    while row.before > tried:
        before = row_up_to(row.before)
        if not isinstance(before, Row) or before.last != row.before or before.before < tried:
            break
        row = before
    return row
