"""What became of accepted records, counted from rows of their own: of one lane, or of all."""

from __future__ import annotations

from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.schema import base
from otel_bridge.journal.postgres.segments import Segments
from otel_bridge.journal.store import Ledger

_LANES = """SELECT lane.lane, last, coalesce(cursor, lane.lane::bigint << 40), coalesce(exported, 0), (
        SELECT coalesce(sum(spans), 0)::bigint FROM otel_bridge.parked
        WHERE seq > lane.lane::bigint << 40 AND seq < (lane.lane::bigint + 1) << 40)
    FROM otel_bridge.lane LEFT JOIN otel_bridge.sink ON sink.name = %(consumer)s AND sink.lane = lane.lane
    WHERE lane.lane = %(lane)s::int OR %(lane)s::int IS NULL"""


def ledger(connection: Connection, consumer: str, lane: int | None) -> Ledger:
    """The ledger of a lane; None: of all of them together, where `last` and `cursor` are numbers of records. To be
    called on one snapshot: it asks more than once."""
    segments = Segments(connection)
    last = cursor = exported = pending = parked = unreadable = 0
    oldest_us: int | None = None
    rows = connection.execute(_LANES, {"consumer": consumer, "lane": lane}).fetchall()
    for number, newest, position, delivered, aside in rows:
        counted_from = base(number) if lane is None else 0
        last += newest - counted_from
        cursor += position - counted_from
        exported += delivered
        parked += aside
        if newest > position:
            behind = segments.pending(position)
            pending += behind.spans
            unreadable += behind.unreadable
            if behind.oldest_us is not None:
                oldest_us = behind.oldest_us if oldest_us is None else min(oldest_us, behind.oldest_us)
    return Ledger(last, cursor, exported, pending, parked, oldest_us, unreadable)


def cursor(connection: Connection, consumer: str, lane: int) -> int:
    """Up to this record of the lane everything is exported or parked."""
    rows = connection.execute("SELECT cursor FROM otel_bridge.sink WHERE name = %s AND lane = %s", (consumer, lane))
    return next((int(position) for (position,) in rows), base(lane))
