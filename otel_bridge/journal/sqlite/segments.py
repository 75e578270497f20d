"""The segments in order, and over what cannot be read of them.

A page of the table's b-tree that SQLite cannot read (zeros, garbage, half of it) takes its rows out of reach: a leaf's,
or a whole subtree's. Rows beyond are reached by their keys. Sequence numbers have no gaps, so what is missing between
two readable rows is known exactly, and so are its spans: each row tells the sum of all spans up to it.

    rows follow one another ──▶ read as they are
    SQLite says «malformed», or a row that does not follow ──▶ `_step`: the next key that can be read and is believed
        the gap has damage in it ──▶ one segment for all of it, without a body
        no damage is to be seen ──▶ records have vanished, which is not this page's to hide: the ledger shows them

How rows are found behind damage, and which are believed: `rows.py`; what any backend does with them:
`journal/rows.py`.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path

from otel_bridge.journal.rows import READ_BYTES, Pending, Row, as_segment, read
from otel_bridge.journal.sqlite.database import damaged_advice, is_damage
from otel_bridge.journal.sqlite.rows import HEADS, PAST_ALL, Rows, sound
from otel_bridge.journal.store import DamagedPart, Segment, StoreDamaged

_WHOLE = "SELECT last, count, spans, arrived_us, crc, body FROM segment WHERE last >= ? ORDER BY last LIMIT ?"


class Segments:
    """Reads the table through one connection, which somebody else owns. Raises StoreDamaged where what cannot be read
    has no readable end: how far the journal goes is then not known."""

    def __init__(self, db: sqlite3.Connection, path: Path, consumer: str) -> None:
        self._db = db
        self._path = path
        self._rows = Rows(db, consumer)
        self._torn_after = -1
        """Behind this record damage was seen, which a look at keys alone may not see again."""

    def read(self, after: int, limit: int) -> list[Segment]:
        """Segments after a sequence number; what cannot be read is one, without a body."""
        found = read(after, limit, READ_BYTES, self._run, self._step)
        if not found:
            self.last()
        return found

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
            if records == last - cursor and spans.__class__ is int and 0 <= spans <= records:
                oldest = self._db.execute(
                    "SELECT arrived_us FROM segment WHERE last >= ? AND spans > 0 ORDER BY last LIMIT 1",
                    (cursor + 1,),
                ).fetchone()
                return Pending(spans, 0, oldest[0] if oldest else None)
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
        return Pending.of(self._walk(cursor))

    def last(self) -> int:
        """The newest record's sequence number."""
        row = self._rows.at(PAST_ALL, upwards=False)
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
        if not sound(*head) or not isinstance(body, bytes):
            raise self._endless("the newest records cannot be read")
        if zlib.crc32(body) != crc:
            raise self._endless(f"the newest segment ({head[0]}) does not match its checksum")
        return Row._make(head)

    def total_of_all(self, newest: Row | None) -> int:
        """Spans of all that was ever written: the newest row's total, or as the ledger has it where no row tells."""
        total = None if newest is None else self._rows.total(newest.last)
        if total is not None:
            return total
        cursor, done = self._rows.done() or (0, 0)
        return done + self.pending(cursor).spans

    # --- over damage ------------------------------------------------------------------------------------------------

    def _walk(self, after: int) -> Iterator[Segment]:
        """As `read`, of all that is there, without bodies."""
        position = after
        while True:
            rows = self._db.cursor()
            try:
                for last, records, spans, arrived_us in rows.execute(f"{HEADS} >= ? ORDER BY last", (position + 1,)):
                    if last - records != position or not sound(last, records, spans, arrived_us):
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
        first = self._rows.at(after + 1)
        if first is None:
            return None
        if isinstance(first, Row) and (first.before == after or (first.before < after and self._rows.intact(first))):
            return self._whole(first, with_body)
        if isinstance(first, Row) and self._rows.believed(first, after) and not self._torn(after, first.before):
            return self._whole(first, with_body)  # what is missing before it has vanished
        newest = self._rows.at(PAST_ALL, upwards=False)
        if not isinstance(newest, Row) or not self._rows.intact(newest):
            newest = None
        elif newest.last <= after:
            return None  # whatever else is found there is none of ours
        beyond = self._rows.beyond(after) or (newest and self._rows.first_of(newest, after))
        if beyond is not None and beyond.before == after:
            return self._whole(beyond, with_body)
        if beyond is None:
            raise self._endless(f"what follows record {after} cannot be read")
        spans, exact = self._rows.lost(after, beyond)
        size = beyond.before - after
        return Segment(beyond.before, size, spans, beyond.arrived_us, b"", damaged=True, exact=exact)

    def _whole(self, row: Row, with_body: bool) -> Segment:
        if not with_body:
            return Segment(*row, b"")
        return as_segment(row, self._rows.body(row.last), lambda: self._rows.between(row.before, row._replace(spans=0)))

    def _note(self, after: int, last: int = -1) -> None:
        """A row did not follow; one that is in order may still stand behind others that have vanished."""
        if last <= after:
            self._torn_after = after

    def _torn(self, after: int, until: int) -> bool:
        """Whether damage is to be seen in a gap."""
        return self._torn_after == after or self._rows.disagree(after, until)

    def _endless(self, what: str) -> StoreDamaged:
        return StoreDamaged(
            f"the journal is damaged ({DamagedPart.SEGMENTS}): {what}",
            DamagedPart.SEGMENTS,
            f"diario {self._path}: los registros que siguen no se pueden leer, o no coinciden con su suma de "
            f"comprobación. {damaged_advice(self._path)}",
        )
