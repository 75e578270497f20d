"""The tables, a connection to them, and SQLite's errors as the store's.

segment   what was accepted: one row a run of records committed together, body as `records.encode`
seen      keys of the last one or two horizons, by generation: what a retry is recognised by
session   a row a session: what events need to know of it, its totals, whether it is live
usage     events and tokens by hour, GPT and user: what windows and top users are counted from
sink      a cursor a sink, and how many spans it has delivered
parked    records that a sink refused
meta      checkpoint of the metric state
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from otel_bridge.journal.store import StoreFull, StoreUnavailable

SCHEMA_VERSION = 1
HOUR_US = 3_600 * 1_000_000
BUSY_MS = 5_000

SCHEMA = """
CREATE TABLE segment (
    last INTEGER PRIMARY KEY, count INTEGER NOT NULL, spans INTEGER NOT NULL, arrived_us INTEGER NOT NULL,
    crc INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE TABLE seen (
    generation INTEGER NOT NULL, key BLOB NOT NULL, arrived_us INTEGER NOT NULL, digest BLOB,
    PRIMARY KEY (generation, key)
) WITHOUT ROWID;
CREATE TABLE session (
    id BLOB PRIMARY KEY, gpt TEXT NOT NULL, user TEXT NOT NULL, started_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL, first_event_us INTEGER, last_event_us INTEGER, events INTEGER NOT NULL,
    failed INTEGER NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, stretch_us INTEGER,
    stretch_events INTEGER NOT NULL, live INTEGER NOT NULL, digest BLOB
) WITHOUT ROWID;
CREATE INDEX session_live ON session (last_us) WHERE live = 1;
CREATE TABLE usage (
    hour INTEGER NOT NULL, gpt TEXT NOT NULL, user TEXT NOT NULL, events INTEGER NOT NULL, tokens INTEGER NOT NULL,
    PRIMARY KEY (hour, gpt, user)
) WITHOUT ROWID;
CREATE TABLE sink (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL, exported INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE parked (
    seq INTEGER PRIMARY KEY, body BLOB NOT NULL, spans INTEGER NOT NULL, reason TEXT NOT NULL, words TEXT NOT NULL,
    parked_us INTEGER NOT NULL, replay INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE meta (name TEXT PRIMARY KEY, seq INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID;
"""


def connect(path: Path, read_only: bool = False) -> sqlite3.Connection:
    mode = "ro" if read_only else "rwc"
    connection = sqlite3.connect(
        f"file:{path.absolute().as_posix().replace('?', '%3f').replace('#', '%23')}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
        cached_statements=512,
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return connection


@contextmanager
def translated() -> Iterator[None]:
    """SQLite's errors → the store's."""
    try:
        yield
    except sqlite3.Error as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StoreFull("the disk that holds the journal is full") from error
        if code in (
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY,
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_PERM,
            sqlite3.SQLITE_NOMEM,
        ):
            raise StoreUnavailable(f"the journal cannot be written: {error}") from error
        raise
