"""What reads the journal's file beside its writer, in any thread or process."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_bridge.journal.sqlite.database import HOUR_US, connect, reading
from otel_bridge.journal.sqlite.identity import identity
from otel_bridge.journal.store import Identity, Ledger, Parked, Segment, SessionInfo, SessionRow, TopUser, Window
from otel_bridge.records import Idle

READ_BYTES = 4 << 20
"""Of segments that are read at once."""
_ACTIVITY = "SELECT gpt, user, coalesce(active_us, last_us) AS active_us FROM session"


class SqliteReader:
    """A connection of its own: reads what is committed and never waits for the writer."""

    def __init__(self, path: Path, consumer: str) -> None:
        self.path = path
        self._consumer = consumer
        self._old_from = b""
        self._connect()

    @reading
    def _connect(self) -> None:
        self._db = connect(self.path, "ro")
        self._db.execute("PRAGMA query_only = ON")

    @reading
    def sessions(self, ids: Sequence[bytes]) -> dict[bytes, SessionInfo]:
        infos = {}
        for start in range(0, len(ids), 512):
            part = ids[start : start + 512]
            sql = f"SELECT id, gpt, user FROM session WHERE id IN ({', '.join('?' * len(part))})"
            for session_id, gpt, user in self._db.execute(sql, part):
                infos[session_id] = SessionInfo(gpt, user)
        return infos

    @reading
    def session(self, session_id: bytes) -> SessionRow | None:
        row = self._db.execute(
            "SELECT gpt, user, started_us, first_event_us, last_event_us, events, failed, tokens_in, "
            "tokens_out, live FROM session WHERE id = ?",
            (session_id,),
        ).fetchone()
        return SessionRow._make((*row[:-1], bool(row[-1]))) if row else None

    @reading
    def segments(self, after: int, limit: int) -> list[Segment]:
        rows = self._db.execute(
            "SELECT last, count, spans, arrived_us, crc, body FROM segment WHERE last > ? ORDER BY last LIMIT ?",
            (after, limit),
        )
        segments, size = [], 0
        try:
            for last, count, spans, arrived_us, crc, body in rows:
                segments.append(Segment(last, count, spans, arrived_us, body, zlib.crc32(body) != crc))
                size += len(body)
                if size > READ_BYTES:
                    break
        finally:
            rows.close()  # ends the read: a snapshot that stays open would hold the write-ahead log
        return segments

    @reading
    def parked(self, limit: int, replay_only: bool = False) -> list[Parked]:
        where = "WHERE replay = 1" if replay_only else ""
        return [
            Parked(*row)
            for row in self._db.execute(
                f"SELECT seq, body, reason, words, parked_us, spans FROM parked {where} ORDER BY seq LIMIT ?",
                (limit,),
            )
        ]

    @reading
    def replay_marks(self) -> dict[int, bool]:
        return {seq: bool(marked) for seq, marked in self._db.execute("SELECT seq, replay FROM parked")}

    @reading
    def cursor(self) -> int:
        return self._sink()[0]

    def _sink(self) -> tuple[int, int]:
        """(cursor, spans exported)."""
        row = self._db.execute("SELECT cursor, exported FROM sink WHERE name = ?", (self._consumer,)).fetchone()
        return row or (0, 0)

    @reading
    def begin_snapshot(self) -> None:
        if self._db.in_transaction:  # an earlier snapshot that nobody came to count
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN")
        self._db.execute("SELECT 1 FROM sink LIMIT 1").fetchone()

    @reading
    def ledger(self) -> Ledger:
        if not self._db.in_transaction:
            self.begin_snapshot()
        try:
            cursor, exported = self._sink()
            last = self._db.execute("SELECT coalesce(max(last), 0) FROM segment").fetchone()[0]
            pending = self._db.execute(
                "SELECT coalesce(sum(spans), 0) FROM segment WHERE last > ?", (cursor,)
            ).fetchone()[0]
            oldest = self._db.execute(
                "SELECT arrived_us FROM segment WHERE last > ? AND spans > 0 ORDER BY last LIMIT 1", (cursor,)
            ).fetchone()
            parked = self._db.execute("SELECT coalesce(sum(spans), 0) FROM parked").fetchone()[0]
            return Ledger(last, cursor, exported, pending, parked, oldest[0] if oldest else None)
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @reading
    def windows(self, now_us: int, windows: dict[str, int]) -> list[Window]:
        starts = [now_us - seconds * 1_000_000 for seconds in windows.values()]
        sums = ", ".join("sum(active_us >= ?)" for _ in starts)
        counts: dict[str, list[Any]] = {}
        for gpt, *sessions in self._db.execute(f"SELECT gpt, {sums} FROM ({_ACTIVITY}) GROUP BY gpt", starts):
            counts[gpt] = [sessions, [0] * len(starts)]
        for gpt, *users in self._db.execute(
            f"SELECT gpt, {sums} FROM (SELECT gpt, user, max(active_us) AS active_us FROM ({_ACTIVITY}) "
            "GROUP BY gpt, user) GROUP BY gpt",
            starts,
        ):
            counts[gpt][1] = users
        return [
            Window(gpt, name, sessions[i], users[i])
            for gpt, (sessions, users) in counts.items()
            for i, name in enumerate(windows)
        ]

    @reading
    def top_users(self, now_us: int, seconds: int, limit: int) -> list[TopUser]:
        since = (now_us - seconds * 1_000_000) // HOUR_US
        return [
            TopUser(*row)
            for row in self._db.execute(
                "SELECT gpt, user, events, tokens FROM (SELECT gpt, user, events, tokens, row_number() OVER "
                "(PARTITION BY gpt ORDER BY events DESC, tokens DESC, user) AS place FROM (SELECT gpt, user, "
                "sum(events) AS events, sum(tokens) AS tokens FROM usage WHERE hour >= ? GROUP BY gpt, user)) "
                "WHERE place <= ? AND events > 0",
                (since, limit),
            )
        ]

    @reading
    def old_sessions(self, before_us: int, limit: int) -> list[bytes]:
        # A walk through all of them: no index on their age is kept for it.
        rows = self._db.execute(
            "SELECT id, last_us, live FROM session WHERE id > ? ORDER BY id LIMIT ?", (self._old_from, limit)
        ).fetchall()
        self._old_from = rows[-1][0] if len(rows) == limit else b""
        return [session for session, last_us, live in rows if last_us < before_us and not live]

    @reading
    def idle_candidates(self, before_us: int, limit: int) -> list[Idle]:
        idles = []
        for session, gpt, duration, events in self._db.execute(
            "SELECT id, gpt, coalesce((stretch_last_us - stretch_us) / 1e6, 0.0), stretch_events FROM session "
            "WHERE live = 1 AND last_us < ? ORDER BY last_us LIMIT ?",
            (before_us, limit),
        ):
            idles.append(Idle(session, gpt, duration, events, time.time_ns() // 1000))
        return idles

    @reading
    def identity(self) -> Identity:
        return identity(self._db)

    @reading
    def bytes_used(self) -> int:
        """Bytes that hold something: pages in use and the write-ahead log. Freed pages are used again."""
        pages, free, size = (
            self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size) + wal_bytes(self.path)

    def close(self) -> None:
        self._db.close()


def wal_bytes(path: Path) -> int:
    """Size of the write-ahead log of the journal at `path`."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except FileNotFoundError:
        return 0
