"""A backup: one file that is a whole journal, with the key of the user hash in it; made while a bridge serves, or not.

It is one state of the journal: a read transaction that stays open while the file is copied in pieces. Commits go on
beside it and wait for nothing; what they write stays in the write-ahead log until the copy is done. (SQLite's online
backup by itself begins again at each commit of another process, and would never end.) Each piece is written out before
the next is read: all of it at the end would hold up the commits' own fsyncs.

A backup is in no WAL mode: it has no file beside it, and is read where nothing can be written.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec

from otel_bridge import __version__, clock
from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite.database import advice, connect, damage, uri
from otel_bridge.journal.sqlite.examine import is_journal
from otel_bridge.journal.sqlite.identity import BACKUP, KEY, BackupRow, decoded, put_row, rows_alone
from otel_bridge.journal.sqlite.mark import mark_path
from otel_bridge.journal.sqlite.names import index_of, lock_of, log_of
from otel_bridge.journal.sqlite.new_file import new_file, put_in_place, refuse_narrow, stamp, words
from otel_bridge.journal.sqlite.reading import wal_bytes
from otel_bridge.journal.sqlite.totals import write_behind
from otel_bridge.journal.store import Backup, StoreDamaged, StoreError

PIECE_PAGES = 512
"""Of 8 KiB, copied at once."""

Progress = Callable[[int, int], None]
"""Called with the bytes that are done, and all of them."""


def backup(path: Path, to: Path, key: bytes | None, replace: bool, progress: Progress) -> Backup:
    """Raises StartRefused, StoreError: there is then no file of that name, or still the one that was there."""
    if to.is_dir():
        to = to / f"{path.stem}-{stamp()}.db"
    if (to.exists() and to.samefile(path)) or to.resolve() in belongings(path):
        raise StartRefused(f"{to}: este es el diario mismo, o uno de sus archivos. Nombra otro archivo.")
    if os.path.lexists(to) and not (replace and to.is_file()):
        raise StartRefused(
            f"{to}: ya existe, y queda como está. Nombra otro archivo, o una carpeta para que se llame según la "
            "hora, o reemplaza el archivo con --replace."
        )
    with words(f"la copia {to}"), new_file(to) as part:
        with closing(_snapshot(path)) as source:
            made = _copy(source, part, key, progress)
        damaged = verify(part, f"el diario {path}")
        made = made._replace(place=str(to), size=part.stat().st_size, damaged=damaged)
        put_in_place(part, to, replace)
    return made


def belongings(path: Path) -> tuple[Path, ...]:
    """What stands beside a journal and is no place for anything else: a log that is replaced is what was accepted."""
    return log_of(path), index_of(path), lock_of(path), mark_path(path)


def _snapshot(path: Path) -> sqlite3.Connection:
    """A connection that sees the state of now until it is closed. Raises StoreError."""
    try:
        source = connect(path, "ro")
        try:
            source.execute("BEGIN")
            source.execute("SELECT 1 FROM meta LIMIT 1").fetchone()
        except sqlite3.Error:
            source.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"the journal cannot be read: {error}", advice(path, error)) from error
    return source


def _copy(source: sqlite3.Connection, part: Path, key: bytes | None, progress: Progress) -> Backup:
    def value(sql: str) -> Any:
        return source.execute(sql).fetchone()[0]

    made_us = clock.now_us()
    page, size = value("PRAGMA page_size"), value("PRAGMA page_size") * value("PRAGMA page_count")
    cursor = value("SELECT coalesce(max(cursor), 0) FROM sink")
    last = max(cursor, value("SELECT coalesce(max(last), 0) FROM segment"))
    refuse_narrow(part.parent, size)
    handle = os.open(part, os.O_RDWR | os.O_CLOEXEC)
    try:
        with closing(sqlite3.connect(uri(part, "rw"), uri=True, isolation_level=None)) as copy:
            copy.execute("PRAGMA journal_mode = OFF")  # a file that is not whole is thrown away
            copy.execute("PRAGMA synchronous = OFF")

            def piece(_status: int, remaining: int, total: int) -> None:
                os.fdatasync(handle)
                progress((total - remaining) * page, total * page)

            source.backup(copy, pages=PIECE_PAGES, progress=piece, sleep=0)
            copy.execute("PRAGMA journal_mode = DELETE")
            with suppress(StoreDamaged):  # `verify` says it
                write_behind(copy, part)
            copy.execute("BEGIN")
            put_row(copy, BACKUP, msgspec.json.encode(BackupRow(made_us, last, cursor, __version__)))
            if key is not None:
                put_row(copy, KEY, key)
            copy.execute("COMMIT")
        os.fsync(handle)
    finally:
        os.close(handle)
    return Backup(str(part), size, made_us, last, cursor, key, __version__)


def look(file: Path) -> Backup:
    """What the backup in a file holds. Raises StartRefused: it is none, or it is damaged."""
    if not is_journal(file):
        raise StartRefused(
            f"{file}: no existe esa copia. Nombra un archivo que haya hecho `otel-bridge journal backup`."
        )
    has_log = wal_bytes(file) > 0
    damaged = 0 if has_log else verify(file, f"la copia {file}")
    rows = rows_alone(file)
    row = decoded(rows, BACKUP, BackupRow)
    if row is None or has_log:
        raise StartRefused(
            f"{file}: es un diario, y no una copia hecha por `otel-bridge journal backup`. Para servirlo, para "
            "el puente y ponlo tú en el lugar del diario, con su -wal si lo tiene."
        )
    return Backup(
        str(file), file.stat().st_size, row.made_us, row.last, row.cursor, rows.get(KEY), row.release, damaged
    )


def verify(file: Path, whose: str) -> int:
    """How many segments do not match their checksum: those that the bridge parks. Raises StartRefused where the file is
    no whole journal, or one that no bridge would start with."""
    damaged: list[int] = []
    newest = 0
    try:
        with closing(sqlite3.connect(uri(file, "ro") + "&immutable=1", uri=True)) as db:
            found = damage(db)
            if found is None:
                for last, crc, body in db.execute("SELECT last, crc, body FROM segment ORDER BY last"):
                    newest = last
                    if zlib.crc32(body) != crc:
                        damaged.append(last)
    except sqlite3.Error as error:
        found = str(error)
    if newest and newest in damaged:
        found = f"el segmento más nuevo ({newest}) no coincide con su suma de comprobación"
    if found is not None:
        raise StartRefused(
            f"hay daños en {whose} ({found}): un archivo así no sería una copia de fiar, y no se escribió nada. "
            "Guarda las copias que hay; docs/respaldo.md dice qué se puede salvar."
        )
    return len(damaged)
