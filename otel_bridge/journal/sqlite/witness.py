"""Whether the journal at a path is the one, and as new as the one, that was served there last.

It is told by rows in the journal (`identity.py`) and the mark beside it (`mark.py`). From these:

- `backup` is there: a backup stands in the journal's place.
- The mark is of another id: another journal does, or a new one where an old one was.
- The mark is ahead of the journal: an older copy does; or, where `service` is set and no write-ahead log is there, a
  copy without its log. After a kill the log is there.
- No mark, `service` and no log: such a copy in a place of its own.

A write-ahead log says nothing of the file that it belongs to, and SQLite applies it to whatever has the name. So one
that may be another file's is looked into before: a backup has none (it is moved aside), and where file and mark were
not of the same service, or the file is older than the mark says, the whole is checked.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from otel_bridge import clock
from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite.database import connect, damage, restore_advice
from otel_bridge.journal.sqlite.identity import (
    BACKUP,
    JOURNAL,
    KEY,
    SERVICE,
    WENT_BACK,
    BackupRow,
    WentBackRow,
    decoded,
    end_service,
    put_row,
    rows_alone,
    rows_of,
)
from otel_bridge.journal.sqlite.mark import Mark, read_mark, write_mark
from otel_bridge.journal.sqlite.names import index_of, log_of
from otel_bridge.journal.sqlite.new_file import stamp
from otel_bridge.journal.sqlite.reading import wal_bytes
from otel_bridge.journal.sqlite.watch import AGE, HEAD_BYTES
from otel_bridge.journal.store import WentBack


class Witness:
    """Before the journal is opened: looks. While it is served: keeps rows and mark."""

    def __init__(self, path: Path) -> None:
        """Looks at what is there, as long as nobody has opened it. Raises StartRefused: it must not be."""
        self.path = path
        self.warnings: list[str] = []
        """For the log: nothing that went back, and yet to be known."""
        self._mark = read_mark(path)
        self._log = wal_bytes(path)
        self._has_log = log_of(path).exists()
        rows = rows_alone(path)
        self._in_service = rows.get(SERVICE)
        self._is_backup = BACKUP in rows
        backup = decoded(rows, BACKUP, BackupRow)
        self._backup_us = 0 if backup is None else backup.made_us
        self._service = b""
        self._id = b""
        self._kept: tuple[int, bytes] = (-1, b"")
        self.went_back: WentBack | None = None
        if self._log and self._is_backup and not _is_wal_mode(path):
            self._move_log_aside()
        elif self._log and self._mark is not None and self._is_of_another(self._mark):
            self._check_with_log()

    def _move_log_aside(self) -> None:
        """The log of the journal that stood here before the backup: never applied to it, and never deleted."""
        there = log_of(self.path)
        aside = Path(f"{self.path}.before-{stamp()}-wal")
        there.rename(aside)
        index_of(self.path).unlink(missing_ok=True)
        self._log = 0
        self.warnings.append(
            f"journal {self.path}: the write-ahead log beside it was of the journal that stood here before the backup, "
            f"and is now {aside}"
        )

    def _is_of_another(self, mark: Mark) -> bool:
        """Whether the log may be of another file than the one that is there: of another service, or of the same service
        when the file was younger."""
        return mark.service != self._in_service or _head(self.path)[AGE] < mark.age

    def _check_with_log(self) -> None:
        with closing(connect(self.path, "ro")) as db:
            found = damage(db)
        if found is not None:
            raise StartRefused(
                f"diario {self.path}: el log de escritura que tiene al lado ({self.path.name}-wal) no es el "
                f"suyo, o el archivo está dañado ({found}). Los dos quedan como están. Si alguien puso otro "
                f"archivo en este lugar, aparta el log y arranca otra vez. Si no: {restore_advice(self.path)}"
            )

    def recognise(self, db: sqlite3.Connection, last: int) -> None:
        """Recognises what there is to recognise. Raises StartRefused."""
        rows = rows_of(db)
        self._id = rows.get(JOURNAL, b"")
        self.went_back = self._recognise(rows, last)
        if self.went_back is not None and self.went_back.kind == "incomplete":
            self._check_alone(db)
        if not self._id or (self.went_back is not None and self.went_back.kind != "other"):
            self._id = os.urandom(16)

    def begin(self, db: sqlite3.Connection, last: int, age: bytes) -> None:
        """Before the first record: `service` is in the file itself, and the mark is this journal's. Where the disk is
        full it is tried again between two commits: until then `begun` is False, and less is recognised later."""
        service = os.urandom(8)
        try:
            db.execute("BEGIN IMMEDIATE")
            put_row(db, JOURNAL, self._id)
            put_row(db, SERVICE, service)
            db.execute("DELETE FROM meta WHERE name IN (?, ?)", (BACKUP, KEY))
            if self.went_back is not None:
                mark = self._mark.journal.hex() if self._mark is not None else ""
                row = WentBackRow(**self.went_back._asdict(), mark=mark)
                put_row(db, WENT_BACK, msgspec.json.encode(row))
            db.execute("COMMIT")
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_FULL:
                raise
            return
        self._service = service
        self.keep(last, age)

    @property
    def begun(self) -> bool:
        return bool(self._service)

    def _recognise(self, rows: dict[str, bytes], last: int) -> WentBack | None:
        mark, now_us = self._mark, clock.now_us()
        before, before_us = (mark.last, mark.at_us) if mark is not None else (0, 0)
        if self._is_backup:
            return WentBack("backup", last, before, before_us or self._backup_us, now_us)
        without_log = self._in_service is not None and not self._log
        if mark is None:
            return WentBack("incomplete", last, 0, 0, now_us) if without_log else None
        if mark.journal != self._id:
            return _again(rows, mark) or WentBack("other", last, before, before_us, now_us)
        if mark.last > last:
            return WentBack("incomplete" if without_log else "older", last, before, before_us, now_us)
        if self._in_service is not None and not self._has_log:  # an empty one was emptied into the file
            self.warnings.append(
                f"journal {self.path}: it was in service, and its write-ahead log is not there. Nothing that is known "
                "of is missing. A program that opened the file meanwhile (sqlite3, an earlier otel-bridge) has tidied "
                "the log up: then all is there; if somebody has removed it, what was accepted in the last second went "
                "with it"
            )
        return None

    def _check_alone(self, db: sqlite3.Connection) -> None:
        """A file that was copied while it was written may be parts of two states."""
        found = damage(db)
        if found is not None:
            raise StartRefused(
                f"diario {self.path}: se copió, o se guardó, sin su log de escritura, y está dañado por ello "
                f"({found}). Queda como está. Pon el log ({self.path.name}-wal) a su lado si existe. Si no: "
                f"{restore_advice(self.path)}"
            )

    def keep(self, last: int, age: bytes) -> None:
        """Writes the mark where it is behind. `last` is committed, and the file has this age. One thread at a time."""
        if self.begun and (last, age) != self._kept and write_mark(self.path, self._id, self._service, last, age):
            self._kept = last, age

    @staticmethod
    def end(db: sqlite3.Connection) -> None:
        """The orderly end of this service. Where that cannot be written, the next start finds the journal in service,
        its log beside it. Raises sqlite3.Error."""
        end_service(db)


def _again(rows: dict[str, bytes], mark: Mark) -> WentBack | None:
    """What the start before has recognised, if that was killed before the mark said so."""
    row = decoded(rows, WENT_BACK, WentBackRow)
    return row.told() if row is not None and row.mark == mark.journal.hex() else None


def _is_wal_mode(path: Path) -> bool:
    """https://www.sqlite.org/fileformat.html#file_format_version_numbers"""
    return _head(path)[18:20] == b"\x02\x02"


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)
