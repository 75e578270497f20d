"""The totals of sessions and usage: kept in memory by the commits, and written behind them about once a second.

A commit that wrote them would dirty a page of `session`, of its index and of `usage` for each session that it has
events of. So it adds them to what waits, which a round takes and writes in slices, each a short transaction, by id, so
that a page is written once. The row `totals` of `meta` says up to where they are written, and moves in the transaction
that writes them: each record is counted once. What is behind it at a start (kill -9 too) is read from the segments.

    segments  ━━━━━━━━━━━━━━━┿━━━━━━━━━━━┿━━━━━━━▶ last
                            last       until        of the row: rows have all up to `last`; of a round that is under
                                                    way those up to `session` and `usage` have all up to `until`
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from otel_bridge.ids import DAY_US
from otel_bridge.journal.accounts import HOUR_US, Accounts
from otel_bridge.journal.parts import Parts, fill_of
from otel_bridge.journal.sqlite.database import damaged_advice, is_damage
from otel_bridge.journal.sqlite.grouping import portions
from otel_bridge.journal.sqlite.segments import Segments
from otel_bridge.journal.store import DamagedPart, Segment, StoreDamaged
from otel_bridge.journal.tallies import COLUMNS, Added, Row, Tallies, added, end_period, merge
from otel_bridge.records import Event, Idle, Record, Session, decode

log = logging.getLogger(__name__)

SLICE = 256
"""Rows that one transaction writes: answers wait for it."""
MOST_WAITING = 40_000
"""Rows that wait in memory, of sessions and usage: what is more is written before the next commit."""
PARTS = Parts()
"""What an event counts where nobody says another number."""
_NAME = "totals"
_READ_SEGMENTS = 500
_SELECTED = 512

_PERIOD = f"""CASE
    WHEN stretch_last_us > excluded.last_us - {DAY_US} THEN
        CASE WHEN excluded.stretch_last_us > excluded.last_us - {DAY_US} THEN {{extreme}}({{end}}, excluded.{{end}})
        ELSE {{end}} END
    WHEN stretch_last_us IS NULL OR excluded.stretch_last_us > excluded.last_us - {DAY_US} THEN excluded.{{end}}
    WHEN max(stretch_last_us, excluded.stretch_last_us) - min(stretch_us, excluded.stretch_us) <= {DAY_US}
        THEN {{extreme}}({{end}}, excluded.{{end}})
    WHEN excluded.stretch_last_us > stretch_last_us THEN excluded.{{end}} ELSE {{end}} END"""
"""The first or the last event of a period: its length is between them. What arrives more than a day late has no part in
the length of a period that something of its time belongs to; of a period of history alone, the latest day counts."""

ADD_USAGE = """ON CONFLICT (hour, gpt, user) DO UPDATE
    SET events = events + excluded.events, tokens = tokens + excluded.tokens"""


_ROWS = f"SELECT {COLUMNS} FROM session WHERE id IN "
_ADD_SESSIONS = f"INSERT INTO session ({COLUMNS}) VALUES "
_TO_SESSIONS = f""" ON CONFLICT (id) DO UPDATE SET last_us = max(last_us, excluded.last_us),
    first_event_us = coalesce(min(first_event_us, excluded.first_event_us), first_event_us, excluded.first_event_us),
    last_event_us = coalesce(max(last_event_us, excluded.last_event_us), last_event_us, excluded.last_event_us),
    events = events + excluded.events, failed = failed + excluded.failed,
    tokens_in = tokens_in + excluded.tokens_in, tokens_out = tokens_out + excluded.tokens_out,
    stretch_us = {_PERIOD.format(end="stretch_us", extreme="min")},
    stretch_last_us = {_PERIOD.format(end="stretch_last_us", extreme="max")},
    active_us = max(coalesce(active_us, last_us), excluded.active_us),
    stretch_events = stretch_events + excluded.stretch_events, live = excluded.live, fill = excluded.fill,
    unmeasured_latency = coalesce(unmeasured_latency, 0) + excluded.unmeasured_latency,
    unmeasured_in = coalesce(unmeasured_in, 0) + excluded.unmeasured_in,
    unmeasured_out = coalesce(unmeasured_out, 0) + excluded.unmeasured_out"""
_REST = """UPDATE session SET live = 0, stretch_us = NULL, stretch_last_us = NULL, stretch_events = 0 WHERE id IN """
_TAIL = "SELECT crc, body FROM segment WHERE last >= ? AND instr(body, ?) > 0 ORDER BY last"
_ADD_USAGE = "INSERT INTO usage (hour, gpt, user, events, tokens) VALUES "


class Written(msgspec.Struct, array_like=True):
    """Up to where totals are in their tables."""

    last: int
    """All of them up to this record."""
    until: int = 0
    """A round is under way, with those up to here. 0: none is."""
    session: bytes = b""
    """It has written those of sessions up to this id."""
    usage: tuple[int, str, str] | None = None
    """And of usage up to this hour, GPT and user."""


def written(db: sqlite3.Connection) -> Written | None:
    """None: by a release that wrote them in its commits, so that nothing is behind. Raises sqlite3.Error,
    StoreDamaged."""
    row = db.execute("SELECT body FROM meta WHERE name = ?", (_NAME,)).fetchone()
    try:
        return None if row is None else msgspec.msgpack.decode(row[0], type=Written)
    except msgspec.MsgspecError as error:
        path = Path(db.execute("PRAGMA database_list").fetchone()[2])
        raise StoreDamaged(
            f"the journal is damaged: up to where totals are written cannot be read ({type(error).__name__})",
            DamagedPart.SESSIONS,
            f"diario {path}: hasta dónde están escritos los totales no se puede leer. {damaged_advice(path)}",
        ) from error


class Totals:
    """The writer's. Its errors are SQLite's."""

    def __init__(self, db: sqlite3.Connection, segments: Segments, parts: Parts, last: int) -> None:
        """`last`: the newest record. Reads what is behind it, and writes nothing but, where it is missing, its row.
        Raises StoreDamaged."""
        self._db = db
        self._segments = segments
        self._parts = parts
        self._waiting = Tallies()
        """Committed, and of no round yet."""
        self._round = Tallies()
        """What the round under way has yet to write."""
        self._sessions: list[bytes] = []
        """Those of the round that are left, in descending order."""
        self._usage: list[tuple[int, str, str]] = []
        self._group: list[tuple[Accounts, bytes | None]] = []
        """What the transaction in hand adds; a session that falls idle in it."""
        self._in_hand = Tallies()
        """The same, as far as `_so_far` was asked for it."""
        self._tallied = 0
        """How many of the group are in it."""
        self._last = last
        self._most = SLICE
        """Rows of one slice: fewer after one that met damage."""
        self.damaged = 0
        """Rows that could not be written since this was looked at."""
        found = written(db)
        if found is None:
            self._at = Written(last)
            self._put(self._at)
        else:
            self._at = found
            self._read_behind()

    @property
    def counted(self) -> int:
        """Up to this record all are in their tables."""
        return self._at.last

    @property
    def progress(self) -> tuple[int, ...]:
        """It changes with every step."""
        return self._at.last, len(self._sessions), len(self._usage), self._most

    @property
    def excess(self) -> int:
        """Rows that wait beyond what may."""
        return self._round.rows + self._waiting.rows - MOST_WAITING

    # --- what commits add -------------------------------------------------------------------------------------------

    def add(self, accounts: Accounts) -> None:
        """Of records that the transaction in hand writes, in their order; the fills in it are what they are after."""
        self._group.append((accounts, None))

    def rest(self, session: bytes) -> None:
        """A session falls idle in this transaction, behind what it has added so far."""
        self._group.append((([], [], []), session))

    def settle(self, last: int) -> None:
        """The transaction is committed, up to this record."""
        if self._group:
            self._tally(self._waiting, 0)
            self.undo()
        self._last = last

    def undo(self) -> None:
        self._group = []
        if self._tallied:
            self._in_hand, self._tallied = Tallies(), 0

    def _so_far(self) -> Tallies:
        """What the transaction in hand adds. A session that falls idle in it asks for it, and they are many."""
        if self._tallied < len(self._group):
            self._tally(self._in_hand, self._tallied)
            self._tallied = len(self._group)
        return self._in_hand

    def _tally(self, tallies: Tallies, start: int) -> None:
        for accounts, rested in self._group[start:]:
            tallies.put(*accounts)
            if rested is not None:
                tallies.rest(rested)

    # --- what is not written yet ------------------------------------------------------------------------------------

    def waits(self, session: bytes) -> bool:
        """Of the transaction in hand, too."""
        waiting = self._round, self._waiting, self._so_far()
        return any(session in one.sessions or session in one.rested for one in waiting)

    def fills(self, sessions: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
        """How far those of these sessions have come that wait."""
        for session in sessions:
            row = self._waiting.sessions.get(session) or self._round.sessions.get(session)
            if row is not None:
                yield session, row[17]

    def row(self, session: bytes) -> Row | None:
        """A session's row as it is with all that waits, the transaction in hand too; None: there is none."""
        found = self._db.execute(f"{_ROWS}(?)", (session,)).fetchone()
        row = None if found is None else list(found)
        for tallies in (self._round, self._waiting, self._so_far()):
            row = _with(row, session, tallies)
        return row

    def mend(self, now_us: int) -> int:
        """What says that it arrived later arrived now. Returns how many rows of usage are left: a round is kept by its
        keys, which a start reads as they were, so those are mended once they are written."""
        for tallies in (self._round, self._waiting):
            for row in tallies.sessions.values():
                if row[4] > now_us:
                    for column in (4, 11, 15, 16):
                        if row[column] is not None:
                            row[column] = min(row[column], now_us)
        hour = now_us // HOUR_US
        return sum(key[0] > hour + 1 for tallies in (self._round, self._waiting) for key in tallies.usage)

    # --- writing it -------------------------------------------------------------------------------------------------

    def write_all(self) -> None:
        """Between two transactions."""
        while self._at.last < self._last or self._at.until:
            self.step()

    def step(self, least: int = SLICE) -> None:
        """Writes a slice, in a transaction of its own between two others; begins a round where none is under way. Rows
        that stand in damaged pages are left out: those of their sessions cannot be read either."""
        if not self._at.until:
            if self._last == self._at.last:
                return
            self._begin()
        size = max(1, min(max(least, SLICE), self._most))
        try:
            self._write(size)
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if not is_damage(error):
                raise
            if not self._left():
                raise  # all rows are written or left out: it is the row `totals` that cannot be
            if self._most > 1:
                self._most = max(1, min(size, self._left()) // 4)
            else:
                self._leave_out()
        else:
            self._most = min(2 * self._most, 1 << 30)

    def _begin(self) -> None:
        self._at = Written(self._at.last, self._last)
        self._round, self._waiting = self._waiting, Tallies()
        self._sessions = sorted({*self._round.sessions, *self._round.rested}, reverse=True)
        self._usage = sorted(self._round.usage, reverse=True)

    def _left(self) -> int:
        return len(self._sessions) or len(self._usage)

    def _write(self, size: int) -> None:
        sessions, usage = self._sessions[-size:][::-1], []
        at = self._at
        if sessions:
            # After a kill a session may come behind usage: one without events, which its commit wrote whole.
            at = Written(at.last, at.until, sessions[-1], at.usage)
        else:
            usage = self._usage[-size:][::-1]
            if usage:
                at = Written(at.last, at.until, at.session, usage[-1])
        if len(sessions) == len(self._sessions) and len(usage) == len(self._usage):
            at = Written(at.until)
        self._db.execute("BEGIN IMMEDIATE")
        if sessions:
            self._write_sessions(sessions)
        if usage:
            rows = [(*key, *self._round.usage[key]) for key in usage]
            self._insert(_ADD_USAGE, rows, f" {ADD_USAGE}")
        self._put(at)
        self._db.execute("COMMIT")
        self._at = at
        self._done(sessions, usage)

    def _write_sessions(self, sessions: list[bytes]) -> None:
        round_ = self._round
        rested = [session for session in sessions if session in round_.rested]
        if rested:
            self._db.execute(f"{_REST}({', '.join('?' * len(rested))})", rested)
        rows = [round_.sessions[session] for session in sessions if session in round_.sessions]
        if rows:
            self._insert(_ADD_SESSIONS, rows, _TO_SESSIONS)

    def _insert(self, head: str, rows: Sequence[Sequence[Any]], tail: str) -> None:
        """One statement, and not one a row: each hands the interpreter's lock on (`grouping.py`)."""
        row = f"({', '.join('?' * len(rows[0]))})"
        for portion in portions(len(rows)):
            part = rows[portion]
            values = [value for one in part for value in one]
            self._db.execute(f"{head}{', '.join([row] * len(part))}{tail}", values)

    def _put(self, at: Written) -> None:
        # Its number is 0, as that of all rows of `meta` but the snapshot's.
        body = msgspec.msgpack.encode(at)
        self._db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES (?, 0, ?)", (_NAME, body))

    def _done(self, sessions: list[bytes], usage: list[tuple[int, str, str]]) -> None:
        if sessions:
            del self._sessions[-len(sessions) :]
            for session in sessions:
                self._round.sessions.pop(session, None)
                self._round.rested.discard(session)
        if usage:
            del self._usage[-len(usage) :]
            for key in usage:
                del self._round.usage[key]

    def _leave_out(self) -> None:
        """The next row of the round, which is damaged: the slice behind it moves the row `totals` past it."""
        if not self.damaged:
            log.error("totals of sessions or usage in damaged pages cannot be written, and are left out")
        self.damaged += 1
        self._done(self._sessions[-1:], [] if self._sessions else self._usage[-1:])
        self._most = 2

    # --- a start ----------------------------------------------------------------------------------------------------

    def _read_behind(self) -> None:
        at = self._at
        if at.until:
            self._round = self._read(at.last, at.until)
            for session in [one for one in {*self._round.sessions, *self._round.rested} if one <= at.session]:
                self._round.sessions.pop(session, None)
                self._round.rested.discard(session)
            if at.usage is not None:
                for key in [key for key in self._round.usage if key <= at.usage]:
                    del self._round.usage[key]
            self._sessions = sorted({*self._round.sessions, *self._round.rested}, reverse=True)
            self._usage = sorted(self._round.usage, reverse=True)
        self._waiting = self._read(at.until or at.last, self._last)

    def _read(self, after: int, until: int) -> Tallies:
        """What records add, to rows as they are."""
        tallies = Tallies()
        for segment in _walk(self._segments, after, until):
            if segment.damaged:
                log.error("records up to %d are damaged: the totals of their sessions lack them", segment.last)
                continue
            more = added(decode(segment.body), self._parts)
            self._begin_rows(tallies, [row[0] for row in more.sessions])
            tally(tallies, more, self._parts)
        return tallies

    def _begin_rows(self, tallies: Tallies, sessions: Iterable[bytes]) -> None:
        """Rows that add nothing, of those of these sessions that exist: they know how far their parts are filled."""
        new = [session for session in sessions if session not in tallies.sessions]
        fills = dict(self.fills(new))
        for found in self._rows(new):
            session, gpt, user, started_us, last_us, _, _, events = found[:8]
            fill = fills.get(session, fill_of(found[17], events))
            tallies.sessions[session] = [
                session, gpt, user, started_us, last_us, None, None, 0, 0, 0, 0, None, 0, found[13], None,
                None, found[16], fill, 0, 0, 0,
            ]  # fmt: skip

    def _rows(self, sessions: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """Of those of these sessions that exist and can be read."""
        if len(sessions) > _SELECTED:
            half = len(sessions) // 2
            return self._rows(sessions[:half]) + self._rows(sessions[half:])
        try:
            return self._db.execute(f"{_ROWS}({', '.join('?' * len(sessions))})", sessions).fetchall()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            if len(sessions) == 1:
                return []
            return self._rows(sessions[: len(sessions) // 2]) + self._rows(sessions[len(sessions) // 2 :])


def _with(row: Row | None, session: bytes, more: Tallies) -> Row | None:
    """A session's row with what these add to it."""
    if row is not None and session in more.rested:
        end_period(row)
    adds = more.sessions.get(session)
    if adds is None:
        return row
    if row is None:
        return list(adds)
    merge(row, adds)
    for column in (18, 19, 20):
        row[column] = (row[column] or 0) + adds[column]
    return row


def tally(tallies: Tallies, more: Added, parts: Parts) -> None:
    """Adds a segment: sessions fall idle in segments of their own."""
    tallies.add(more, parts)
    for record in more.records:
        if record.__class__ is Idle:
            tallies.rest(record.session)


def _walk(segments: Segments, after: int, until: int) -> Iterator[Segment]:
    while after < until and (found := segments.read(after, _READ_SEGMENTS)):
        for segment in found:
            if segment.last > until and not segment.damaged:
                return
            yield segment
            after = segment.last


def session_with_tail(db: sqlite3.Connection, session_id: bytes, parts: Parts = PARTS) -> Row | None:
    """A session's row (`COLUMNS`) with what is committed and not written yet, of one state of the journal; None: there
    is no such session."""
    began = not db.in_transaction
    if began:
        db.execute("BEGIN")
    try:
        found = db.execute(f"{_ROWS}(?)", (session_id,)).fetchone()
        at = written(db)
        behind: list[tuple[int, bytes]] = []
        if at is not None:
            after = at.until if session_id <= at.session else at.last
            behind = db.execute(_TAIL, (after + 1, session_id)).fetchall()
    finally:
        if began:
            db.execute("ROLLBACK")
    row = None if found is None else list(found)
    if row is not None:
        row[17:] = fill_of(row[17], row[7]), *(value or 0 for value in row[18:])
    tallies = Tallies([] if row is None else [row])
    for crc, body in behind:
        if zlib.crc32(body) == crc:
            own = [record for record in decode(body) if _session_of(record) == session_id]
            tally(tallies, added(own, parts), parts)
    return tallies.sessions.get(session_id)


def _session_of(record: Record) -> bytes | None:
    if isinstance(record, Event | Idle):
        return record.session
    return record.id if isinstance(record, Session) else None


def write_behind(db: sqlite3.Connection, path: Path) -> None:
    """Writes what is behind, of a journal that nobody serves: a kill has left it, or it is a copy of a served one.
    Raises sqlite3.Error, StoreDamaged."""
    if written(db) is not None:
        segments = Segments(db, path, "")  # which is asked nothing of a consumer's
        Totals(db, segments, PARTS, segments.last()).write_all()
