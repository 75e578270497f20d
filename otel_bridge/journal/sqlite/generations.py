"""Dedup keys by generations one horizon long: the current one and the one before it are searched, older ones are
dropped whole. So forgetting costs nothing that grows with the journal.

A generation's number is its day. Where a clock that ran ahead has begun one of days to come, that one is taken for
today's (`mend`), and the numbers are so many days ahead from then on.
"""

from __future__ import annotations

import sqlite3

from otel_bridge.journal.store import DEDUP_HORIZON_US

_PAST_TIMED = b"d"
"""Sorts after every key that starts with its event's time ("c…"): a generation of them is passed once and for all."""
_MENDED = "generations"


class Generations:
    """The writer's. Its errors are SQLite's."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.newest: int = db.execute("SELECT coalesce(max(generation), 0) FROM seen").fetchone()[0]
        """New keys belong to it."""
        row = db.execute("SELECT body FROM meta WHERE name = ?", (_MENDED,)).fetchone()
        self._ahead, self._mended, self._mended_from = map(int, row[0].split()) if row else (0, 0, 0)
        """Days that the numbers are ahead; the newest when that was found, and the oldest that was searched then."""
        self._held_us: int | None = None
        self._held_from = 0
        self._searched: tuple[tuple[int, int | None], tuple[int, ...]] | None = None
        self._before: tuple[tuple[int, ...], bytes | None] | None = None

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

    def _oldest(self) -> int:
        """The number of the oldest that is kept."""
        oldest = self.newest - 1
        if self._held_us is not None:
            oldest = min(oldest, self._held_from)
        if self.newest < self._mended + 2:  # a day may not be over since
            oldest = min(oldest, self._mended_from)
        return oldest

    def searched(self) -> tuple[int, ...]:
        """Those that hold what is known: the newest, the one before it, and what is held."""
        asked = self.newest, self._held_us
        if self._searched is None or self._searched[0] != asked:
            oldest, found = self._oldest(), [self.newest, self.newest - 1]
            while True:
                sql = "SELECT max(generation) FROM seen WHERE generation < ? AND generation >= ?"
                older = self._db.execute(sql, (found[-1], oldest)).fetchone()[0]
                if older is None:
                    break
                found.append(older)
            self._searched = asked, tuple(found)
        return self._searched[1]

    def may_know(self, least: bytes, greatest: bytes) -> bool:
        """Whether generations before the newest may have one of the keys between these. Keys start with their event's
        time, so live traffic is past them. Those generations grow no more: they are looked at once."""
        if greatest >= _PAST_TIMED:
            return True
        before = self.searched()[1:]
        if self._before is None or self._before[0] != before:
            # Keys that clients choose sort after the timed ones, and would hide them.
            sql = "SELECT max(key) FROM seen WHERE generation = ? AND key < ?"
            last = (self._db.execute(sql, (generation, _PAST_TIMED)).fetchone()[0] for generation in before)
            self._before = before, max((key for key in last if key is not None), default=None)
        return self._before[1] is not None and least <= self._before[1]

    def forget(self, limit: int) -> int:
        """`Store.forget`."""
        return self._db.execute(
            "DELETE FROM seen WHERE (generation, key) IN "
            "(SELECT generation, key FROM seen WHERE generation < ? LIMIT ?)",
            (self._oldest(), limit),
        ).rowcount

    def mend(self, now_us: int) -> None:
        """Takes the newest for today's, where it is of days that have not come: else it would be the newest until they
        have, and nothing would be forgotten. One day more comes by itself."""
        today = self.of(now_us)
        newest = self._db.execute("SELECT coalesce(max(generation), 0) FROM seen").fetchone()[0]
        days = newest - today
        if days > 1:
            self._ahead, self._mended, self._mended_from = self._ahead + days, newest, today - 1
            body = f"{self._ahead} {self._mended} {self._mended_from}"
            self._db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES (?, 0, ?)", (_MENDED, body))
        self.newest = max(newest, today) if days <= 1 else newest
        self._searched = None
