"""What is at a journal's path, found out before anything there is written: somebody else's file is left as it is."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite.database import restore_advice, uri
from otel_bridge.journal.sqlite.lock import is_held, is_locked
from otel_bridge.journal.sqlite.names import log_of
from otel_bridge.journal.store import StoreError

_MAGIC = b"SQLite format 3\0"
"""https://www.sqlite.org/fileformat.html#magic_header_string"""
_TABLES = frozenset(("segment", "sink", "parked", "meta"))
"""Some of those that every journal has had since the first release."""


NAME_SECONDS = 1.0
"""That the log of a journal may take to appear while its bridge starts."""
NAME_BYTES = 255
"""The longest name of a file (NAME_MAX) on every filesystem that Linux writes."""


def is_journal(path: Path) -> bool:
    """Whether there is a journal; an empty file and an empty database are none yet. Raises StartRefused: something else
    is there, or no journal can ever be there; StoreError: this user may not look."""
    _refuse_impossible(path)
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            what = "una carpeta" if stat.S_ISDIR(kind.st_mode) else "algo que no es un archivo"
            raise StartRefused(f"diario {path}: es {what}. Nombra un archivo con --journal.")
        if is_held(path):
            return True
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"diario {path}: {error.strerror}. Ejecuta esto como un usuario que pueda leerlo (este es el "
            f"{os.geteuid()}), o nombra otro con --journal."
        ) from None
    if not head:
        return False
    if head != _MAGIC:
        raise StartRefused(
            f"diario {path}: el archivo no es un diario de otel-bridge, o está dañado; queda como está. Nombra "
            f"otro con --journal. Si lo era: {restore_advice(path)}"
        )
    tables = _tables(path)
    if tables and not tables >= _TABLES:
        raise StartRefused(
            f"diario {path}: un archivo de SQLite que no es un diario de otel-bridge; queda como está. Nombra "
            "otro con --journal."
        )
    return tables is None or bool(tables)


def refuse_another_name(path: Path) -> None:
    """Raises StartRefused where the journal's log stands beside another name of the same file: what reads by this one
    misses what is in the log, and what writes spoils it. StoreError: this user may not look."""
    deadline = time.monotonic() + NAME_SECONDS
    while not log_of(path).exists():
        try:
            names, served = path.stat().st_nlink, is_locked(path)
        except OSError as error:
            raise StoreError(f"diario {path}: {error.strerror}") from None
        if names == 1 and not served:
            return
        if not served or time.monotonic() > deadline:
            raise StartRefused(
                f"diario {path}: "
                f"{'un puente sirve este archivo' if served else 'este archivo tiene otro nombre'}, y su log "
                f"({log_of(path).name}) no está aquí: está junto a otro nombre (un enlace duro, un montaje), o "
                "se borró. Nombra el diario como lo hace el puente, con --journal."
            )
        time.sleep(0.05)


def _refuse_impossible(path: Path) -> None:
    """Raises StartRefused."""
    beside = log_of(path)  # what SQLite opens beside it has the longer name
    why = ""
    if any(len(os.fsencode(part)) > NAME_BYTES for part in beside.parts):
        why = os.strerror(errno.ENAMETOOLONG)
    for name in (path, beside):
        try:
            name.stat()
        except (FileNotFoundError, PermissionError):
            pass
        except OSError as error:
            why = why or error.strerror or type(error).__name__
    if why:
        raise StartRefused(f"diario {path}: {why}. Nombra otro con --journal.")


def _tables(path: Path) -> set[str] | None:
    """The names of a database's tables; None where they cannot be told, which is for who opens it to say."""
    # Without a write-ahead log the file alone is all of it, and is read without a lock or a file beside it.
    alone = "" if log_of(path).exists() else "&immutable=1"
    try:
        db = sqlite3.connect(uri(path, "ro") + alone, uri=True, timeout=5)
        try:
            return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        finally:
            db.close()
    except sqlite3.Error:
        return None
