"""What the bridge counts of itself."""

from __future__ import annotations

from otel_bridge import catalog, errors
from otel_bridge.metrics.own import SelfMetrics


def test_refusals_are_counted_by_kind_and_reason() -> None:
    own = SelfMetrics()
    own.rejected("event", errors.INVALID_DATA)
    own.rejected("event", errors.INVALID_DATA, 4)
    own.rejected("session", errors.GPT_NOT_FOUND)
    own.duplicate("event")
    assert {key: count for key, count in own.records.items() if count} == {
        ("event", "rejected", "urn:otel-bridge:datos-invalidos"): 5,
        ("session", "rejected", "urn:otel-bridge:gpt-no-encontrado"): 1,
        ("event", "duplicate", ""): 1,
    }


def test_an_answers_time_falls_in_its_bucket() -> None:
    own = SelfMetrics()
    for seconds in (0.001, 0.0011, 11.0):
        own.observe("/api/events", "POST", 201, seconds)
    row = own.durations[("/api/events", "POST", "201")]
    bounds = catalog.REQUEST_DURATION.buckets
    assert (row[0], row[1], row[len(bounds)]) == (1, 1, 1)
    assert abs(row[-1] - 11.0021) < 1e-9


def test_a_status_nobody_foresaw_is_a_label_too() -> None:
    own = SelfMetrics()
    own.observe("otra", "GET", 418, 0.1)
    assert ("otra", "GET", "418") in own.durations


def test_counters_survive_a_dump_and_a_load() -> None:
    own = SelfMetrics()
    own.rejected("event", errors.INVALID_DATA, 3)
    own.duplicate("session")
    own.redactions.update({"email": 2})
    own.attempts.update({"ok": 5})
    again = SelfMetrics()
    again.load(own.dump())
    assert (again.records, again.redactions, again.attempts) == (own.records, own.redactions, own.attempts)
    assert again.dump() == own.dump()
