"""Deleting what is old, or takes the room of what comes: past what is damaged, and past what a wrong clock has written.

Arrivals are written by a clock, and a clock can be wrong. Segments stand in the order in which they were committed: one
that says it arrives yet (an «ahead» one) arrived before those behind it, and goes with the first of them that is old.

SQLite takes no more writes in a transaction that has met damage. So what meets it here is remembered, its transaction
fails, and the next step goes around: rows that stand in a damaged page or beside it are left where they are (a page
that cannot be read cannot be freed), another table is left alone for a while.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.blanking import Which
from otel_bridge.journal.sqlite.database import connect, is_damage, translated
from otel_bridge.journal.sqlite.erasing import blank_segment
from otel_bridge.journal.sqlite.identity import BLANKED, put_row
from otel_bridge.journal.sqlite.known_keys import KnownKeys
from otel_bridge.journal.sqlite.rows import Rows
from otel_bridge.journal.store import DamagedPart, Trimmed

log = logging.getLogger(__name__)

TRIM_BYTES = 4 << 20
"""Of segments that are deleted at once: every page of a deleted row is read, and answers wait meanwhile."""
LEFT_SECONDS = 120.0
_ANY = 1 << 30
_SAFE = """SELECT (SELECT coalesce(max(cursor), 0) FROM sink WHERE name = ?),
    (SELECT coalesce(max(seq), 0) FROM meta)"""
_OLDEST = "SELECT last, arrived_us, length(body) AS size FROM segment ORDER BY last LIMIT ?"
_ALL = f"""SELECT count(*), max(last), max(arrived_us), sum(size),
    count(*) = sum(typeof(arrived_us) = 'integer' AND size IS NOT NULL) FROM ({_OLDEST})"""
"""The same in one row, and whether all have values: to fetch a hundred takes 0.3 ms of the writer."""


class Trimming:
    """In the writer's transaction."""

    def __init__(self, db: sqlite3.Connection, path: Path, consumer: str) -> None:
        self._db = db
        self._path = path
        self._consumer = consumer
        self._around: Rows | None = None
        """Looks for rows in a connection of its own, once there is damage."""
        self._connection: sqlite3.Connection | None = None
        self._from = 0
        """What is left up to here is left for good; a start tries it again."""
        self._most = _ANY
        """Rows of one step: fewer after one that met damage, to find what can be deleted."""
        self._left: dict[DamagedPart, float] = {}
        """When each part may be tried again (monotonic)."""
        self._blanked: dict[str, int] = {}
        """By GPT with a retention of its own: up to which record it has been blanked."""
        self._passed: dict[str, int] = {}
        """The same, of what is damaged and left."""
        self._hours: dict[str, int] = {}
        """By GPT: the hour from which its usage has not been looked at."""

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def trim(
        self,
        before_us: int,
        now_us: int,
        limit: int,
        sessions: Sequence[bytes],
        counted: int,
        make_room: bool,
        own: Mapping[str, int],
    ) -> Trimmed:
        """As `Store.trim`. `counted`: up to this record totals are written."""
        with translated(self._path):
            cursor, saved = self._db.execute(_SAFE, (self._consumer,)).fetchone()
        safe = min(cursor, saved, counted)
        gone = self._segments(safe, before_us, now_us, limit, make_room)
        kept = list(sessions)

        def delete_sessions() -> int:
            kept[:] = [session for session in sessions if not self._delete_session(session, before_us, own)]
            return len(sessions) - len(kept)

        gone += self._other(DamagedPart.SESSIONS, delete_sessions)
        gone += self._other(DamagedPart.USAGE, lambda: self._delete_usage(before_us, limit))
        for gpt, gpt_us in own.items():
            gone += self._of_gpt(gpt, gpt_us, before_us, now_us, safe, limit)
        return Trimmed(gone, kept)

    # --- a GPT's own retention ---------------------------------------------------------------------------------------

    def _of_gpt(self, gpt: str, gpt_us: int, before_us: int, now_us: int, safe: int, limit: int) -> int:
        """What arrived before `gpt_us` for this GPT: usage goes, records in segments that stay are blanked."""
        gone = self._other(DamagedPart.USAGE, lambda: self._delete_usage_of(gpt, gpt_us, limit))
        with translated(self._path, DamagedPart.OLD):
            try:
                return gone + self._blank(gpt, gpt_us, now_us, safe, limit)
            except sqlite3.Error as error:
                if is_damage(error):
                    self._step_over(gpt, limit)
                raise

    def _blank(self, gpt: str, gpt_us: int, now_us: int, safe: int, limit: int) -> int:
        """Returns how many segments it has looked at. Where it goes on is kept in the journal: none is looked at twice,
        also after a start."""
        after = self._looked_at(gpt)
        sql = "SELECT last, arrived_us, length(body) FROM segment WHERE last > ? ORDER BY last LIMIT ?"
        oldest: list[tuple[int, int, int]] = self._db.execute(sql, (after, limit)).fetchall()
        if any(value.__class__ is not int for row in oldest for value in row):
            self._step_over(gpt, limit)
            return 0
        upto, rows = self._upto(oldest, safe, gpt_us, now_us, make_room=False)
        if not upto:
            return 0
        which = Which(gpts=frozenset([gpt]))
        for last, _, _ in oldest[:rows]:
            blank_segment(self._db, last, which)
        self._blanked[gpt] = upto
        put_row(self._db, BLANKED, msgspec.json.encode(self._blanked))
        return rows

    def _looked_at(self, gpt: str) -> int:
        """Up to which record this GPT's have been blanked: as the journal has it, for a transaction may have failed."""
        row = self._db.execute("SELECT body FROM meta WHERE name = ?", (BLANKED,)).fetchone()
        try:
            self._blanked = msgspec.json.decode(row[0], type=dict[str, int]) if row else {}
        except msgspec.MsgspecError:
            self._blanked = {}
        return max(self._blanked.get(gpt, 0), self._passed.get(gpt, 0))

    def _step_over(self, gpt: str, limit: int) -> None:
        """Damaged pages are left as they are, with what stands beside them."""
        found = self._looked_at(gpt)
        self._passed[gpt] = found + limit
        log.error("journal %s: records %d to %d are damaged, and are not blanked", self._path, found + 1, found + limit)

    def _delete_usage_of(self, gpt: str, gpt_us: int, limit: int) -> int:
        """Of the next `limit` hours, the rows of one GPT."""
        gone = 0
        hour = self._hours.get(gpt, 0)
        for _ in range(limit):
            row = self._db.execute("SELECT hour FROM usage WHERE hour >= ? ORDER BY hour LIMIT 1", (hour,)).fetchone()
            if row is None or row[0] >= gpt_us // HOUR_US:
                break
            gone += self._db.execute("DELETE FROM usage WHERE hour = ? AND gpt = ?", (row[0], gpt)).rowcount
            hour = row[0] + 1
        if not gone:  # else its transaction has yet to be committed
            self._hours[gpt] = hour
        return gone

    def forget(self, known: KnownKeys, limit: int) -> int:
        """As `Store.forget`."""
        return self._other(DamagedPart.KEYS, lambda: known.forget(limit))

    def _segments(self, safe: int, before_us: int, now_us: int, limit: int, make_room: bool) -> int:
        """Deletes up to `limit` of the oldest segments that arrived before then (`make_room`: of any age), none of
        them past `safe`; returns how many."""
        with translated(self._path, DamagedPart.OLD):
            try:
                limit = min(limit, self._most)
                if self._around is None:  # usually all of them go
                    rows, upto, newest_us, size, whole = self._db.execute(_ALL, (limit,)).fetchone()
                    if not rows:
                        return 0
                    if whole and upto <= safe and size <= TRIM_BYTES and (make_room or newest_us < before_us):
                        return self._delete(upto, rows)
                oldest = self._oldest(limit, safe)
                if any(value.__class__ is not int for row in oldest for value in row):
                    self._go_around()  # of a torn page: no journal holds such a value
                    return 0
                upto, rows = self._upto(oldest, safe, before_us, now_us, make_room)
            except sqlite3.Error as error:
                if is_damage(error):
                    self._go_around()
                raise
            return self._delete(upto, rows) if upto else 0

    def _upto(
        self, oldest: list[tuple[int, int, int]], safe: int, before_us: int, now_us: int, make_room: bool
    ) -> tuple[int, int]:
        """The last segment that goes now (0: none), and how many go."""
        oldest = [row for row in oldest if row[0] <= safe]
        old = max((last for last, arrived_us, _ in oldest if arrived_us < before_us), default=0)
        if make_room or (oldest and oldest[0][1] > now_us and self._is_old_behind(oldest[-1][0], before_us, now_us)):
            old = safe
        upto = size = rows = 0
        for last, arrived_us, length in oldest:
            size += length
            if last > old or (before_us <= arrived_us <= now_us and not make_room) or (upto and size > TRIM_BYTES):
                break
            upto = last
            rows += 1
        return upto, rows

    def _is_old_behind(self, after: int, before_us: int, now_us: int) -> bool:
        """Whether the first segment that is not ahead, of those behind `after`, is old. It is looked for by halves:
        they come in runs, and where there are several, it is the first behind one of them."""
        db = self._connection or self._db
        low, high = after, db.execute("SELECT coalesce(max(last), 0) FROM segment").fetchone()[0]
        sql = "SELECT last, arrived_us FROM segment WHERE last >= ? ORDER BY last LIMIT 1"
        while low < high:
            middle = (low + high) // 2
            row = db.execute(sql, (middle + 1,)).fetchone()
            if row is None or row[1] <= now_us:
                high = middle
            else:
                low = row[0]
        row = db.execute(sql, (low + 1,)).fetchone()
        return row is not None and bool(row[1] < before_us)

    def _go_around(self) -> None:
        if self._connection is None:
            self._connection = connect(self._path, "ro")
            self._around = Rows(self._connection, self._consumer)

    def _oldest(self, limit: int, safe: int) -> list[tuple[int, int, int]]:
        """(last, when it arrived, bytes) of the oldest segments."""
        # Only the oldest rows are looked at: a clock that stepped must not make this a scan.
        if self._around is None:
            return self._db.execute(_OLDEST, (limit,)).fetchall()
        rows = self._around.heads(self._from, limit)
        if not rows:
            beyond = self._around.beyond(self._from)
            # What is missing before it is not to be passed before it is parked.
            if beyond is not None and self._from < beyond.before <= safe:
                self._leave(beyond.before)
                rows = self._around.heads(self._from, limit)
        return [(row.last, row.arrived_us, 0) for row in rows]

    def _delete(self, upto: int, rows: int) -> int:
        try:
            gone = self._db.execute("DELETE FROM segment WHERE last BETWEEN ? AND ?", (self._from + 1, upto)).rowcount
        except sqlite3.Error as error:
            if is_damage(error):
                if rows == 1:
                    self._leave(upto)
                self._most = max(1, rows // 2)
            raise
        self._most = min(2 * self._most, _ANY)
        return gone

    def _leave(self, upto: int) -> None:
        if not self._from:
            log.error("journal %s: old records on damaged pages cannot be deleted, and stay", self._path)
        self._from = upto
        self._go_around()

    def _other(self, part: DamagedPart, run: Callable[[], int]) -> int:
        """Deletes from another part with `run`, which returns how many rows; 0 where it was met damaged lately."""
        if time.monotonic() < self._left.get(part, 0.0):
            return 0
        with translated(self._path, part):
            try:
                return run()
            except sqlite3.Error as error:
                if is_damage(error):
                    self._left[part] = time.monotonic() + LEFT_SECONDS
                raise

    def _delete_session(self, session: bytes, before_us: int, own: Mapping[str, int]) -> bool:
        if own:
            row = self._db.execute("SELECT gpt FROM session WHERE id = ?", (session,)).fetchone()
            before_us = own.get(row[0], before_us) if row else before_us
        sql = "DELETE FROM session WHERE id = ? AND last_us < ? AND live = 0"
        return self._db.execute(sql, (session, before_us)).rowcount > 0

    def _delete_usage(self, before_us: int, limit: int) -> int:
        return self._db.execute(
            "DELETE FROM usage WHERE (hour, gpt, user) IN (SELECT hour, gpt, user FROM usage WHERE hour < ? LIMIT ?)",
            (before_us // HOUR_US, limit),
        ).rowcount
