"""Sessions that fall idle or end: in the writer's transaction, behind `totals.catch_up`, whose locks it holds. Nobody
else changes totals until it is over, so that each period ends once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres.arrays import bytea_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.totals import PARTS, catch_up
from otel_bridge.records import Idle

IDLE_OF = """SELECT id, gpt, coalesce((stretch_last_us - stretch_us) / 1e6, 0.0)::float8, stretch_events
    FROM otel_bridge.session"""
"""What `Idle` says of a session."""
_FALL = """UPDATE otel_bridge.session SET live = false, stretch_us = NULL, stretch_last_us = NULL, stretch_events = 0
    FROM (SELECT id FROM otel_bridge.session
        WHERE id = ANY(%b::bytea[]) AND live AND last_us < %s ORDER BY id FOR UPDATE) AS old
    WHERE session.id = old.id RETURNING session.id"""
_ALWAYS = 1 << 62


def fall_idle(connection: Connection, idles: Sequence[Idle], before_us: int, parts: Parts = PARTS) -> list[Idle]:
    """As `Store.fall_idle`, but that the records are still to be journaled."""
    catch_up(connection, parts)
    by_id = {idle.session: idle for idle in reversed(idles)}
    rows = connection.execute(_FALL, (bytea_array([*by_id]), before_us), binary=True).fetchall()
    fallen = {session for (session,) in rows}
    return [idle for session, idle in reversed(by_id.items()) if session in fallen]


def end(connection: Connection, session: bytes, now_us: int, parts: Parts = PARTS) -> list[Idle]:
    """As `Store.end`, but that the record is still to be journaled."""
    catch_up(connection, parts)
    rows = connection.execute(f"{IDLE_OF} WHERE id = %b AND live FOR UPDATE", (session,), binary=True).fetchall()
    if rows:
        connection.execute(_FALL, (bytea_array([session]), _ALWAYS))
    return [idle_of(row, now_us) for row in rows]


def idle_of(row: tuple[Any, ...], now_us: int) -> Idle:
    """What `IDLE_OF` has read as the record."""
    session, gpt, duration, events = row
    return Idle(session, gpt, duration, events, now_us)
