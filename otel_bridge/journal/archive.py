"""A whole journal as rows, whatever it is kept in: what `copying.py` hands from one backend to another.

An archive has one lane: sequence numbers count from 1 without gaps (what is trimmed has had the first of them).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from otel_bridge.journal.store import StoreError


class SegmentRow(NamedTuple):
    last: int
    records: int
    spans: int
    arrived_us: int
    crc: int
    total: int
    """Spans up to this row since the journal began."""
    body: bytes


class KeyRow(NamedTuple):
    key: bytes
    arrived_us: int
    digest: bytes | None
    part: int | None


class SessionRow(NamedTuple):
    id: bytes
    gpt: str
    user: str
    started_us: int
    last_us: int
    first_event_us: int | None
    last_event_us: int | None
    events: int
    failed: int
    tokens_in: int
    tokens_out: int
    stretch_us: int | None
    stretch_events: int
    live: bool
    digest: bytes | None
    stretch_last_us: int | None
    active_us: int | None
    fill: int
    unmeasured_latency: int
    unmeasured_in: int
    unmeasured_out: int


class UsageRow(NamedTuple):
    hour: int
    gpt: str
    user: str
    events: int
    tokens: int


class ParkedRow(NamedTuple):
    seq: int
    body: bytes
    spans: int
    reason: str
    words: str
    parked_us: int
    replay: bool


class SinkRow(NamedTuple):
    name: str
    cursor: int
    exported: int


class Sums(NamedTuple):
    """What is counted of a whole journal before and after, each from the rows that are there."""

    segments: int
    records: int
    spans: int
    body_bytes: int
    keys: int
    sessions: int
    session_events: int
    session_tokens: int
    live: int
    usage_rows: int
    usage_events: int
    usage_tokens: int
    parked: int
    parked_spans: int


class Forms(Protocol):
    """A snapshot of what is counted, in its two forms: one bridge saves all of it in one place, replicas save what is
    shared and what is each one's own."""

    def parted(self, snapshot: bytes) -> tuple[bytes, bytes]:
        """One bridge's → what is shared, what is its own. Raises ValueError where it is of another release."""

    def joined(self, shared: bytes, own: Sequence[bytes]) -> bytes:
        """What is shared, and what is each replica's own → one bridge's."""


class Archive(Protocol):
    """One state of a journal. Rows are read once, table by table."""

    last: int
    """The newest record's sequence number."""
    total: int
    """Spans of all that was ever accepted."""

    @property
    def size(self) -> int:
        """Bytes, about."""

    @property
    def sinks(self) -> Sequence[SinkRow]: ...

    @property
    def snapshot(self) -> tuple[int, bytes] | None:
        """One bridge's, with the sequence number that it stands at."""

    @property
    def sums(self) -> Sums: ...

    def segments(self) -> Iterator[SegmentRow]:
        """In the order of their numbers. Where their bodies do not match their checksums, they are as they are."""

    def seen(self) -> Iterator[KeyRow]:
        """By key, each once."""

    def sessions(self) -> Iterator[SessionRow]:
        """By id."""

    def usage(self) -> Iterator[UsageRow]: ...

    def parked(self) -> Iterator[ParkedRow]:
        """By number."""


Progress = Callable[[str, int], None]
"""Called with the table and how many of its rows are copied."""
TOLD_ROWS = 1_000

R = TypeVar("R", bound=Sequence[Any])


def told(rows: Iterable[R], table: str, progress: Progress) -> Iterator[R]:
    """The same rows, and how many of them there were is told meanwhile and at the end."""
    done = 0
    for done, row in enumerate(rows, 1):
        yield row
        if done % TOLD_ROWS == 0:
            progress(table, done)
    progress(table, done)


def newest(rows: Iterable[Sequence[Any]]) -> Iterator[KeyRow]:
    """Of rows in the order of their keys, and within a key from the newest on, one for each key: a key that was taken
    again after its horizon stands in two tables, and the newer is the one that is known."""
    for _, same in itertools.groupby(rows, key=lambda row: row[0]):
        yield KeyRow._make(next(same)[:4])


def refuse_other(before: Sums, after: Sums) -> None:
    """Raises StoreError where something was lost or added on the way."""
    other = [
        f"{name} {one:,} y después {two:,}"
        for name, one, two in zip(Sums._fields, before, after, strict=True)
        if one != two
    ]
    if other:
        raise StoreError(f"la copia no es lo que se copió ({', '.join(other)}): no se guardó nada")
