"""A connection to the tables of `schema.py`, and SQLite's errors as the store's."""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, Protocol, TypeVar
from urllib.parse import quote_from_bytes

from otel_bridge.journal.store import (
    DamagedPart,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnavailable,
)

P = ParamSpec("P")
R = TypeVar("R")


class _HasPath(Protocol):
    path: Path


S = TypeVar("S", bound=_HasPath)

BUSY_MS = 5_000


def uri(path: Path, mode: str) -> str:
    """A file's name as SQLite's `mode=` wants it, whatever bytes are in it."""
    return f"file://{quote_from_bytes(os.fsencode(path.absolute()))}?mode={mode}"


def connect(path: Path, mode: Literal["ro", "rw", "rwc"] = "rwc") -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri(path, mode),
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_MS / 1000,
        cached_statements=512,
    )
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    return connection


def damage(db: sqlite3.Connection) -> str | None:
    """What is wrong with the pages of a database, all of which are looked at; None: nothing."""
    try:
        found: str = db.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.Error as error:
        return str(error)
    return None if found == "ok" else found.splitlines()[-1]


def advice(path: Path, error: sqlite3.Error) -> str:
    """What is wrong with the file, and what to do."""
    code = _primary_code(error)
    what = f"diario {path}: {error}"
    if is_damage(error):
        return f"{what}. {damaged_advice(path)}"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return (
            f"{what}. Permite a este usuario escribir el archivo y su carpeta, o ejecuta esto como el usuario del "
            "puente."
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{what}. Otro programa tiene el archivo; ciérralo y arranca otra vez."
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return f"{what}. Haz sitio en el disco, o compruébalo, y arranca otra vez."
    return what


def _primary_code(error: sqlite3.Error) -> int:
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def failed_to_sync(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_FSYNC


def is_busy(error: BaseException | None) -> bool:
    return isinstance(error, sqlite3.Error) and _primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def damaged_advice(path: Path) -> str:
    return f"El archivo está dañado y queda como está. {restore_advice(path)}"


def restore_advice(path: Path) -> str:
    """What to do about a journal that no bridge can start with."""
    return (
        "Restáuralo de una copia (`otel-bridge journal restore ARCHIVO --replace` aparta este), o salva lo que "
        f"se pueda leer con `sqlite3 {path} .recover`, o apártalo para empezar con un diario vacío: lo que "
        "contenía y no se exportó se pierde entonces."
    )


def is_damage(error: sqlite3.Error) -> bool:
    """Whether SQLite says that what it reads is not what was written; or Python (without a code), of a text."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return isinstance(error, sqlite3.OperationalError) and "decode" in str(error)
    return code & 0xFF in _DAMAGE


_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG)
_UNREADABLE = (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_CORRUPTFS)
"""The disk does not give it now. Told as damage, and waited for: it is not stepped over, since it may come back."""
_UNAVAILABLE = (
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_NOMEM,
)


@contextmanager
def translated(path: Path, part: DamagedPart = DamagedPart.ANY) -> Iterator[None]:
    """SQLite's errors of a write → the store's. `part`: what it writes."""
    try:
        yield
    except sqlite3.Error as error:
        code = _primary_code(error)
        if is_damage(error):
            message = f"the journal is damaged ({part}) and cannot be written: {error}"
            raise StoreDamaged(message, part, advice(path, error)) from error
        if code == sqlite3.SQLITE_FULL:
            raise StoreFull("the disk that holds the journal is full", advice(path, error)) from error
        message = f"the journal cannot be written: {error}"
        kind = StoreUnavailable if code in _UNAVAILABLE else StoreError
        raise kind(message, advice(path, error)) from error


def reading(
    part: DamagedPart,
) -> Callable[[Callable[Concatenate[S, P], R]], Callable[Concatenate[S, P], R]]:
    """For a method that reads, of an object with a `path`: SQLite's errors → StoreError. `part`: what it reads."""

    def decorated(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
        @functools.wraps(method)
        def read(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return method(self, *args, **kwargs)
            except sqlite3.Error as error:
                what = advice(self.path, error)
                if is_damage(error) or getattr(error, "sqlite_errorcode", None) in _UNREADABLE:
                    message = f"the journal is damaged ({part}) and cannot be read: {error}"
                    raise StoreDamaged(message, part, what) from error
                raise StoreError(f"the journal cannot be read: {error}", what) from error

        return read

    return decorated
