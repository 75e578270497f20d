"""Deleting what is old, or takes the room of what comes, over all lanes: past what is damaged, and past what a wrong
clock has written.

A segment goes when the consumer is past it, when `session` and `usage` have it, and when the steward's snapshot has it
(`folded`; before there was a steward: the snapshot of its lane). From then on only ratings look for it, so it need not
stay for as long as sessions and usage do.

Arrivals are written by a clock, and a clock can be wrong. Segments of a lane stand in the order in which they were
committed: one that says it arrives yet (an «ahead» one) arrived before those behind it, and goes with the first of them
that is old.

An error ends a transaction. So what meets damage here is remembered, its transaction fails, and the next step goes
around: row by row, and what cannot be deleted stays.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import psycopg

from otel_bridge.ids import DAY_US
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.blanking import Which
from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres.arrays import bytea_array, int8_array, text_array
from otel_bridge.journal.postgres.connection import Connection, translated
from otel_bridge.journal.postgres.erasing import blank_segments
from otel_bridge.journal.postgres.schema import base, lane_of
from otel_bridge.journal.postgres.segments import Segments, end, is_damage, savepoint
from otel_bridge.journal.postgres.totals import PARTS, catch_up
from otel_bridge.journal.store import NONE_OF_THEIR_OWN, DamagedPart, StoreDamaged, Trimmed

log = logging.getLogger(__name__)

SEGMENT_US = 2 * DAY_US
"""How long segments stay at the most that are exported and folded."""
TRIM_BYTES = 4 << 20
"""Of segments that are deleted at once: answers wait meanwhile."""
LEFT_SECONDS = 120.0

_LANES = """SELECT lane.lane, cursor, counted.seq, CASE WHEN stewarded THEN folded.seq ELSE snapshot.seq END, stewarded
    FROM (SELECT EXISTS (SELECT FROM otel_bridge.folded) AS stewarded) AS shared, otel_bridge.lane
    LEFT JOIN otel_bridge.sink ON sink.name = %s AND sink.lane = lane.lane
    LEFT JOIN otel_bridge.counted ON counted.lane = lane.lane
    LEFT JOIN otel_bridge.folded ON folded.lane = lane.lane
    LEFT JOIN otel_bridge.snapshot ON snapshot.lane = lane.lane
    ORDER BY lane.lane"""
_OLDEST = """SELECT last, arrived_us, octet_length(body) FROM otel_bridge.segment
    WHERE last > %s AND last <= %s ORDER BY last LIMIT %s"""
_FROM = """SELECT last, arrived_us FROM otel_bridge.segment WHERE last >= %s AND last < %s ORDER BY last LIMIT 1"""
_SESSIONS = """DELETE FROM otel_bridge.session WHERE id = ANY(%b::bytea[]) AND last_us < %s AND NOT live RETURNING id"""
_SESSIONS_OF = """DELETE FROM otel_bridge.session WHERE id = ANY(%b::bytea[]) AND NOT live
    AND last_us < coalesce((SELECT before_us FROM unnest(%b::text[], %b::int8[]) AS own (name, before_us)
        WHERE name = gpt), %s) RETURNING id"""
_HOURS = "SELECT DISTINCT hour FROM otel_bridge.usage WHERE hour >= %s AND hour < %s ORDER BY hour LIMIT %s"
_USAGE_OF = "DELETE FROM otel_bridge.usage WHERE hour = ANY(%b::int8[]) AND gpt = %s"
_USAGE = """DELETE FROM otel_bridge.usage WHERE (hour, gpt, "user") IN (
    SELECT hour, gpt, "user" FROM otel_bridge.usage WHERE hour < %s ORDER BY hour, gpt, "user" LIMIT %s)"""


class Old(NamedTuple):
    """A segment that may be deleted."""

    last: int
    arrived_us: int
    size: int
    """Bytes; 0: it is to be deleted alone, for there is damage about it."""


class Trimming:
    """In the writer's transaction."""

    def __init__(self, consumer: str, parts: Parts = PARTS) -> None:
        self._consumer = consumer
        self._parts = parts
        self._from: dict[int, int] = {}
        """By lane: up to here there is nothing, or it is left for good; a start tries that again."""
        self._careful: set[int] = set()
        """Lanes that are gone through row by row, since there is damage."""
        self._left: dict[DamagedPart, float] = {}
        """When each part may be tried again (monotonic)."""
        self._blanked: dict[tuple[int, str], int] = {}
        """By lane and GPT with a retention of its own: up to which record it has been blanked."""
        self._hours: dict[str, int] = {}
        """By such a GPT: the hour from which its usage has not been looked at."""

    def trim(
        self,
        connection: Connection,
        before_us: int,
        now_us: int,
        limit: int,
        sessions: Sequence[bytes],
        make_room: bool = False,
        own: Mapping[str, int] = NONE_OF_THEIR_OWN,
    ) -> Trimmed:
        """As `Store.trim`."""
        catch_up(connection, self._parts)
        gone = self._segments(connection, before_us, now_us, limit, make_room)
        kept = list(sessions)

        def delete_sessions() -> int:
            if not sessions:
                return 0
            ids = bytea_array(sessions)
            if own:
                values = (ids, text_array([*own]), int8_array([*own.values()]), before_us)
                rows = connection.execute(_SESSIONS_OF, values, binary=True).fetchall()
            else:
                rows = connection.execute(_SESSIONS, (ids, before_us), binary=True).fetchall()
            deleted = {session for (session,) in rows}
            kept[:] = [session for session in sessions if session not in deleted]
            return len(deleted)

        gone += self._other(DamagedPart.SESSIONS, delete_sessions)
        gone += self._other(
            DamagedPart.USAGE, lambda: connection.execute(_USAGE, (before_us // HOUR_US, limit)).rowcount
        )
        for gpt, gpt_us in own.items():
            gone += self._other(DamagedPart.USAGE, partial(self._delete_usage_of, connection, gpt, gpt_us, limit))
            gone += self._blank(connection, gpt, gpt_us, now_us, limit)
        return Trimmed(gone, kept)

    # --- a GPT's own retention ---------------------------------------------------------------------------------------

    def _delete_usage_of(self, connection: Connection, gpt: str, gpt_us: int, limit: int) -> int:
        """Of the next `limit` hours, the rows of one GPT."""
        rows = connection.execute(_HOURS, (self._hours.get(gpt, 0), gpt_us // HOUR_US, limit)).fetchall()
        if not rows:
            return 0
        hours = [hour for (hour,) in rows]
        gone = connection.execute(_USAGE_OF, (int8_array(hours), gpt)).rowcount
        if not gone:  # else its transaction has yet to be committed
            self._hours[gpt] = hours[-1] + 1
        return gone

    def _blank(self, connection: Connection, gpt: str, gpt_us: int, now_us: int, limit: int) -> int:
        """Blanks what arrived for this GPT before then in segments that stay; returns how many it has looked at. Where
        it goes on is this process's: segments stay for two days at the most, and are looked at again after a start."""
        looked = 0
        which = Which(gpts=frozenset([gpt]))
        for lane, *positions, _ in connection.execute(_LANES, (self._consumer,)).fetchall():
            safe = min(base(lane) if position is None else position for position in positions)
            after = max(base(lane), self._blanked.get((lane, gpt), 0))
            if safe <= after or looked >= limit:
                continue
            with translated(DamagedPart.OLD):
                try:
                    rows = connection.execute(_OLDEST, (after, safe, limit - looked)).fetchall()
                    _, going = _going(
                        connection, [Old._make(row) for row in rows], safe, gpt_us, now_us, False, TRIM_BYTES
                    )
                    if not going:
                        continue
                    changed = blank_segments(connection, [row.last for row in going], which)
                except psycopg.Error as error:
                    if is_damage(error):
                        self._blanked[lane, gpt] = after + limit
                        log.error("lane %d: records %d to %d are not blanked: damaged", lane, after + 1, after + limit)
                    raise
            looked += len(going)
            if not changed:  # else its transaction has yet to be committed
                self._blanked[lane, gpt] = going[-1].last
        return looked

    # --- segments ---------------------------------------------------------------------------------------------------

    def _segments(self, connection: Connection, before_us: int, now_us: int, limit: int, make_room: bool) -> int:
        """Deletes up to `limit` of the oldest segments that arrived before then (`make_room`: of any age) and are
        needed no more; returns how many."""
        gone = 0
        room = TRIM_BYTES
        for lane, *positions, stewarded in connection.execute(_LANES, (self._consumer,)).fetchall():
            if limit <= gone or room <= 0:
                break
            safe = min(base(lane) if position is None else position for position in positions)
            # Where the clock is not believed, nothing goes by it: then `before_us` is 0.
            old_us = max(before_us, now_us - SEGMENT_US) if stewarded and before_us > 0 else before_us
            with translated(DamagedPart.OLD):
                try:
                    oldest = self._oldest(connection, lane, safe, limit - gone)
                    upto, going = _going(connection, oldest, safe, old_us, now_us, make_room, room)
                    gone += self._delete(connection, lane, going, upto) if going else 0
                    room -= sum(row.size for row in going)
                except psycopg.Error as error:
                    if is_damage(error):
                        self._careful.add(lane)
                    raise
        return gone

    def _oldest(self, connection: Connection, lane: int, safe: int, limit: int) -> list[Old]:
        after = max(base(lane), self._from.get(lane, 0))
        if safe <= after:
            return []
        # Only the oldest rows are looked at: a clock that stepped must not make this a scan.
        if lane not in self._careful:
            found = [Old._make(row) for row in connection.execute(_OLDEST, (after, safe, limit)).fetchall()]
            self._from[lane] = found[0].last - 1 if found else safe  # what is deleted is not passed again and again
            return found
        rows: list[Old] = []
        self._careful.discard(lane)
        try:
            for segment in Segments(connection).walk(after):
                if segment.last > safe or len(rows) == limit:
                    break
                if segment.damaged:
                    self._leave(lane, segment.last)
                else:
                    rows.append(Old(segment.last, segment.arrived_us, 0))
        except StoreDamaged:
            pass  # what follows is not to be passed
        return rows

    def _delete(self, connection: Connection, lane: int, going: Sequence[Old], upto: int) -> int:
        sql = "DELETE FROM otel_bridge.segment WHERE last > %s AND last <= %s"
        if all(row.size for row in going):
            return connection.execute(sql, (going[0].last - 1, upto)).rowcount
        gone = 0
        for row in going:
            try:
                with savepoint(connection):
                    gone += connection.execute(sql, (row.last - 1, row.last)).rowcount
            except psycopg.Error as error:
                if not is_damage(error):
                    raise
                self._leave(lane, row.last)
        return gone

    def _leave(self, lane: int, upto: int) -> None:
        log.error("lane %d: old records up to %d are damaged, cannot be deleted, and stay", lane, upto)
        self._from[lane] = upto
        self._careful.add(lane)

    # --- other tables -----------------------------------------------------------------------------------------------

    def _other(self, part: DamagedPart, run: Callable[[], int]) -> int:
        """Deletes from another part with `run`, which returns how many rows; 0 where it was met damaged lately."""
        if time.monotonic() < self._left.get(part, 0.0):
            return 0
        with translated(part):
            try:
                return run()
            except psycopg.Error as error:
                if is_damage(error):
                    self._left[part] = time.monotonic() + LEFT_SECONDS
                raise


def _going(
    connection: Connection, oldest: Sequence[Old], safe: int, old_us: int, now_us: int, make_room: bool, room: int
) -> tuple[int, list[Old]]:
    """The last segment of a lane that goes now, and all that go."""
    upto = max((row.last for row in oldest if row.arrived_us < old_us), default=0)
    if make_room or (
        oldest and oldest[0].arrived_us > now_us and _is_old_behind(connection, oldest[-1].last, old_us, now_us)
    ):
        upto = safe
    going: list[Old] = []
    size = 0
    for row in oldest:
        size += row.size
        if row.last > upto or (old_us <= row.arrived_us <= now_us and not make_room) or (going and size > room):
            break
        going.append(row)
    return (going[-1].last if going else 0), going


def _is_old_behind(connection: Connection, after: int, old_us: int, now_us: int) -> bool:
    """Whether the first segment that is not ahead, of those behind `after` in its lane, is old. It is looked for by
    halves: they come in runs, and where there are several, it is the first behind one of them."""
    until = end(lane_of(after))
    newest = connection.execute(
        "SELECT max(last) FROM otel_bridge.segment WHERE last >= %s AND last < %s", (after, until)
    ).fetchall()
    low, high = after, newest[0][0] or after
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(_FROM, (middle + 1, until)).fetchone()
        if row is None or row[1] <= now_us:
            high = middle
        else:
            low = row[0]
    row = connection.execute(_FROM, (low + 1, until)).fetchone()
    return row is not None and bool(row[1] < old_us)
