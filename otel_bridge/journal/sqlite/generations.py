"""Dedup keys by generations one horizon long: the current one and the one before it are searched, older ones are
dropped whole. So forgetting costs nothing that grows with the journal. Rows of keys stand in the order of their
generations.

A generation's number is its day. Where a clock that ran ahead has begun one of days to come, that one is taken for
today's (`mend`), and the numbers are so many days ahead from then on.
"""

from __future__ import annotations

import sqlite3

from otel_bridge.journal.store import DEDUP_HORIZON_US

_MENDED = "generations"


class Generations:
    """The writer's. Its errors are SQLite's."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.newest = self._newest_row()
        """New keys belong to it."""
        row = db.execute("SELECT body FROM meta WHERE name = ?", (_MENDED,)).fetchone()
        self._ahead, self._mended, self._mended_from = map(int, row[0].split()) if row else (0, 0, 0)
        """Days that the numbers are ahead; the newest when that was found, and the oldest that was searched then."""
        self._held_us: int | None = None
        self._held_from = 0

    def _newest_row(self) -> int:
        row = self._db.execute("SELECT generation FROM key ORDER BY row DESC LIMIT 1").fetchone()
        return row[0] if row else 0

    def reload(self) -> None:
        """What is newest in the journal is so here."""
        self.newest = max(self.newest, self._newest_row())

    def of(self, arrived_us: int) -> int:
        return arrived_us // DEDUP_HORIZON_US + self._ahead

    def reach(self, arrived_us: int) -> None:
        """Begins the generation of that time, if none of that time or a later one has begun."""
        self.newest = max(self.newest, self.of(arrived_us))

    def hold(self, since_us: int | None) -> None:
        """`Store.hold_keys`."""
        self._held_us = since_us
        self._held_from = 0 if since_us is None else self.of(since_us)

    def horizon(self, now_us: int) -> int:
        """What arrived before then is not known any more."""
        horizon = now_us - DEDUP_HORIZON_US
        return horizon if self._held_us is None else min(horizon, self._held_us)

    def oldest(self) -> int:
        """The number of the oldest that is kept."""
        oldest = self.newest - 1
        if self._held_us is not None:
            oldest = min(oldest, self._held_from)
        if self.newest < self._mended + 2:  # a day may not be over since
            oldest = min(oldest, self._mended_from)
        return oldest

    def mend(self, now_us: int) -> None:
        """Takes the newest for today's, where it is of days that have not come: else it would be the newest until they
        have, and nothing would be forgotten. One day more comes by itself."""
        today = self.of(now_us)
        newest = self._newest_row()
        days = newest - today
        if days > 1:
            self._ahead, self._mended, self._mended_from = self._ahead + days, newest, today - 1
            body = f"{self._ahead} {self._mended} {self._mended_from}"
            self._db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES (?, 0, ?)", (_MENDED, body))
        self.newest = max(newest, today) if days <= 1 else newest
