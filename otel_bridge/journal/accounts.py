"""What the records of one commit add to their sessions and to the usage of their hours."""

from __future__ import annotations

from typing import Any

from otel_bridge.ids import DAY_US
from otel_bridge.journal.parts import as_sent
from otel_bridge.records import (
    UNMEASURED_LATENCY,
    UNMEASURED_TOKENS_IN,
    UNMEASURED_TOKENS_OUT,
    Event,
    Record,
    Session,
)

HOUR_US = 3_600 * 1_000_000

Late = tuple[int, str, str, int, int]
"""Usage that is taken off again: hour, GPT, user, events, tokens."""
Unmeasured = tuple[bytes, int, int, int]
"""A session, and how many events without a latency, tokens in and tokens out it gets."""
Accounts = tuple[list[list[Any]], list[Late], list[Unmeasured]]
"""Rows of sessions, of usage that is taken off again, and of what nobody measured."""


def active_us(session: Session) -> int:
    """When a session was active, before its first event: as it arrived, or as it began where it is history."""
    return min(session.started_us, session.arrived_us) if session.historic else session.arrived_us


def accounts(
    records: list[Record], digests: dict[bytes, bytes], event_bytes: int, tool_bytes: int
) -> tuple[list[list[Any]], list[Late], list[Unmeasured], set[bytes]]:
    """What the records add to their sessions, a row each, however many records (the last column: bytes of their
    events); what of that is no usage of its hour, since it happened more than a day before it arrived; what nobody
    measured of it; and which sessions they create."""
    created: set[bytes] = set()
    sessions: dict[bytes, list[Any]] = {}
    late: dict[bytes, list[Event]] = {}
    partly: list[Event] = []
    for record in records:
        if record.__class__ is Event:
            row = sessions.get(record.session)
            end_us, arrived_us, content = record.end_us, record.arrived_us, record.content
            size = event_bytes if content is None else event_bytes + len(as_sent(content))
            if end_us < arrived_us - DAY_US:
                late.setdefault(record.session, []).append(record)
            if record.extras is not None:
                size += len(record.extras.tools) * tool_bytes
                if record.extras.unmeasured:
                    partly.append(record)
            if row is None:
                sessions[record.session] = [
                    record.session, record.gpt, record.user, end_us, arrived_us, end_us, end_us, 1,
                    record.error is not None, record.tokens_in, record.tokens_out, end_us, 1, 1, None,
                    end_us, end_us if end_us < arrived_us else arrived_us, size,
                ]  # fmt: skip
                continue
            first = row[5]
            if first is None or end_us < first:
                row[5] = end_us
            if first is None or end_us > row[6]:
                row[6] = end_us
            row[17] += size
            row[7] += 1
            row[9] += record.tokens_in
            row[10] += record.tokens_out
            if record.error is not None:
                row[8] += 1
            # The first and the last event of the period, as `grouping` merges those of two commits.
            last, a_day_ago = row[15], arrived_us - DAY_US
            if last is None or (last <= a_day_ago < end_us):
                row[11] = row[15] = end_us
            elif end_us > a_day_ago or (last <= a_day_ago and max(last, end_us) - min(row[11], end_us) <= DAY_US):
                if end_us > last:
                    row[15] = end_us
                elif end_us < row[11]:
                    row[11] = end_us
            elif last < end_us:
                row[11] = row[15] = end_us
            if end_us > row[16]:
                row[16] = end_us if end_us < arrived_us else arrived_us
        elif record.__class__ is Session:
            created.add(record.id)
            sessions[record.id] = [
                record.id, record.gpt, record.user, record.started_us, record.arrived_us, None, None, 0, 0,
                0, 0, None, 0, 1, digests.get(record.id), None, active_us(record), 0,
            ]  # fmt: skip
    for row in sessions.values():
        row[12] = row[7]
    usage = [_late_usage(sessions[session], events) for session, events in late.items()]
    return list(sessions.values()), usage, _unmeasured(partly), created


def _late_usage(row: list[Any], events: list[Event]) -> Late:
    """Usage (hour, GPT, user, events, tokens) within what a session's row adds."""
    return row[4] // HOUR_US, row[1], row[2], len(events), sum(e.tokens_in + e.tokens_out for e in events)


def _unmeasured(events: list[Event]) -> list[Unmeasured]:
    found: dict[bytes, Unmeasured] = {}
    for event in events:
        assert event.extras is not None
        bits = event.extras.unmeasured
        session, latency, tokens_in, tokens_out = found.get(event.session) or (event.session, 0, 0, 0)
        found[session] = (
            session,
            latency + bool(bits & UNMEASURED_LATENCY),
            tokens_in + bool(bits & UNMEASURED_TOKENS_IN),
            tokens_out + bool(bits & UNMEASURED_TOKENS_OUT),
        )
    return list(found.values())
