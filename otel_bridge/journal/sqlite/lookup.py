"""An event by its id, of which there is no index: by what is remembered of its key, else by the time in the id.

Segments stand in the order in which they were committed, which is nearly that of their arrival. So the place of an
arrival is found by halves, and the event is looked for from there outwards, to both sides and within bounds.

Where the clock went back, times come twice: then the place is looked for from the end as well.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence

from otel_bridge.journal import event_search
from otel_bridge.journal.event_search import SEARCH_SECONDS, SLACK_US, STEPS
from otel_bridge.journal.rows import Row
from otel_bridge.journal.sqlite.key_rows import unpacked
from otel_bridge.journal.sqlite.known_keys import Find, rows_at
from otel_bridge.journal.sqlite.rows import PAST_ALL, Rows
from otel_bridge.journal.sqlite.segments import Segments
from otel_bridge.journal.store import Segment
from otel_bridge.records import Event

WHATEVER_THEIR_TIME = 3
"""So many of the steps back are taken although the time is passed: the clock may have gone back behind them."""
READ_SEGMENTS = (1, 500)
"""Segments that are read at once, from the least to the most."""


class Lookup:
    """Reads through one connection, which somebody else owns."""

    def __init__(
        self, db: sqlite3.Connection, segments: Segments, consumer: str, find_keys: Find | None = None
    ) -> None:
        """`find_keys`: names the rows that may have keys; without it all of them are looked at."""
        self._db = db
        self._find_keys = find_keys or self._everywhere
        self._segments = segments
        self._rows = Rows(db, consumer)

    def arrivals(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """As `Reader.arrivals`."""
        found: list[tuple[bytes, int]] = []
        for columns, wanted in rows_at(self._db, self._find_keys(keys)):
            found += [(one.key, one.arrived_us) for one in unpacked(columns) if one.key in wanted]
        return found[::-1]

    def _everywhere(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        rows = [row for (row,) in self._db.execute("SELECT row FROM key")]
        return [(key, row) for key in keys for row in rows]

    def event(self, event_id: bytes, arrived_us: int, gpt: str | None) -> Event | None:
        """As `Reader.event_near`."""
        newest = self._rows.at(PAST_ALL, upwards=False)
        first = self._rows.at(1)
        if newest is None:
            return None
        end = newest.last if isinstance(newest, Row) else self._segments.last()
        begin = first.before if isinstance(first, Row) else 0
        deadline = time.monotonic() + SEARCH_SECONDS
        damaged = False
        for place in self._places(begin, end, arrived_us):
            for segment in self._outwards(place, begin, end, arrived_us, deadline):
                if segment.damaged:
                    damaged = True
                elif (found := event_search.event_in(segment.body, event_id, gpt)) is not None:
                    return found
        if damaged:
            raise event_search.damaged()
        return None

    # --- the place --------------------------------------------------------------------------------------------------

    def _row_behind(self, position: int) -> Row | None:
        """The first row behind a sequence number that can be read."""
        row = self._rows.at(position + 1)
        return row if row is None or isinstance(row, Row) else self._rows.beyond(position)

    def _places(self, begin: int, end: int, arrived_us: int) -> Iterator[int]:
        yield (place := self._place(begin, end, arrived_us))
        again = self._place_from_end(begin, end, arrived_us)
        if again != place:
            yield again

    def _place(self, low: int, high: int, arrived_us: int) -> int:
        """The last record, between these two, of the last segment that had arrived by then: by halves."""
        while low < high:
            middle = (low + high) // 2
            row = self._row_behind(middle)
            if row is None or row.arrived_us > arrived_us:
                high = middle
            else:
                low = row.last
        return low

    def _place_from_end(self, begin: int, end: int, arrived_us: int) -> int:
        """The same, in steps from the end that become longer, and by halves in the one that holds it."""
        step, high = 1, end
        while high > begin:
            low = max(begin, end - step)
            row = self._row_behind(low)
            if row is None or row.arrived_us <= arrived_us:
                return self._place(low, high, arrived_us)
            high, step = low, 2 * step
        return begin

    # --- from the place outwards ------------------------------------------------------------------------------------

    def _outwards(self, place: int, begin: int, end: int, arrived_us: int, deadline: float) -> Iterator[Segment]:
        """Segments before and behind a place, the nearer ones first. Ends where they are too far away, or at the
        deadline."""
        low = high = place
        for taken, step in enumerate(STEPS, 1):
            until = event_search.until(deadline, taken)
            if low > begin:
                start = self._boundary(max(begin, low - step), begin)
                passed = False
                for segment in self._between(start, low, until):
                    passed = passed or segment.arrived_us >= arrived_us - SLACK_US
                    yield segment
                low = start if passed or taken < WHATEVER_THEIR_TIME else begin
            if high < end:
                for segment in self._between(high, min(end, high + step), until):
                    high = segment.last
                    yield segment
                    if not segment.damaged and segment.arrived_us > arrived_us + SLACK_US:
                        high = end
                        break
            if time.monotonic() > until:
                return

    def _boundary(self, position: int, begin: int) -> int:
        """The end of the segment that has this record, or of the next one that can be read before it."""
        if position <= begin:
            return begin
        row = self._rows.at(position, upwards=False)
        return row.last if isinstance(row, Row) else begin

    def _between(self, after: int, until: int, deadline: float) -> Iterator[Segment]:
        """Segments from a boundary up to the one that has the record `until`."""
        limit, most = READ_SEGMENTS
        while after < until and time.monotonic() <= deadline:
            found = self._segments.read(after, limit)
            limit = min(2 * limit, most)
            if not found:
                return
            for segment in found:
                after = segment.last
                yield segment
                if after >= until:
                    return
