"""The backends of the journal, as the suite opens, breaks and looks into them: one class each, all of one shape."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from otel_bridge import journal
from otel_bridge.journal import Reader, Store

CONSUMER = "otlp"


class SqliteBackend:
    """A journal in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.url = f"sqlite:///{self.path}"
        self._opened: list[Store | Reader] = []

    def open(self) -> Store:
        store = journal.open(self.url, CONSUMER)
        self._opened.append(store)
        store.begin_service()
        open_reader = store.reader

        def reader() -> Reader:
            opened = open_reader()
            self._opened.append(opened)
            return opened

        store.reader = reader  # type: ignore[method-assign]  # who reads closes: here for all of them, at the end
        return store

    def close(self) -> None:
        for opened in reversed(self._opened):
            opened.close()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """As somebody else with access to the data would."""
        connection = sqlite3.connect(self.path)
        try:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    def make_newer(self) -> None:
        """As a newer release would have written it."""
        self.sql("PRAGMA user_version = 99")

    def make_current(self) -> None:
        """What `make_newer` did, undone."""
        self.sql("PRAGMA user_version = 1")

    def damage_segment(self, last: int) -> None:
        self.sql("UPDATE segment SET body = x'00' WHERE last = ?", last)

    def break_writes(self, session: bytes | None = None) -> None:
        """An error that is nobody's outage: every write of a session or event fails (of this session's alone)."""
        where = "" if session is None else f"WHEN NEW.id = x'{session.hex()}'"
        self.sql(f"CREATE TRIGGER broken BEFORE INSERT ON session {where} BEGIN SELECT RAISE (ABORT, 'broken'); END")

    def mend_writes(self) -> None:
        self.sql("DROP TRIGGER broken")

    def break_reads(self) -> None:
        """An error of what reads sessions."""
        self.sql("ALTER TABLE session RENAME TO gone")

    def remembered_keys(self) -> list[bytes]:
        """Every dedup key that takes room, in order."""
        return [row[0] for row in self.sql("SELECT key FROM seen ORDER BY key")]

    def replay(self, seqs: Sequence[int] | None) -> int:
        return journal.mark_replay(self.url, seqs)


Backend = SqliteBackend
