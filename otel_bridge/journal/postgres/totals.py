"""The totals of sessions and usage: added behind the commits, exactly once, by whichever replica comes first.

A commit writes no totals: it would wait for other replicas that write the same sessions. The row of a lane in `counted`
says up to where its records are in `session` and `usage`, and moves in the transaction that adds them. Who adds holds
all rows of `counted` until it commits: another one waits, and goes on behind it. What needs the totals catches up
first.

    lane 0  ────────────●━━━━━━━━▶ last        ● counted: session and usage have it
    lane 1  ──●━━━━━━━━━━━━━━━━━━▶ last        ━ read, tallied (`tallies.py`), added in steps
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from psycopg.pq import TransactionStatus

from otel_bridge.journal.parts import Parts
from otel_bridge.journal.postgres.arrays import bytea_array, int4_array, int8_array, text_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.segments import Segments
from otel_bridge.journal.store import Segment, StoreDamaged, StoreError
from otel_bridge.journal.tallies import COLUMNS, Added, Row, Tallies, added
from otel_bridge.records import Event, Record, Session, decode

log = logging.getLogger(__name__)

STEP_SEGMENTS, STEP_BYTES = 1_000, 1 << 20
"""Of each lane that one transaction adds: others wait for it."""
HALTED_SECONDS = 3
"""For which a replica that is halted holds up the others: then the server ends its transaction. They wait for twice as
long at the most."""
_NOT_ADDED = (13, 14)
"""Columns: what is added to is live; a digest is its commit's."""
PARTS = Parts()
"""What an event counts where nobody says another number."""

_BEHIND = """SELECT lane, coalesce(seq, lane::bigint << 40), newest, seq IS NULL FROM otel_bridge.lane
    LEFT JOIN otel_bridge.counted USING (lane), LATERAL (SELECT max(last) AS newest FROM otel_bridge.segment
        WHERE segment.last > coalesce(seq, lane::bigint << 40) AND segment.last < (lane::bigint + 1) << 40) AS more
    WHERE newest IS NOT NULL"""
_LOCKED = "SELECT lane, seq FROM otel_bridge.counted ORDER BY lane FOR UPDATE"
"""The lowest lane's row is the lock: it is always there, and whoever comes later waits at it."""
_BOUNDS = "SELECT set_config('idle_in_transaction_session_timeout', %s, true), set_config('lock_timeout', %s, true)"
_ROWS = f"SELECT {COLUMNS} FROM otel_bridge.session WHERE id = ANY(%b::bytea[])"
_ADD_SESSIONS = """INSERT INTO otel_bridge.session AS kept (id, gpt, "user", started_us, last_us, first_event_us,
        last_event_us, events, failed, tokens_in, tokens_out, stretch_us, stretch_events, stretch_last_us, active_us,
        fill, unmeasured_latency, unmeasured_in, unmeasured_out, due_us)
    SELECT *, last FROM unnest(%b::bytea[], %b::text[], %b::text[], %b::int8[], %b::int8[],
        %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[],
        %b::int8[], %b::int8[], %b::int8[], %b::int8[], %b::int8[])
    AS more (id, gpt, who, started, last, first_event, last_event, events, failed, tokens_in, tokens_out, stretch,
        stretch_events, stretch_last, active, fill, latency, of_in, of_out) ORDER BY id
    ON CONFLICT (id) DO UPDATE SET last_us = excluded.last_us, first_event_us = excluded.first_event_us,
        last_event_us = excluded.last_event_us, events = excluded.events, failed = excluded.failed,
        tokens_in = excluded.tokens_in, tokens_out = excluded.tokens_out, stretch_us = excluded.stretch_us,
        stretch_events = excluded.stretch_events, live = true, stretch_last_us = excluded.stretch_last_us,
        active_us = excluded.active_us, fill = excluded.fill, unmeasured_latency = excluded.unmeasured_latency,
        unmeasured_in = excluded.unmeasured_in, unmeasured_out = excluded.unmeasured_out,
        due_us = CASE WHEN kept.live THEN kept.due_us ELSE excluded.due_us END"""
TO_USAGE = """ON CONFLICT (hour, gpt, "user") DO UPDATE
    SET events = kept.events + excluded.events, tokens = kept.tokens + excluded.tokens"""
"""Adds to the usage of an hour that is `kept` already."""
_ADD_USAGE = f"""INSERT INTO otel_bridge.usage AS kept (hour, gpt, "user", events, tokens)
    SELECT hour, gpt, who, events, tokens FROM unnest(%b::int8[], %b::text[], %b::text[], %b::int8[], %b::int8[])
    AS more (hour, gpt, who, events, tokens) ORDER BY hour, gpt, who
    {TO_USAGE}"""
_MOVE = """UPDATE otel_bridge.counted SET seq = more.seq FROM unnest(%b::int4[], %b::int8[]) AS more (lane, seq)
    WHERE counted.lane = more.lane"""
_WITH_TAIL = f"""WITH tail AS (
    SELECT array_agg(body ORDER BY arrived_us, more.last) AS bodies FROM otel_bridge.lane
    LEFT JOIN otel_bridge.counted USING (lane), LATERAL (
        SELECT arrived_us, segment.last, body FROM otel_bridge.segment
        WHERE segment.last > coalesce(seq, lane::bigint << 40) AND segment.last < (lane::bigint + 1) << 40
        AND position(%b IN body) > 0) AS more)
    SELECT tail.bodies, {COLUMNS} FROM tail LEFT JOIN otel_bridge.session ON id = %b"""
_FILLS = "SELECT id, fill FROM otel_bridge.session WHERE id = ANY(%b::bytea[])"
_LONG = "SELECT id, fill FROM otel_bridge.session WHERE live AND long"


def catch_up(connection: Connection, parts: Parts = PARTS) -> int:
    """Adds what is committed and not counted yet; returns how many records that was. In the transaction that is open,
    if one is, else in steps, each a transaction of its own. One that is open holds the lock until it ends, also where
    nothing is behind: else another could write a session down as it was before this one changes it. `parts`: says what
    an event counts in its part. Raises StoreDamaged where the end of a lane cannot be read: what can be is added."""
    if connection.info.transaction_status == TransactionStatus.INTRANS:
        _lock(connection)
    behind = connection.execute(_BEHIND).fetchall()
    if any(is_new for _, _, _, is_new in behind):
        connection.execute(
            "INSERT INTO otel_bridge.counted (lane, seq) SELECT lane, lane::bigint << 40 FROM otel_bridge.lane "
            "ORDER BY lane ON CONFLICT (lane) DO NOTHING"
        )
    until = {lane: newest for lane, _, newest, _ in behind}  # what comes meanwhile is the next call's
    total = 0
    while any(seq < until.get(lane, 0) for lane, seq, _, _ in behind):
        if connection.info.transaction_status == TransactionStatus.INTRANS:
            total += _step(connection, parts)
        else:
            with connection.transaction():
                total += _step(connection, parts)
        behind = connection.execute(_BEHIND).fetchall()
    return total


def _step(connection: Connection, parts: Parts) -> int:
    """In a transaction. Returns how many records it has added: 0 where another one has."""
    before = _lock(connection)
    behind = [(lane, before[lane]) for lane, *_ in connection.execute(_BEHIND).fetchall() if lane in before]
    runs, positions, unreadable = _read(connection, behind)
    segments = list(heapq.merge(*runs, key=lambda segment: segment.arrived_us))
    if not segments:
        if unreadable is not None:
            raise unreadable
        return 0
    _write(connection, [added(_decoded(one.body), parts) for one in segments if not one.damaged], parts)
    connection.execute(_MOVE, (int4_array([*positions]), int8_array([*positions.values()])))
    return sum(one.size for one in segments)


def _lock(connection: Connection) -> dict[int, int]:
    """Up to where each lane is counted; nobody else counts until the transaction ends."""
    connection.execute(_BOUNDS, (f"{HALTED_SECONDS * 1000:.0f}", f"{HALTED_SECONDS * 2000:.0f}"))
    return dict(connection.execute(_LOCKED).fetchall())


def _read(
    connection: Connection, behind: Iterable[tuple[int, int]]
) -> tuple[list[list[Segment]], dict[int, int], StoreDamaged | None]:
    """What follows in each of these lanes, up to where that is, and why a lane could not be read."""
    reading = Segments(connection)
    runs: list[list[Segment]] = []
    positions: dict[int, int] = {}
    unreadable: StoreDamaged | None = None
    for lane, seq in behind:
        try:
            run = reading.read(seq, STEP_SEGMENTS, STEP_BYTES)
        except StoreDamaged as error:
            unreadable = error
            continue
        if run:
            for segment in run:
                if segment.damaged:
                    log.error("records up to %d are damaged: the totals of their sessions lack them", segment.last)
            runs.append(run)
            positions[lane] = run[-1].last
    return runs, positions, unreadable


def _write(connection: Connection, more: Sequence[Added], parts: Parts) -> None:
    ids = list({row[0] for one in more for row in one.sessions})
    if not ids:
        return
    tallies = Tallies(connection.execute(_ROWS, (bytea_array(ids),), binary=True))
    for one in more:
        tallies.add(one, parts)
    connection.execute(_ADD_SESSIONS, _session_values(tallies.sessions.values()))
    if tallies.usage:
        hours, gpts, users = zip(*tallies.usage, strict=True)
        events, tokens = zip(*tallies.usage.values(), strict=True)
        connection.execute(
            _ADD_USAGE,
            (int8_array(hours), text_array(gpts), text_array(users), int8_array(events), int8_array(tokens)),
        )


def _session_values(rows: Iterable[Row]) -> list[bytes]:
    """As `_ADD_SESSIONS` takes them."""
    pack: dict[int, Callable[[Sequence[Any]], bytes]] = {0: bytea_array, 1: text_array, 2: text_array}
    columns = enumerate(zip(*rows, strict=True))
    return [pack.get(number, int8_array)(column) for number, column in columns if number not in _NOT_ADDED]


def _decoded(body: bytes) -> list[Record]:
    try:
        return decode(body)
    except msgspec.DecodeError as error:  # its checksum matches
        raise StoreError(
            "the journal has records that this release cannot read: a newer one has written them",
            "Usa la versión más nueva en todas las réplicas.",
        ) from error


# --- what is not added yet --------------------------------------------------------------------------------------------


def session_with_tail(connection: Connection, session_id: bytes, parts: Parts = PARTS) -> Row | None:
    """A session's row (`COLUMNS`) with what is committed and not counted yet; None: there is no such session."""
    ((bodies, *row),) = connection.execute(_WITH_TAIL, (session_id, session_id), binary=True).fetchall()
    tallies = Tallies([row] if row[0] is not None else [])
    for body in bodies or ():
        own = [record for record in _decoded(body) if _session_of(record) == session_id]
        if own:
            tallies.add(added(own, parts), parts)
    return tallies.sessions.get(session_id)


def fills(connection: Connection, ids: Sequence[bytes]) -> list[tuple[bytes, int]]:
    """How far the parts of these sessions are filled (`journal/parts.py`), of those that exist: without what is not
    counted yet, which is what came within about a second."""
    return connection.execute(_FILLS, (bytea_array(ids),), binary=True).fetchall()


def long_fills(connection: Connection) -> list[tuple[bytes, int]]:
    """The same of the live sessions that have filled half a part: few. A replica that asks for them about once a second
    knows in time of every session that others fill."""
    return connection.execute(_LONG, binary=True).fetchall()


def _session_of(record: Record) -> bytes | None:
    if isinstance(record, Event):
        return record.session
    return record.id if isinstance(record, Session) else None
