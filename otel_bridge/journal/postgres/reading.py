"""What reads the journal, in any thread or process."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.parts import Parts, parts_of
from otel_bridge.journal.postgres import balance, idle, lookup, sizes, totals
from otel_bridge.journal.postgres.arrays import bytea_array
from otel_bridge.journal.postgres.connection import CANCELLED, CONFIRM, Connection, connect, translated
from otel_bridge.journal.postgres.identity import identity
from otel_bridge.journal.postgres.patience import Patience
from otel_bridge.journal.postgres.schema import base, lane_of
from otel_bridge.journal.postgres.segments import Segments
from otel_bridge.journal.postgres.totals import PARTS, catch_up, session_with_tail
from otel_bridge.journal.store import (
    NONE_OF_THEIR_OWN,
    DamagedPart,
    Identity,
    Ledger,
    Parked,
    Segment,
    SessionInfo,
    SessionRow,
    StoreDamaged,
    StoreUnavailable,
    TopUser,
    Window,
)
from otel_bridge.records import Event, Idle

PATIENCE_SECONDS = 120.0
"""For which an answer is waited for: some of what is read costs with the journal."""

P = ParamSpec("P")
R = TypeVar("R")

_PARKED = "SELECT seq, body, reason, words, parked_us, spans FROM otel_bridge.parked"
_REPLAYED = f"""{_PARKED} WHERE replay AND (%(lane)s::int IS NULL OR seq >> 40 = %(lane)s OR (
    %(lane)s = (SELECT min(lane) FROM otel_bridge.lane WHERE owner IS NOT NULL AND lease_until > now())
    AND NOT EXISTS (SELECT FROM otel_bridge.lane WHERE lane = seq >> 40 AND owner IS NOT NULL AND lease_until > now())))
    ORDER BY seq LIMIT %(limit)s"""
"""A lane sends again what is its own; what was a lane's that nobody holds, the lowest of those that are held."""
_TOP_USERS = """SELECT gpt, "user", events, tokens FROM (
    SELECT gpt, "user", events, tokens,
        row_number() OVER (PARTITION BY gpt ORDER BY events DESC, tokens DESC, "user" COLLATE "C") AS place
    FROM (SELECT gpt, "user", sum(events)::bigint AS events, sum(tokens)::bigint AS tokens
        FROM otel_bridge.usage WHERE hour >= %s AND "user" <> '' AND {slice} GROUP BY gpt, "user") AS sums
) AS ranked WHERE place <= %s AND events > 0"""
_SLICE = """(hashtext("user") & 65535) %% %s = %s"""
"""One of so many parts of the users, each of which is counted by itself."""
SLICE_BYTES = 64 << 20
"""Of a table, for each part: a count over a million sessions as one statement holds a core of the server for two
seconds, and a part of it for half of one."""


def reading(
    part: DamagedPart,
) -> Callable[[Callable[Concatenate[PostgresReader, P], R]], Callable[Concatenate[PostgresReader, P], R]]:
    """For a method that reads: PostgreSQL's errors → StoreError; what fails since the connection was lost is asked
    once more on a new one. `part`: what it reads."""

    def decorated(method: Callable[Concatenate[PostgresReader, P], R]) -> Callable[Concatenate[PostgresReader, P], R]:
        @functools.wraps(method)
        def read(self: PostgresReader, /, *args: P.args, **kwargs: P.kwargs) -> R:
            with translated(part):
                try:
                    return method(self, *args, **kwargs)
                except psycopg.OperationalError:
                    if not self.lost:
                        raise
                    return method(self, *args, **kwargs)

        return read

    return decorated


class PostgresReader:
    """A connection of its own, made anew where it is lost."""

    def __init__(
        self,
        url: str,
        consumer: str,
        lane: Callable[[], int | None],
        parts: Parts = PARTS,
        patience: Patience | None = None,
    ) -> None:
        """`lane`: whose segments, cursor and ledger are read; None: the ledger counts over all of them. `parts`: says
        what an event counts in its part. `patience`: of its replica's connections. Raises StoreError."""
        self._url = url
        self._consumer = consumer
        self._lane = lane
        self._parts = parts
        self._old_from = b""
        self._cancelled = False
        self._patience = patience or Patience(PATIENCE_SECONDS)
        with translated():
            self._connection = self._connect()

    def _connect(self) -> Connection:
        connection = connect(self._url, self._patience, PATIENCE_SECONDS)
        connection.add_notice_handler(self._on_notice)
        return connection

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        self._cancelled = self._cancelled or notice.sqlstate == CANCELLED

    def _confirm(self) -> None:
        """What was not found is not there. A server that was taken for gone, and that its standby has followed, goes on
        answering by what it had; but a write of its own it cannot end, for no standby has it. Raises psycopg.Error,
        StoreUnavailable."""
        self._cancelled = False
        self._db.execute(CONFIRM)
        if self._cancelled:
            raise StoreUnavailable("the server may not be the one that takes writes any more")

    @property
    def lost(self) -> bool:
        """Whether the connection is."""
        return self._connection.closed

    @property
    def _db(self) -> Connection:
        if self._connection.closed:
            self._connection = self._connect()
        return self._connection

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values, binary=True).fetchall()

    def _catch_up(self) -> None:
        catch_up(self._db, self._parts)

    @reading(DamagedPart.SESSIONS)
    def long_fills(self) -> list[tuple[bytes, int]]:
        """How far long sessions have come (`totals.py`)."""
        return totals.long_fills(self._db)

    @reading(DamagedPart.SESSIONS)
    def catch_up(self) -> None:
        """Adds to the totals what is not counted yet; what of a lane cannot be read holds nobody up."""
        with suppress(StoreDamaged):
            self._catch_up()

    # --- sessions, events -------------------------------------------------------------------------------------------

    @reading(DamagedPart.SESSIONS)
    def sessions(self, ids: Sequence[bytes]) -> dict[bytes, SessionInfo]:
        sql = 'SELECT id, gpt, "user" FROM otel_bridge.session WHERE id = ANY(%b::bytea[])'
        found = {session: SessionInfo(gpt, user) for session, gpt, user in self._rows(sql, bytea_array(ids))}
        if len(found) < len(set(ids)):
            self._confirm()
        return found

    @reading(DamagedPart.SESSIONS)
    def session(self, session_id: bytes) -> SessionRow | None:
        row = session_with_tail(self._db, session_id, self._parts)
        if row is None:
            self._confirm()
            return None
        totals = (*row[1:4], *row[5:11], bool(row[13]), parts_of(row[17]), (row[18], row[19], row[20]))
        return SessionRow._make(totals)

    @reading(DamagedPart.KEYS)
    def arrivals(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        found = lookup.arrivals(self._db, keys)
        if not found:
            self._confirm()
        return found

    @reading(DamagedPart.LOOKED_FOR)
    def event_near(self, event_id: bytes, arrived_us: int, gpt: str | None = None) -> Event | None:
        found = lookup.event_near(self._db, event_id, arrived_us, gpt)
        if found is None:
            self._confirm()
        return found

    # --- the lane ---------------------------------------------------------------------------------------------------

    @reading(DamagedPart.SEGMENTS)
    def segments(self, after: int, limit: int) -> list[Segment]:
        start = base(self._lane() or 0)
        if after and lane_of(after) != lane_of(start):
            return []  # of the lane before: who reads it begins anew
        return Segments(self._db).read(after or start, limit)

    @reading(DamagedPart.CURSOR)
    def cursor(self) -> int:
        return balance.cursor(self._db, self._consumer, self._lane() or 0)

    @reading(DamagedPart.CURSOR)
    def begin_snapshot(self) -> None:
        if self._in_transaction:  # an earlier snapshot that nobody came to count
            self._db.execute("ROLLBACK")
        self._db.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        self._db.execute("SELECT FROM otel_bridge.lane LIMIT 1")

    @property
    def _in_transaction(self) -> bool:
        return self._db.info.transaction_status != TransactionStatus.IDLE

    def ledger(self) -> Ledger:
        with translated(DamagedPart.SEGMENTS):
            if not self._in_transaction:
                self.begin_snapshot()
            try:
                return balance.ledger(self._db, self._consumer, self._lane())
            finally:
                if not self.lost and self._in_transaction:
                    self._db.execute("ROLLBACK")

    def check(self) -> None:
        self.cursor()
        self._saved()
        self._newest()

    @reading(DamagedPart.SNAPSHOT)
    def _saved(self) -> None:
        self._rows("SELECT seq, octet_length(body) FROM otel_bridge.snapshot WHERE lane = %s", self._lane())

    @reading(DamagedPart.SEGMENTS)
    def _newest(self) -> None:
        Segments(self._db).newest(self._lane() or 0)

    # --- parked records ---------------------------------------------------------------------------------------------

    @reading(DamagedPart.PARKED)
    def parked(self, limit: int, replay_only: bool = False) -> list[Parked]:
        if replay_only:
            values = {"lane": self._lane(), "limit": limit}
            rows = self._db.execute(_REPLAYED, values, binary=True).fetchall()
        else:
            rows = self._rows(f"{_PARKED} ORDER BY seq LIMIT %s", limit)
        return [Parked(*row) for row in rows]

    @reading(DamagedPart.PARKED)
    def replay_marks(self) -> dict[int, bool]:
        return dict(self._rows("SELECT seq, replay FROM otel_bridge.parked"))

    # --- totals -----------------------------------------------------------------------------------------------------

    @reading(DamagedPart.SESSIONS)
    def windows(self, now_us: int, windows: dict[str, int]) -> list[Window]:
        self._catch_up()
        starts = [now_us - seconds * 1_000_000 for seconds in windows.values()]
        columns = range(len(starts))
        sessions = ", ".join(f"count(*) FILTER (WHERE coalesce(active_us, last_us) >= %s) AS s{i}" for i in columns)
        sums = ", ".join(f"sum(s{i})::bigint, count(*) FILTER (WHERE s{i} > 0 AND who <> '')" for i in columns)
        sql = (
            f'SELECT gpt, {sums} FROM (SELECT gpt, "user" AS who, {sessions} FROM otel_bridge.session '
            f'WHERE {_SLICE} GROUP BY gpt, "user") AS users GROUP BY gpt'
        )
        counted: dict[str, list[int]] = {}
        for part in self._slices("session"):
            for gpt, *counts in self._rows(sql, *starts, *part):
                before = counted.get(gpt)
                counted[gpt] = counts if before is None else [a + b for a, b in zip(before, counts, strict=True)]
        return [
            Window(gpt, name, counts[2 * i], counts[2 * i + 1])
            for gpt, counts in counted.items()
            for i, name in enumerate(windows)
        ]

    @reading(DamagedPart.USAGE)
    def top_users(self, now_us: int, seconds: int, limit: int) -> list[TopUser]:
        self._catch_up()
        since = (now_us - seconds * 1_000_000) // HOUR_US
        sql, ranked = _TOP_USERS.format(slice=_SLICE), dict[str, list[TopUser]]()
        for part in self._slices("usage"):
            for row in self._rows(sql, since, *part, limit):
                ranked.setdefault(row[0], []).append(TopUser(*row))
        return [
            top
            for found in ranked.values()
            for top in sorted(found, key=lambda top: (-top.events, -top.tokens, top.user))[:limit]
        ]

    def _slices(self, table: str) -> Iterator[tuple[int, int]]:
        """(number of parts, part) of all users of a table, for `_SLICE`. After each the server has a pause that is as
        long as the part took."""
        ((size,),) = self._rows("SELECT pg_relation_size(%s::regclass)", f"otel_bridge.{table}")
        parts = 1 + size // SLICE_BYTES
        for part in range(parts):
            began = time.monotonic()
            yield parts, part
            if part + 1 < parts:
                time.sleep(time.monotonic() - began)

    @reading(DamagedPart.SESSIONS)
    def old_sessions(self, before_us: int, limit: int, own: Mapping[str, int] = NONE_OF_THEIR_OWN) -> list[bytes]:
        # A walk through all of them: no index on their age is kept for it.
        self._catch_up()
        try:
            rows = self._rows(
                "SELECT id, gpt, last_us, live FROM otel_bridge.session WHERE id > %b ORDER BY id LIMIT %s",
                self._old_from, limit,
            )  # fmt: skip
        except psycopg.Error:
            self._old_from = os.urandom(16)  # others may be readable
            raise
        self._old_from = rows[-1][0] if len(rows) == limit else b""
        return [id_ for id_, gpt, last_us, live in rows if last_us < own.get(gpt, before_us) and not live]

    @reading(DamagedPart.SESSIONS)
    def sessions_ahead(self, now_us: int, start: bytes, limit: int) -> tuple[list[bytes], bytes | None]:
        self._catch_up()
        rows = self._rows(
            "SELECT id, last_us, active_us FROM otel_bridge.session WHERE id > %b ORDER BY id LIMIT %s", start, limit
        )
        ahead = [session for session, last_us, active_us in rows if max(last_us, active_us or 0) > now_us]
        return ahead, rows[-1][0] if len(rows) == limit else None

    @reading(DamagedPart.SESSIONS)
    def idle_candidates(self, before_us: int, limit: int) -> list[Idle]:
        self._catch_up()
        return idle.candidates(self._db, before_us, limit)

    # --- the journal ------------------------------------------------------------------------------------------------

    @reading(DamagedPart.SNAPSHOT)
    def identity(self) -> Identity:
        return identity(self._db)

    @reading(DamagedPart.ANY)
    def bytes_used(self) -> int:
        return sizes.bytes_used(self._db)

    @reading(DamagedPart.ANY)
    def bytes_of_segments(self) -> tuple[int, int]:
        return sizes.bytes_of_segments(self._db, self._consumer)

    def close(self) -> None:
        self._connection.close()
