"""What reads the journal's file beside its writer, in any thread or process."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from otel_bridge import clock
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.parts import Parts, parts_of
from otel_bridge.journal.rows import Pending
from otel_bridge.journal.sqlite.database import connect, reading
from otel_bridge.journal.sqlite.identity import identity
from otel_bridge.journal.sqlite.known_keys import Find
from otel_bridge.journal.sqlite.lookup import Lookup
from otel_bridge.journal.sqlite.names import log_of
from otel_bridge.journal.sqlite.segments import Segments
from otel_bridge.journal.sqlite.totals import PARTS, session_with_tail
from otel_bridge.journal.store import (
    NONE_OF_THEIR_OWN,
    DamagedPart,
    Identity,
    Ledger,
    Parked,
    Segment,
    SessionInfo,
    SessionRow,
    TopUser,
    Window,
)
from otel_bridge.records import Event, Idle

IDLE_OF = """SELECT id, gpt, coalesce((stretch_last_us - stretch_us) / 1e6, 0.0), stretch_events FROM session"""
"""What `Idle` says of a session."""
TURN_SECONDS, PAUSE_SECONDS = 0.05, 0.05
"""How long a count over all sessions or users keeps a core at a time, and how long it leaves it to others then. It
reads one state of the journal meanwhile, so the pauses are no longer than the turns: the log grows until it ends."""
TURN_STEPS = 100_000
"""Steps of SQLite's machine (some 2 ms) between two looks at the clock."""
_ACTIVITY = "SELECT gpt, user, coalesce(active_us, last_us) AS active_us FROM session"


class SqliteReader:
    """A connection of its own: reads what is committed and never waits for the writer."""

    def __init__(self, path: Path, consumer: str, find_keys: Find | None = None, parts: Parts = PARTS) -> None:
        """`find_keys`: the writer's, where it is of this process; `parts`: says what an event counts in its part."""
        self.path = path
        self._find_keys = find_keys
        self._parts = parts
        self._consumer = consumer
        self._old_from = b""
        self._in_turns, self._closing = threading.Lock(), False
        self._connect()

    @reading(DamagedPart.ANY)
    def _connect(self) -> None:
        self._db = connect(self.path, "ro")
        self._db.execute("PRAGMA query_only = ON")
        self._segments = Segments(self._db, self.path, self._consumer)
        self._lookup = Lookup(self._db, self._segments, self._consumer, self._find_keys)

    @reading(DamagedPart.SESSIONS)
    def sessions(self, ids: Sequence[bytes]) -> dict[bytes, SessionInfo]:
        infos = {}
        for start in range(0, len(ids), 512):
            part = ids[start : start + 512]
            sql = f"SELECT id, gpt, user FROM session WHERE id IN ({', '.join('?' * len(part))})"
            for session_id, gpt, user in self._db.execute(sql, part):
                infos[session_id] = SessionInfo(gpt, user)
        return infos

    @reading(DamagedPart.SESSIONS)
    def session(self, session_id: bytes) -> SessionRow | None:
        row = session_with_tail(self._db, session_id, self._parts)
        if row is None:
            return None
        totals = (*row[1:4], *row[5:11], bool(row[13]), parts_of(row[17]), (row[18], row[19], row[20]))
        return SessionRow._make(totals)

    @reading(DamagedPart.SEGMENTS)
    def segments(self, after: int, limit: int) -> list[Segment]:
        return self._segments.read(after, limit)

    @reading(DamagedPart.KEYS)
    def arrivals(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        return self._lookup.arrivals(keys)

    @reading(DamagedPart.LOOKED_FOR)
    def event_near(self, event_id: bytes, arrived_us: int, gpt: str | None = None) -> Event | None:
        return self._lookup.event(event_id, arrived_us, gpt)

    @reading(DamagedPart.PARKED)
    def parked(self, limit: int, replay_only: bool = False) -> list[Parked]:
        where = "WHERE replay = 1" if replay_only else ""
        return [
            Parked(*row)
            for row in self._db.execute(
                f"SELECT seq, body, reason, words, parked_us, spans FROM parked {where} ORDER BY seq LIMIT ?",
                (limit,),
            )
        ]

    @reading(DamagedPart.PARKED)
    def replay_marks(self) -> dict[int, bool]:
        return {seq: bool(marked) for seq, marked in self._db.execute("SELECT seq, replay FROM parked")}

    def cursor(self) -> int:
        return self._sink()[0]

    @reading(DamagedPart.CURSOR)
    def _sink(self) -> tuple[int, int]:
        """(cursor, spans exported)."""
        row = self._db.execute("SELECT cursor, exported FROM sink WHERE name = ?", (self._consumer,)).fetchone()
        return row or (0, 0)

    @reading(DamagedPart.CURSOR)
    def begin_snapshot(self) -> None:
        if self._db.in_transaction:  # an earlier snapshot that nobody came to count
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN")
        self._db.execute("SELECT 1 FROM sink LIMIT 1").fetchone()

    def ledger(self) -> Ledger:
        if not self._db.in_transaction:
            self.begin_snapshot()
        try:
            cursor, exported = self._sink()
            last, pending = self._pending(cursor)
            parked = self._parked_spans()
            return Ledger(last, cursor, exported, pending.spans, parked, pending.oldest_us, pending.unreadable)
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @reading(DamagedPart.SEGMENTS)
    def _pending(self, cursor: int) -> tuple[int, Pending]:
        """(newest record, what is behind the cursor)."""
        return self._segments.last(), self._segments.pending(cursor)

    @reading(DamagedPart.PARKED)
    def _parked_spans(self) -> int:
        return int(self._db.execute("SELECT coalesce(sum(spans), 0) FROM parked").fetchone()[0])

    def check(self) -> None:
        self._sink()
        self._saved()
        self._newest()

    @reading(DamagedPart.SNAPSHOT)
    def _saved(self) -> None:
        self._db.execute("SELECT seq, length(body) FROM meta").fetchall()

    @reading(DamagedPart.SEGMENTS)
    def _newest(self) -> None:
        self._segments.newest()

    @reading(DamagedPart.SESSIONS)
    def windows(self, now_us: int, windows: dict[str, int]) -> list[Window]:
        with self._turns():
            return self._windows(now_us, windows)

    def _windows(self, now_us: int, windows: dict[str, int]) -> list[Window]:
        starts = [now_us - seconds * 1_000_000 for seconds in windows.values()]
        sums = ", ".join("sum(active_us >= ?)" for _ in starts)
        counts: dict[str, list[Any]] = {}
        for gpt, *sessions in self._db.execute(f"SELECT gpt, {sums} FROM ({_ACTIVITY}) GROUP BY gpt", starts):
            counts[gpt] = [sessions, [0] * len(starts)]
        for gpt, *users in self._db.execute(
            f"SELECT gpt, {sums} FROM (SELECT gpt, user, max(active_us) AS active_us FROM ({_ACTIVITY}) "
            "WHERE user <> '' GROUP BY gpt, user) GROUP BY gpt",
            starts,
        ):
            counts[gpt][1] = users
        return [
            Window(gpt, name, sessions[i], users[i])
            for gpt, (sessions, users) in counts.items()
            for i, name in enumerate(windows)
        ]

    @reading(DamagedPart.USAGE)
    def top_users(self, now_us: int, seconds: int, limit: int) -> list[TopUser]:
        since = (now_us - seconds * 1_000_000) // HOUR_US
        with self._turns():
            rows = self._db.execute(
                "SELECT gpt, user, events, tokens FROM (SELECT gpt, user, events, tokens, row_number() OVER "
                "(PARTITION BY gpt ORDER BY events DESC, tokens DESC, user) AS place FROM (SELECT gpt, user, "
                "sum(events) AS events, sum(tokens) AS tokens FROM usage WHERE hour >= ? AND user <> '' "
                "GROUP BY gpt, user)) WHERE place <= ? AND events > 0",
                (since, limit),
            ).fetchall()
        return [TopUser(*row) for row in rows]

    @contextmanager
    def _turns(self) -> Iterator[None]:
        """What is counted within keeps no core for longer than a turn, and ends where the reader is closed."""
        until, pause = time.monotonic() + TURN_SECONDS, threading.Event()

        def step() -> bool:
            nonlocal until
            if time.monotonic() > until:
                pause.wait(PAUSE_SECONDS)  # `time.sleep` can be refused where the clock is set
                until = time.monotonic() + TURN_SECONDS
            return self._closing

        with self._in_turns:
            self._db.set_progress_handler(step, TURN_STEPS)
            try:
                yield
            finally:
                self._db.set_progress_handler(None, 0)

    @reading(DamagedPart.SESSIONS)
    def old_sessions(self, before_us: int, limit: int, own: Mapping[str, int] = NONE_OF_THEIR_OWN) -> list[bytes]:
        # A walk through all of them: no index on their age is kept for it.
        try:
            rows = self._db.execute(
                "SELECT id, gpt, last_us, live FROM session WHERE id > ? ORDER BY id LIMIT ?", (self._old_from, limit)
            ).fetchall()
        except sqlite3.Error:
            self._old_from = os.urandom(16)  # others may be readable
            raise
        self._old_from = rows[-1][0] if len(rows) == limit else b""
        return [id_ for id_, gpt, last_us, live in rows if last_us < own.get(gpt, before_us) and not live]

    @reading(DamagedPart.SESSIONS)
    def sessions_ahead(self, now_us: int, start: bytes, limit: int) -> tuple[list[bytes], bytes | None]:
        rows = self._db.execute(
            "SELECT id, last_us, active_us FROM session WHERE id > ? ORDER BY id LIMIT ?", (start, limit)
        ).fetchall()
        ahead = [session for session, last_us, active_us in rows if max(last_us, active_us or 0) > now_us]
        return ahead, rows[-1][0] if len(rows) == limit else None

    @reading(DamagedPart.SESSIONS)
    def idle_candidates(self, before_us: int, limit: int) -> list[Idle]:
        idles = []
        for session, gpt, duration, events in self._db.execute(
            f"{IDLE_OF} WHERE live = 1 AND last_us < ? ORDER BY last_us LIMIT ?",
            (before_us, limit),
        ):
            idles.append(Idle(session, gpt, duration, events, clock.now_us()))
        return idles

    @reading(DamagedPart.SNAPSHOT)
    def identity(self) -> Identity:
        return identity(self._db)

    @reading(DamagedPart.ANY)
    def bytes_used(self) -> int:
        """Bytes that hold something: pages in use and the write-ahead log. Freed pages are used again."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size) + wal_bytes(self.path)

    @reading(DamagedPart.ANY)
    def bytes_of_segments(self) -> tuple[int, int]:
        # A body that is longer than its page is not read for its length.
        sql = "SELECT coalesce(sum(length(body) * (last > ?1)), 0), coalesce(sum(length(body)), 0) FROM segment"
        pending, everything = self._db.execute(sql, (self._sink()[0],)).fetchone()
        return pending, everything - pending

    def close(self) -> None:
        self._closing = True
        with self._in_turns:
            self._db.close()


def wal_bytes(path: Path) -> int:
    """Size of the write-ahead log of the journal at `path`."""
    try:
        return log_of(path).stat().st_size
    except FileNotFoundError:
        return 0
