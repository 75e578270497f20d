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

from collections.abc import Sequence
from typing import Any

from otel_bridge.errors import StartRefused
from otel_bridge.journal.append import CONFLICT, Append, Conflict, Duplicate, Outcome
from otel_bridge.journal.store import (
    DEDUP_HORIZON_US,
    DamagedPart,
    Ledger,
    OutcomeUnknown,
    Parked,
    Reader,
    Segment,
    SessionInfo,
    SessionRow,
    Store,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreLost,
    StoreUnavailable,
    TopUser,
    Trimmed,
    Window,
)
from otel_bridge.journal.writer import Journal

__all__ = [
    "CONFLICT",
    "DEDUP_HORIZON_US",
    "Append",
    "Conflict",
    "DamagedPart",
    "Duplicate",
    "Journal",
    "Ledger",
    "Outcome",
    "OutcomeUnknown",
    "Parked",
    "Reader",
    "Segment",
    "SessionInfo",
    "SessionRow",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreLost",
    "StoreUnavailable",
    "TopUser",
    "Trimmed",
    "Window",
    "exists",
    "mark_replay",
    "open",
    "open_reader",
]


def _backend(url: str) -> Any:
    """The package of the backend that the URL's scheme names. Its functions are those below."""
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        from otel_bridge.journal import sqlite  # a backend is imported by who uses it

        return sqlite
    raise StartRefused(f"journal: this release has no backend for {scheme}: URLs")


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


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    """Asks the bridge to send these parked records again (None: all); returns how many of them there are. May be called
    while a bridge serves the journal, and again. Raises StartRefused where there is no journal, OutcomeUnknown,
    StoreError."""
    return int(_backend(url).mark_replay(url, seqs))
