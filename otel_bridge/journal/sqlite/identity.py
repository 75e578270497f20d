"""The rows of `meta` that say which journal it is. Their sequence number is 0, which no release takes for a snapshot's.

journal    the journal's id: random, made with it, and made anew when it has gone back: from there on it is another one
service    while the journal is served: a name of this opening. It is moved into the file itself at the open, before any
           record is taken, and cleared by an orderly close
backup     in a backup only: when it was made, and what it holds
key        in a backup only: the key of the user hash
went-back  what was recognised last
purge      asks the bridge that serves it to empty the write-ahead log; the bridge deletes it when that is done
totals     up to which record sessions and usage have their totals (`totals.py`)
blanked    by GPT with a retention of its own: up to which record its are blanked
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec

from otel_bridge.journal.sqlite.database import uri
from otel_bridge.journal.store import Identity, WentBack, WentBackKind

R = TypeVar("R")

JOURNAL, SERVICE, BACKUP, KEY, WENT_BACK = "journal", "service", "backup", "key", "went-back"
PURGE, BLANKED = "purge", "blanked"
_SELECT = "SELECT name, body FROM meta WHERE name IN ('journal', 'service', 'backup', 'key', 'went-back')"


class BackupRow(msgspec.Struct, frozen=True):
    """What the row `backup` says."""

    made_us: int
    last: int
    cursor: int
    release: str


class WentBackRow(msgspec.Struct, frozen=True):
    kind: WentBackKind
    last: int
    before: int
    before_us: int
    since_us: int
    mark: str
    """The id that the mark had then: a start that was killed before it wrote its own mark is not another return."""

    def told(self) -> WentBack:
        return WentBack(self.kind, self.last, self.before, self.before_us, self.since_us)


def rows_of(db: sqlite3.Connection) -> dict[str, bytes]:
    return dict(db.execute(_SELECT).fetchall())


def put_row(db: sqlite3.Connection, name: str, body: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES (?, 0, ?)", (name, body))


def end_service(db: sqlite3.Connection) -> None:
    """In a file that nobody serves from here on, and that is whole: a copy, or the journal at an orderly close."""
    db.execute("DELETE FROM meta WHERE name = ?", (SERVICE,))


def decoded(rows: dict[str, bytes], name: str, kind: type[R]) -> R | None:
    """None: there is no such row, or a later release has written one that this one cannot read."""
    try:
        return msgspec.json.decode(rows[name], type=kind) if name in rows else None
    except msgspec.MsgspecError:
        return None


def identity(db: sqlite3.Connection) -> Identity:
    rows = rows_of(db)
    row = decoded(rows, WENT_BACK, WentBackRow)
    return Identity(rows.get(JOURNAL, b"").hex(), None if row is None else row.told())


def rows_alone(path: Path) -> dict[str, bytes]:
    """These rows as the file has them without its write-ahead log; none where they cannot be read. For a journal that
    nobody serves: the file is read without a lock."""
    try:
        if not path.stat().st_size:
            return {}
        with closing(sqlite3.connect(uri(path, "ro") + "&immutable=1", uri=True)) as db:
            return rows_of(db)
    except (OSError, sqlite3.Error):
        return {}
