"""Deleting old segments, and past what is damaged of them.

A page that cannot be read cannot be freed, and a neighbour of it not be merged: such rows are left where they are, and
trimming goes on behind them. They take a few pages until the file is made anew.
"""

from __future__ import annotations

import logging
import sqlite3
from functools import partial
from pathlib import Path

from otel_bridge.journal.sqlite.database import is_damage, whole
from otel_bridge.journal.sqlite.segments import Segments

log = logging.getLogger(__name__)

TRIM_BYTES = 4 << 20
"""Of segments that are deleted at once: every page of a deleted row is read, and answers wait meanwhile."""


class Trimming:
    """Of the writer's connection, in its transaction."""

    def __init__(self, db: sqlite3.Connection, path: Path, consumer: str) -> None:
        self._db = db
        self._path = path
        self._segments = Segments(db, path, consumer)
        self._from = 0
        """What is damaged up to here is left. A start tries it again."""

    def segments(self, safe: int, before_us: int, limit: int) -> int:
        """Deletes up to `limit` of the oldest segments that arrived before then, none of them past `safe`; returns how
        many."""
        last_from = self._from
        try:
            return self._delete(safe, before_us, limit)
        except (sqlite3.Error, TypeError) as error:
            if isinstance(error, sqlite3.Error) and not is_damage(error):
                raise
        gone = self._one_by_one(safe, before_us, limit)
        if self._from != last_from:
            log.error("journal %s is damaged: up to record %d, what cannot be deleted stays", self._path, self._from)
        return gone

    def _delete(self, safe: int, before_us: int, limit: int) -> int:
        # Only the oldest rows are looked at: a clock that stepped must not make this a scan.
        oldest = self._db.execute(
            "SELECT last, arrived_us, length(body) FROM segment WHERE last > ? ORDER BY last LIMIT ?",
            (self._from, limit),
        ).fetchall()
        upto = size = 0
        for last, arrived_us, length in oldest:
            size += length
            if last > safe or arrived_us >= before_us or (upto and size > TRIM_BYTES):
                break
            upto = last
        if not upto:
            return 0
        return whole(
            self._db,
            lambda: self._db.execute("DELETE FROM segment WHERE last > ? AND last <= ?", (self._from, upto)).rowcount,
        )

    def _one_by_one(self, safe: int, before_us: int, limit: int) -> int:
        """Row by row up to the first damage, then past it."""
        gone = 0
        for _ in range(limit):
            row = self._segments.after(self._from)
            if row is None:
                beyond = self._segments.next_readable(self._from)
                # What is missing there is not to be passed before it is parked.
                if beyond is not None and beyond <= safe:
                    self._from = beyond
                return gone
            if row.last > safe or row.arrived_us >= before_us:
                return gone
            try:
                gone += whole(self._db, partial(self._delete_row, row.last))
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._from = row.last
        return gone

    def _delete_row(self, last: int) -> int:
        return self._db.execute("DELETE FROM segment WHERE last = ?", (last,)).rowcount
