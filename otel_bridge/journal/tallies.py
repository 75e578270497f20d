"""What records add to the rows of their sessions and to the usage of their hours, in memory and segment by segment.
Each backend writes it down behind its commits (`postgres/totals.py`, `sqlite/totals.py`); a reader adds what is not
written down yet.

The rules are those of `journal/accounts.py` within a segment, and `merge` from one to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from otel_bridge.ids import DAY_US
from otel_bridge.journal.accounts import HOUR_US, Late, Unmeasured, accounts
from otel_bridge.journal.parts import PART_BYTES, Parts, as_sent
from otel_bridge.records import Event, Record

COLUMNS = (
    'id, gpt, "user", started_us, last_us, first_event_us, last_event_us, events, failed, tokens_in, tokens_out, '
    "stretch_us, stretch_events, live, digest, stretch_last_us, active_us, fill, unmeasured_latency, unmeasured_in, "
    "unmeasured_out"
)
"""Of a session's row: as `accounts` makes it, and what nobody measured."""

Row = list[Any]
_NONE = (0, 0)


class Added(NamedTuple):
    """What one segment adds."""

    records: list[Record]
    sessions: list[Row]
    late: list[Late]
    unmeasured: list[Unmeasured]


def added(records: list[Record], parts: Parts) -> Added:
    """`parts`: says what an event counts in its part."""
    sessions, late, unmeasured, _ = accounts(records, {}, parts.event_bytes, parts.tool_bytes)
    return Added(records, sessions, late, unmeasured)


class Tallies:
    """Rows of sessions as they are with what was added; or, begun without rows, what is to be added to them."""

    def __init__(self, rows: Iterable[Sequence[Any]] = ()) -> None:
        """`rows`: as they are written down, of every session that is added to and has one."""
        self.sessions: dict[bytes, Row] = {row[0]: list(row) for row in rows}
        self.usage: dict[tuple[int, str, str], tuple[int, int]] = {}
        """(hour, GPT, user) → events, tokens."""
        self.rested: set[bytes] = set()
        """Sessions that fell idle meanwhile: of the period before nothing is left in their row."""

    def __bool__(self) -> bool:
        return bool(self.sessions or self.usage or self.rested)

    @property
    def rows(self) -> int:
        return len(self.sessions) + len(self.usage) + len(self.rested)

    def add(self, more: Added, parts: Parts) -> None:
        """A segment. Those of one lane are added in their order."""
        fills = self._fills(more, parts)
        for row in more.sessions:
            row[17] = fills[row[0]]
        self.put(more.sessions, more.late, more.unmeasured)

    def put(self, rows: Iterable[Row], late: Iterable[Late], unmeasured: Iterable[Unmeasured]) -> None:
        """What a commit adds, in rows of which the fill is what it is after it."""
        sessions, usage = self.sessions, self.usage
        for row in rows:
            kept = sessions.get(row[0])
            if kept is None:
                sessions[row[0]] = [*row, 0, 0, 0]
            else:
                merge(kept, row)
            if row[7]:
                key = row[4] // HOUR_US, row[1], row[2]
                events, tokens = usage.get(key, _NONE)
                usage[key] = events + row[7], tokens + row[9] + row[10]
        for hour, gpt, user, events, tokens in late:
            before = usage[hour, gpt, user]
            usage[hour, gpt, user] = before[0] - events, before[1] - tokens
        for session, latency, tokens_in, tokens_out in unmeasured:
            kept = sessions[session]
            kept[18] += latency
            kept[19] += tokens_in
            kept[20] += tokens_out

    def rest(self, session: bytes) -> None:
        """A session falls idle."""
        self.rested.add(session)
        if session in self.sessions:
            end_period(self.sessions[session])

    def _fills(self, more: Added, parts: Parts) -> dict[bytes, int]:
        """How far its sessions have come after a segment. Their writers have decided that (`journal/parts.py`): the
        part stands in each event."""
        kept = self.sessions
        long = {record.session for record in more.records if record.__class__ is Event and record.part}
        fills: dict[bytes, int] = {}
        for row in more.sessions:
            session = row[0]
            before = kept[session][17] if session in kept else 0
            if before + row[17] > PART_BYTES:
                long.add(session)
            fills[session] = before if session in long else before + row[17]
        if long:
            for record in more.records:
                if record.__class__ is Event and record.session in long:
                    fills[record.session] = _filled(fills[record.session], record, parts)
        return fills


def _filled(fill: int, event: Event, parts: Parts) -> int:
    size = parts.event_bytes + (0 if event.content is None else len(as_sent(event.content)))
    if event.extras is not None:
        size += len(event.extras.tools) * parts.tool_bytes
    size = min(size, PART_BYTES)
    part = max(0, fill - 1) // PART_BYTES
    if event.part > part:
        return event.part * PART_BYTES + size
    if event.part < part:
        return fill  # of a replica that did not know yet that the part was full
    return min(fill + size, (part + 1) * PART_BYTES)


def end_period(row: Row) -> None:
    """Of a session that falls idle."""
    row[11] = row[15] = None
    row[12] = row[13] = 0


def merge(kept: Row, more: Row) -> None:
    """Adds a segment's row of a session to the row that is kept."""
    arrived, first, last = more[4], more[11], more[15]
    if last is not None:
        before, a_day_ago = kept[15], arrived - DAY_US
        if before is None or (before <= a_day_ago < last):
            kept[11], kept[15] = first, last
        elif last > a_day_ago or (before <= a_day_ago and max(before, last) - min(kept[11], first) <= DAY_US):
            if last > before:
                kept[15] = last
            if first < kept[11]:
                kept[11] = first
        elif before <= a_day_ago and last > before:
            kept[11], kept[15] = first, last
        if kept[5] is None:
            kept[5], kept[6] = more[5], more[6]
        else:
            if more[5] < kept[5]:
                kept[5] = more[5]
            if more[6] > kept[6]:
                kept[6] = more[6]
    active = kept[4] if kept[16] is None else kept[16]
    kept[16] = more[16] if more[16] > active else active
    if arrived > kept[4]:
        kept[4] = arrived
    kept[7] += more[7]
    kept[8] += more[8]
    kept[9] += more[9]
    kept[10] += more[10]
    kept[12] += more[12]
    kept[13] = more[13]
    kept[17] = more[17]
