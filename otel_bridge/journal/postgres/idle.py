"""Sessions that fall idle or end: in the writer's transaction, behind `totals.catch_up`, whose locks it holds. Nobody
else changes totals until it is over, so that each period ends once, with all that belongs to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from otel_bridge import clock
from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres.arrays import bytea_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.totals import PARTS, catch_up
from otel_bridge.records import Idle

_PERIOD = "id, gpt, coalesce((stretch_last_us - stretch_us) / 1e6, 0.0)::float8, stretch_events"
"""What `Idle` says of a session."""
_DUE = f"""SELECT last_us, {_PERIOD} FROM otel_bridge.session WHERE live AND due_us < %s ORDER BY due_us LIMIT %s"""
_POSTPONE = """UPDATE otel_bridge.session SET due_us = last_us
    FROM (SELECT id FROM otel_bridge.session WHERE id = ANY(%b::bytea[]) AND live ORDER BY id FOR UPDATE) AS late
    WHERE session.id = late.id"""
_FALL = f"""UPDATE otel_bridge.session SET live = false, stretch_us = NULL, stretch_last_us = NULL, stretch_events = 0
    FROM (SELECT {_PERIOD} FROM otel_bridge.session
        WHERE id = ANY(%b::bytea[]) AND live AND last_us < %s ORDER BY id FOR UPDATE) AS old (id, gpt, length, events)
    WHERE session.id = old.id RETURNING old.*"""
_ALWAYS = 1 << 62
DUE_SESSIONS = 2_000
"""That are looked at in one go."""


def candidates(connection: Connection, before_us: int, limit: int) -> list[Idle]:
    """As `Reader.idle_candidates`, of what is counted. A session is due at the latest when it would be idle had nothing
    come for it since it was looked at last: then it is idle, or due at a later time."""
    while True:
        due = connection.execute(_DUE, (before_us, max(limit, DUE_SESSIONS)), binary=True).fetchall()
        alive = [session for last_us, session, *_ in due if last_us >= before_us]
        if alive:
            connection.execute(_POSTPONE, (bytea_array(alive),))
        idle = sorted((row for row in due if row[0] < before_us), key=itemgetter(0))[:limit]
        if idle or not alive:
            return [idle_of(row[1:], clock.now_us()) for row in idle]


def fall_idle(connection: Connection, idles: Sequence[Idle], before_us: int, parts: Parts = PARTS) -> list[Idle]:
    """As `Store.fall_idle`, but that the records are still to be journaled."""
    told = {idle.session: idle.arrived_us for idle in idles}
    fallen = _fall(connection, [*told], before_us, parts)
    return [idle_of(fallen[session], now_us) for session, now_us in told.items() if session in fallen]


def end(connection: Connection, session: bytes, now_us: int, parts: Parts = PARTS) -> list[Idle]:
    """As `Store.end`, but that the record is still to be journaled."""
    return [idle_of(row, now_us) for row in _fall(connection, [session], _ALWAYS, parts).values()]


def idle_of(row: tuple[Any, ...], now_us: int) -> Idle:
    """A session's period as the record."""
    session, gpt, duration, events = row
    return Idle(session, gpt, duration, events, now_us)


def _fall(
    connection: Connection, sessions: Sequence[bytes], before_us: int, parts: Parts
) -> dict[bytes, tuple[Any, ...]]:
    """Ends the periods of those that are live and were not heard of since then; what they were."""
    catch_up(connection, parts)
    rows = connection.execute(_FALL, (bytea_array(sessions), before_us), binary=True).fetchall()
    return {row[0]: row for row in rows}
