"""The journal in SQLite: all of its SQL. WAL and `synchronous=FULL`, so a commit is an fsync.

`database.py` has the tables, how they are opened and what SQLite's errors mean; `writing.py` is the one
writer and `grouping.py` the statement that holds what it commits, `reading.py` a reader for any thread or process,
`replay.py` the operator's write from another process.
"""

from otel_bridge.journal.sqlite.reading import SqliteReader
from otel_bridge.journal.sqlite.replay import mark_replay
from otel_bridge.journal.sqlite.writing import SqliteStore

__all__ = ["SqliteReader", "SqliteStore", "mark_replay"]
