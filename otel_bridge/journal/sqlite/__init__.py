"""The journal in SQLite: all of its SQL. WAL and `synchronous=FULL`, so a commit is an fsync.

Tables: `schema.py`. Connections and errors: `database.py`. What is there before a start: `examine.py`. Its files:
`names.py` says which they are, `lock.py` holds them for one bridge, `watch.py` sees whether they are taken away
meanwhile, `rescue.py` puts in safety what they held.

Writing: `writing.py` is the one writer, `grouping.py` the statement that holds what it commits, `totals.py` what that
adds to sessions and usage, behind the commits (`journal/tallies.py` says what), `trimming.py` what it deletes,
`ahead.py` what a wrong clock has left. Dedup keys: `known_keys.py` knows them, `key_rows.py` on disk and `hints.py` in
memory, `generations.py` says for how long. The log: `checkpoints.py` moves it into the file, `wal.py` reads it where a
disk has failed. Reading: `reading.py` is a reader for any thread or process, `segments.py` the records in order and
over what is damaged of them (`rows.py`), `lookup.py` finds an event by its id. `replay.py` and `erasing.py` are the
operator's writes from another process.

Backups: `backup_file.py` makes one, `restoring.py` puts one in place (both through `new_file.py`); `witness.py`
recognises one at the start, and copies, by the rows of `identity.py` and the `mark.py` beside the journal. `dump.py` is
a journal's rows for another backend, `load.py` makes a file of such.

A URL of it is `sqlite:///relative/path` or `sqlite:////absolute`; the path stands in it as it is: `%` is a character
like others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.archive import Archive, Forms, Progress
from otel_bridge.journal.findings import Finding
from otel_bridge.journal.sqlite.backup_file import backup as _backup
from otel_bridge.journal.sqlite.dump import SqliteArchive
from otel_bridge.journal.sqlite.dump import archive as _archive
from otel_bridge.journal.sqlite.erasing import SqliteErasing
from otel_bridge.journal.sqlite.examine import is_journal, refuse_another_name
from otel_bridge.journal.sqlite.identity import KEY, rows_alone
from otel_bridge.journal.sqlite.load import load_journal
from otel_bridge.journal.sqlite.lock import not_served
from otel_bridge.journal.sqlite.names import place
from otel_bridge.journal.sqlite.reading import SqliteReader
from otel_bridge.journal.sqlite.replay import mark_replay as _mark_replay
from otel_bridge.journal.sqlite.restoring import restore as _restore
from otel_bridge.journal.sqlite.writing import SqliteStore
from otel_bridge.journal.store import Backup

__all__ = [
    "SqliteReader",
    "SqliteStore",
    "archive",
    "backup",
    "carried_key",
    "describe",
    "erasing",
    "exists",
    "inspect",
    "load",
    "mark_replay",
    "migrate",
    "open",
    "open_reader",
    "readers",
    "restore",
]


def _existing(url: str) -> Path:
    path = place(url).path
    if not is_journal(path):
        raise StartRefused(f"diario {path}: aún no existe. Arranca `otel-bridge serve`, o nombra uno con --journal.")
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


def readers(url: str, consumer: str) -> Iterator[SqliteReader]:
    yield open_reader(url, consumer)


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    return _mark_replay(_existing(url), seqs)


def erasing(url: str, consumer: str) -> SqliteErasing:
    _existing(url)
    return SqliteErasing(place(url), consumer)


def describe(url: str, consumer: str) -> None:
    return None


def inspect(url: str) -> list[Finding]:
    exists(url)
    return []


def migrate(url: str, role: str | None, tell: Callable[[str], None]) -> None:
    if role is not None:
        raise StartRefused("journal: un diario de SQLite no tiene roles; --grant es para los postgresql://.")
    tell("un diario de SQLite lo actualiza el puente que lo abre: nada que hacer")


def backup(
    url: str, to: Path, key: bytes | None, replace: bool, progress: Callable[[int, int], None], forms: Forms | None
) -> Backup:
    return _backup(_existing(url), to, key, replace, progress)


def restore(
    file: Path, url: str, replace: bool, fingerprint: bytes | None, forms: Forms | None, progress: Progress
) -> tuple[Backup, list[str]]:
    return _restore(file, place(url), replace)


@contextmanager
def archive(url: str, forms: Forms) -> Iterator[SqliteArchive]:
    path = _existing(url)
    with not_served(place(url)), _archive(path) as found:
        yield found


def load(archive: Archive, url: str, fingerprint: bytes | None, forms: Forms, progress: Progress) -> None:
    load_journal(archive, place(url).path, progress)


def carried_key(url: str) -> bytes | None:
    return rows_alone(place(url).path).get(KEY)
