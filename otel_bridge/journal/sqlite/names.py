"""The names of a journal's files. Every part that opens one of them takes its path from here, so that all of them
name the same files whatever links lead to the journal."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from otel_bridge.errors import StartRefused

SCHEME = "sqlite:///"


class Place(NamedTuple):
    """Where a URL says that the journal is."""

    path: Path
    """The database, absolute and without a link in it: SQLite, lock and log stand beside it."""
    written: Path
    """The same as the URL has it."""


def place(url: str) -> Place:
    """Raises StartRefused where only an earlier release would find the journal by this URL."""
    name = url.removeprefix(SCHEME)
    found = Place(Path(os.path.realpath(name)), Path(name))
    # The first release handed `%` on to SQLite, which read `%20` as a space: lock and key went by the name as it is
    # written, the journal by the one that this means in a URL.
    meant = Path(os.fsdecode(unquote_to_bytes(os.fsencode(name))))
    if meant != found.written and not os.path.lexists(found.path) and meant.is_file():
        raise StartRefused(
            f"diario {name}: no existe, pero una versión anterior entendía por este nombre {meant}, y ese "
            f"archivo existe. Para lo que aún lo sirva, y da al archivo el nombre que está escrito: mv '{meant}' "
            f"'{name}' (y lo mismo con '{meant}-wal' si existe)."
        )
    return found


def url(path: Path) -> str:
    """The URL that opens the journal at this path, in any process and whatever links change."""
    return f"{SCHEME}{path}"


def log_of(path: Path) -> Path:
    """The write-ahead log: what is committed and not yet in the database."""
    return Path(f"{path}-wal")


def index_of(path: Path) -> Path:
    """What the connections of all processes find their way in the log by."""
    return Path(f"{path}-shm")


def lock_of(path: Path) -> Path:
    """The file that releases before the lock on the database took."""
    return path.with_name(f"{path.name}.lock")
