"""Where the consumer stands in a lane, what it has set aside, and what a lane's replica saves of itself."""

from __future__ import annotations

from collections.abc import Sequence

from otel_bridge.journal.postgres.arrays import int8_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.schema import base, lane_of
from otel_bridge.journal.store import Parked

_MARK = "reason = %s, words = %s, parked_us = %s, replay = false"
_UNPARK = """WITH gone AS (DELETE FROM otel_bridge.parked WHERE seq = ANY(%b::bigint[]) RETURNING seq, spans),
    by_lane AS (SELECT (seq >> 40)::int AS lane, sum(spans) AS spans FROM gone GROUP BY 1)
    UPDATE otel_bridge.sink SET exported = exported + by_lane.spans FROM by_lane
    WHERE sink.name = %s AND sink.lane = by_lane.lane"""


def advance(
    connection: Connection, consumer: str, lane: int, cursor: int, exported: int, parked: Sequence[Parked]
) -> None:
    """As `Store.advance`. A report of a lane that the replica has lost is passed over: another delivers that one."""
    if lane_of(cursor) != lane:
        return
    connection.execute(
        "INSERT INTO otel_bridge.sink (name, lane, cursor, exported) VALUES (%s, %s, %s, 0) ON CONFLICT DO NOTHING",
        (consumer, lane, base(lane)),
    )
    ((before,),) = connection.execute(
        "SELECT cursor FROM otel_bridge.sink WHERE name = %s AND lane = %s FOR UPDATE", (consumer, lane)
    ).fetchall()
    if cursor <= before:
        return  # a report that comes twice is counted once
    connection.execute(
        "UPDATE otel_bridge.sink SET cursor = %s, exported = exported + %s WHERE name = %s AND lane = %s",
        (cursor, exported, consumer, lane),
    )
    for one in parked:
        connection.execute(
            "INSERT INTO otel_bridge.parked (seq, body, spans, reason, words, parked_us) "
            f"VALUES (%s, %b, %s, %s, %s, %s) ON CONFLICT (seq) DO UPDATE SET {_MARK}",
            (one.seq, one.body, one.spans, one.reason, one.message, one.parked_us,
             one.reason, one.message, one.parked_us),
        )  # fmt: skip


def repark(connection: Connection, parked: Sequence[Parked]) -> None:
    """As `Store.repark`. What has been delivered meanwhile is passed over."""
    for one in parked:
        connection.execute(
            f"UPDATE otel_bridge.parked SET {_MARK} WHERE seq = %s", (one.reason, one.message, one.parked_us, one.seq)
        )


def unpark(connection: Connection, consumer: str, seqs: Sequence[int]) -> None:
    """As `Store.unpark`: of whichever lane they are."""
    if seqs:
        connection.execute(_UNPARK, (int8_array(sorted(seqs)), consumer))


def snapshot(connection: Connection, lane: int) -> tuple[int, bytes] | None:
    """As `Store.snapshot`."""
    rows = connection.execute("SELECT seq, body FROM otel_bridge.snapshot WHERE lane = %s", (lane,), binary=True)
    return next(((seq, body) for seq, body in rows), None)


def save_snapshot(connection: Connection, lane: int, seq: int, state: bytes) -> None:
    """As `Store.save_snapshot`."""
    connection.execute(
        "INSERT INTO otel_bridge.snapshot AS kept (lane, seq, body) VALUES (%s, %s, %b) "
        "ON CONFLICT (lane) DO UPDATE SET seq = excluded.seq, body = excluded.body",
        (lane, seq, state),
    )
