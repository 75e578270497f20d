"""The steward: the one replica that folds every lane, and what it saves of that.

    contender ── `hold`: the lease is over ──▶ steward ── `hold`, `save` every few seconds ──▶ steward
        ▲                                         │ the row is another's, or the journal went back: StoreLost
        └─────────────────────────────────────────┘

The lease is a row, by the server's clock. A save locks it first and lengthens it last: whoever wants the lease
meanwhile passes a locked row over, so a long save loses nothing. One that is halted within a save would hold the lock
for ever: the server ends a transaction in which nothing comes for `IDLE_SECONDS`.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator

import psycopg
from psycopg.pq import TransactionStatus

from otel_bridge.journal.postgres import balance
from otel_bridge.journal.postgres.arrays import int4_array, int8_array
from otel_bridge.journal.postgres.connection import CANCELLED, Connection, connect, store_error
from otel_bridge.journal.postgres.lane import is_gone, process_name
from otel_bridge.journal.postgres.patience import Patience
from otel_bridge.journal.postgres.schema import base
from otel_bridge.journal.postgres.segments import Segments
from otel_bridge.journal.rows import READ_BYTES
from otel_bridge.journal.store import (
    DamagedPart,
    Lane,
    Position,
    Segment,
    StoreLost,
    StoreUnavailable,
    Total,
)

log = logging.getLogger(__name__)

LEASE_SECONDS = 6.0
IDLE_SECONDS = 5
"""Between two statements of a save."""
PATIENCE_SECONDS = 30.0
"""For which an answer is waited for: a ledger costs with the backlog."""
READ_SEGMENTS = 500
"""Of one lane that are read at once: `READ_BYTES` bounds them, too."""

_LEASE = f"clock_timestamp() + interval '{LEASE_SECONDS} seconds'"
_MINE = "owner = %(owner)s AND epoch = %(epoch)s"
_RENEW = f"""WITH mine AS (SELECT one FROM otel_bridge.steward WHERE {_MINE} FOR UPDATE)
    UPDATE otel_bridge.steward SET lease_until = {_LEASE} FROM mine WHERE steward.one = mine.one"""
_CLAIM = f"""WITH free AS (SELECT one FROM otel_bridge.steward
        WHERE lease_until < clock_timestamp() OR owner = %(owner)s OR owner = %(gone)s FOR UPDATE SKIP LOCKED)
    UPDATE otel_bridge.steward SET owner = %(owner)s, name = %(name)s, epoch = epoch + 1, lease_until = {_LEASE}
    FROM free WHERE steward.one = free.one RETURNING epoch"""
_RELEASE = f"UPDATE otel_bridge.steward SET owner = NULL, name = NULL, lease_until = '-infinity' WHERE {_MINE}"
_SAVE = f"UPDATE otel_bridge.steward SET body = %(body)b, lease_until = {_LEASE} WHERE {_MINE}"
_FOLDED = """INSERT INTO otel_bridge.folded AS kept (lane, seq) SELECT * FROM unnest(%b::int4[], %b::int8[])
    ON CONFLICT (lane) DO UPDATE SET seq = excluded.seq WHERE kept.seq <> excluded.seq"""
_PENDING = """coalesce((SELECT sum(spans) FROM otel_bridge.segment WHERE segment.last > coalesce(cursor,
    lane.lane::bigint << 40) AND segment.last < (lane.lane::bigint + 1) << 40), 0)::bigint"""
_LANES = f"""SELECT lane.lane, lane.name,
    CASE WHEN lease_until = '-infinity' THEN 0 ELSE extract(epoch FROM lease_until - clock_timestamp()) END::float8,
    lane.last, coalesce(cursor, lane.lane::bigint << 40), {_PENDING}, lane.owner IS NULL
    FROM otel_bridge.lane LEFT JOIN otel_bridge.sink ON sink.name = %s AND sink.lane = lane.lane ORDER BY lane.lane"""


class PostgresSteward:
    """One thread at a time."""

    lease_seconds = LEASE_SECONDS

    def __init__(self, url: str, consumer: str) -> None:
        self._url = url
        self._consumer = consumer
        self._owner = uuid.uuid4()
        self._epoch: int | None = None
        """Under which the lease is this one's, as far as it knows."""
        self._connection: Connection | None = None
        self._followed = -1
        """The lane that was read last."""
        self._unsure = False
        """Whether a commit may not be on the standby that it waited for."""

    # --- the lease ------------------------------------------------------------------------------------------------

    def hold(self) -> bool:
        with self._server() as db:
            if self._epoch is not None:
                if not db.execute(_RENEW, self._me).rowcount:
                    self._lose("another replica is the steward now")
                return True
            name = process_name()
            held = db.execute("SELECT owner, name FROM otel_bridge.steward WHERE owner IS NOT NULL").fetchone()
            gone = held[0] if held is not None and is_gone(held[1], name) else None
            claimed = db.execute(_CLAIM, {"owner": self._owner, "name": name, "gone": gone}).fetchone()
            if claimed is None:
                return False
            self._epoch = claimed[0]
            return True

    @property
    def _me(self) -> dict[str, object]:
        return {"owner": self._owner, "epoch": self._epoch}

    def _lose(self, why: str) -> None:
        """Raises StoreLost."""
        self._epoch = None
        raise StoreLost(why)

    def close(self) -> None:
        db, self._connection = self._connection, None
        if db is not None:
            with contextlib.suppress(psycopg.Error):
                if self._epoch is not None:
                    db.execute(_RELEASE, self._me)
            db.close()
        self._epoch = None

    # --- what is folded ---------------------------------------------------------------------------------------------

    def load(self) -> tuple[Position, bytes | None]:
        with self._server(DamagedPart.SNAPSHOT) as db, _snapshot(db):
            found = db.execute("SELECT body FROM otel_bridge.steward", binary=True).fetchone()
            position = dict(db.execute("SELECT lane, seq FROM otel_bridge.folded").fetchall())
        return position, found[0] if found else None

    def follow(self, position: Position, fold: Callable[[list[Segment]], None]) -> bool:
        with self._server(DamagedPart.SEGMENTS) as db:
            behind = self._behind(db, position)
            read = 0
            # Round and round: the lane behind that of the last call comes first.
            for lane in sorted(behind, key=lambda lane: (lane <= self._followed, lane)):
                size = _read(db, lane, position, fold)
                self._followed = lane
                if position.get(lane, base(lane)) >= behind[lane] or not size:
                    del behind[lane]
                read += size
                if read >= READ_BYTES:
                    break  # the lease is to be renewed meanwhile, however many lanes there are
        return bool(behind)

    def save(
        self,
        position: Position,
        fold: Callable[[list[Segment]], None],
        state: Callable[[dict[int, bytes]], bytes],
        count: bool,
    ) -> Total | None:
        self._unsure = False
        with self._server(DamagedPart.SEGMENTS) as db:
            try:
                total = self._save(db, position, fold, state, count)
            except psycopg.errors.SerializationFailure:
                self._lose("another replica is the steward now")
        if self._unsure:
            raise StoreUnavailable("the steward's snapshot may not be on the standby that it waited for")
        return total

    def _save(
        self,
        db: Connection,
        position: Position,
        fold: Callable[[list[Segment]], None],
        state: Callable[[dict[int, bytes]], bytes],
        count: bool,
    ) -> Total | None:
        with _snapshot(db):
            # First of all: the state that all is read in is that of this moment, and nobody else saves from here on.
            if not db.execute(f"SELECT 1 FROM otel_bridge.steward WHERE {_MINE} FOR UPDATE", self._me).fetchall():
                self._lose("another replica is the steward now")
            for lane, last in self._behind(db, position).items():
                while position.get(lane, base(lane)) < last and _read(db, lane, position, fold):
                    pass
            total = self._count(db) if count else None
            saved = db.execute("SELECT lane, body FROM otel_bridge.snapshot", binary=True).fetchall()
            db.execute(_SAVE, {**self._me, "body": state(dict(saved))})
            lanes = sorted(position)
            db.execute(_FOLDED, (int4_array(lanes), int8_array([position[lane] for lane in lanes])))
        return total

    def _behind(self, db: Connection, position: Position) -> dict[int, int]:
        """Lanes that have what is not in `position`, and their newest records. Raises StoreLost."""
        behind = {}
        for lane, last in db.execute("SELECT lane, last FROM otel_bridge.lane ORDER BY lane").fetchall():
            folded = position.get(lane, base(lane))
            if last > folded:
                behind[lane] = last
            elif last < folded:
                # What is folded is gone, and new records would come under its numbers.
                self._lose(f"the journal went back: lane {lane} was folded up to {folded}, and ends with {last}")
        return behind

    def _count(self, db: Connection) -> Total:
        found = balance.ledger(db, self._consumer, lane=None)
        return Total(found.exported, found.pending, found.parked, found.oldest_pending_us, found.unreadable)

    # --- the connection ---------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _server(self, part: DamagedPart = DamagedPart.ANY) -> Iterator[Connection]:
        """The connection, made anew where it was lost, and left outside of any transaction."""
        try:
            if self._connection is None:
                self._connection = connect(self._url, Patience(PATIENCE_SECONDS))
                self._connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
                self._connection.add_notice_handler(self._on_notice)
            yield self._connection
        except psycopg.Error as error:
            found = store_error(error, part)
            if self._connection is not None and (self._connection.closed or _is_read_only(error)):
                self._drop()
                found = StoreUnavailable(str(found), found.advice)
            raise found from error
        except BaseException:
            # A fold or a state that failed within a save: what is half done must not go on with the next call.
            if self._connection is not None and self._connection.info.transaction_status != TransactionStatus.IDLE:
                self._drop()
            raise

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.sqlstate == CANCELLED:  # a COMMIT whose wait for its standby was cancelled
            self._unsure = True


def _is_read_only(error: psycopg.Error) -> bool:
    """What was the primary is a standby: the next connection looks for the primary."""
    return isinstance(error, psycopg.errors.ReadOnlySqlTransaction)


@contextlib.contextmanager
def _snapshot(db: Connection) -> Iterator[None]:
    """A transaction that sees one state of the journal."""
    with db.transaction():
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield


def _read(db: Connection, lane: int, position: Position, fold: Callable[[list[Segment]], None]) -> int:
    """Hands on the next segments of a lane; returns their size (0: there were none)."""
    at = position.get(lane, base(lane))
    whole: list[Segment] = []
    for segment in Segments(db).read(at, READ_SEGMENTS):
        before = segment.last - segment.size
        if before > at:
            # Records that have vanished were accepted: the ledger is to show that they are in no other place.
            missing = before - at
            whole.append(Segment(before, missing, missing, segment.arrived_us, b"", damaged=True, exact=False))
        whole.append(segment)
        at = segment.last
    if whole:
        fold(whole)
        position[lane] = at
    return sum(len(segment.body) + 1 for segment in whole)


def lanes(db: Connection, consumer: str) -> list[Lane]:
    """As `Replicas.lanes`."""
    return [
        Lane(lane, None if is_free else name, seconds, last, cursor, pending)
        for lane, name, seconds, last, cursor, pending, is_free in db.execute(_LANES, (consumer,)).fetchall()
    ]


def claim_key(db: Connection, fingerprint: bytes) -> bool:
    """As `Replicas.claim_key`."""
    asked = "SELECT key_fingerprint FROM otel_bridge.journal"
    found = db.execute(asked, binary=True).fetchone()
    if found is not None and found[0] is None:
        db.execute("UPDATE otel_bridge.journal SET key_fingerprint = %b WHERE key_fingerprint IS NULL", (fingerprint,))
        found = db.execute(asked, binary=True).fetchone()
    return found is not None and found[0] == fingerprint
