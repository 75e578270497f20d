"""What a backend of the journal must do, and the values that cross that line. All SQL is below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from otel_bridge.records import Idle, Record

DEDUP_HORIZON_US = 86_400 * 1_000_000
"""How long a key is remembered, in microseconds (the contract's 24 h)."""

SEGMENT_RECORDS = 2_000
"""Records of one commit that share one journal row, at the most."""


def generation_of(arrived_us: int) -> int:
    """Keys are kept by generations one horizon long: the current one and the one before it are searched, older
    ones are dropped whole. So forgetting costs nothing that grows with the journal."""
    return arrived_us // DEDUP_HORIZON_US


class StoreUnavailable(Exception):
    """The store cannot take records now. Nothing was taken."""


class StoreFull(StoreUnavailable):
    """There is no room: on the disk, or within the journal's own limit."""


class Duplicate(NamedTuple):
    """A record that had been taken before: when it arrived, and the generation its key is kept in."""

    arrived_us: int


class Conflict(NamedTuple):
    """The id is known with other content."""


Outcome = Duplicate | Conflict | None
"""What became of one record: None is a new one."""

CONFLICT = Conflict()


@dataclass(slots=True, eq=False)
class Append:
    """What one request wants journaled, all or nothing but for repeats.

    ``keys[i]`` is what a retry of record i is recognised by, if anything. ``digests[i]`` is a digest of its
    content where the key says nothing of it (an id that the client chose). A session whose id the client chose
    has a digest and no key: the session itself is what remembers it.
    """

    records: list[Record]
    keys: list[bytes | None]
    digests: dict[int, bytes] = field(default_factory=dict)
    outcomes: list[Outcome] | None = None
    """Set by the commit: one entry a record, or None where all were new."""


class SessionInfo(NamedTuple):
    """What an event needs to know of its session."""

    gpt: str
    user: str


class SessionRow(NamedTuple):
    """A session's state, as `GET /api/sessions/{id}` shows it."""

    gpt: str
    user: str
    started_us: int
    last_us: int
    first_event_us: int | None
    last_event_us: int | None
    events: int
    failed: int
    tokens_in: int
    tokens_out: int
    live: bool


class Segment(NamedTuple):
    """A run of records that were committed together. ``last`` is the sequence number of the last of them."""

    last: int
    size: int
    spans: int
    arrived_us: int
    body: bytes
    damaged: bool = False
    """The body does not match its checksum."""


class Parked(NamedTuple):
    """A record that the endpoint refused, set aside with the endpoint's words."""

    seq: int
    body: bytes
    reason: str
    words: str
    parked_us: int
    spans: int = 1


class Ledger(NamedTuple):
    """Independent counts of what became of accepted records, from one snapshot of the store."""

    last: int
    cursor: int
    exported: int
    pending: int
    parked: int
    oldest_pending_us: int | None


class Window(NamedTuple):
    gpt: str
    window: str
    sessions: int
    users: int


class TopUser(NamedTuple):
    gpt: str
    user: str
    events: int
    tokens: int


class Trimmed(NamedTuple):
    """What one step of trimming deleted: how many rows, and among them which sessions (16 bytes each)."""

    rows: int
    sessions: list[bytes]


class Reader(Protocol):
    """Reads a consistent store from one thread at a time; never blocks the writer."""

    def sessions(self, ids: Sequence[bytes]) -> dict[bytes, SessionInfo]: ...
    def session(self, session_id: bytes) -> SessionRow | None: ...
    def segments(self, after: int, limit: int) -> list[Segment]: ...
    def parked(self, limit: int, replay_only: bool = False) -> list[Parked]: ...
    def cursor(self, sink: str) -> int: ...
    def pin(self) -> None:
        """Fixes the snapshot that `ledger` will count."""

    def ledger(self, sink: str) -> Ledger: ...
    def windows(self, now_us: int, windows: dict[str, int]) -> list[Window]: ...
    def top_users(self, now_us: int, seconds: int, limit: int) -> list[TopUser]: ...
    def idle_candidates(self, before_us: int, limit: int) -> list[tuple[bytes, Idle]]: ...
    def bytes_used(self) -> int: ...
    def close(self) -> None: ...


class Store(Protocol):
    """The writing side. Every method runs in the writer thread, between `begin` and `commit`."""

    last: int
    generation: int

    def begin(self) -> None: ...
    def commit(self) -> None: ...
    def rollback(self) -> None: ...
    def write(self, appends: list[Append]) -> list[Record]:
        """Takes the appends, sets their outcomes and returns the new records in sequence order. The first of its
        transaction."""

    def write_alone(self, appends: list[Append]) -> list[Record]:
        """`begin`, `write` and `commit`, for a transaction that holds nothing else."""

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        """Journals that these sessions are idle, those among them that still are."""

    def advance(self, sink: str, cursor: int, exported: int, parked: Sequence[Parked]) -> None: ...
    def unpark(self, seqs: Sequence[int], sink: str) -> None:
        """These parked records have been exported after all."""

    def repark(self, parked: Sequence[Parked]) -> None: ...
    def checkpoint(self) -> tuple[int, bytes] | None: ...
    def save_checkpoint(self, seq: int, state: bytes) -> None: ...
    def trim(self, before_us: int, limit: int, sink: str) -> Trimmed: ...
    def forget(self, limit: int) -> int:
        """Drops up to `limit` keys past the horizon."""

    def reader(self) -> Reader: ...
    def close(self) -> None: ...
