"""An archive as a journal's file, or as a backup."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path

import msgspec

from otel_bridge import __version__, clock
from otel_bridge.errors import StartRefused
from otel_bridge.journal.archive import Archive, KeyRow, Progress, SessionRow, refuse_other, told
from otel_bridge.journal.sqlite import folder, schema
from otel_bridge.journal.sqlite.backup_file import verify
from otel_bridge.journal.sqlite.database import uri
from otel_bridge.journal.sqlite.dump import SqliteArchive
from otel_bridge.journal.sqlite.identity import BACKUP, JOURNAL, KEY, BackupRow, put_row
from otel_bridge.journal.sqlite.key_rows import MOST_KEYS, packed
from otel_bridge.journal.sqlite.new_file import new_file, put_in_place, refuse_narrow, stamp, words
from otel_bridge.journal.store import DEDUP_HORIZON_US, Backup


def load_backup(
    archive: Archive, to: Path, key: bytes | None, replace: bool, progress: Callable[[int, int], None]
) -> Backup:
    """As `otel_bridge.journal.backup`."""
    if to.is_dir():
        to = to / f"otel-bridge-{stamp()}.db"
    if os.path.lexists(to) and not (replace and to.is_file()):
        raise StartRefused(
            f"{to}: ya existe, y queda como está. Nombra otro archivo, o una carpeta para que se llame según la "
            "hora, o reemplaza el archivo con --replace."
        )
    cursor = max((sink.cursor for sink in archive.sinks), default=0)
    row = BackupRow(clock.now_us(), archive.last, cursor, __version__)
    with words(f"la copia {to}"), new_file(to) as part:
        meta = {BACKUP: msgspec.json.encode(row)} | ({} if key is None else {KEY: key})
        damaged = _load(archive, part, meta, lambda _table, _rows: progress(part.stat().st_size, archive.size))
        size = part.stat().st_size
        put_in_place(part, to, replace)
    return Backup(str(to), size, row.made_us, archive.last, cursor, key, __version__, damaged)


def load_journal(archive: Archive, path: Path, progress: Progress) -> None:
    """Where no journal is."""
    with words(f"el diario {path}"):
        folder.make(path.parent, mode=0o700)
        if os.path.lexists(path):
            raise StartRefused(f"diario {path}: ya hay uno, y queda como está. Nombra otro archivo.")
        with new_file(path) as part:
            _load(archive, part, {JOURNAL: os.urandom(16)}, progress)
            put_in_place(part, path, replace=False)


def _load(archive: Archive, part: Path, meta: dict[str, bytes], progress: Progress) -> int:
    """Writes the file, and checks it. Returns how many segments do not match their checksums."""
    refuse_narrow(part.parent, archive.size)
    with closing(sqlite3.connect(uri(part, "rw"), uri=True, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = OFF")  # a file that is not whole is thrown away
        db.execute("PRAGMA synchronous = OFF")
        db.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        schema.make(db)
        db.execute("BEGIN")

        def put(table: str, columns: int, rows: Iterable[Sequence[object]]) -> None:
            marks = ", ".join("?" * columns)
            db.executemany(f"INSERT INTO {table} VALUES ({marks})", told(rows, table, progress))

        put("segment", 7, archive.segments())
        _put_keys(db, archive, progress)
        put("session", len(SessionRow._fields), archive.sessions())
        put("usage", 5, archive.usage())
        put("parked", 7, archive.parked())
        put("sink", 3, archive.sinks)
        if archive.snapshot is not None:
            db.execute("INSERT INTO meta VALUES ('checkpoint', ?, ?)", archive.snapshot)
        for name, body in meta.items():
            put_row(db, name, body)
        db.execute("COMMIT")
        refuse_other(archive.sums, SqliteArchive(db, part).sums)
        db.execute("PRAGMA journal_mode = DELETE")
    handle = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return verify(part, "la copia")


def _put_keys(db: sqlite3.Connection, archive: Archive, progress: Progress) -> None:
    """They come by key, and go by generation."""
    db.execute("CREATE TEMP TABLE keys (generation INTEGER, key BLOB, arrived_us INTEGER, digest BLOB, part INTEGER)")
    db.executemany(
        "INSERT INTO keys VALUES (?, ?, ?, ?, ?)",
        ((key.arrived_us // DEDUP_HORIZON_US, *key) for key in told(archive.seen(), "key", progress)),
    )
    rows = db.execute("SELECT generation, key, arrived_us, digest, part FROM keys ORDER BY generation, rowid")
    number = 0
    for generation, of_generation in groupby(rows, key=itemgetter(0)):
        keys = (KeyRow(*row[1:]) for row in of_generation)
        while some := list(islice(keys, MOST_KEYS)):
            for columns in packed(some):
                number += 1
                db.execute("INSERT INTO key VALUES (?, ?, ?, ?, ?, ?)", (number, generation, *columns))
    db.execute("DROP TABLE keys")
