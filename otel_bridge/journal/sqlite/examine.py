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
            what = "a folder" if stat.S_ISDIR(kind.st_mode) else "no file"
            raise StartRefused(f"journal {path}: this is {what}. Name a file with --journal.")
        if is_held(path):
            return True
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"journal {path}: {error.strerror}. Run this as a user that may read it (this one is {os.geteuid()}), or "
            "name another with --journal."
        ) from None
    if not head:
        return False
    if head != _MAGIC:
        raise StartRefused(
            f"journal {path}: the file is no otel-bridge journal, or it is damaged; it is left as it is. Name another "
            f"with --journal. If it was one: {restore_advice(path)}"
        )
    tables = _tables(path)
    if tables and not tables >= _TABLES:
        raise StartRefused(
            f"journal {path}: a SQLite file that is no otel-bridge journal; it is left as it is. Name another with "
            "--journal."
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
            raise StoreError(f"journal {path}: {error.strerror}") from None
        if names == 1 and not served:
            return
        if not served or time.monotonic() > deadline:
            raise StartRefused(
                f"journal {path}: {'a bridge serves this file' if served else 'this file has a second name'}, and its "
                f"log ({log_of(path).name}) is not here: it stands beside another name (a hard link, a mount), or was "
                "removed. Name the journal as the bridge does, with --journal."
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
        raise StartRefused(f"journal {path}: {why}. Name another with --journal.")


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
