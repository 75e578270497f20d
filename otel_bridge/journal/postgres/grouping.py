"""A group of appends as the rows that one statement writes, where all of it is new.

What runs once a record here costs every event: lists are built whole, and what few groups have is looked for once a
group. Groups of 64 on a busy machine: 310 µs of processor time instead of 370.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from otel_bridge.journal.append import Append
from otel_bridge.journal.parts import as_sent
from otel_bridge.records import Event, Record, Session


class Keys(NamedTuple):
    """Keys of one commit, of which none may be known, and what is remembered with each."""

    keys: Sequence[bytes] = ()
    arrived: Sequence[int] = ()
    digests: Sequence[bytes | None] = ()
    """Empty: nobody's."""
    parts: Sequence[int | None] = ()
    """Empty: all are of the first."""


class Group(NamedTuple):
    """What a group adds."""

    records: list[Record]
    keys: Keys
    chosen: dict[bytes, bytes]
    """Digests of the sessions whose ids clients chose: the row of a session remembers it."""


def grouped(appends: Sequence[Append]) -> Group:
    """All of it, whatever of it is known."""
    records: list[Record] = []
    names: list[bytes | None] = []
    digests: dict[int, bytes] = {}
    for append in appends:
        if append.digests:
            digests |= {len(records) + i: digest for i, digest in append.digests.items()}
        records += append.records
        names += append.keys
    keyed = records
    if None in names:
        keyed = [record for name, record in zip(names, records, strict=True) if name is not None]
    keys = Keys([name for name in names if name is not None], [record.arrived_us for record in keyed])
    if not digests:
        return Group(records, keys, {})
    chosen: dict[bytes, bytes] = {}
    for i, digest in digests.items():
        if names[i] is None:
            session = records[i]
            assert isinstance(session, Session)
            chosen[session.id] = digest
    of_keys = [digests.get(i) for i, name in enumerate(names) if name is not None]
    return Group(records, keys._replace(digests=of_keys), chosen)


def parts_of_keys(appends: Sequence[Append]) -> list[int | None]:
    """As `Keys.parts`, once the parts of these events are decided."""
    return [
        (record.part or None) if record.__class__ is Event else None
        for append in appends
        for key, record in zip(append.keys, append.records, strict=True)
        if key is not None
    ]


def sizes(records: Sequence[Record], event_bytes: int, tool_bytes: int) -> tuple[dict[bytes, int], list[Session]]:
    """What the events of each session count (`Parts.assign`), and the sessions that these records make."""
    counts: dict[bytes, int] = {}
    made: list[Session] = []
    for record in records:
        if record.__class__ is Event:
            content, session = record.content, record.session
            size = event_bytes if content is None else event_bytes + len(as_sent(content))
            if record.extras is not None:
                size += len(record.extras.tools) * tool_bytes
            counts[session] = counts.get(session, 0) + size
        elif record.__class__ is Session:
            made.append(record)
            counts.setdefault(record.id, 0)
    return counts, made
