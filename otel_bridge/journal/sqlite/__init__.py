"""The journal in SQLite: all of its SQL. WAL and `synchronous=FULL`, so a commit is an fsync.

`database.py` has the tables, how they are opened and what SQLite's errors mean; `examine.py` looks at what is there
before that; `writing.py` is the one writer, `grouping.py` the statement that holds what it commits, `trimming.py` what
it deletes; `reading.py` is a reader for any thread or process, `segments.py` the records in order and over what is
damaged of them (`rows.py`); `replay.py` is the operator's write from another process. A URL of it is
`sqlite:///relative/path` or `sqlite:////absolute`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite.examine import is_journal
from otel_bridge.journal.sqlite.reading import SqliteReader
from otel_bridge.journal.sqlite.replay import mark_replay as _mark_replay
from otel_bridge.journal.sqlite.writing import SqliteStore

__all__ = ["SqliteReader", "SqliteStore", "exists", "mark_replay", "open", "open_reader"]


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _existing(url: str) -> Path:
    path = _path(url)
    if not is_journal(path):
        raise StartRefused(f"journal {path}: there is none yet. Start `otel-bridge serve`, or name one with --journal.")
    return path


def exists(url: str) -> bool:
    return is_journal(_path(url))


def open(url: str, consumer: str) -> SqliteStore:
    is_journal(_path(url))  # or can become one: else it refuses
    return SqliteStore(_path(url), consumer)


def open_reader(url: str, consumer: str) -> SqliteReader:
    return SqliteReader(_existing(url), consumer)


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    return _mark_replay(_existing(url), seqs)
