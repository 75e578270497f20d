"""The segments of a lane in order, and over what cannot be read of them.

Sequence numbers have no gaps within a lane, so what is missing between two segments is known exactly, and so are its
spans: each row tells the sum of all spans up to it. PostgreSQL says where a page is damaged (SQLSTATE XX001, XX002):
rows beyond it are reached by their keys, and what is between is one segment, without a body. Rows that are missing
without such an error have vanished: they are passed over, and the ledger shows them.

    rows follow one another ──▶ read as they are
    a checksum that does not match, or a body that cannot be read ──▶ that segment, damaged
    an error where the next row should be ──▶ keys further on, until one can be read: one segment for all of it

What is read may stand in a transaction that somebody else has begun: there an error would end it, so each attempt has
a savepoint.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from otel_bridge.journal import rows
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.schema import base, lane_of
from otel_bridge.journal.rows import BAD, READ_BYTES, Bad, Body, Pending, Row
from otel_bridge.journal.store import DamagedPart, Segment, StoreDamaged

_WHOLE = """SELECT last, count, spans, arrived_us, crc, body FROM (
    SELECT *, sum(octet_length(body)) OVER (ORDER BY last) - octet_length(body) AS before FROM otel_bridge.segment
    WHERE last > %s AND last < %s ORDER BY last LIMIT %s
) AS run WHERE before <= %s ORDER BY last"""
_HEADS = "SELECT last, count, spans, arrived_us FROM otel_bridge.segment WHERE last"
_ENDLESS = "the newest records cannot be read"


def end(lane: int) -> int:
    """Every sequence number of a lane is below it."""
    return base(lane + 1)


class Segments:
    """Through one connection, which somebody else owns. Raises StoreDamaged where what cannot be read has no readable
    end: how far the lane goes is then not known."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, after: int, limit: int, size: int = READ_BYTES) -> list[Segment]:
        """Segments of a lane after a sequence number, of about so many bytes at the most; what cannot be read is one,
        without a body."""
        return rows.read(after, limit, size, lambda at, most: self._run(at, most, size), self._step)

    def pending(self, cursor: int) -> Pending:
        """The spans of all of a lane that is behind a cursor, counted from its rows."""
        sql = """SELECT max(last), sum(count)::bigint, sum(spans)::bigint,
            (SELECT arrived_us FROM otel_bridge.segment WHERE last > %s AND last < %s AND spans > 0
             ORDER BY last LIMIT 1) FROM otel_bridge.segment WHERE last > %s AND last < %s"""
        until = end(lane_of(cursor))
        try:
            ((last, records, spans, oldest_us),) = self._rows(sql, (cursor, until, cursor, until))
            if last is None:
                return Pending(0, 0, None)
            if records == last - cursor and 0 <= spans <= records:
                return Pending(spans, 0, oldest_us)
        except psycopg.Error as error:
            if not is_damage(error):
                raise
        return Pending.of(self.walk(cursor))

    def newest(self, lane: int) -> Row | None:
        """The lane's last row, whole; None where there is none. Raises StoreDamaged where it is not what was
        written."""
        row = self._at(end(lane) - 1, upwards=False)
        if row is None:
            return None
        if row is BAD or not isinstance(row, Row):
            raise _endless(_ENDLESS)
        crc, body = self._body(row.last) or (None, b"")
        if zlib.crc32(body) != crc:
            raise _endless(f"the newest segment ({row.last}) does not match its checksum")
        return row

    # --- reading ----------------------------------------------------------------------------------------------------

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with savepoint(self._connection):
            return self._connection.execute(sql, values, binary=True).fetchall()

    def _run(self, after: int, limit: int, size: int) -> tuple[list[Segment], bool]:
        """Segments that follow one another, and whether what ended them was no doubt."""
        found: list[Segment] = []
        if limit < 1:
            return found, False
        try:
            found_rows = self._rows(_WHOLE, (after, end(lane_of(after)), limit, size))
        except psycopg.Error as error:
            if not is_damage(error):
                raise
            return found, False
        position = after
        for last, records, spans, arrived_us, crc, body in found_rows:
            if last - records != position or zlib.crc32(body) != crc or not 0 <= spans <= records:
                return found, False
            found.append(Segment(last, records, spans, arrived_us, body))
            position = last
        return found, True

    def _at(self, key: int, upwards: bool = True) -> Row | Bad | None:
        """The first row of the key's lane from it on, or the last one up to it. None: there is none."""
        lane = lane_of(key)
        if upwards:
            sql, bounds = f"{_HEADS} >= %s AND last < %s ORDER BY last LIMIT 1", (key, end(lane))
        else:
            sql, bounds = f"{_HEADS} <= %s AND last > %s ORDER BY last DESC LIMIT 1", (key, base(lane))
        try:
            found = self._rows(sql, bounds)
        except psycopg.Error as error:
            if not is_damage(error):
                raise
            return BAD
        if not found:
            return None
        row = Row._make(found[0])
        sound = 0 <= row.spans <= row.records and 0 < row.records <= row.last - base(lane)
        return row if sound else BAD

    def _body(self, last: int) -> Body | None:
        """(checksum, body); None where it cannot be read."""
        try:
            found = self._rows("SELECT crc, body FROM otel_bridge.segment WHERE last = %s", (last,))
        except psycopg.Error as error:
            if not is_damage(error):
                raise
            return None
        return (found[0][0], found[0][1]) if found else None

    # --- over damage ------------------------------------------------------------------------------------------------

    def walk(self, after: int) -> Iterator[Segment]:
        """As `read`, of all that is there, without bodies."""
        position, until = after, end(lane_of(after))
        while True:
            try:
                for row in self._rows(f"{_HEADS} > %s AND last < %s ORDER BY last", (position, until)):
                    head = Row._make(row)
                    if head.before != position:
                        break
                    position = head.last
                    yield Segment(*head, b"")
                else:
                    return
            except psycopg.Error as error:
                if not is_damage(error):
                    raise
            segment = self._step(position, with_body=False)
            if segment is None:
                return
            position = segment.last
            yield segment

    def _step(self, after: int, with_body: bool = True) -> Segment | None:
        """The segment after one that the next does not simply follow. None: the lane ends there."""
        first = self._at(after + 1)
        if first is None:
            return None
        if isinstance(first, Row):
            return self._whole(first, with_body)  # what is missing before it has vanished
        beyond = self._beyond(after)
        if beyond is None:
            raise _endless(f"what follows record {after} cannot be read")
        if beyond.before <= after:
            return self._whole(beyond, with_body)
        size, spans = beyond.before - after, self._between(after, beyond)
        exact = spans is not None and 0 <= spans <= size
        return Segment(beyond.before, size, spans if spans is not None and exact else size, beyond.arrived_us, b"",
                       damaged=True, exact=exact)  # fmt: skip

    def _whole(self, row: Row, with_body: bool) -> Segment:
        if not with_body:
            return Segment(*row, b"")
        return rows.as_segment(row, self._body(row.last), lambda: self._between(row.before, row._replace(spans=0)))

    def _beyond(self, after: int) -> Row | None:
        """The first row past the damage behind `after`; None where none can be read."""
        key, tried, until = after + 1, after, end(lane_of(after))
        while key < until:
            row = self._at(key)
            if row is None:
                row = self._at(until - 1, upwards=False)  # the step was past the end
                return self._first_of(row, tried) if isinstance(row, Row) and self._believed(row, after) else None
            if isinstance(row, Row) and self._believed(row, after):
                return self._first_of(row, tried)
            tried = key
            key += max(1, (key - after) // 8)
        return None

    def _first_of(self, row: Row, tried: int) -> Row:
        return rows.first_of(row, tried, lambda key: self._at(key, upwards=False))

    def _believed(self, row: Row, after: int) -> bool:
        """Whether a row behind damage is what it says."""
        return row.before >= after and rows.is_intact(row, self._body(row.last))

    def _between(self, after: int, row: Row) -> int | None:
        """Spans between a sequence number and a row, where that is known."""
        start, total = self._total_at(after), self._total(row.last)
        return None if start is None or total is None else total - row.spans - start

    def _total(self, last: int) -> int | None:
        """Spans of the lane up to and with a row."""
        try:
            found = self._rows("SELECT total FROM otel_bridge.segment WHERE last = %s", (last,))
        except psycopg.Error as error:
            if not is_damage(error):
                raise
            return None
        return int(found[0][0]) if found else None

    def _total_at(self, after: int) -> int | None:
        if after == base(lane_of(after)):
            return 0
        total = self._total(after)
        if total is not None:
            return total
        sql = """SELECT exported + (SELECT coalesce(sum(spans), 0) FROM otel_bridge.parked
            WHERE seq > %s AND seq < %s)::bigint FROM otel_bridge.sink WHERE lane = %s AND cursor = %s"""
        lane = lane_of(after)
        found = self._rows(sql, (base(lane), end(lane), lane, after))
        return int(found[0][0]) if found else None


def is_damage(error: psycopg.Error) -> bool:
    """Whether the server says that what it reads is not what was written: it can be stepped over."""
    return isinstance(error, errors.DataCorrupted | errors.IndexCorrupted)


def savepoint(connection: Connection) -> AbstractContextManager[object]:
    """Keeps the transaction that is open, if one is, when what follows fails."""
    if connection.info.transaction_status == TransactionStatus.INTRANS:
        return connection.transaction()
    return nullcontext()


def _endless(what: str) -> StoreDamaged:
    return StoreDamaged(
        f"the journal is damaged ({DamagedPart.SEGMENTS}): {what}",
        DamagedPart.SEGMENTS,
        "diario: los registros que siguen no se pueden leer, o no coinciden con su suma de comprobación. La tabla "
        "otel_bridge.segment está dañada, y queda como está. Restaura la base de una copia de seguridad, o promueve un "
        "secundario que la tenga entera.",
    )
