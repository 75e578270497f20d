"""The journal of a database as an archive: all lanes as one, as of one moment, while replicas serve it or not.

What one bridge keeps has one cursor, and one place that its snapshot stands at, each behind all records before it. So
the segments of all lanes are put in a new order, and numbered anew:

    trimmed │ delivered, and in the snapshot │ in the snapshot │ the rest     each by arrival, a lane in its order
                                         cursor            snapshot   last

What is delivered and not in the steward's snapshot yet (it came within about a second) is delivered again, with the
same ids, and is not counted as exported.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import Any

from psycopg import errors

from otel_bridge.errors import StartRefused
from otel_bridge.journal.archive import (
    Forms,
    KeyRow,
    ParkedRow,
    SegmentRow,
    SessionRow,
    SinkRow,
    Sums,
    UsageRow,
    newest,
)
from otel_bridge.journal.postgres import migrations, totals
from otel_bridge.journal.postgres.connection import Connection, place
from otel_bridge.journal.postgres.schema import RING
from otel_bridge.journal.postgres.served import hold, refuse_served
from otel_bridge.journal.postgres.sums import sums
from otel_bridge.journal.postgres.visiting import visit
from otel_bridge.journal.store import StoreDamaged, StoreUnavailable

HOLD_SECONDS = 2
"""How long commits may be held up for the moment that is copied, at the most."""
LET_BY_MS = 300
"""How long the totals are waited for in that moment."""
ROUNDS = 3
"""Of adding to sessions and usage what they lack: the last one, for which commits are held up, has little left."""
ATTEMPTS = 20
_BODIES = 200
"""Segments whose bodies are read at once."""

_AT = """WITH stand AS (SELECT lane.lane, last, total, lane.lane::bigint << 40 AS base,
    coalesce((SELECT max(cursor) FROM otel_bridge.sink WHERE sink.lane = lane.lane), lane.lane::bigint << 40) AS cursor,
    CASE WHEN (SELECT body IS NULL FROM otel_bridge.steward) THEN 1::bigint << 62
        ELSE coalesce((SELECT seq FROM otel_bridge.folded WHERE folded.lane = lane.lane), lane.lane::bigint << 40)
        END AS folded
    FROM otel_bridge.lane)"""
_PART = "CASE WHEN s.last <= least(cursor, folded) THEN 0 WHEN s.last <= folded THEN 1 ELSE 2 END"
_HEADS = f"""{_AT}, placed AS (SELECT s.last, count, spans, arrived_us, crc, {_PART} AS part,
        max(arrived_us) OVER (PARTITION BY stand.lane ORDER BY s.last) AS at_us
    FROM otel_bridge.segment s JOIN stand ON stand.lane = (s.last >> 40)::int)
    SELECT last, count, spans, arrived_us, crc FROM placed ORDER BY part, at_us, last"""
_PARTS = f"""{_AT} SELECT {_PART}, sum(count)::bigint, sum(spans)::bigint,
        coalesce(sum(spans) FILTER (WHERE s.last <= cursor AND s.last > folded), 0)::bigint
    FROM otel_bridge.segment s JOIN stand ON stand.lane = (s.last >> 40)::int GROUP BY 1"""
_WHOLE = f"{_AT} SELECT coalesce(sum(last - base), 0)::bigint, coalesce(sum(total), 0)::bigint FROM stand"
_AGAIN = f"""{_AT} SELECT seq, spans FROM otel_bridge.parked JOIN stand ON stand.lane = (seq >> 40)::int
    WHERE seq > folded AND seq <= cursor"""
"""Parked, and now delivered again: parked again then."""


@contextmanager
def archive(url: str, forms: Forms, served: bool) -> Iterator[PostgresArchive]:
    """`served`: replicas may serve it meanwhile, and their commits wait for a moment; else none can start. Raises
    StartRefused, StoreError."""
    with ExitStack() as stack:
        holder, counter, db = (stack.enter_context(visit(url)) for _ in range(3))
        unfit = migrations.unfit(migrations.found(db))
        if unfit is not None:
            raise StartRefused(f"diario {place(url)}: {unfit}.")
        try:
            _fix(holder, counter, db, place(url), served)
        except StoreDamaged as error:
            raise StartRefused(f"{error.advice} No se copió nada.") from error
        yield PostgresArchive(db, forms)


def _fix(holder: Connection, counter: Connection, db: Connection, where: str, served: bool) -> None:
    """From here on `db` sees one state of the journal, in which sessions and usage have all records."""
    counter.execute(f"SET lock_timeout = '{HOLD_SECONDS}s'")
    for _ in range(ATTEMPTS):
        try:
            for _ in range(ROUNDS):
                totals.catch_up(counter)  # most of it while nobody waits
            holder.execute("BEGIN")
            # Nobody waits for long for a process that is halted here.
            holder.execute(f"SET LOCAL lock_timeout = '{HOLD_SECONDS}s'")
            holder.execute(f"SET LOCAL idle_in_transaction_session_timeout = '{HOLD_SECONDS if served else 0}s'")
            if served:
                hold(holder)
            else:
                refuse_served(holder, where)
            with counter.transaction():
                # A replica's step may hold the totals and wait for its lane: it goes first, and this one comes again.
                counter.execute(f"SET LOCAL lock_timeout = '{LET_BY_MS}ms'")
                counter.execute("SELECT 1 FROM otel_bridge.counted ORDER BY lane FOR UPDATE")
                totals.catch_up(counter)
            db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            db.execute("SELECT 1 FROM otel_bridge.journal")
            if served:
                holder.execute("ROLLBACK")
            return
        except errors.LockNotAvailable:
            holder.execute("ROLLBACK")
    raise StoreUnavailable(
        "the journal is in use all the time",
        f"diario {where}: sus tablas están en uso todo el tiempo. Prueba más tarde.",
    )


class PostgresArchive:
    """An `Archive`, of a connection that sees one state."""

    def __init__(self, db: Connection, forms: Forms) -> None:
        self._db = db
        parts = {part: rest for part, *rest in db.execute(_PARTS).fetchall()}
        records = [parts.get(part, [0, 0, 0])[0] for part in range(3)]
        again = sum(rest[2] for rest in parts.values())
        self._again: dict[int, int] = dict(db.execute(_AGAIN).fetchall())
        """Parked records that are delivered again, and so are parked no more."""
        self.last, self.total = self._row(_WHOLE)
        self._trimmed = self.last - sum(records)
        self._trimmed_spans = self.total - sum(rest[1] for rest in parts.values())
        undone = again - sum(self._again.values())
        self.sinks = [
            SinkRow(name, self._trimmed + records[0], done - undone)
            for name, done in db.execute(
                "SELECT name, sum(exported)::bigint FROM otel_bridge.sink GROUP BY name ORDER BY name"
            ).fetchall()
        ]
        self.snapshot = self._snapshot(forms, self._trimmed + records[0] + records[1])
        self._moved: dict[int, int] = {}
        """Numbers of parked records, as they were and are, once the segments have been read."""

    def _row(self, statement: str) -> tuple[Any, ...]:
        row = self._db.execute(statement).fetchone()
        assert row is not None
        return row

    def _snapshot(self, forms: Forms, seq: int) -> tuple[int, bytes] | None:
        (shared,) = self._db.execute("SELECT body FROM otel_bridge.steward", binary=True).fetchone() or (None,)
        own = self._db.execute("SELECT body FROM otel_bridge.snapshot ORDER BY lane", binary=True).fetchall()
        return None if shared is None else (seq, forms.joined(shared, [body for (body,) in own]))

    @property
    def size(self) -> int:
        """Of the rows that there are: tables keep the room of deleted ones."""
        held = self.sums
        return held.body_bytes + 60 * held.segments + 60 * held.keys + 200 * held.sessions + 60 * held.usage_rows

    @cached_property
    def sums(self) -> Sums:
        found = sums(self._db)
        return found._replace(
            parked=found.parked - len(self._again), parked_spans=found.parked_spans - sum(self._again.values())
        )

    def _stream(self, name: str, statement: str) -> Iterator[tuple[Any, ...]]:
        with self._db.cursor(name) as cursor:
            cursor.itersize = 2_000
            cursor.execute(statement, binary=True)
            yield from cursor

    def segments(self) -> Iterator[SegmentRow]:
        parked = sorted(seq for (seq,) in self._db.execute("SELECT seq FROM otel_bridge.parked").fetchall())
        last, total = self._trimmed, self._trimmed_spans
        heads = self._stream("heads", _HEADS)
        while some := list(itertools.islice(heads, _BODIES)):
            bodies: dict[int, bytes] = dict(
                self._db.execute(
                    "SELECT last, body FROM otel_bridge.segment WHERE last = ANY(%s)",
                    ([head[0] for head in some],),
                    binary=True,
                ).fetchall()
            )
            for before, count, spans, arrived_us, crc in some:
                last, total = last + count, total + spans
                for seq in parked[bisect_right(parked, before - count) : bisect_right(parked, before)]:
                    self._moved[seq] = last - (before - seq)
                yield SegmentRow(last, count, spans, arrived_us, crc, total, bodies[before])

    def seen(self) -> Iterator[KeyRow]:
        turns = self._db.execute("SELECT turn FROM otel_bridge.turn WHERE NOT emptied ORDER BY turn DESC").fetchall()
        tables = " UNION ALL ".join(
            f"SELECT key, arrived_us, digest, part, {order} AS older FROM otel_bridge.seen_{turn % RING}"
            for order, (turn,) in enumerate(turns)
        )
        return newest(self._stream("seen", f"SELECT * FROM ({tables}) every ORDER BY key, older"))

    def sessions(self) -> Iterator[SessionRow]:
        columns = ", ".join(f'"{name}"' for name in SessionRow._fields)
        for row in self._stream("sessions", f"SELECT {columns} FROM otel_bridge.session ORDER BY id"):
            yield SessionRow._make(row)

    def usage(self) -> Iterator[UsageRow]:
        sql = 'SELECT hour, gpt, "user", events, tokens FROM otel_bridge.usage ORDER BY hour, gpt, "user"'
        for row in self._stream("usage", sql):
            yield UsageRow._make(row)

    def parked(self) -> Iterator[ParkedRow]:
        """After the segments. What is trimmed has had the first numbers: records of it take some of these."""
        rows = self._stream(
            "parked", "SELECT seq, body, spans, reason, words, parked_us, replay FROM otel_bridge.parked ORDER BY seq"
        )
        trimmed = itertools.count(1)
        found = []
        for row in rows:
            if row[0] not in self._again:
                found.append((self._moved.get(row[0]) or next(trimmed), row))
        for seq, row in sorted(found, key=lambda pair: pair[0]):
            yield ParkedRow._make((seq, *row[1:]))
