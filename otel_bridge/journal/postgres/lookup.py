"""An event by its id, of which there is no index: by what is remembered of its key, else by the time in the id.

Segments of all lanes have an index by when they arrived. From there the event is looked for outwards, to both sides
and within bounds. A body is searched as bytes: it is decoded only where the id is in it.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence

from otel_bridge.journal.postgres.arrays import bytea_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.schema import RING
from otel_bridge.journal.store import DamagedPart, StoreDamaged
from otel_bridge.records import Event, decode

SLACK_US = 60 * 1_000_000
"""How far from its arrival an event is looked for: what is drafted first may be committed later."""
STEPS = (1, 200, 2_000, 16_000)
"""Records that are looked at, before the time and behind it, in steps."""
SEARCH_SECONDS = 0.1
"""What a search takes at the most, but for a step that has begun."""
READ_SEGMENTS = (4, 200)
"""Segments that are read at once, from the least to the most."""
READ_BYTES = 4 << 20
MOST_OF_A_RANGE = 64
"""Keys that are told of one range: honest ones hold one."""

_SIDE = """SELECT last, count, arrived_us, crc, body FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY arrived_us {order}, last {order}) - octet_length(body) AS before
    FROM otel_bridge.segment WHERE arrived_us {within} %s AND arrived_us {until} %s AND (arrived_us, last) {beyond}
    (%s, %s) ORDER BY arrived_us {order}, last {order} LIMIT %s
) AS side WHERE before <= %s ORDER BY arrived_us {order}, last {order}"""
_BEFORE = _SIDE.format(order="DESC", within="<=", until=">=", beyond="<")
_BEHIND = _SIDE.format(order="ASC", within=">=", until="<=", beyond=">")


def arrivals(connection: Connection, keys: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, int]]:
    """As `Reader.arrivals`."""
    turn = connection.execute("SELECT turn FROM otel_bridge.journal").fetchall()[0][0]
    bounds = bytea_array([least for least, _ in keys]), bytea_array([greatest for _, greatest in keys])
    found: dict[tuple[bytes, int], None] = {}  # a key may stand in two generations around their change
    for slot in range(turn, turn - RING, -1):
        rows = connection.execute(
            f"SELECT known.key, known.arrived_us FROM unnest(%b::bytea[], %b::bytea[]) AS range (least, greatest), "
            f"LATERAL (SELECT key, arrived_us FROM otel_bridge.seen_{slot % RING} "
            f"WHERE key >= range.least AND key <= range.greatest LIMIT {MOST_OF_A_RANGE}) AS known",
            bounds,
            binary=True,
        )
        found |= dict.fromkeys(rows)
    return list(found)


def event_near(connection: Connection, event_id: bytes, arrived_us: int, gpt: str | None) -> Event | None:
    """As `Reader.event_near`."""
    deadline = time.monotonic() + SEARCH_SECONDS
    damaged = False
    for crc, body in _outwards(connection, arrived_us, deadline):
        if zlib.crc32(body) != crc:
            damaged = True
        elif event_id in body:
            for record in decode(body):
                if isinstance(record, Event) and record.id == event_id and gpt in (None, record.gpt):
                    return record
    if damaged:
        raise StoreDamaged(
            "the journal is damaged where an event is looked for", DamagedPart.LOOKED_FOR,
            "An event that somebody rates cannot be looked for: the records about it are damaged. They are parked "
            "or delivered (runbook BridgeRecordsParked), and nothing else needs them.",
        )  # fmt: skip
    return None


def _outwards(connection: Connection, arrived_us: int, deadline: float) -> Iterator[tuple[int, bytes]]:
    """(checksum, body) of the segments about a time, the nearer ones first. Ends where they are too far away, or at the
    deadline."""
    before = _Side(connection, _BEFORE, arrived_us, arrived_us - SLACK_US, 1 << 62)
    behind = _Side(connection, _BEHIND, arrived_us, arrived_us + SLACK_US, 1 << 62)
    for step in STEPS:
        for side in (before, behind):
            yield from side.read(step, deadline)
        if time.monotonic() > deadline:
            return


class _Side:
    """Segments to one side of a time, onwards from it."""

    def __init__(self, connection: Connection, sql: str, start_us: int, end_us: int, last: int) -> None:
        self._connection = connection
        self._sql = sql
        self._end_us = end_us
        self._start_us = start_us
        self._at = (start_us, last)
        self._ended = False

    def read(self, records: int, deadline: float) -> Iterator[tuple[int, bytes]]:
        """The next so many records, in whole segments."""
        limit, most = READ_SEGMENTS
        while records > 0 and not self._ended and time.monotonic() <= deadline:
            asked = min(limit, records)
            values = (self._start_us, self._end_us, *self._at, asked, READ_BYTES)
            rows = self._connection.execute(self._sql, values, binary=True).fetchall()
            self._ended = not rows
            limit = min(2 * limit, most)
            for last, count, arrived_us, crc, body in rows:
                self._at = (arrived_us, last)
                records -= count
                yield crc, body
