"""A journal in SQLite as the release before has left it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from otel_bridge.journal.sqlite.key_rows import unpacked

_SEEN = """CREATE TABLE seen (
    generation INTEGER NOT NULL, key BLOB NOT NULL, arrived_us INTEGER NOT NULL, digest BLOB, part INTEGER,
    PRIMARY KEY (generation, key)
) WITHOUT ROWID"""


def as_before(path: Path, rated: bool = False) -> None:
    """Its dedup keys stand in a table of their own, a row each; `rated`: it may hold ratings."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(_SEEN)
        for generation, *columns in db.execute("SELECT generation, width, keys, arrived, rest FROM key ORDER BY row"):
            rows = [(generation, *one[:3], one.part or None) for one in unpacked(columns)]
            db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)", rows)
        db.execute("DROP TABLE key")
        db.execute(f"PRAGMA user_version = {2 if rated else 1}")
