"""A replica's writing side: what it accepts goes into its lane."""

from __future__ import annotations

import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg

from otel_bridge.errors import StartRefused
from otel_bridge.journal.append import Append
from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres import (
    ahead,
    consumer,
    generations,
    grouping,
    idle,
    lane,
    statements,
    totals,
)
from otel_bridge.journal.postgres.connection import (
    LANE,
    Connection,
    connect,
    place,
    split,
)
from otel_bridge.journal.postgres.generations import Generations
from otel_bridge.journal.postgres.holding import Holding
from otel_bridge.journal.postgres.lane import Held
from otel_bridge.journal.postgres.reading import PostgresReader
from otel_bridge.journal.postgres.sorting import Sorted, sort_out
from otel_bridge.journal.postgres.statements import Row
from otel_bridge.journal.postgres.trimming import Trimming
from otel_bridge.journal.store import (
    NONE_OF_THEIR_OWN,
    SEGMENT_RECORDS,
    DamagedPart,
    OutcomeUnknown,
    Parked,
    Replicas,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    Trimmed,
    WentBack,
)
from otel_bridge.records import Idle, Record, Session, encode

ATTEMPTS = 5
"""Of a commit that meets a change of turn, or keys that others are taking."""


class PostgresStore:
    """One lane's writer. Belongs to the writer thread, as `Store` says."""

    backend = "postgresql"
    displaced = False
    went_back: WentBack | None = None
    warnings: Sequence[str] = ()

    def __init__(self, url: str, consumer_name: str, orphan: tuple[Connection, Held, uuid.UUID] | None = None) -> None:
        """Claims a lane, or makes one. `orphan`: drains this one. Raises StartRefused."""
        self._consumer = consumer_name
        self.parts = Parts()
        self._trimming = Trimming(consumer_name, self.parts)
        self._drains = orphan is not None
        self._closed = False
        self._renew_at = 0.0
        self._counting: PostgresReader | None = None
        """Of the housekeeping thread: every replica adds to the totals, so that they lack no more than a second."""
        self._holding = Holding(split(url)[0], orphan)
        self._follow()
        if self._drains:
            return  # what of it is damaged is its exporter's to step over: nothing is added to it
        try:
            reader = self.reader()
            try:
                reader.check()
                if self.lane == 0 and self._holding.held.epoch == 1:
                    # The first to open it: where a backup was put there, it says so.
                    self.went_back = reader.identity().went_back
                reader.catch_up()  # how far sessions have come is read from what is counted
            finally:
                reader.close()
        except StoreError as error:
            self.close()
            raise StartRefused(error.advice) from error

    # --- the lane -------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Goes on from the lane's row."""
        self.last, self._total = self._holding.held.last, self._holding.held.total
        self.parts.undo()

    @property
    def _db(self) -> Connection:
        return self._holding.db

    @property
    def generations(self) -> Generations:
        return self._holding.generations

    @property
    def lane(self) -> int:
        return self._holding.held.lane

    @property
    def place(self) -> str:
        return f"{place(self._holding.dsn)}, lane {self.lane}"

    @property
    def url(self) -> str:
        return f"{self._holding.dsn}{LANE}{self.lane}"

    @property
    def replicas(self) -> Replicas:
        from otel_bridge.journal.postgres.replicas import PostgresReplicas  # it makes stores

        return PostgresReplicas(self._holding.dsn, self._consumer, lambda: self.lane)

    # --- transactions ---------------------------------------------------------------------------------------------

    def _ready(self) -> None:
        self._holding.ready()
        self._follow()

    def begin(self) -> None:
        self._ready()
        try:
            with self._holding.server():
                self._db.execute("BEGIN")
        except StoreUnavailable:
            if not self._db.closed:
                raise
            self._ready()  # it went while nothing was under way
            with self._holding.server():
                self._db.execute("BEGIN")

    def commit(self) -> None:
        held = self._holding.held
        with self._holding.server():
            moved = self._db.execute(statements.MOVE, statements.move(held, self.last, self._total)).rowcount
        if not moved:
            raise self._holding.refuse()  # a turn has changed, or the lane is another's
        with self._holding.committing(self._holding.after(self.last, self._total)):
            self._db.execute("COMMIT")
        self.parts.settle()

    def resolve_outcome(self) -> bool | None:
        taken = self._holding.resolve()
        if taken is not None:
            if taken:
                self.parts.settle()
            self._follow()
        return taken

    def rollback(self) -> None:
        self._holding.forget()
        self._holding.roll_back()
        self._follow()

    # --- accepting ----------------------------------------------------------------------------------------------

    def write_alone(self, appends: list[Append]) -> list[Record]:
        self._ready()
        for _ in range(ATTEMPTS):
            new = self._all_new(appends)
            if new is None:
                break
            held = self._holding.held
            text, values, records = new
            if not records or self._written(text, values):
                for append in appends:
                    append.outcomes = None
                return records
            if self._holding.held is held:
                break  # a key is known
        return self._carefully(appends)

    def _written(self, text: str, values: list[Any]) -> bool:
        """One statement; False where it was refused and is to be looked at more closely, or tried again."""
        try:
            with self._holding.committing(self._holding.after(self.last, self._total)):
                self._holding.prepared.run(text, values)
        except StoreError as error:
            if not isinstance(error.__cause__, psycopg.errors.UniqueViolation | psycopg.errors.DivisionByZero):
                raise
            with self._holding.server():
                self._holding.again()
            self._follow()
            return False
        self.parts.settle()
        return True

    def _carefully(self, appends: list[Append]) -> list[Record]:
        """In a transaction of its own. What is refused by a turn, or another replica, is tried again."""
        for attempt in range(ATTEMPTS):
            try:
                self.begin()
                new = self.write(appends)
                self.commit()
                return new
            except OutcomeUnknown:
                if not self._holding.refused or attempt + 1 == ATTEMPTS:
                    raise
                self._holding.roll_back()
                with self._holding.server():
                    self._holding.again()
                self._holding.forget()
                self._follow()
        raise AssertionError("unreachable")

    def write(self, appends: list[Append]) -> list[Record]:
        with self._holding.server():
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
            with connect(self._holding.dsn) as db:
                generations.advance(db, max(arrived), self.generations.horizon(max(arrived)))
            self._holding.turn()

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
            self._db.execute(statements.ONE_SEGMENT, row, prepare=True, binary=True)

    def _assign(self, records: list[Record]) -> list[Session]:
        """Sets the parts of the events among them; returns the sessions that they make."""
        sizes, made = grouping.sizes(records, self.parts.event_bytes, self.parts.tool_bytes)
        self.parts.assign(records, sizes, {session.id for session in made}, self._fills)
        return made

    def _fills(self, sessions: list[bytes]) -> list[tuple[bytes, int]]:
        with self._holding.server(DamagedPart.SESSIONS):
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
            self._holding.held, self.last, self._total, rows, sessions, chosen, keys, known.tables[0], older
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
            crc, epoch = zlib.crc32(body), self._holding.held.epoch
            rows.append((self.last, len(part), spans, part[0].arrived_us, crc, self._total, epoch, body))
        return rows

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        with self._holding.server(DamagedPart.SESSIONS):
            fallen: list[Record] = [*idle.fall_idle(self._db, idles, before_us, self.parts)]
            if fallen:
                self._put_segments(fallen)
        return fallen

    def end(self, session: bytes, now_us: int) -> list[Record]:
        with self._holding.server(DamagedPart.SESSIONS):
            ended: list[Record] = [*idle.end(self._db, session, now_us, self.parts)]
            if ended:
                self._put_segments(ended)
        return ended

    # --- the consumer ---------------------------------------------------------------------------------------------

    def advance(self, cursor: int, exported: int, parked: Sequence[Parked]) -> None:
        with self._holding.server(DamagedPart.CURSOR):
            consumer.advance(self._db, self._consumer, self.lane, cursor, exported, parked)

    def repark(self, parked: Sequence[Parked]) -> None:
        with self._holding.server(DamagedPart.PARKED):
            consumer.repark(self._db, parked)

    def unpark(self, seqs: Sequence[int]) -> None:
        with self._holding.server(DamagedPart.PARKED):
            consumer.unpark(self._db, self._consumer, seqs)

    # --- snapshot, retention ------------------------------------------------------------------------------------------

    def snapshot(self) -> tuple[int, bytes] | None:
        with self._holding.server(DamagedPart.SNAPSHOT):
            return consumer.snapshot(self._db, self.lane)

    def save_snapshot(self, seq: int, state: bytes) -> None:
        with self._holding.server(DamagedPart.SNAPSHOT):
            consumer.save_snapshot(self._db, self.lane, seq, state)

    def trim(
        self,
        before_us: int,
        now_us: int,
        limit: int,
        sessions: Sequence[bytes],
        make_room: bool = False,
        own: Mapping[str, int] = NONE_OF_THEIR_OWN,
    ) -> Trimmed:
        for session in sessions:
            self.parts.forget(session)
        with self._holding.server():
            return self._trimming.trim(self._db, before_us, now_us, limit, sessions, make_room, own)

    def mend(self, now_us: int, sessions: Sequence[bytes], limit: int) -> int:
        with self._holding.server():
            generations.mend(self._db, now_us)
            self.generations.load(self._db, self._holding.held.turn)
            return ahead.mend(self._db, now_us, sessions, limit, self.parts)

    def hold_keys(self, since_us: int | None) -> None:
        self.generations.hold(since_us)

    def forget(self, limit: int) -> int:
        with self._holding.server(DamagedPart.KEYS):
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
        self._holding.renew()
        self._follow()

    def keep_in_place(self) -> None:
        pass

    def free_space(self) -> int | None:
        return None

    def reader(self) -> PostgresReader:
        holding = self._holding
        return PostgresReader(holding.dsn, self._consumer, lambda: self.lane, self.parts, holding.patience)

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._counting is not None:
            self._counting.close()
        self._holding.close()


def _spans(records: Sequence[Record]) -> int:
    return len(records) - [record.__class__ for record in records].count(Idle)
