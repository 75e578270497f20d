"""The line between the bridge and a backend of the journal: a second backend is written from this page.

A backend is two classes, `Store` and `Reader`, and functions beside them: `exists`, `open`, `open_reader`, `readers`,
`mark_replay`, `erasing` (a page of its own: `erasure.py`), `backup`, `restore` and `carried_key`.
`otel_bridge/journal/__init__.py` says what they do, and chooses the backend by the scheme of the URL. Above this line
there is no SQL and no file; below it nothing knows HTTP, metrics or OTLP.

**Units.** Times are microseconds since the Unix epoch (`…_us`), sizes are bytes. A sequence number counts records
from 1; 0 stands for «none yet». Ids are 16 bytes. A dedup key has up to 32; one that starts with `c` goes on with its
event's time (6 bytes, milliseconds, big-endian): keys of events that come together stand together.

**Threads.** A `Store` belongs to the writer thread (`writer.py`), except `maintain`, `keep_in_place`, `free_space`,
`displaced` and `reader`, which say otherwise. A `Reader` belongs to one thread at a time. Readers never block the
writer, nor wait for it.

**One consumer.** Store and readers are opened for one consumer (delivery): the cursor, the count of what is exported,
the ledger and the parked records are its.

**Errors.** Everything raises `StoreError` or one of its kinds, nothing of the backend's own.

**A transaction.** `begin`, any of the writing methods, `commit`: all of it or nothing, durable when `commit` returns.
`write_alone` is all three for a group of appends and nothing else. Where one raises, the writer calls `rollback`.
A commit has three outcomes: it returns (taken), it raises (not taken, and never will be), or it raises
`OutcomeUnknown`: the connection went while it was under way, or the disk failed to say that it has it. Then the writer
calls nothing but `resolve_outcome` until that has learnt it, and holds the answers meanwhile. Where it cannot be learnt
by this process, that raises, and so does whatever raises `StoreLost`: the process ends, moves nothing any more, and
what the next start finds in the store is what was taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol

from otel_bridge.errors import OperatorError
from otel_bridge.ids import DAY_US
from otel_bridge.journal.append import Append
from otel_bridge.journal.parts import Parts
from otel_bridge.records import Event, Idle, Record

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


class DamagedPart(StrEnum):
    """What of a journal can be damaged, as far as who meets it knows."""

    SEGMENTS = "segments"
    """The records, where they cannot be stepped over: the end of them."""
    OLD = "old records"
    """Records that are delivered or parked, and past retention: they stay, and no promise is at stake."""
    SESSIONS = "sessions"
    KEYS = "keys"
    USAGE = "usage"
    CURSOR = "cursor"
    PARKED = "parked"
    SNAPSHOT = "snapshot"
    LOOKED_FOR = "records that are looked for"
    """Those of an event that somebody rates; whoever else needs them meets the damage, too."""
    ANY = "any"
    """One of those that a commit writes."""


class StoreDamaged(StoreUnavailable):
    """What this call needs of the journal is damaged. Calls that need other parts may go well. Nothing was taken."""

    def __init__(self, message: str, part: DamagedPart, advice: str | None = None) -> None:
        super().__init__(message, advice)
        self.part = part


class OutcomeUnknown(StoreError):
    """Whether the commit was taken is not known. `Store.commit`, `Store.write_alone`, `mark_replay` raise it."""


class StoreLost(StoreError):
    """What was written may not stay where it was: nothing more is to be built on it. Ends the process."""


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
    parts: int = 1
    """Traces that its events are in."""
    unmeasured: tuple[int, int, int] = (0, 0, 0)
    """Of how many events nobody measured latency, tokens in, tokens out."""


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
    """The body does not match its checksum; or it cannot be read at all, then it is empty. What cannot be read in one
    piece is one segment, whatever it was."""
    exact: bool = True
    """Whether `spans` is known: else it is the most that it can be."""


class Parked(NamedTuple):
    """A record that the endpoint refused, set aside with the endpoint's message."""

    seq: int
    body: bytes
    """`records.encode` of it; of a damaged segment, what is left of that, which may be nothing."""
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
    unreadable: int = 0
    """Spans of `pending` that cannot be read, and will be parked as damaged."""


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


NONE_OF_THEIR_OWN: Mapping[str, int] = MappingProxyType({})


class Trimmed(NamedTuple):
    """What one step of trimming did: how many rows it deleted, and which sessions it was to delete and kept."""

    rows: int
    kept_sessions: list[bytes]


class Reader(Protocol):
    """Reads what is committed, in any process. Each call sees one state of the journal. Totals of sessions and usage
    may be about a second old, but not in `session`. Raises StoreError."""

    def sessions(self, ids: Sequence[bytes]) -> dict[bytes, SessionInfo]:
        """Those of these sessions that exist, however many are asked for."""

    def session(self, session_id: bytes) -> SessionRow | None:
        """One session with its totals; None where it does not exist (any more)."""

    def arrivals(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Those of these dedup keys that are remembered, newest first as far as a backend can tell, and when the record
        of each arrived. Those past the horizon may be told or not."""

    def event_near(self, event_id: bytes, arrived_us: int, gpt: str | None = None) -> Event | None:
        """The event with this id (`gpt`: of this GPT) among the records that arrived about then; None where there is
        none, or none within the bounds of a search: a backend bounds how far it looks, in records and in time, and
        finds an event whose arrival is right. It need not keep an index for it. Raises StoreDamaged where it was not
        found and records about it cannot be read."""

    def segments(self, after: int, limit: int) -> list[Segment]:
        """Segments after a sequence number, in order: `limit` of them, or fewer where they are large (one at least).
        Empty: there is nothing after it. A damaged one is told and not left out: sequence numbers have no gaps, so what
        is missing between two that can be read is one damaged segment. Raises StoreDamaged where nothing after it can
        be read. Records that are missing without any damage are passed over: the ledger shows them."""

    def check(self) -> None:
        """Raises StoreDamaged where the journal could not be opened again as it is: the newest record, the cursor or
        the snapshot cannot be read. Asked about once a second."""

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

    def old_sessions(self, before_us: int, limit: int, own: Mapping[str, int] = NONE_OF_THEIR_OWN) -> list[bytes]:
        """Of the next `limit` sessions, round and round, those that are not live and were last heard of before then;
        `own`: GPTs with a later «then» of their own."""

    def sessions_ahead(self, now_us: int, start: bytes, limit: int) -> tuple[list[bytes], bytes | None]:
        """Of the next `limit` sessions behind that id, those that say they were last heard of later than now; and the
        id to go on behind, None at the end."""

    def idle_candidates(self, before_us: int, limit: int) -> list[Idle]:
        """Sessions that are live and were last heard of before then, the oldest first, as the records that
        `Store.fall_idle` would journal: duration (seconds, from the first event to the last) and number of the events
        since it was last idle. What arrived more than a day late is counted, and has no part in the duration of a
        period that something of its time belongs to."""

    def identity(self) -> Identity:
        """Which journal it is, and what was recognised of it last."""

    def bytes_used(self) -> int:
        """Bytes that the journal takes, without what it has freed and will use again."""

    def bytes_of_segments(self) -> tuple[int, int]:
        """Bytes of the segments behind the cursor, and of those that are exported: only these can make room. What else
        is used holds sessions, usage, dedup keys and what is parked. It reads through all segments."""

    def close(self) -> None: ...


class Store(Protocol):
    """The writing side: one process holds it at a time. See the page's head for transactions and threads."""

    backend: str
    """The scheme of its URL; a label on `/metrics`."""
    last: int
    """Sequence number of the newest record: of the committed ones, and of those of the open transaction."""
    parts: Parts
    """Decides the parts of what this store journals."""

    @property
    def place(self) -> str:
        """Where the journal is, as log lines name it; no password in it."""

    @property
    def url(self) -> str:
        """What another process opens this very journal by, whatever the configured name leads to meanwhile. It changes
        where a replica goes on in another lane."""

    @property
    def went_back(self) -> WentBack | None:
        """What this opening has recognised. It says nothing that is not so: None also where nothing can be known."""

    @property
    def warnings(self) -> Sequence[str]:
        """What else it has seen, for the log."""

    def begin_service(self) -> None:
        """From now on the journal says that it is served: once nothing can refuse the start any more, and before the
        first record. What was open and did not begin leaves the journal as it was. Raises StoreError."""

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
        Keys that are held (`hold_keys`) are known for longer, and a clock that goes back makes nothing forgotten. A
        session with a digest and no key is compared with the session of its id: one that exists with that digest is a
        Duplicate, any other a Conflict.

        Adds the records to their sessions and to the usage of their hour (by arrival). A session is made by its
        record, or by its first event where that is missing; each event adds to its totals and makes it live.

        Sets the part of each new event (`parts.py`) before it is encoded, keeps the fill of each session, and the part
        of each key: a Duplicate has that of the first.

        Ratings add to no session and to no usage.
        """

    def write_alone(self, appends: list[Append]) -> list[Record]:
        """`begin`, `write` and `commit`, for a transaction that holds nothing else: the hot path."""

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        """Journals that these sessions are idle: those of them that are live and were not heard of since `before_us`.
        Returns what it has journaled."""

    def end(self, session: bytes, now_us: int) -> list[Record]:
        """Journals that this session is idle as of now, whenever it was heard of last: as `fall_idle` does, what it
        tells being read in this transaction. Empty where it is not live, or does not exist."""

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

    def trim(
        self,
        before_us: int,
        now_us: int,
        limit: int,
        sessions: Sequence[bytes],
        make_room: bool = False,
        own: Mapping[str, int] = NONE_OF_THEIR_OWN,
    ) -> Trimmed:
        """Deletes up to `limit` rows of each table that arrived before then: segments at or below both the cursor and
        the snapshot, usage, and those of these sessions that are still as `Reader.old_sessions` found them. A step of
        it: short, for answers wait. What says that it arrived later than now arrived before what is behind it.
        `make_room`: those segments go whatever their age; nothing else does. Where it meets damage it raises
        StoreDamaged, and the next step goes around it.

        `own`: GPTs with a later «then» of their own. Their sessions and usage go by it. Segments mix GPTs: in one that
        others need yet, their records are blanked (`blanking.py`), in up to `limit` segments a GPT; these count as rows
        when they have been looked at."""

    def forget(self, limit: int) -> int:
        """Deletes up to `limit` dedup keys past the horizon; returns how many. 0: there are none left."""

    def hold_keys(self, since_us: int | None) -> None:
        """Keys that arrived since then are known whatever the horizon says, for the clock may have stepped over it;
        None: the horizon alone says. Known until the store is closed."""

    def mend(self, now_us: int, sessions: Sequence[bytes], limit: int) -> int:
        """What says that it arrived later than now (a clock ran ahead then) arrived now at the latest: these sessions,
        and up to `limit` rows of usage; their number. From then on keys are forgotten a horizon after now, too."""

    def rewrite_newest(self) -> None:
        """Writes the newest record again, where it is damaged on the disk and the store still has it in memory. In a
        transaction. Raises StoreDamaged where it has not."""

    def maintain(self, max_bytes: int, between_commits: Callable[[Callable[[], None]], None]) -> None:
        """What the backend needs done about once a second. Called in the housekeeping thread; what must not run beside
        a commit it hands to `between_commits`, which runs it in the writer thread and returns after it.
        `max_bytes`: what the journal may take. Raises StoreError, and what it hands over StoreLost too."""

    @property
    def displaced(self) -> bool:
        """Whether what is open was found not to be what a start would find in its place. No record is taken then:
        `begin` and `write_alone` raise StoreUnavailable, after they have looked again. Any thread."""

    def keep_in_place(self) -> None:
        """Looks whether what is open is in its place, and puts what it holds in safety where it is not. Called about
        once a second in the housekeeping thread, also while nothing can be written. Raises StoreUnavailable where it is
        displaced."""

    def free_space(self) -> int | None:
        """Bytes that are free where the journal is; None where the backend does not know such a number, or cannot tell
        it now. Any thread, and cheap: it is asked once a commit."""

    def reader(self) -> Reader:
        """A reader of the same journal, for the same consumer. Any thread; who asks for it closes it."""

    def close(self) -> None:
        """Gives the journal up to the next process: as it is, where an outcome was not learnt or the store is lost.
        Called after its readers are closed, by any thread."""

    @property
    def replicas(self) -> Replicas | None:
        """What this store shares with others; None where it is the journal's only one. Any thread."""


class Total(NamedTuple):
    """The ledger over all lanes, from the snapshot that a page is made from."""

    exported: int
    pending: int
    parked: int
    oldest_pending_us: int | None
    unreadable: int = 0


class Lane(NamedTuple):
    """A replica's log, as an operator sees it."""

    lane: int
    name: str | None
    """Host and process of who appends to it; None: nobody."""
    lease_seconds: float
    """Until its lease is over; negative: since then."""
    last: int
    cursor: int
    pending: int


Position = dict[int, int]
"""Up to where a reader of all lanes has read each: lane → sequence number."""


class Steward(Protocol):
    """The one replica that counts for all. One thread at a time; a connection of its own. Where it is not the steward
    any more, or what it has folded is not in the journal any more, each call raises StoreLost once (nothing of that
    call was saved): what was folded is of no use then, and `hold` may win the lease again later."""

    lease_seconds: float
    """How long the lease is held from a call of `hold` or `save` on that succeeds."""

    def hold(self) -> bool:
        """Claims the lease, or renews it: whether this replica is the steward now. Called a few times a lease. Raises
        StoreUnavailable."""

    def load(self) -> tuple[Position, bytes | None]:
        """The newest shared snapshot, and what it has of each lane. None: there is none yet. Whoever asks need not be
        the steward."""

    def follow(self, position: Position, fold: Callable[[list[Segment]], None]) -> bool:
        """Hands `fold` segments that are not in `position`, in order within each lane, and moves `position`: as much as
        takes no longer than a part of the lease, of each lane in turn. Whether there was more. Records that have
        vanished are one damaged segment, so that the ledger shows them."""

    def save(
        self,
        position: Position,
        fold: Callable[[list[Segment]], None],
        state: Callable[[dict[int, bytes]], bytes],
        count: bool,
    ) -> Total | None:
        """One state of the journal, folded, counted and saved: hands `fold` all that is not in `position` yet, as
        `follow` does, then saves what `state` makes of it; `state` is given what each lane's replica has saved of
        itself (`Store.save_snapshot`). `count`: returns the ledger of that same state, which costs with the backlog.
        Durable when it returns: a page shows nothing that the next steward would not have. Raises StoreUnavailable;
        `position` then is as far as `fold` was called."""

    def close(self) -> None:
        """Gives the lease up, so that another has it at once. `hold` may be called again."""


class Replicas(Protocol):
    """What replicas share. Any thread."""

    @property
    def lane(self) -> int:
        """The lane that this store appends to: it changes where the replica was taken for dead."""

    def steward(self) -> Steward:
        """A contender for the steward's lease. Who asks for it closes it."""

    def adopt(self) -> Store | None:
        """The lane of a replica that is gone and has left something to deliver: a store of its own, which takes no
        records (`advance`, `repark`, `unpark` and its readers work). None: there is none. Closed, it gives the lane
        back. Raises StoreUnavailable."""

    def lanes(self) -> list[Lane]:
        """Every lane. Raises StoreUnavailable."""

    def claim_key(self, fingerprint: bytes) -> bool:
        """Whether the users of this journal are hashed by the key of this fingerprint; the first one to ask decides.
        Raises StoreUnavailable."""
