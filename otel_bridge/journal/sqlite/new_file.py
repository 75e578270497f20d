"""A file that is whole, or not there: written under a name of its own, put in its place at the end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite import folder
from otel_bridge.journal.store import StoreError

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What a file system without hard links answers."""


@contextlib.contextmanager
def new_file(to: Path) -> Iterator[Path]:
    """An empty file beside `to`, for this user alone; gone at the end."""
    remove_left(to)
    part = to.with_name(f"{to.name}.{os.getpid()}.part")
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield part
    finally:
        part.unlink(missing_ok=True)
        _tidy(part)
        os.close(handle)


def remove_left(to: Path) -> None:
    """What a process that was killed has left of a new file, which may have its name already (`name_anew`)."""
    for left in to.parent.glob(f"{glob.escape(to.name)}.*.part"):
        with contextlib.suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else its maker lives
            left.unlink()
            _tidy(left)


def _tidy(part: Path) -> None:
    """What SQLite has had beside it."""
    for ending in ("-journal", "-wal", "-shm"):
        Path(f"{part}{ending}").unlink(missing_ok=True)


def put_in_place(part: Path, to: Path, replace: bool) -> None:
    """Gives the file its name, for good. Raises StartRefused: there is one meanwhile."""
    try:
        if replace:
            part.replace(to)
        else:
            name_anew(part, to)
    except FileExistsError:
        raise StartRefused(f"{to}: lo ha creado otro entretanto, y queda como está. Nombra otro archivo.") from None
    folder.sync(to.parent)


def name_anew(part: Path, to: Path) -> None:
    """Raises FileExistsError, OSError."""
    try:
        os.link(part, to)  # unlike a rename, it replaces nothing
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(to):
            raise FileExistsError from None
        part.rename(to)
    else:
        part.unlink()


def sync(file: Path) -> None:
    """Puts what is in it on the disk. Raises OSError."""
    handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refuse_narrow(place: Path, needed: int) -> None:
    """Raises StartRefused."""
    found = os.statvfs(place)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise StartRefused(
            f"{place}: hacen falta {needed / 1e6:,.1f} MB ahí, y hay {free / 1e6:,.1f} MB libres. Haz sitio, o "
            "nombra otro lugar."
        )


@contextlib.contextmanager
def words(what: str) -> Iterator[None]:
    """Errors of the system and of SQLite while a file is written, as a refusal."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", None)
        why = "el disco está lleno" if code == sqlite3.SQLITE_FULL else str(error)
        raise StoreError(f"no se puede escribir {what}: {why}. No queda nada a medias.") from error
    except OSError as error:
        why = "el disco está lleno" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise StoreError(f"no se puede escribir {what}: {why}. No queda nada a medias.") from error


def stamp() -> str:
    """Now, as it stands in names of files."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
