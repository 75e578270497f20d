"""The tables, and what makes a journal of an earlier release one of this.

segment   what was accepted: one row a run of records committed together, body as `records.encode`; `total` is the sum
          of `spans` up to this row, so that what becomes unreadable can still be counted (NULL: of an earlier release)
key       dedup keys of the last one or two horizons, by generation: what a retry is recognised by. A row a commit
          (`key_rows.py`), found by what `hints.py` has in memory
session   a row a session: what events need to know of it, its totals, whether it is live; `last_us` is when something
          last arrived for it (idleness and retention go by it), `active_us` the latest time of what arrived (windows go
          by it), `stretch_…` its first and last event since it was last idle, and their number; `fill` is what the
          parts of its events follow from (journal/parts.py); `unmeasured_…` counts the events of which nobody measured
          that (NULL: none). Totals are written about a second behind the records (`totals.py`)
usage     events and tokens by hour, GPT and user: what windows and top users are counted from
sink      a cursor a consumer, and how many spans it has delivered
parked    records that the consumer's endpoint refused; `words` is its message
meta      the snapshot of the metrics, in the row `checkpoint`; what tells whether this is the journal that was served
          here last, in rows of their own (`witness.py`)

Tables, columns and rows keep the names that they had in the first release, but for the keys: a journal of then is
opened, and its table of keys (`seen`) is moved (`known_keys.py`).
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.ids import DAY_US

VERSION = 3
"""The newest that this release knows, and what it makes of every journal. Releases that know 2 look for keys in a table
that is no more, and would take repeats for new; those that know 1 would take a segment with a rating for a damaged
one."""
PAGE_BYTES = 8192

_KEYS = """
CREATE TABLE key (
    row INTEGER PRIMARY KEY, generation INTEGER NOT NULL, width INTEGER NOT NULL, keys BLOB NOT NULL,
    arrived BLOB NOT NULL, rest BLOB
);
"""
_TABLES = f"""{_KEYS}
CREATE TABLE segment (
    last INTEGER PRIMARY KEY, count INTEGER NOT NULL, spans INTEGER NOT NULL, arrived_us INTEGER NOT NULL,
    crc INTEGER NOT NULL, total INTEGER, body BLOB NOT NULL
);
CREATE TABLE session (
    id BLOB PRIMARY KEY, gpt TEXT NOT NULL, user TEXT NOT NULL, started_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL, first_event_us INTEGER, last_event_us INTEGER, events INTEGER NOT NULL,
    failed INTEGER NOT NULL, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, stretch_us INTEGER,
    stretch_events INTEGER NOT NULL, live INTEGER NOT NULL, digest BLOB, stretch_last_us INTEGER, active_us INTEGER,
    fill INTEGER, unmeasured_latency INTEGER, unmeasured_in INTEGER, unmeasured_out INTEGER
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


_ADDED = f"""
ALTER TABLE session ADD COLUMN stretch_last_us INTEGER;
ALTER TABLE session ADD COLUMN active_us INTEGER;
UPDATE session SET stretch_us = NULL WHERE live = 1 AND stretch_events = 0;
UPDATE session SET stretch_us = first_event_us WHERE live = 1 AND stretch_events = events;
UPDATE session SET stretch_last_us = last_event_us WHERE live = 1 AND stretch_events > 0;
UPDATE session SET stretch_us = stretch_last_us WHERE live = 1 AND stretch_last_us - stretch_us > {DAY_US};
"""
"""What a journal of 0.1.0 lacks: there, a session's length began at its claimed start. The release before still opens a
journal that has it."""

_ADDED_PARTS = """
ALTER TABLE session ADD COLUMN fill INTEGER;
ALTER TABLE seen ADD COLUMN part INTEGER;
"""
"""What a journal lacks from before sessions had parts. As above."""
_ADDED_TOTAL = "ALTER TABLE segment ADD COLUMN total INTEGER;"
"""What else a journal of before lacks; the same holds for it."""

_ADDED_UNMEASURED = """
ALTER TABLE session ADD COLUMN unmeasured_latency INTEGER;
ALTER TABLE session ADD COLUMN unmeasured_in INTEGER;
ALTER TABLE session ADD COLUMN unmeasured_out INTEGER;
"""
"""And from before a number could be missing."""

_ADDITIONS = (
    ("session", "active_us", _ADDED),
    ("session", "fill", _ADDED_PARTS),
    ("segment", "total", _ADDED_TOTAL),
    ("session", "unmeasured_out", _ADDED_UNMEASURED),
)
"""(table, a column that it lacks, what adds that)."""


def examine(db: sqlite3.Connection, path: Path) -> bool:
    """Whether there is a journal; False: the file is empty. Raises StartRefused: it is of a newer release, or none."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if version > VERSION:
        raise StartRefused(
            f"diario {path}: su esquema es de la versión {version}, y este otel-bridge conoce la {VERSION}. Lo "
            "escribió uno más nuevo: usa ese."
        )
    if version == 0 and tables:
        raise StartRefused(
            f"diario {path}: un archivo de SQLite que no es un diario de otel-bridge. Nombra otro con --journal."
        )
    return bool(version)


def make(db: sqlite3.Connection) -> None:
    db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


def upgrade(db: sqlite3.Connection) -> None:
    """Adds what a journal of an earlier release lacks. That release does not open it any more."""
    for script in _lacking(db):
        db.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")
    if db.execute("PRAGMA user_version").fetchone()[0] < VERSION:
        db.executescript(f"BEGIN IMMEDIATE; {_KEYS} PRAGMA user_version = {VERSION}; COMMIT;")


def is_current(db: sqlite3.Connection) -> bool:
    """Whether `upgrade` would change nothing."""
    moved = not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'seen'").fetchone()
    return moved and not _lacking(db)


def _lacking(db: sqlite3.Connection) -> list[str]:
    return [
        script
        for table, column, script in _ADDITIONS
        if column not in [found[1] for found in db.execute(f"PRAGMA table_info({table})")]
    ]
