"""The journal in SQLite: all of its SQL. WAL and `synchronous=FULL`, so a commit is an fsync.

Tables and errors: `database.py`. What is there before a start: `examine.py`. Its files: `names.py` says which they are,
`lock.py` holds them for one bridge, `watch.py` sees whether they are taken away meanwhile, `rescue.py` puts in safety
what they held.

Writing: `writing.py` is the one writer, `grouping.py` the statement that holds what it commits, `generations.py` the
dedup keys, `trimming.py` what it deletes, `ahead.py` what a wrong clock has left. The log: `checkpoints.py` moves it
into the file, `wal.py` reads it where a disk has failed. Reading: `reading.py` is a reader for any thread or process,
`segments.py` the records in order and over what is damaged of them (`rows.py`). `replay.py` is the operator's write
from another process.

A URL of it is `sqlite:///relative/path` or `sqlite:////absolute`; the path stands in it as it is: `%` is a character
like others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite.examine import is_journal, refuse_another_name
from otel_bridge.journal.sqlite.names import place
from otel_bridge.journal.sqlite.reading import SqliteReader
from otel_bridge.journal.sqlite.replay import mark_replay as _mark_replay
from otel_bridge.journal.sqlite.writing import SqliteStore

__all__ = ["SqliteReader", "SqliteStore", "exists", "mark_replay", "open", "open_reader"]


def _existing(url: str) -> Path:
    path = place(url).path
    if not is_journal(path):
        raise StartRefused(f"journal {path}: there is none yet. Start `otel-bridge serve`, or name one with --journal.")
    refuse_another_name(path)
    return path


def exists(url: str) -> bool:
    return is_journal(place(url).path)


def open(url: str, consumer: str) -> SqliteStore:
    found = place(url)
    is_journal(found.path)  # or can become one: else it refuses
    return SqliteStore(found, consumer)


def open_reader(url: str, consumer: str) -> SqliteReader:
    return SqliteReader(_existing(url), consumer)


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    return _mark_replay(_existing(url), seqs)
