"""The journal: where an accepted record lives until it is exported and past retention.

Promises, whatever backend is below (`store.py` is the page that one is written from):

- **Durable.** `append` resolves after the records are committed and fsynced, and not before. If it raises,
  nothing of that append was taken; where that cannot be known, it says so (`OUTCOME_UNKNOWN`).
- **Ordered.** Records get sequence numbers without gaps, in the order they were committed. A session's record
  comes before its events'.
- **Remembered.** A dedup key that was taken within `DEDUP_HORIZON_US` is answered with what was taken the first
  time, and the record is not taken again. What remembers keys is bounded by that horizon.
- **Folded once.** `fold` is called once a committed record, in order, before `append` resolves. The state it
  builds is saved as a snapshot with the sequence number it stands at, so that a restart goes on from there.
- **One cursor a consumer.** A cursor moves only over records that the consumer has exported or parked. Nothing above a
  cursor, and nothing not yet in a snapshot, is ever trimmed.
- **Stopping** commits everything that `append` has taken on; what arrives later is refused.

One writer thread does all the writing. Requests that wait together share one commit (group commit): the longer
a commit takes, the more requests the next one carries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from otel_bridge.errors import StartRefused
from otel_bridge.journal.append import CONFLICT, Append, Conflict, Duplicate, Outcome
from otel_bridge.journal.archive import Forms, Progress, Sums
from otel_bridge.journal.blanking import Which
from otel_bridge.journal.description import Description
from otel_bridge.journal.erasure import Erased, ErasedSession, Remains, Survey, erase, survey
from otel_bridge.journal.erasure import Place as ErasingPlace
from otel_bridge.journal.findings import Finding, Severity
from otel_bridge.journal.store import (
    DEDUP_HORIZON_US,
    Backup,
    DamagedPart,
    Identity,
    Lane,
    Ledger,
    OutcomeUnknown,
    Parked,
    Position,
    Reader,
    Replicas,
    Segment,
    SessionInfo,
    SessionRow,
    Steward,
    Store,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLost,
    StoreUnavailable,
    TopUser,
    Total,
    Trimmed,
    WentBack,
    WentBackKind,
    Window,
)
from otel_bridge.journal.writer import Journal, refusal

__all__ = [
    "CONFLICT",
    "DEDUP_HORIZON_US",
    "Append",
    "Backup",
    "Conflict",
    "DamagedPart",
    "Description",
    "Duplicate",
    "Erased",
    "ErasedSession",
    "ErasingPlace",
    "Finding",
    "Forms",
    "Identity",
    "Journal",
    "Lane",
    "Ledger",
    "Outcome",
    "OutcomeUnknown",
    "Parked",
    "Position",
    "Progress",
    "Reader",
    "Remains",
    "Replicas",
    "Segment",
    "SessionInfo",
    "SessionRow",
    "Severity",
    "Steward",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreLost",
    "StoreUnavailable",
    "Sums",
    "Survey",
    "TopUser",
    "Total",
    "Trimmed",
    "WentBack",
    "WentBackKind",
    "Which",
    "Window",
    "backup",
    "carried_key",
    "copy",
    "describe",
    "erase",
    "erasing",
    "exists",
    "inspect",
    "mark_replay",
    "migrate",
    "open",
    "open_reader",
    "readers",
    "refusal",
    "restore",
    "survey",
]


def _backend(url: str) -> Any:
    """The package of the backend that the URL's scheme names. Its functions are those below."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from otel_bridge.journal import sqlite  # a backend is imported by who uses it

        return sqlite
    if scheme in ("postgresql", "postgres"):
        try:
            from otel_bridge.journal import postgres
        except ImportError:
            raise StartRefused(
                "journal: un diario postgresql:// necesita psycopg. Instálalo: pip install 'otel-bridge[postgres]'."
            ) from None
        return postgres
    raise StartRefused(f"journal: esta versión no tiene dónde guardar un diario {scheme}:")


def exists(url: str) -> bool:
    """Whether there is a journal already. Raises StartRefused where something else is there, StoreError where this
    user may not look."""
    return bool(_backend(url).exists(url))


def open(url: str, consumer: str) -> Store:
    """Opens the journal for its one writer, and makes it where there is none. Raises StartRefused: it is of a newer
    release, damaged, somebody else's or in use; it is then left as it is. Raises StoreError as `exists` does."""
    store: Store = _backend(url).open(url, consumer)
    return store


def open_reader(url: str, consumer: str) -> Reader:
    """A reader of a journal that exists, in any process. Raises StartRefused where there is none, StoreError."""
    reader: Reader = _backend(url).open_reader(url, consumer)
    return reader


def readers(url: str, consumer: str) -> Generator[Reader, None, None]:
    """A reader of each of the journal's logs (one, or one a lane), one after another: each is closed when the next is
    asked for. Raises as `open_reader` does, at the first."""
    for reader in _backend(url).readers(url, consumer):
        with contextlib.closing(reader):
            yield reader


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    """Asks the bridge to send these parked records again (None: all); returns how many of them there are. May be called
    while a bridge serves the journal, and again. Raises StartRefused where there is no journal, OutcomeUnknown,
    StoreError."""
    return int(_backend(url).mark_replay(url, seqs))


def erasing(url: str, consumer: str) -> ErasingPlace:
    """A journal that exists, to take a user out of it (`survey`, `erase`), while a bridge serves it or not; where none
    does, none may start until it is closed. Raises StartRefused where there is no journal, StoreError."""
    place: ErasingPlace = _backend(url).erasing(url, consumer)
    return place


def describe(url: str, consumer: str) -> Description | None:
    """Who shares a journal that exists, and what keeps it; None: nobody else, a file. Raises StartRefused,
    StoreError."""
    found: Description | None = _backend(url).describe(url, consumer)
    return found


def inspect(url: str) -> list[Finding]:
    """What is wrong with the place that the journal is kept in, the worst first: settings of a server, rights. Raises
    StartRefused, StoreError where it cannot be asked."""
    found: list[Finding] = _backend(url).inspect(url)
    return found


def migrate(url: str, role: str | None, tell: Callable[[str], None]) -> None:
    """Makes what the journal is kept in, and brings it up to this release, where a start does not do that itself; then
    gives `role` what it needs to serve. `tell` is called with what is done. Raises StartRefused, StoreError: every step
    is whole or not taken."""
    _backend(url).migrate(url, role, tell)


def backup(
    url: str,
    to: Path,
    key: bytes | None,
    replace: bool = False,
    progress: Callable[[int, int], None] = lambda *_: None,
    forms: Forms | None = None,
) -> Backup:
    """Makes a backup in the file `to` (or in a folder, under a name of its time): the journal as of one moment, and
    `key`, of the user hash. May be called while a bridge serves the journal; no answer waits for it (of a database: a
    moment). The file is whole, checked and fsynced when it gets its name. `progress` is called with bytes done and
    bytes in all. `forms`: of snapshots, which a database needs.

    Raises StartRefused (there is no journal, or a file of that name and not `replace`; the journal is damaged) and
    StoreError: then nothing was written under that name."""
    made: Backup = _backend(url).backup(url, to, key, replace, progress, forms)
    return made


def restore(
    file: Path,
    url: str,
    replace: bool = False,
    fingerprint: bytes | None = None,
    forms: Forms | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[Backup, list[str]]:
    """Puts a backup where no journal is, or, with `replace`, moves aside the one that is there. Returns the backup, and
    where that is which was there. The next `open` says that it went back. `fingerprint`: of the key that its users were
    hashed with, which a database keeps. Raises as `backup` does, and StartRefused where a bridge serves the journal:
    then nothing has changed."""
    restored: tuple[Backup, list[str]] = _backend(url).restore(file, url, replace, fingerprint, forms, progress)
    return restored


def copy(source: str, target: str, fingerprint: bytes | None, forms: Forms, progress: Progress) -> Sums:
    """Copies a journal that nobody serves meanwhile to where none is, and nobody serves; the source stays as it is.
    Counters, cursors, keys, sessions and what is parked go along. Returns what was copied, counted on both sides.
    Raises StartRefused, StoreError: then there is nothing at the target."""
    with _backend(source).archive(source, forms) as archive:
        _backend(target).load(archive, target, fingerprint, forms, progress)
        copied: Sums = archive.sums
    return copied


def carried_key(url: str) -> bytes | None:
    """The key of the user hash that a backup carries which was put in the journal's place; until the next `open`."""
    key: bytes | None = _backend(url).carried_key(url)
    return key
