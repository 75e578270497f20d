"""A replica's writing side: what it accepts goes into its lane."""

from __future__ import annotations

import logging
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import psycopg

from otel_bridge.clock import CLOCK
from otel_bridge.errors import StartRefused
from otel_bridge.journal.append import Append
from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres import (
    ahead,
    consumer,
    generations,
    grouping,
    identity,
    idle,
    lane,
    migrations,
    schema,
    statements,
    totals,
)
from otel_bridge.journal.postgres.connection import (
    LANE,
    Connection,
    connect,
    is_lost,
    place,
    split,
    store_error,
    translated,
    words,
)
from otel_bridge.journal.postgres.generations import Generations
from otel_bridge.journal.postgres.lane import Held
from otel_bridge.journal.postgres.prepared import Prepared
from otel_bridge.journal.postgres.reading import PostgresReader
from otel_bridge.journal.postgres.sorting import Sorted, sort_out
from otel_bridge.journal.postgres.statements import Row
from otel_bridge.journal.postgres.trimming import Trimming
from otel_bridge.journal.store import (
    SEGMENT_RECORDS,
    DamagedPart,
    OutcomeUnknown,
    Parked,
    Replicas,
    StoreDamaged,
    StoreError,
    StoreLost,
    StoreUnavailable,
    Trimmed,
    WentBack,
)
from otel_bridge.records import Idle, Record, Session, encode

log = logging.getLogger(__name__)

LOCK_SECONDS = 5
"""For which the question what became of a commit waits for that commit, before it is asked anew."""
RETRY_SECONDS = 0.5
"""After a server could not be reached, before it is tried again."""
ATTEMPTS = 5
"""Of a commit that meets a change of turn, or keys that others are taking."""


class _Fenced(Exception):
    """The lane is another's. What was under way was not taken."""


class _Again(Exception):
    """The lane is still this replica's, and the turn has changed. What was under way was not taken."""


class PostgresStore:
    """One lane's writer. Belongs to the writer thread, as `Store` says."""

    backend = "postgresql"
    displaced = False
    went_back: WentBack | None = None
    warnings: Sequence[str] = ()

    def __init__(self, url: str, consumer_name: str, orphan: tuple[Connection, Held, uuid.UUID] | None = None) -> None:
        """Claims a lane, or makes one. `orphan`: drains this one. Raises StartRefused."""
        self._dsn = split(url)[0]
        self._consumer = consumer_name
        self.parts = Parts()
        self.generations = Generations()
        self._trimming = Trimming(consumer_name, self.parts)
        self._drains = orphan is not None
        self._uncertain: tuple[Held, Held] | None = None
        """The row before and after the commit whose outcome is not known; the same twice where it is known not to be
        taken."""
        self._cancelled = False
        self._closed = False
        self._retry_at, self._why_away = 0.0, ""
        self._renew_at = 0.0
        self._counting: PostgresReader | None = None
        """Of the housekeeping thread: every replica adds to the totals, so that they lack no more than a second."""
        if orphan is not None:
            self._db, self._held, self._owner = orphan
            self._watch(self._db)
            self._take_on(self._held)
        else:
            self._owner = uuid.uuid4()
            try:
                self._db = self._connect()
            except psycopg.Error as error:
                raise StartRefused(store_error(error).advice) from error
            try:
                unfit = migrations.unfit(migrations.found(self._db))
                if unfit is not None:
                    raise StartRefused(f"journal {place(url)}: {unfit}.")
                self._take_lane()
                self._take_on(self._held)
                if self.lane == 0 and self._held.epoch == 1:
                    # The first to open it: where a backup was put there, it says so.
                    self.went_back = identity.identity(self._db).went_back
            except BaseException as error:
                self._db.close()
                if isinstance(error, psycopg.Error):
                    raise StartRefused(store_error(error).advice) from error
                raise
        try:
            reader = self.reader()
            try:
                reader.check()
                if not self._drains:
                    reader.catch_up()  # how far sessions have come is read from what is counted
            finally:
                reader.close()
        except StoreError as error:
            self.close()
            raise StartRefused(error.advice) from error

    # --- the lane -------------------------------------------------------------------------------------------------

    def _connect(self) -> Connection:
        db = connect(self._dsn)
        self._watch(db)
        return db

    def _watch(self, db: Connection) -> None:
        self._prepared = Prepared(db)
        db.add_notice_handler(self._on_notice)

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        # A COMMIT whose wait for its standby was cancelled «succeeds» with a warning: it may be lost in a failover.
        if notice.sqlstate == "01000":
            self._cancelled = True

    def _take_lane(self) -> None:
        held = lane.claim(self._db, self._owner)
        assert held is not None
        self._held = held

    def _take_on(self, held: Held) -> None:
        """Goes on from the row as it is."""
        self._held = held
        self.last, self._total = held.last, held.total
        if self.generations.now != held.turn or not self.generations.now.turn:
            self.generations.load(self._db, held.turn)

    @property
    def lane(self) -> int:
        return self._held.lane

    @property
    def place(self) -> str:
        return f"{place(self._dsn)}, lane {self.lane}"

    @property
    def url(self) -> str:
        return f"{self._dsn}{LANE}{self.lane}"

    @property
    def replicas(self) -> Replicas:
        from otel_bridge.journal.postgres.replicas import PostgresReplicas  # it makes stores

        return PostgresReplicas(self._dsn, self._consumer, lambda: self.lane)

    def _again(self) -> None:
        """Finds out why the row is not as this replica left it, and takes on what it may. Raises StoreLost, psycopg
        errors."""
        found = lane.look(self._db, self.lane)
        if found is None or found[0] != self._owner:
            self._fence()
            return
        now = found[1]
        if now.commits < self._held.commits or now.last < self._held.last:
            self._refuse_gone_back(now)
        if now.commits != self._held.commits:
            raise StoreLost(f"lane {self.lane} was written by another process that says it is this one")
        if now.turn == self._held.turn and now.epoch == self._held.epoch:
            return  # it was not the row
        self._take_on(now)

    def _fence(self) -> None:
        """Another has taken this lane, for this replica was silent for long: it goes on with another lane."""
        if self._drains:
            raise StoreLost(f"lane {self.lane} is drained by another replica now")
        before = self.lane
        held = lane.claim(self._db, self._owner)
        assert held is not None
        log.warning("lane %d was taken over while this replica was silent: it goes on in lane %d", before, held.lane)
        self.parts.undo()
        self._take_on(held)

    def _refuse_gone_back(self, now: Held) -> NoReturn:
        base = schema.base(self.lane)
        found = WentBack("older", now.last - base, self._held.last - base, 0, CLOCK.now_us())
        with suppress(psycopg.Error):
            # Whoever starts next would not see it: the journal says it.
            self._db.execute("UPDATE otel_bridge.journal SET went_back = %s", (identity.encoded(found),))
        raise StoreLost(
            f"the journal went back: lane {self.lane} had {found.before} records, and has {found.last} now. A standby "
            "that was behind was promoted, or a backup was put in place: records that were acknowledged are gone. "
            "Nothing more is taken by this process; see the runbook of a journal that went back"
        )

    @contextmanager
    def _server(self, part: DamagedPart = DamagedPart.ANY) -> Iterator[None]:
        """Whatever is asked of the server: its errors as the store's."""
        try:
            with translated(part):
                yield
        except StoreError as error:
            if isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
                self._db.close()  # it is a standby now: the next connection looks for the primary
            raise

    # --- transactions ---------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        """A connection that is open, and a row that is as it was left. Raises StoreUnavailable, StoreLost."""
        if not self._db.closed:
            return
        if time.monotonic() < self._retry_at:
            raise StoreUnavailable(self._why_away)
        try:
            with self._server():
                self._db.close()
                self._db = self._connect()
                if not lane.renew(self._db, self._held):
                    self._again()
        except StoreUnavailable as error:
            # Whoever comes next is told at once, and does not wait for a server that does not answer.
            self._retry_at, self._why_away = time.monotonic() + RETRY_SECONDS, str(error)
            raise

    def begin(self) -> None:
        self._ready()
        try:
            with self._server():
                self._db.execute("BEGIN")
        except StoreUnavailable:
            if not self._db.broken:
                raise
            self._ready()  # it went while nothing was under way
            with self._server():
                self._db.execute("BEGIN")

    def commit(self) -> None:
        before = self._held
        after = Held(before.lane, before.epoch, self.last, self._total, before.commits + 1, before.turn)
        with self._server():
            moved = self._db.execute(statements.MOVE, statements.move(before, self.last, self._total)).rowcount
        if not moved:
            # A turn has changed, or the lane is another's: it is all written again on the row as it is now.
            self._uncertain = before, before
            raise OutcomeUnknown("the lane's row has changed")
        self._uncertain = before, after
        try:
            with self._server():
                self._db.execute("COMMIT")
        except StoreError as error:
            raise self._failed_commit(error) from error.__cause__
        self._settle(after)

    def _settle(self, after: Held) -> None:
        """A commit has returned. Raises OutcomeUnknown: it may not be on the standby that it waits for."""
        if self._cancelled:
            raise OutcomeUnknown("the wait of a commit for its synchronous standby was cancelled")
        self._uncertain = None
        self._held = after
        self.parts.settle()

    def _failed_commit(self, error: StoreError) -> StoreError:
        if is_lost(error.__cause__):
            return OutcomeUnknown(str(error), error.advice)
        self._uncertain = None
        return error

    def resolve_outcome(self) -> bool | None:
        assert self._uncertain is not None
        before, after = self._uncertain
        self._cancelled = False
        try:
            if self._db.closed or self._db.broken:
                self._db.close()
                self._db = self._connect()
            elif self._db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self._db.execute("ROLLBACK")
            self._db.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
            now = lane.take_again(self._db, before.lane, self._owner)
            self._db.execute("SET lock_timeout = 0")
            if self._cancelled:
                return None  # this answer, too, is not on the standby
            taken = self._taken(before, after, now)
        except psycopg.Error as error:
            log.debug("the outcome is not known yet: %s", words(error))
            return None
        self._uncertain = None
        return taken

    def _taken(self, before: Held, after: Held, now: Held | None) -> bool:
        if now is None:
            # The lane is another's. What this life wrote there bears its epoch.
            row = self._db.execute(
                "SELECT 1 FROM otel_bridge.segment WHERE last = %s AND epoch = %s", (after.last, before.epoch)
            ).fetchone()
            taken = row is not None and after.last > before.last
            if taken:
                self.parts.settle()
            self._fence()
            return taken
        if now.commits < before.commits or now.last < before.last:
            self._refuse_gone_back(now)
        taken = now.commits == after.commits and after is not before
        if taken:
            self.parts.settle()
        else:
            self.parts.undo()
        self._take_on(now)
        return taken

    def rollback(self) -> None:
        self.last, self._total = self._held.last, self._held.total
        self.parts.undo()
        self._uncertain = None
        self._roll_back()

    def _roll_back(self) -> None:
        if self._db.closed or self._db.broken:
            return
        if self._db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            with suppress(psycopg.Error):
                self._db.execute("ROLLBACK")

    # --- accepting ----------------------------------------------------------------------------------------------

    def write_alone(self, appends: list[Append]) -> list[Record]:
        self._ready()
        for _ in range(ATTEMPTS):
            new = self._all_new(appends)
            if new is None:
                break
            held = self._held
            text, values, records = new
            if not records or self._written(text, values):
                for append in appends:
                    append.outcomes = None
                return records
            if self._held is held:
                break  # a key is known
        return self._carefully(appends)

    def _written(self, text: str, values: list[Any]) -> bool:
        """One statement; False where it was refused and is to be looked at more closely, or tried again."""
        before = self._held
        after = Held(before.lane, before.epoch, self.last, self._total, before.commits + 1, before.turn)
        try:
            self._prepared.run(text, values)
        except (psycopg.errors.UniqueViolation, psycopg.errors.DivisionByZero):
            self._undo()
            with self._server():
                self._again()
            return False
        except psycopg.Error as error:
            self._uncertain = before, after
            try:
                with self._server():
                    raise
            except StoreError as failed:
                raise self._failed_commit(failed) from error
        self._uncertain = before, after
        self._settle(after)
        return True

    def _undo(self) -> None:
        self.last, self._total = self._held.last, self._held.total
        self.parts.undo()

    def _carefully(self, appends: list[Append]) -> list[Record]:
        """In a transaction of its own. What is refused by a turn, or another replica, is tried again."""
        for attempt in range(ATTEMPTS):
            try:
                self.begin()
                new = self.write(appends)
                self.commit()
                return new
            except OutcomeUnknown:
                if self._uncertain is None or self._uncertain[0] is not self._uncertain[1] or attempt + 1 == ATTEMPTS:
                    raise
                self._roll_back()
                self._undo()
                with self._server():
                    self._again()
                self._uncertain = None
        raise AssertionError("unreachable")

    def write(self, appends: list[Append]) -> list[Record]:
        with self._server():
            self._reach(appends)
            found = sort_out(self._db, self.generations, appends)
            new = found.new
            if new:
                self._assign(new)
                self._put(found)
            found.settle(appends)
        return new

    def _reach(self, appends: Iterable[Append]) -> None:
        """Begins the turn of these arrivals, through another connection: this one may be in a transaction, and the turn
        must be told to all before anything goes by it. Where the lane's row changes with it, the commit finds that."""
        arrived = [record.arrived_us for append in appends for record in append.records if append.keys]
        if arrived and self.generations.is_due(max(arrived)):
            with connect(self._dsn) as db:
                generations.advance(db, max(arrived), self.generations.horizon(max(arrived)))
            found = lane.look(self._db, self.lane)
            if found is not None and found[1].epoch == self._held.epoch and found[1].commits == self._held.commits:
                self._held.turn = found[1].turn
                self.generations.load(self._db, found[1].turn)

    def _put(self, found: Sorted) -> None:
        """The rows of new records whose keys are in their tables already."""
        sessions = [record for record in found.new if record.__class__ is Session and record.id not in found.made]
        if sessions:
            self._db.execute(
                f"{statements.SESSIONS} ON CONFLICT (id) DO NOTHING",
                statements.session_values(sessions, {}), prepare=True, binary=True,
            )  # fmt: skip
        found.mark_parts(self._db)
        self._put_segments(found.new)

    def _put_segments(self, records: list[Record]) -> None:
        for row in self._segments(records):
            self._db.execute(f"{statements.SEGMENT}({', '.join(['%b'] * 8)})", row, prepare=True, binary=True)

    def _assign(self, records: list[Record]) -> list[Session]:
        """Sets the parts of the events among them; returns the sessions that they make."""
        sizes, made = grouping.sizes(records, self.parts.event_bytes, self.parts.tool_bytes)
        self.parts.assign(records, sizes, {session.id for session in made}, self._fills)
        return made

    def _fills(self, sessions: list[bytes]) -> list[tuple[bytes, int]]:
        with self._server(DamagedPart.SESSIONS):
            return totals.fills(self._db, sessions)

    def _all_new(self, appends: list[Append]) -> tuple[str, list[Any], list[Record]] | None:
        """The usual case at the usual price: records of which none should be known. To insert their keys, and the rows
        of sessions whose ids clients chose, proves it. Its statement and its records; None: something may be known,
        look closer."""
        known = self.generations
        if known.now.doubled:
            return None
        records, keys, chosen = grouping.grouped(appends)
        names = keys.keys
        older: tuple[int, ...] = ()
        if names:
            if known.is_due(max(keys.arrived)) or len(set(names)) != len(names):
                return None
            if known.may_know(min(names), max(names)):
                older = known.older
        sessions = self._assign(records)
        if self.parts.marked:
            keys = keys._replace(parts=grouping.parts_of_keys(appends))
        rows = self._segments(records)
        text, values = statements.commit(
            self._held, self.last, self._total, rows, sessions, chosen, keys, known.tables[0], older
        )
        return text, values, records

    def _segments(self, records: list[Record]) -> list[Row]:
        rows = []
        for start in range(0, len(records), SEGMENT_RECORDS):
            part = records[start : start + SEGMENT_RECORDS]
            body = encode(part)
            self.last += len(part)
            spans = _spans(part)
            self._total += spans
            rows.append(
                (self.last, len(part), spans, part[0].arrived_us, zlib.crc32(body), self._total, self._held.epoch, body)
            )
        return rows

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        with self._server(DamagedPart.SESSIONS):
            fallen: list[Record] = [*idle.fall_idle(self._db, idles, before_us, self.parts)]
            if fallen:
                self._put_segments(fallen)
        return fallen

    def end(self, session: bytes, now_us: int) -> list[Record]:
        with self._server(DamagedPart.SESSIONS):
            ended: list[Record] = [*idle.end(self._db, session, now_us, self.parts)]
            if ended:
                self._put_segments(ended)
        return ended

    # --- the consumer ---------------------------------------------------------------------------------------------

    def advance(self, cursor: int, exported: int, parked: Sequence[Parked]) -> None:
        with self._server(DamagedPart.CURSOR):
            consumer.advance(self._db, self._consumer, self.lane, cursor, exported, parked)

    def repark(self, parked: Sequence[Parked]) -> None:
        with self._server(DamagedPart.PARKED):
            consumer.repark(self._db, parked)

    def unpark(self, seqs: Sequence[int]) -> None:
        with self._server(DamagedPart.PARKED):
            consumer.unpark(self._db, self._consumer, seqs)

    # --- snapshot, retention ------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[int, bytes] | None:
        with self._server(DamagedPart.SNAPSHOT):
            return consumer.snapshot(self._db, self.lane)

    def save_snapshot(self, seq: int, state: bytes) -> None:
        with self._server(DamagedPart.SNAPSHOT):
            consumer.save_snapshot(self._db, self.lane, seq, state)

    def trim(
        self, before_us: int, now_us: int, limit: int, sessions: Sequence[bytes], make_room: bool = False
    ) -> Trimmed:
        for session in sessions:
            self.parts.forget(session)
        with self._server():
            return self._trimming.trim(self._db, before_us, now_us, limit, sessions, make_room)

    def mend(self, now_us: int, sessions: Sequence[bytes], limit: int) -> int:
        with self._server():
            generations.mend(self._db, now_us)
            self.generations.load(self._db, self._held.turn)
            return ahead.mend(self._db, now_us, sessions, limit, self.parts)

    def hold_keys(self, since_us: int | None) -> None:
        self.generations.hold(since_us)

    def forget(self, limit: int) -> int:
        with self._server(DamagedPart.KEYS):
            now_us = self.generations.started_us  # by what has come, as keys are remembered
            return generations.forget(self._db, self.generations.horizon(now_us), now_us)

    # --- maintenance --------------------------------------------------------------------------------------------------

    def rewrite_newest(self) -> None:
        raise StoreDamaged("the newest record is damaged on the server, which alone has it", DamagedPart.SEGMENTS)

    def begin_service(self) -> None:
        pass

    def maintain(self, max_bytes: int, between_commits: Callable[[Callable[[], None]], None]) -> None:
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + lane.RENEW_SECONDS
            between_commits(self._renew)
        if self._counting is None:
            self._counting = self.reader()
        self._counting.catch_up()
        long = self._counting.long_fills()
        if long:
            between_commits(lambda: self.parts.learn(long))

    def _renew(self) -> None:
        self._ready()
        with self._server():
            if not lane.renew(self._db, self._held):
                self._again()

    def keep_in_place(self) -> None:
        pass

    def free_space(self) -> int | None:
        return None

    def reader(self) -> PostgresReader:
        return PostgresReader(self._dsn, self._consumer, lambda: self.lane, self.parts)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._counting is not None:
            self._counting.close()
        if self._uncertain is None and not self._db.closed and not self._db.broken:
            with suppress(psycopg.Error):
                self._roll_back()
                lane.release(self._db, self._held)
        self._db.close()


def _spans(records: Sequence[Record]) -> int:
    return len(records) - [record.__class__ for record in records].count(Idle)
