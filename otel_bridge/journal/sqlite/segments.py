"""The segments in order, and over what cannot be read of them.

A page of the table's b-tree that SQLite cannot read (zeros, garbage, half of it) takes its rows out of reach: a leaf's,
or a whole subtree's. Rows beyond are reached by their keys. Sequence numbers have no gaps, so what is missing between
two readable rows is known exactly, and so are its spans: each row tells the sum of all spans up to it.

    rows follow one another ──▶ read as they are
    SQLite says «malformed», or a row that does not follow ──▶ `_step`: the next key that can be read and is believed
        the gap has damage in it ──▶ one segment for all of it, without a body
        no damage is to be seen ──▶ records have vanished, which is not this page's to hide: the ledger shows them

Keys are asked for by `>=`: `>` begins at the key itself, which may be on the damaged page before. A row's last column
may be past a broken overflow chain, so it is asked for alone. Nothing here writes, and it is used outside of
transactions that do: SQLite lets one that has met damage write nothing more.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from otel_bridge.journal.sqlite.database import damaged_advice, is_damage
from otel_bridge.journal.store import DamagedPart, Segment, StoreDamaged
from otel_bridge.records import decode

READ_BYTES = 4 << 20
"""Of segments that are read at once."""
NARROW = 10_000
"""Keys past the last readable row that are tried one by one. Past those, each step is a hundredth of the way."""
GAP_PROBES = 64
"""Keys of a gap without an error that are looked at: damage may show at some and not at others."""
_PAST_ALL = 1 << 62

_HEADS = "SELECT last, count, spans, arrived_us FROM segment WHERE last"
_WHOLE = "SELECT last, count, spans, arrived_us, crc, body FROM segment WHERE last >= ? ORDER BY last LIMIT ?"


class Row(NamedTuple):
    """A segment without its body."""

    last: int
    records: int
    spans: int
    arrived_us: int

    @property
    def before(self) -> int:
        """The sequence number before its first record."""
        return self.last - self.records


class Pending(NamedTuple):
    """What is behind a cursor."""

    spans: int
    unreadable: int
    """Those of them that cannot be read."""
    oldest_us: int | None
    """When the first segment that has spans arrived."""


class _Bad(NamedTuple):
    """No row that can be believed is to be read there."""


_BAD = _Bad()


class Segments:
    """Reads the table through one connection, which somebody else owns. Raises StoreDamaged where what cannot be read
    has no readable end: how far the journal goes is then not known."""

    def __init__(self, db: sqlite3.Connection, path: Path, consumer: str) -> None:
        self._db = db
        self._path = path
        self._consumer = consumer
        self._torn_after = -1
        """Behind this record damage was seen, which a look at keys alone may not see again."""

    def read(self, after: int, limit: int) -> list[Segment]:
        """Segments after a sequence number; what cannot be read is one, without a body."""
        found, is_all = self._run(after, limit)
        if found:
            return found
        if is_all:
            self.last()
            return []
        segment = self._step(after)
        if segment is None:
            return []
        return [segment] if segment.damaged else [segment, *self._run(segment.last, limit - 1)[0]]

    def _run(self, after: int, limit: int) -> tuple[list[Segment], bool]:
        """Segments that follow one another, and whether what ended them was no doubt."""
        found: list[Segment] = []
        position, size = after, 0
        rows = self._db.cursor()
        try:
            for last, records, spans, arrived_us, crc, body in rows.execute(_WHOLE, (after + 1, limit)):
                if (
                    last - records != position
                    or zlib.crc32(body) != crc
                    or not 0 <= spans <= records
                    or last <= position
                ):
                    self._note(position, last)
                    return found, False
                found.append(Segment(last, records, spans, arrived_us, body))
                position = last
                size += len(body)
                if size > READ_BYTES:
                    break
            return found, True
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            self._note(position)
            return found, False
        except TypeError:  # of a value that no journal holds
            self._note(position)
            return found, False
        finally:
            rows.close()  # ends the read: a snapshot that stays open would hold the write-ahead log

    def pending(self, cursor: int) -> Pending:
        """The spans of all that is behind a cursor, counted from its rows."""
        try:
            last, records, spans = self._db.execute(
                "SELECT max(last), sum(count), sum(spans) FROM segment WHERE last >= ?", (cursor + 1,)
            ).fetchone()
            if last is None:
                return Pending(0, 0, None)
            if records == last - cursor and spans.__class__ is int:
                oldest = self._db.execute(
                    "SELECT arrived_us FROM segment WHERE last >= ? AND spans > 0 ORDER BY last LIMIT 1",
                    (cursor + 1,),
                ).fetchone()
                return Pending(spans, 0, oldest[0] if oldest else None)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        spans, unreadable, oldest_us = 0, 0, None
        for segment in self._walk(cursor):
            spans += segment.spans
            unreadable += segment.spans * segment.damaged
            if oldest_us is None and segment.spans:
                oldest_us = segment.arrived_us
        return Pending(spans, unreadable, oldest_us)

    def last(self) -> int:
        """The newest record's sequence number."""
        row = self._at(_PAST_ALL, upwards=False)
        if row is None:
            return 0
        if isinstance(row, Row):
            return row.last
        raise self._endless("the newest records cannot be read")

    def newest(self) -> Row | None:
        """The last row, whole; None where there is none. Raises StoreDamaged where it is not what was written."""
        try:
            found = self._db.execute(
                "SELECT last, count, spans, arrived_us, crc, body FROM segment ORDER BY last DESC LIMIT 1"
            ).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            raise self._endless("the newest records cannot be read") from error
        if found is None:
            return None
        *head, crc, body = found
        if not _sound(*head) or not isinstance(body, bytes):
            raise self._endless("the newest records cannot be read")
        if zlib.crc32(body) != crc:
            raise self._endless(f"the newest segment ({head[0]}) does not match its checksum")
        return Row._make(head)

    def heads(self, after: int, limit: int) -> list[Row]:
        """Up to so many rows after a sequence number, as far as they can be read."""
        found: list[Row] = []
        while len(found) < limit:
            row = self._at((found[-1].last if found else after) + 1)
            if not isinstance(row, Row):
                break
            found.append(row)
        return found

    def next_readable(self, after: int) -> int | None:
        """The sequence number after which rows can be read again behind damage; None where there are none."""
        found = self._beyond(after)
        return None if found is None else found.before

    def total(self, last: int) -> int | None:
        """Spans up to and with a row, where that is known."""
        try:
            row = self._db.execute("SELECT total FROM segment WHERE last = ?", (last,)).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return None
        return row[0] if row is not None and isinstance(row[0], int) else None

    def total_of_all(self, newest: Row | None) -> int:
        """Spans of all that was ever written: the newest row's total, or as the ledger has it where no row tells."""
        total = None if newest is None else self.total(newest.last)
        if total is not None:
            return total
        cursor, done = self._done() or (0, 0)
        return done + self.pending(cursor).spans

    # --- over damage ------------------------------------------------------------------------------------------------

    def _walk(self, after: int) -> Iterator[Segment]:
        """As `read`, of all that is there, without bodies."""
        position = after
        while True:
            rows = self._db.cursor()
            try:
                for last, records, spans, arrived_us in rows.execute(f"{_HEADS} >= ? ORDER BY last", (position + 1,)):
                    if last - records != position or not _sound(last, records, spans, arrived_us):
                        self._note(position, last)
                        break
                    position = last
                    yield Segment(last, records, spans, arrived_us, b"")
                else:
                    return
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._note(position)
            except TypeError:
                self._note(position)
            finally:
                rows.close()
            segment = self._step(position, with_body=False)
            if segment is None:
                return
            position = segment.last
            yield segment

    def _step(self, after: int, with_body: bool = True) -> Segment | None:
        """The segment after one that the next does not simply follow. None: the journal ends there."""
        first = self._at(after + 1)
        if first is None:
            return None
        if isinstance(first, Row) and (first.before == after or (first.before < after and self._intact(first))):
            return self._whole(first, with_body)
        if isinstance(first, Row) and self._believed(first, after) and not self._torn(after, first.before):
            return self._whole(first, with_body)  # what is missing before it has vanished
        newest = self._at(_PAST_ALL, upwards=False)
        if not isinstance(newest, Row) or not self._intact(newest):
            newest = None
        elif newest.last <= after:
            return None  # whatever else is found there is none of ours
        beyond = self._beyond(after) or (newest and self._first_of(newest, after))
        if beyond is not None and beyond.before == after:
            return self._whole(beyond, with_body)
        if beyond is None:
            raise self._endless(f"what follows record {after} cannot be read")
        spans, exact = self._lost(after, beyond)
        size = beyond.before - after
        return Segment(beyond.before, size, spans, beyond.arrived_us, b"", damaged=True, exact=exact)

    def _whole(self, row: Row, with_body: bool) -> Segment:
        if not with_body:
            return Segment(*row, b"")
        crc, body = self._body(row.last) or (None, b"")
        if zlib.crc32(body) == crc:
            return Segment(*row, body)
        spans = self._between(row.before, row._replace(spans=0))
        return Segment(*row, body, damaged=True)._replace(
            spans=row.spans if spans is None or not 0 <= spans <= row.records else spans
        )

    def _body(self, last: int) -> tuple[int, bytes] | None:
        """(checksum, body); None where it cannot be read, its chain of pages being broken."""
        try:
            row = self._db.execute("SELECT crc, body FROM segment WHERE last = ?", (last,)).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return None
        return (row[0], row[1]) if row is not None and isinstance(row[1], bytes) else None

    def _at(self, key: int, upwards: bool = True) -> Row | _Bad | None:
        """The first row from a key on, or the last one up to it. None: there is none."""
        sql = f"{_HEADS} >= ? ORDER BY last LIMIT 1" if upwards else f"{_HEADS} <= ? ORDER BY last DESC LIMIT 1"
        try:
            found = self._db.execute(sql, (key,)).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return _BAD
        if found is None:
            return None
        row = Row._make(found)
        in_order = row.last >= key if upwards else row.last <= key
        return row if in_order and _sound(*row) else _BAD

    def _beyond(self, after: int) -> Row | None:
        """The first row past the damage behind `after`; None where none can be read."""
        key, tried = after + 1, after
        while key < _PAST_ALL:
            row = self._at(key)
            if row is None:
                row = self._at(_PAST_ALL, upwards=False)  # the step was past the end
                return self._first_of(row, tried) if isinstance(row, Row) and self._believed(row, after) else None
            if isinstance(row, Row) and self._believed(row, after):
                return self._first_of(row, tried)
            tried = key
            key += max(1, (key - after - NARROW) // 100)
        return None

    def _first_of(self, row: Row, tried: int) -> Row:
        """The first of the rows before this one, down to a key that was tried, that can be read and follow."""
        while row.before > tried:
            before = self._at(row.before, upwards=False)
            if not isinstance(before, Row) or before.last != row.before or before.before < tried:
                break
            row = before
        return row

    def _believed(self, row: Row, after: int) -> bool:
        """Whether a row behind a gap is what it says: a damaged page may show anything."""
        if row.before < after or not self._intact(row):
            return False
        following = self._at(row.last + 1)
        if not isinstance(following, Row):
            return True
        gap, spans = following.before - row.last, self._between(row.last, following)
        return gap >= 0 and (spans is None or 0 <= spans <= gap)

    def _intact(self, row: Row) -> bool:
        """Whether its body is what was written, and says the same."""
        body = self._body(row.last)
        if body is None or zlib.crc32(body[1]) != body[0]:
            return False
        try:
            return len(decode(body[1])) == row.records
        except msgspec.DecodeError:
            return False

    def _note(self, after: int, last: int = -1) -> None:
        """A row did not follow; one that is in order may still stand behind others that have vanished."""
        if last <= after:
            self._torn_after = after

    def _torn(self, after: int, until: int) -> bool:
        """Whether damage is to be seen in a gap."""
        if self._torn_after == after:
            return True
        below = self._at(until, upwards=False)
        if below is _BAD or (isinstance(below, Row) and below.last > after):
            return True
        above = self._at(after + 1)
        for key in range(after + 1, until + 1, max(1, (until - after) // GAP_PROBES)):
            if self._at(key) != above or self._at(key, upwards=False) != below:
                return True  # keys out of order
        return False

    def _lost(self, after: int, beyond: Row) -> tuple[int, bool]:
        """Spans between a sequence number and a row, and whether that is exact: else it is the most that it can be."""
        records = beyond.before - after
        spans = self._between(after, beyond)
        if spans is None or not 0 <= spans <= records:
            return records, False
        return spans, True

    def _between(self, after: int, row: Row) -> int | None:
        start, end = self._total_at(after), self.total(row.last)
        return None if start is None or end is None else end - row.spans - start

    def _total_at(self, after: int) -> int | None:
        if after == 0:
            return 0
        total = self.total(after)
        if total is not None:
            return total
        done = self._done()
        return done[1] if done is not None and done[0] == after else None

    def _done(self) -> tuple[int, int] | None:
        """(the cursor, spans up to it: they are exported or parked); None where that is not known."""
        try:
            done: tuple[int, int] | None = self._db.execute(
                "SELECT cursor, exported + (SELECT coalesce(sum(spans), 0) FROM parked) FROM sink WHERE name = ?",
                (self._consumer,),
            ).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return None
        return done

    def _endless(self, what: str) -> StoreDamaged:
        return StoreDamaged(
            f"the journal is damaged ({DamagedPart.SEGMENTS}): {what}",
            DamagedPart.SEGMENTS,
            f"journal {self._path}: {what}. {damaged_advice(self._path)}",
        )


def _sound(last: Any, count: Any, spans: Any, arrived_us: Any) -> bool:
    """Whether these are values of a row of ours."""
    return (
        count.__class__ is int is spans.__class__ is arrived_us.__class__ and 0 <= spans <= count and 0 < count <= last
    )
