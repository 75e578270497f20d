"""The line between the bridge and a backend of the journal: a second backend is written from this page.

A backend is two classes, `Store` and `Reader`, and functions beside them: `exists`, `open`, `open_reader`,
`mark_replay`, `backup`, `restore` and `carried_key`. `otel_bridge/journal/__init__.py` says what they do, and chooses
the backend by the scheme of the URL. Above this line there is no SQL and no file; below it nothing knows HTTP, metrics
or OTLP.

**Units.** Times are microseconds since the Unix epoch (`…_us`), sizes are bytes. A sequence number counts records
from 1; 0 stands for «none yet». Ids are 16 bytes. A dedup key has up to 32; one that starts with `c` goes on with its
event's time (6 bytes, milliseconds, big-endian): keys of events that come together stand together.

**Threads.** A `Store` belongs to the writer thread (`writer.py`), except `maintain`, `free_space` and `reader`, which
say otherwise. A `Reader` belongs to one thread at a time. Readers never block the writer, nor wait for it.

**One consumer.** Store and readers are opened for one consumer (delivery): the cursor, the count of what is exported,
the ledger and the parked records are its.

**Errors.** Everything raises `StoreError` or one of its kinds, nothing of the backend's own.

**A transaction.** `begin`, any of the writing methods, `commit`: all of it or nothing, durable when `commit` returns.
`write_alone` is all three for a group of appends and nothing else. Where one raises, the writer calls `rollback`.
A commit has three outcomes: it returns (taken), it raises (not taken), or it raises `OutcomeUnknown`: the connection
went while it was under way. Then the writer calls nothing but `resolve_outcome` until that has learnt it, and holds
the answers meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from otel_bridge.errors import OperatorError
from otel_bridge.ids import DAY_US
from otel_bridge.journal.append import Append
from otel_bridge.records import Idle, Record

DEDUP_HORIZON_US = DAY_US
"""How long a dedup key is remembered, in microseconds (the contract's 24 h). A store may keep it longer, and must then
not find it. Ids that are derived from a key are told apart by the same day (`ids.derived_uuid`)."""

SEGMENT_RECORDS = 2_000
"""Records of one commit that share one journal row, at the most."""


class StoreError(OperatorError):
    """The base of all that a store raises. As itself: something is wrong with this call, others may go well."""

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        self.advice = advice or message
        """For an operator whose start it stops: what is wrong and what to do."""

    def lines(self) -> list[str]:
        return [self.advice]


class StoreUnavailable(StoreError):
    """The store cannot take records now. Nothing was taken."""


class StoreFull(StoreUnavailable):
    """There is no room: on the disk, or within the journal's own limit. Nothing was taken."""


class OutcomeUnknown(StoreError):
    """Whether the commit was taken is not known. Only `Store.commit` and `Store.write_alone` raise it."""


class SessionInfo(NamedTuple):
    """What an event needs to know of its session."""

    gpt: str
    user: str


class SessionRow(NamedTuple):
    """A session's state, as `GET /api/sessions/{id}` shows it."""

    gpt: str
    user: str
    started_us: int
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
    """Records."""
    spans: int
    """Those of them that are exported: all but `Idle`."""
    arrived_us: int
    """When the first of them arrived."""
    body: bytes
    """`records.encode` of them."""
    damaged: bool = False
    """The body does not match its checksum."""


class Parked(NamedTuple):
    """A record that the endpoint refused, set aside with the endpoint's message."""

    seq: int
    body: bytes
    """`records.encode` of it; of a damaged segment, what is left of that."""
    reason: str
    message: str
    parked_us: int
    spans: int = 1


class Ledger(NamedTuple):
    """Independent counts of what became of accepted records, from one snapshot of the store."""

    last: int
    """The newest record's sequence number."""
    cursor: int
    exported: int
    """Spans delivered since the journal began."""
    pending: int
    """Spans of the records after the cursor, counted from those records."""
    parked: int
    """Spans of what is parked, counted from it."""
    oldest_pending_us: int | None
    """When the first segment after the cursor that has spans arrived."""


WentBackKind = Literal["backup", "older", "incomplete", "other"]
"""A backup that was put in the journal's place; an older state of it; one that was copied while it was served and lacks
what came last; another journal, or a new one where there was one."""


class WentBack(NamedTuple):
    """What a start has recognised: the journal is not the one, or not as new as the one, that was served here last. Its
    counters are lower, spans are delivered again with the same ids, and what it lacks is no longer known to it."""

    kind: WentBackKind
    last: int
    """The newest record's sequence number now."""
    before: int
    """The newest that is known to have been there. 0: none is known."""
    before_us: int
    """When that was, or the backup was made; 0: not known."""
    since_us: int
    """When it was recognised."""


class Identity(NamedTuple):
    """Which journal it is."""

    id: str
    """Random hexadecimal digits; empty for a journal of an earlier release that none has been opened by this one.
    A journal that has gone back goes on under another id."""
    went_back: WentBack | None
    """What was recognised last, at whichever start."""


class Backup(NamedTuple):
    """A backup: a whole journal as of one moment."""

    place: str
    size: int
    made_us: int
    last: int
    """The newest record's sequence number in it."""
    cursor: int
    """What is above it is delivered (again) after a restore."""
    key: bytes | None
    """The key of the user hash that goes with it; None: it has none."""
    release: str
    """That it was made by."""
    damaged: int = 0
    """Runs of records in it that were damaged in the journal already."""


class Window(NamedTuple):
    """Sessions and distinct users of a GPT within one window."""

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
    """What one step of trimming did: how many rows it deleted, and which sessions it was to delete and kept."""

    rows: int
    kept_sessions: list[bytes]


class Reader(Protocol):
    """Reads what is committed, in any process. Each call sees one state of the journal. Raises StoreError."""

    def sessions(self, ids: Sequence[bytes]) -> dict[bytes, SessionInfo]:
        """Those of these sessions that exist, however many are asked for."""

    def session(self, session_id: bytes) -> SessionRow | None:
        """One session with its totals; None where it does not exist (any more)."""

    def segments(self, after: int, limit: int) -> list[Segment]:
        """Segments after a sequence number, in order: `limit` of them, or fewer where they are large (one at least).
        Empty: there is nothing after it. A damaged one is told and not left out."""

    def parked(self, limit: int, replay_only: bool = False) -> list[Parked]:
        """Up to `limit` parked records in sequence order; `replay_only`: those that `mark_replay` has marked."""

    def replay_marks(self) -> dict[int, bool]:
        """Every parked record's sequence number, and whether `mark_replay` has marked it. A mark goes with the record
        when it is delivered, and from it when it is refused again."""

    def cursor(self) -> int:
        """The consumer's cursor: up to this record everything is exported or parked."""

    def begin_snapshot(self) -> None:
        """Fixes the state that the next `ledger` counts. Called in the writer thread, between two commits."""

    def ledger(self) -> Ledger:
        """Counts, on the snapshot that `begin_snapshot` fixed (or on the newest state), and ends that snapshot. Each
        number comes from rows of its own, so that what goes missing shows."""

    def windows(self, now_us: int, windows: dict[str, int]) -> list[Window]:
        """Sessions and users that were active in the last so many seconds (name → seconds): a session when it arrived,
        and at the time of each of its events, or at the event's arrival where that is earlier. A GPT without any may be
        missing."""

    def top_users(self, now_us: int, seconds: int, limit: int) -> list[TopUser]:
        """The `limit` users of each GPT with the most events in the last `seconds`, in whole hours of their arrival. An
        event that arrived more than a day late is not counted."""

    def old_sessions(self, before_us: int, limit: int) -> list[bytes]:
        """Of the next `limit` sessions, round and round, those that are not live and were last heard of before then."""

    def idle_candidates(self, before_us: int, limit: int) -> list[Idle]:
        """Sessions that are live and were last heard of before then, the oldest first, as the records that
        `Store.fall_idle` would journal: duration (seconds, from the first event to the last) and number of the events
        since it was last idle. What arrived more than a day late is counted, and has no part in the duration of a
        period that something of its time belongs to."""

    def identity(self) -> Identity:
        """Which journal it is, and what was recognised of it last."""

    def bytes_used(self) -> int:
        """Bytes that the journal takes, without what it has freed and will use again."""

    def close(self) -> None: ...


class Store(Protocol):
    """The writing side: one process holds it at a time. See the page's head for transactions and threads."""

    backend: str
    """The scheme of its URL; a label on `/metrics`."""
    place: str
    """Where the journal is, as log lines name it; no password in it."""
    last: int
    """Sequence number of the newest record: of the committed ones, and of those of the open transaction."""
    went_back: WentBack | None
    """What this opening has recognised. It says nothing that is not so: None also where nothing can be known."""
    warnings: Sequence[str]
    """What else it has seen, for the log."""

    def begin(self) -> None: ...

    def commit(self) -> None:
        """Durable when it returns (fsync, or the synchronous standby's). Raises StoreUnavailable, StoreFull (nothing
        was taken), OutcomeUnknown."""

    def rollback(self) -> None:
        """Undoes what is not committed, `last` too: also what a `write_alone` that raised has left. Raises nothing."""

    def resolve_outcome(self) -> bool | None:
        """What became of the commit that raised OutcomeUnknown.

        True: it was taken (`last` and the outcomes of its appends stand). False: it was not, and never will be
        (`last` is as before): the same group is committed again. None: not learnt yet; asked again after a pause.
        What it raises ends the process: the outcome cannot be learnt here, or the journal is not the one it was.
        """

    def write(self, appends: list[Append]) -> list[Record]:
        """Takes the appends and sets their outcomes; returns the new records, numbered without gaps in the order of the
        appends and within each. The first of its transaction.

        A key that was taken within `DEDUP_HORIZON_US` before its record's arrival is a Duplicate, or a Conflict where
        the digests differ; the same within one group, and across midnight or whatever else a backend keeps keys by.
        A clock that goes back makes nothing forgotten. A session with a digest and no key is compared with the
        session of its id: one that exists with that digest is a Duplicate, any other a Conflict.

        Adds the records to their sessions and to the usage of their hour (by arrival). A session is made by its
        record, or by its first event where that is missing; each event adds to its totals and makes it live.
        """

    def write_alone(self, appends: list[Append]) -> list[Record]:
        """`begin`, `write` and `commit`, for a transaction that holds nothing else: the hot path."""

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        """Journals that these sessions are idle: those of them that are live and were not heard of since `before_us`.
        Returns what it has journaled."""

    def advance(self, cursor: int, exported: int, parked: Sequence[Parked]) -> None:
        """Everything up to `cursor` is exported (so many spans) or parked. A report that comes twice counts once: the
        cursor never goes back, and what does not move it adds nothing."""

    def unpark(self, seqs: Sequence[int]) -> None:
        """These parked records have been exported after all; those that are not parked are passed over."""

    def repark(self, parked: Sequence[Parked]) -> None:
        """These records were sent again and refused: their new messages, and no longer marked for replay."""

    def snapshot(self) -> tuple[int, bytes] | None:
        """The newest snapshot of the metrics, with the sequence number that it stands at."""

    def save_snapshot(self, seq: int, state: bytes) -> None:
        """Replaces the snapshot of the metrics."""

    def trim(self, before_us: int, limit: int, sessions: Sequence[bytes]) -> Trimmed:
        """Deletes up to `limit` rows of each table that arrived before then: segments at or below both the cursor and
        the snapshot, usage, and those of these sessions that are still as `Reader.old_sessions` found them. A step of
        it: short, for answers wait."""

    def forget(self, limit: int) -> int:
        """Deletes up to `limit` dedup keys past the horizon; returns how many. 0: there are none left."""

    def maintain(self, max_bytes: int, between_commits: Callable[[Callable[[], None]], None]) -> None:
        """What the backend needs done about once a second. Called in the housekeeping thread; what must not run beside
        a commit it hands to `between_commits`, which runs it in the writer thread and returns after it.
        `max_bytes`: what the journal may take. Raises StoreError."""

    def free_space(self) -> int | None:
        """Bytes that are free where the journal is: 0 where they cannot be told because the place is gone, None where
        the backend does not know such a number. Any thread, and cheap: it is asked once a commit."""

    def reader(self) -> Reader:
        """A reader of the same journal, for the same consumer. Any thread; who asks for it closes it."""

    def close(self) -> None:
        """Gives the journal up to the next process. Called after its readers are closed, by any thread."""
