"""Rows of the segment table by their keys, on pages that may be damaged, and which of them are to be believed.

Keys are asked for by `>=`: `>` begins at the key itself, which may be on the damaged page before. A row's last column
may be past a broken overflow chain, so it is asked for alone. Nothing here writes, and it is used outside of
transactions that do: SQLite lets one that has met damage write nothing more.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from otel_bridge.journal.rows import BAD, Bad, Body, Row, first_of, is_intact
from otel_bridge.journal.sqlite.database import is_damage

NARROW = 10_000
"""Keys past the last readable row that are tried one by one. Past those, each step is a hundredth of the way."""
GAP_PROBES = 64
"""Keys of a gap without an error that are looked at: damage may show at some and not at others."""
PAST_ALL = 1 << 62

HEADS = "SELECT last, count, spans, arrived_us FROM segment WHERE last"


class Rows:
    """Through one connection, which somebody else owns."""

    def __init__(self, db: sqlite3.Connection, consumer: str) -> None:
        self._db = db
        self._consumer = consumer

    def at(self, key: int, upwards: bool = True) -> Row | Bad | None:
        """The first row from a key on, or the last one up to it. None: there is none."""
        sql = f"{HEADS} >= ? ORDER BY last LIMIT 1" if upwards else f"{HEADS} <= ? ORDER BY last DESC LIMIT 1"
        try:
            found = self._db.execute(sql, (key,)).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return BAD
        if found is None:
            return None
        row = Row._make(found)
        in_order = row.last >= key if upwards else row.last <= key
        return row if in_order and sound(*row) else BAD

    def heads(self, after: int, limit: int) -> list[Row]:
        """Up to so many rows after a sequence number, as far as they can be read."""
        found: list[Row] = []
        while len(found) < limit:
            row = self.at((found[-1].last if found else after) + 1)
            if not isinstance(row, Row):
                break
            found.append(row)
        return found

    def beyond(self, after: int) -> Row | None:
        """The first row past the damage behind `after`; None where none can be read."""
        key, tried = after + 1, after
        while key < PAST_ALL:
            row = self.at(key)
            if row is None:
                row = self.at(PAST_ALL, upwards=False)  # the step was past the end
                return self.first_of(row, tried) if isinstance(row, Row) and self.believed(row, after) else None
            if isinstance(row, Row) and self.believed(row, after):
                return self.first_of(row, tried)
            tried = key
            key += max(1, (key - after - NARROW) // 100)
        return None

    def first_of(self, row: Row, tried: int) -> Row:
        """As `journal.rows.first_of`."""
        return first_of(row, tried, lambda key: self.at(key, upwards=False))

    def believed(self, row: Row, after: int) -> bool:
        """Whether a row behind a gap is what it says: a damaged page may show anything."""
        if row.before < after or not self.intact(row):
            return False
        following = self.at(row.last + 1)
        if not isinstance(following, Row):
            return True
        gap, spans = following.before - row.last, self.between(row.last, following)
        return gap >= 0 and (spans is None or 0 <= spans <= gap)

    def intact(self, row: Row) -> bool:
        """Whether its body is what was written, and says the same."""
        return is_intact(row, self.body(row.last))

    def body(self, last: int) -> Body | None:
        """(checksum, body); None where it cannot be read, its chain of pages being broken."""
        try:
            row = self._db.execute("SELECT crc, body FROM segment WHERE last = ?", (last,)).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return None
        return (row[0], row[1]) if row is not None and isinstance(row[1], bytes) else None

    def disagree(self, after: int, until: int) -> bool:
        """Whether damage is to be seen in a gap between readable rows: there are rows in it, or keys out of order."""
        below = self.at(until, upwards=False)
        if below is BAD or (isinstance(below, Row) and below.last > after):
            return True
        above = self.at(after + 1)
        for key in range(after + 1, until + 1, max(1, (until - after) // GAP_PROBES)):
            if self.at(key) != above or self.at(key, upwards=False) != below:
                return True
        return False

    def lost(self, after: int, beyond: Row) -> tuple[int, bool]:
        """Spans between a sequence number and a row, and whether that is exact: else it is the most that it can be."""
        records = beyond.before - after
        spans = self.between(after, beyond)
        if spans is None or not 0 <= spans <= records:
            return records, False
        return spans, True

    def between(self, after: int, row: Row) -> int | None:
        start, end = self._total_at(after), self.total(row.last)
        return None if start is None or end is None else end - row.spans - start

    def total(self, last: int) -> int | None:
        """Spans up to and with a row, where that is known."""
        try:
            row = self._db.execute("SELECT total FROM segment WHERE last = ?", (last,)).fetchone()
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return None
        return row[0] if row is not None and isinstance(row[0], int) else None

    def _total_at(self, after: int) -> int | None:
        if after == 0:
            return 0
        total = self.total(after)
        if total is not None:
            return total
        done = self.done()
        return done[1] if done is not None and done[0] == after else None

    def done(self) -> tuple[int, int] | None:
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


def sound(last: Any, count: Any, spans: Any, arrived_us: Any) -> bool:
    """Whether these are values of a row of ours."""
    return (
        count.__class__ is int is spans.__class__ is arrived_us.__class__ and 0 <= spans <= count and 0 < count <= last
    )
