"""What goes when its time is over, or for want of room; and what a clock that ran ahead has left behind.

Arrivals are written by a clock, and a clock can be wrong. Segments stand in the order in which they were committed: one
that says it arrives yet (an «ahead» one) arrived before those behind it, and goes with the first of them that is old.
Sessions and usage have no such order: `mend` writes them down as of now.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from otel_bridge.journal.sqlite.database import HOUR_US
from otel_bridge.journal.store import Trimmed

TRIM_BYTES = 4 << 20
"""Of segments that are deleted at once: every page of a deleted row is read, and answers wait meanwhile."""


def trim(
    db: sqlite3.Connection,
    safe: int,
    before_us: int,
    now_us: int,
    limit: int,
    sessions: Sequence[bytes],
    make_room: bool,
) -> Trimmed:
    """`Store.trim`. `safe`: the last segment that may go."""
    upto = _upto(db, safe, before_us, now_us, limit, make_room)
    gone = db.execute("DELETE FROM segment WHERE last <= ?", (upto,)).rowcount if upto else 0
    kept = [session for session in sessions if not _delete_session(db, session, before_us)]
    gone += db.execute(
        "DELETE FROM usage WHERE (hour, gpt, user) IN (SELECT hour, gpt, user FROM usage WHERE hour < ? LIMIT ?)",
        (before_us // HOUR_US, limit),
    ).rowcount
    return Trimmed(gone + len(sessions) - len(kept), kept)


def mend(db: sqlite3.Connection, now_us: int, sessions: Sequence[bytes], limit: int) -> int:
    """`Store.mend`, but for the keys."""
    for session in sessions:
        db.execute(
            "UPDATE session SET last_us = min(last_us, ?1), active_us = min(active_us, ?1) WHERE id = ?2",
            (now_us, session),
        )
    hour = now_us // HOUR_US
    ahead = db.execute("SELECT * FROM usage WHERE hour > ? LIMIT ?", (hour + 1, limit)).fetchall()
    for then, gpt, user, events, tokens in ahead:
        db.execute("DELETE FROM usage WHERE hour = ? AND gpt = ? AND user = ?", (then, gpt, user))
        db.execute(
            "INSERT INTO usage (hour, gpt, user, events, tokens) VALUES (?, ?, ?, ?, ?) ON CONFLICT (hour, gpt, user) "
            "DO UPDATE SET events = events + excluded.events, tokens = tokens + excluded.tokens",
            (hour, gpt, user, events, tokens),
        )
    return len(sessions) + len(ahead)


def _upto(db: sqlite3.Connection, safe: int, before_us: int, now_us: int, limit: int, make_room: bool) -> int:
    """The last segment that goes now; 0: none."""
    # Only the oldest rows are looked at: a clock that stepped must not make this a scan.
    rows = db.execute(
        "SELECT last, arrived_us, length(body) FROM segment WHERE last <= ? ORDER BY last LIMIT ?", (safe, limit)
    ).fetchall()
    old = max((last for last, arrived_us, _ in rows if arrived_us < before_us), default=0)
    if make_room or (rows and rows[0][1] > now_us and _is_old_behind(db, rows[-1][0], before_us, now_us)):
        old = safe
    upto = size = 0
    for last, arrived_us, length in rows:
        size += length
        if last > old or (before_us <= arrived_us <= now_us and not make_room) or (upto and size > TRIM_BYTES):
            break
        upto = last
    return upto


def _is_old_behind(db: sqlite3.Connection, after: int, before_us: int, now_us: int) -> bool:
    """Whether the first segment that is not ahead, of those behind `after`, is old. It is looked for by halves: they
    come in runs, and where there are several, it is the first behind one of them."""
    low, high = after, db.execute("SELECT coalesce(max(last), 0) FROM segment").fetchone()[0]
    sql = "SELECT last, arrived_us FROM segment WHERE last > ? ORDER BY last LIMIT 1"
    while low < high:
        middle = (low + high) // 2
        row = db.execute(sql, (middle,)).fetchone()
        if row is None or row[1] <= now_us:
            high = middle
        else:
            low = row[0]
    row = db.execute(sql, (low,)).fetchone()
    return row is not None and bool(row[1] < before_us)


def _delete_session(db: sqlite3.Connection, session: bytes, before_us: int) -> bool:
    sql = "DELETE FROM session WHERE id = ? AND last_us < ? AND live = 0"
    return db.execute(sql, (session, before_us)).rowcount > 0
