"""What PostgreSQL has of all lanes, beside what was acknowledged, counted and delivered."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from otel_bridge.journal.postgres import schema
from otel_bridge.records import Event, Idle, Session, decode
from tests.chaos.ledger import Account, Ledger, compare
from tests.harness.fleet import Fleet
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle

Sql = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on the journal's database."""


def journaled(sql: Sql) -> tuple[Counter[bytes], Counter[bytes]]:
    """Every session and event of every lane, by id. Lanes have no gaps, and end where their rows say."""
    sessions: Counter[bytes] = Counter()
    events: Counter[bytes] = Counter()
    ends: dict[int, tuple[int, int]] = {}
    for last, count, crc, total, body in sql(
        "SELECT last, count, crc, total, body FROM otel_bridge.segment ORDER BY last"
    ):
        lane = schema.lane_of(last)
        before, spans = ends.get(lane, (schema.base(lane), 0))
        assert zlib.crc32(body) == crc and last - count == before, (lane, last, count, before)
        records = decode(body)
        assert len(records) == count
        for record in records:
            if isinstance(record, Session):
                sessions[record.id] += 1
            elif isinstance(record, Event):
                events[record.id] += 1
            else:
                assert isinstance(record, Idle)
        ends[lane] = last, spans + sum(1 for record in records if not isinstance(record, Idle))
        assert ends[lane][1] == total, (lane, last, total)
    lanes = sql("SELECT lane, last, total FROM otel_bridge.lane")
    assert {lane: (last, total) for lane, last, total in lanes if last != schema.base(lane)} == ends
    return sessions, events


def totals(sql: Sql) -> tuple[int, int]:
    """Events of all sessions, and of the hours' usage, once they are caught up with."""
    events = sql("SELECT coalesce(sum(events), 0)::int8 FROM otel_bridge.session")[0][0]
    usage = sql("SELECT coalesce(sum(events), 0)::int8 FROM otel_bridge.usage")[0][0]
    return int(events), int(usage)


def account(fleet: Fleet, sql: Sql, ledger: Ledger, receiver: OtlpReceiver, timeout: float = 90) -> Account:
    """Once nothing waits: compares all sides. All of it was delivered or is parked."""
    settle(fleet, timeout)
    return compare(fleet, journaled(sql), ledger, receiver)
