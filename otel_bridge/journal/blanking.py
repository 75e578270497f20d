"""What is taken out of records without taking the records away: whose they are, and what was said in them.

A record keeps its place, its numbers, its times and its ids: what is counted of it stays exact, and it is delivered as
before, without a user and without a text. NOBODY stands for whoever it was: no hash is empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from otel_bridge.records import Event, Feedback, Record, Session, decode, encode

NOBODY = ""
"""The user of what was blanked. It is nobody's hash: windows and top users leave it out."""


class Which(NamedTuple):
    """Which records are blanked."""

    user: str | None = None
    """Of this user (a hash); None: of everybody."""
    gpts: frozenset[str] | None = None
    """Of these GPTs; None: of all."""

    def has(self, record: Record) -> bool:
        """Whether there is something to take out of a record, and it is one of these."""
        if isinstance(record, Session):
            personal = record.user != NOBODY
        elif isinstance(record, Event):
            personal = record.user != NOBODY or record.content is not None
        elif isinstance(record, Feedback):
            personal = record.user != NOBODY or record.comment is not None
        else:
            return False
        return (
            personal
            and (self.user is None or record.user == self.user)
            and (self.gpts is None or record.gpt in self.gpts)
        )

    def may_be_in(self, body: bytes) -> bool:
        """Whether the body of a segment may hold one of them: no look at what surely does not is needed."""
        if self.user is not None:
            return self.user.encode() in body
        return self.gpts is None or any(gpt.encode() in body for gpt in self.gpts)


def found(body: bytes, which: Which) -> list[Record]:
    """Those of a segment's (or a parked record's) records that are to be blanked. A body that cannot be read has
    none."""
    if not which.may_be_in(body):
        return []
    try:
        return [record for record in decode(body) if which.has(record)]
    except msgspec.DecodeError:
        return []


def blanked(body: bytes, which: Which) -> bytes | None:
    """The body without what is taken out of it; None: there is nothing to take out."""
    if not which.may_be_in(body):
        return None
    try:
        records = decode(body)
    except msgspec.DecodeError:
        return None
    chosen = [record for record in records if which.has(record)]
    if not chosen:
        return None
    _blank(chosen)
    return encode(records)


def _blank(records: Sequence[Record]) -> None:
    for record in records:
        if isinstance(record, Session | Event | Feedback):
            record.user = NOBODY
        if isinstance(record, Event):
            record.content = None
        elif isinstance(record, Feedback):
            record.comment = None
