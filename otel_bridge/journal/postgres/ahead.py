"""What a clock that ran ahead has left behind: sessions and usage of times to come are written down as of now.
(Segments: `trimming.py`; dedup keys: `generations.py`.)"""

from __future__ import annotations

from collections.abc import Sequence

from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres.arrays import bytea_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.totals import PARTS, TO_USAGE, catch_up

_MEND_SESSIONS = """UPDATE otel_bridge.session SET last_us = least(last_us, now),
    due_us = least(due_us, now),
    active_us = CASE WHEN active_us > now THEN now ELSE active_us END,
    stretch_us = CASE WHEN stretch_us > now THEN now ELSE stretch_us END,
    stretch_last_us = CASE WHEN stretch_last_us > now THEN now ELSE stretch_last_us END
    FROM (SELECT id, %s::bigint AS now FROM otel_bridge.session
        WHERE id = ANY(%b::bytea[]) ORDER BY id FOR UPDATE) AS old
    WHERE session.id = old.id"""
_MEND_USAGE = f"""WITH gone AS (DELETE FROM otel_bridge.usage WHERE (hour, gpt, "user") IN (
        SELECT hour, gpt, "user" FROM otel_bridge.usage WHERE hour > %s ORDER BY 1, 2, 3 LIMIT %s)
    RETURNING gpt, "user", events, tokens),
    added AS (INSERT INTO otel_bridge.usage AS kept (hour, gpt, "user", events, tokens)
        SELECT %s, gpt, "user", sum(events), sum(tokens) FROM gone GROUP BY gpt, "user" ORDER BY gpt, "user"
        {TO_USAGE})
    SELECT count(*) FROM gone"""


def mend(connection: Connection, now_us: int, sessions: Sequence[bytes], limit: int, parts: Parts = PARTS) -> int:
    """As `Store.mend`, but for the keys."""
    catch_up(connection, parts)
    if sessions:
        connection.execute(_MEND_SESSIONS, (now_us, bytea_array(sessions)))
    hour = now_us // HOUR_US
    ((count,),) = connection.execute(_MEND_USAGE, (hour + 1, limit, hour)).fetchall()
    return len(sessions) + int(count)
