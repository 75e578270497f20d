"""The write-ahead log is moved into the file, off the way of the answers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from otel_bridge.journal.sqlite.database import BUSY_MS, connect, failed_to_sync, translated
from otel_bridge.journal.sqlite.identity import PURGE
from otel_bridge.journal.sqlite.reading import wal_bytes
from otel_bridge.journal.sqlite.schema import PAGE_BYTES
from otel_bridge.journal.store import StoreError, StoreLost

WAL_PAGES = 500
"""A write-ahead log of so many pages is begun anew, which takes a few milliseconds between two commits. Left alone
under load, it grows to its limit every few seconds, and that step holds answers up for 50 ms."""
WAL_BYTES = 64 << 20
"""A write-ahead log longer than this, or than an eighth of what the journal may take, is moved into the file although
answers wait for it: its bytes count, and a small limit must not be used up by the log alone."""

PURGE_BEHIND = 1 << 20
"""Bytes of the log that may be behind where it is to be emptied: with more, answers would wait in vain."""


class Checkpoints:
    """Most of it in the housekeeping thread, the end of it between two commits."""

    def __init__(self, path: Path, db: sqlite3.Connection, on_loss: Callable[[], None]) -> None:
        """`db`: the writer's. `on_loss`: called where the store is lost, before that is raised."""
        self._path = path
        self._db = db
        self._on_loss = on_loss
        self.connection: sqlite3.Connection
        """The housekeeping thread's, once it is open."""
        self.lost: StoreLost | None = None
        self._behind = 0
        """Bytes that the last step could not move: somebody reads for long."""

    def open(self) -> None:
        """Raises sqlite3.Error."""
        self.connection = connect(self._path)
        self.connection.execute("SELECT 1 FROM meta LIMIT 1").fetchone()  # opens the log, too

    def step(self, max_bytes: int, between_commits: Callable[[Callable[[], None]], None]) -> None:
        """Raises StoreError, and what it hands over StoreLost too."""
        try:
            with self._checkpointing():
                # Waits for nobody.
                _, pages, moved = self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except StoreLost as lost:
            between_commits(partial(_raise, lost))
            raise
        self._behind = (pages - moved) * PAGE_BYTES
        if pages > WAL_PAGES:
            between_commits(self.finish)
        long = min(WAL_BYTES, max_bytes // 8)
        # What stays behind that far is held by somebody who reads for long (a backup): answers would wait in vain.
        if wal_bytes(self._path) > long and self._behind <= long // 2:
            between_commits(self._shorten)

    def finish(self) -> None:
        """Moves what has come while `step` was moving the rest: the next commit then begins the log anew, unless
        somebody still reads it. Waits for nobody. In the writer's thread."""
        with self._checkpointing():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def move_all(self) -> bool:
        """Moves the whole log, from the housekeeping thread while nothing is written. False: somebody reads it still.
        Raises StoreError, StoreLost."""
        with self._checkpointing():
            busy: int = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            return not busy

    def _shorten(self) -> None:
        self.truncate()

    def truncate(self) -> bool:
        """Moves the whole write-ahead log into the file and empties it: where it has grown long, or what was written
        over is to be gone. False: somebody reads it still. In the writer's thread."""
        with self._checkpointing():
            # Answers wait for it, and it for readers: not for long. The next second tries again.
            self._db.execute("PRAGMA busy_timeout = 250")
            try:
                busy: int = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        return not busy

    def is_to_purge(self) -> bool:
        """Whether somebody has asked for an empty log, and it can be emptied. In the housekeeping thread."""
        if self._behind > PURGE_BEHIND:
            return False
        with translated(self._path):
            return self.connection.execute("SELECT 1 FROM meta WHERE name = ?", (PURGE,)).fetchone() is not None

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        """Raises StoreLost where an fsync fails. SQLite would write a part of the pages again and call all of them
        safe, and with the next commit begin the log anew, which alone has them; a recovery goes by the whole log."""
        try:
            with translated(self._path):
                yield
        except StoreError as error:
            if not failed_to_sync(error.__cause__):
                raise
            self._on_loss()
            self.lost = StoreLost(str(error), error.advice)
            raise self.lost from error.__cause__

    def close(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()


def _raise(error: Exception) -> None:
    raise error
