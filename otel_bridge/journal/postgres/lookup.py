"""An event by its id, of which there is no index: by what is remembered of its key, else by the time in the id.

Segments of all lanes have an index by when they arrived. From there the event is looked for outwards, to both sides
and within bounds.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from otel_bridge.journal import event_search
from otel_bridge.journal.event_search import SEARCH_SECONDS, SLACK_US, STEPS
from otel_bridge.journal.postgres.arrays import bytea_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.schema import RING
from otel_bridge.journal.postgres.segments import is_damage
from otel_bridge.records import Event

READ_SEGMENTS = (4, 200)
"""Segments that are read at once, from the least to the most."""
READ_BYTES = 4 << 20
PAST_ALL = 1 << 62

_NEXT = """FROM otel_bridge.segment WHERE arrived_us {within} %s AND arrived_us {until} %s
    AND (arrived_us, last) {beyond} (%s, %s) ORDER BY arrived_us {order}, last {order} LIMIT %s"""
_BEFORE = _NEXT.format(order="DESC", within="<=", until=">=", beyond="<")
_BEHIND = _NEXT.format(order="ASC", within=">=", until="<=", beyond=">")
_BODIES = """SELECT last, count, arrived_us, crc, body FROM (
    SELECT *, sum(octet_length(body)) OVER (ROWS UNBOUNDED PRECEDING) - octet_length(body) AS before
    FROM (SELECT * {next}) AS few
) AS side WHERE before <= %s"""
_HEAD = "SELECT arrived_us, last {next}"


def arrivals(connection: Connection, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """As `Reader.arrivals`."""
    turns = connection.execute("SELECT turn FROM otel_bridge.turn WHERE NOT emptied ORDER BY turn DESC").fetchall()
    found: dict[tuple[bytes, int], None] = {}  # a key may stand in two generations around their change
    for (turn,) in turns:
        sql = f"SELECT key, arrived_us FROM otel_bridge.seen_{turn % RING} WHERE key = ANY(%b::bytea[])"
        found |= dict.fromkeys(connection.execute(sql, (bytea_array(keys),), binary=True))
    return list(found)


def event_near(connection: Connection, event_id: bytes, arrived_us: int, gpt: str | None) -> Event | None:
    """As `Reader.event_near`."""
    sides = [
        _Side(connection, _BEFORE, arrived_us, arrived_us - SLACK_US),
        _Side(connection, _BEHIND, arrived_us, arrived_us + SLACK_US),
    ]
    deadline = time.monotonic() + SEARCH_SECONDS
    for body in _outwards(sides, deadline):
        found = event_search.event_in(body, event_id, gpt)
        if found is not None:
            return found
    if any(side.damaged for side in sides):
        raise event_search.damaged()
    return None


def _outwards(sides: Sequence[_Side], deadline: float) -> Iterator[bytes]:
    """Bodies of segments to both sides of a time, the nearer ones first. Ends where they are too far away, or at the
    deadline."""
    for taken, step in enumerate(STEPS, 1):
        until = event_search.until(deadline, taken)
        for side in sides:
            yield from side.read(step, until)
        if time.monotonic() > until:
            return


class _Side:
    """Segments to one side of a time, onwards from it."""

    def __init__(self, connection: Connection, following: str, start_us: int, end_us: int) -> None:
        self._connection = connection
        self._bodies, self._head = _BODIES.format(next=following), _HEAD.format(next=following)
        self._start_us, self._end_us = start_us, end_us
        self._at: tuple[int, ...] = (start_us, PAST_ALL)
        self._most = READ_SEGMENTS[1]
        self._ended = False
        self.damaged = False
        """Whether something of it cannot be read. What is beyond a row that cannot be read at all is not looked at."""

    def read(self, records: int, deadline: float) -> Iterator[bytes]:
        """The bodies of the next so many records, in whole segments."""
        limit = READ_SEGMENTS[0]
        while records > 0 and not self._ended and time.monotonic() <= deadline:
            rows = self._next(min(limit, self._most, records))
            limit *= 2
            for last, count, arrived_us, crc, body in rows:
                self._at = (arrived_us, last)
                records -= count
                if zlib.crc32(body) != crc:
                    self.damaged = True
                else:
                    yield body

    def _next(self, limit: int) -> list[tuple[Any, ...]]:
        try:
            rows = self._ask(self._bodies, limit, READ_BYTES)
            self._ended = not rows
            return rows
        except psycopg.Error as error:
            if not is_damage(error):
                raise
        self.damaged = True
        if limit == 1:
            try:
                heads = self._ask(self._head, 1)
            except psycopg.Error as error:
                if not is_damage(error):
                    raise
                heads = []
            self._ended = not heads
            self._at = next(iter(heads), self._at)  # its body alone cannot be read
        self._most = 1  # what can be read about it is read one by one
        return []

    def _ask(self, sql: str, *bounds: int) -> list[tuple[Any, ...]]:
        values = (self._start_us, self._end_us, *self._at, *bounds)
        return self._connection.execute(sql, values, binary=True).fetchall()
