"""Everything of one user is taken out of a journal, served or not: whose records they are, and what was said in them.

    survey   what there is: sessions and their traces, records, parked ones, usage          reads only
    erase    records and parked ones ──▶ usage and sessions, in one transaction ──▶ what came meanwhile

Each step is a transaction of its own and leaves a journal that is whole. Sessions come last: the list of traces is made
from them, so after a kill in the middle the next run tells all of them again, and goes on with what is left. Run again,
it finds nothing to do.

Numbers stay: records, segments, cursors, the ledger, sessions and the usage of an hour are what they were; the user is
nobody (`blanking.py`), and is no longer one of the distinct users of a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from otel_bridge.journal.blanking import Which, found
from otel_bridge.journal.store import Parked, Segment
from otel_bridge.records import Event, Feedback, Record, Session

STEP_BYTES = 2 << 20
"""Of segments that one transaction blanks: answers wait for it."""
STEP_SEGMENTS = 100
READ_SEGMENTS = 500
PASSES = 5
"""Over what comes while it is at work, at the most: a user who goes on posting is a new matter."""


class ErasedSession(NamedTuple):
    """A session of the user, which leads to its traces."""

    id: bytes
    gpt: str
    started_us: int
    parts: int
    """Traces that its events are in."""


class Survey(NamedTuple):
    """What a journal has of a user."""

    sessions: list[ErasedSession]
    events: int
    ratings: int
    pending: int
    """Spans of these that are not delivered yet."""
    parked: int
    """Records that are parked."""
    usage: int
    """Rows of usage: hours in which he was seen in a GPT."""
    damaged: int
    """Segments that cannot be read: what they hold is not known."""

    @property
    def empty(self) -> bool:
        return not (self.sessions or self.events or self.ratings or self.parked or self.usage)


class Erased(NamedTuple):
    """What was done."""

    records: int
    parked: int
    usage: int
    sessions: int

    def plus(self, other: Erased) -> Erased:
        return Erased._make(map(sum, zip(self, other, strict=True)))


class Remains(NamedTuple):
    """What a backend could say of bytes that are no part of the journal any more."""

    places: int
    """Where the hash was still found in its files; of a database: 0, nobody can look."""
    advice: str
    """What is left to do for whoever keeps it; empty: nothing."""


class Place(Protocol):
    """A journal that somebody erases in. Who asks for it closes it. Raises StoreError, OutcomeUnknown."""

    def lanes(self) -> dict[int, int]:
        """By where each lane begins: up to where it is delivered."""

    def segments(self, after: int, limit: int) -> list[Segment]:
        """As `Reader.segments`, of the lane that `after` is in."""

    def blank(self, lasts: Sequence[int], which: Which) -> int:
        """Blanks records in these segments, in one transaction; returns how many records."""

    def parked(self, after: int, limit: int) -> list[Parked]:
        """Parked records after a sequence number, in order."""

    def blank_parked(self, seqs: Sequence[int], which: Which) -> int:
        """Blanks these parked records, and the endpoint's words about them, in one transaction."""

    def sessions(self, which: Which) -> list[ErasedSession]:
        """Those of the user."""

    def usage(self, which: Which) -> int:
        """Rows of usage of the user."""

    def blank_totals(self, which: Which) -> tuple[int, int]:
        """Gives usage and sessions of the user to nobody, in one transaction; returns (rows of usage, sessions)."""

    def purge(self, user: str | None) -> Remains:
        """Sees to it that what was written over is in no byte of the journal's files, as far as that can be done.
        None: the user is still in other GPTs, so nobody looks for the hash."""

    def close(self) -> None: ...


def survey(place: Place, which: Which) -> Survey:
    """What there is of a user."""
    events = ratings = pending = damaged = 0
    sessions = {session.id: session for session in place.sessions(which)}
    for start, cursor in place.lanes().items():
        for segment in _walk(place, start):
            if segment.damaged:
                damaged += 1
                continue
            for record in found(segment.body, which):
                events += isinstance(record, Event)
                ratings += isinstance(record, Feedback)
                pending += segment.last > cursor
                _note(sessions, record)
    parked = 0
    for aside in _parked(place):
        held = found(aside.body, which)
        parked += bool(held)
        for one in held:
            _note(sessions, one)
    in_order = sorted(sessions.values(), key=lambda session: session.started_us)
    return Survey(in_order, events, ratings, pending, parked, place.usage(which), damaged)


def _note(sessions: dict[bytes, ErasedSession], record: Record) -> None:
    """A session that only its records tell of: its row is gone, or blanked by a run that was killed."""
    if isinstance(record, Session):
        known = ErasedSession(record.id, record.gpt, record.started_us, 1)
    elif isinstance(record, Event):
        known = ErasedSession(record.session, record.gpt, record.end_us, record.part + 1)
    elif isinstance(record, Feedback):
        known = ErasedSession(record.session, record.gpt, record.arrived_us, record.part + 1)
    else:
        return
    before = sessions.setdefault(known.id, known)
    if known.parts > before.parts:
        sessions[known.id] = before._replace(parts=known.parts)


def erase(place: Place, which: Which, tell: Callable[[int], None] = lambda _: None) -> Erased:
    """Takes everything of a user out. `tell` is called with the number of records so far. May be stopped anywhere, and
    run again."""
    done = Erased(0, 0, 0, 0)
    positions: dict[int, int] = {}
    for _ in range(PASSES):
        step = Erased(_blank_records(place, which, positions, tell), _blank_parked(place, which), 0, 0)
        usage, sessions = place.blank_totals(which)
        step = step._replace(usage=usage, sessions=sessions)
        done = done.plus(step)
        if not any(step):
            break
    return done


def _blank_records(place: Place, which: Which, positions: dict[int, int], tell: Callable[[int], None]) -> int:
    """`positions`: by lane, up to where it has looked already."""
    count = 0
    for start in place.lanes():
        lasts: list[int] = []
        size = 0
        for segment in _walk(place, positions.get(start, start)):
            positions[start] = segment.last
            if segment.damaged or not found(segment.body, which):
                continue
            lasts.append(segment.last)
            size += len(segment.body)
            if size >= STEP_BYTES or len(lasts) >= STEP_SEGMENTS:
                count += place.blank(lasts, which)
                tell(count)
                lasts, size = [], 0
        if lasts:
            count += place.blank(lasts, which)
            tell(count)
    return count


def _blank_parked(place: Place, which: Which) -> int:
    seqs = [record.seq for record in _parked(place) if found(record.body, which)]
    return sum(
        place.blank_parked(seqs[first : first + STEP_SEGMENTS], which) for first in range(0, len(seqs), STEP_SEGMENTS)
    )


def _walk(place: Place, after: int) -> Iterator[Segment]:
    while segments := place.segments(after, READ_SEGMENTS):
        yield from segments
        after = segments[-1].last


def _parked(place: Place) -> Iterator[Parked]:
    after = 0
    while records := place.parked(after, STEP_SEGMENTS):
        yield from records
        after = records[-1].seq
