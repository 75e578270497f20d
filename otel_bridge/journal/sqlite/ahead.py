"""What a clock that ran ahead has left behind: sessions and usage of times to come are written down as of now.
(Segments stand in the order in which they came, see `trimming.py`; dedup keys: `generations.py`.)"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.sqlite.totals import ADD_USAGE


def mend(db: sqlite3.Connection, now_us: int, sessions: Sequence[bytes], limit: int) -> int:
    """`Store.mend`, but for the keys."""
    for session in sessions:
        db.execute(
            "UPDATE session SET last_us = min(last_us, ?1), active_us = min(active_us, ?1), "
            "stretch_us = min(stretch_us, ?1), stretch_last_us = min(stretch_last_us, ?1) WHERE id = ?2",
            (now_us, session),
        )
    hour = now_us // HOUR_US
    ahead = db.execute("SELECT * FROM usage WHERE hour > ? LIMIT ?", (hour + 1, limit)).fetchall()
    for then, gpt, user, events, tokens in ahead:
        db.execute("DELETE FROM usage WHERE hour = ? AND gpt = ? AND user = ?", (then, gpt, user))
        db.execute(
            f"INSERT INTO usage (hour, gpt, user, events, tokens) VALUES (?, ?, ?, ?, ?) {ADD_USAGE}",
            (hour, gpt, user, events, tokens),
        )
    return len(sessions) + len(ahead)
