"""What the bridge counts of itself."""

from __future__ import annotations

from otel_bridge import catalog, errors
from otel_bridge.metrics.own import SelfMetrics, dump


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
    row = own.counts().durations["/api/events", "POST", "201"]
    bounds = catalog.REQUEST_DURATION.buckets
    assert (row[0], row[1], row[len(bounds)]) == (1, 1, 1)
    assert abs(row[-1] - 11.0021) < 1e-9


def test_a_status_nobody_foresaw_is_a_label_too() -> None:
    own = SelfMetrics()
    own.observe("otra", "GET", 418, 0.1)
    assert ("otra", "GET", "418") in own.counts().durations


def test_answers_to_posts_stand_at_zero_from_the_start() -> None:
    durations = SelfMetrics(posts=["/api/events"]).counts().durations
    statuses = {status for route, method, status in durations if (route, method) == ("/api/events", "POST")}
    assert statuses >= {"200", "201", "207", *(str(error.status) for error in errors.ERROR_KINDS)}
    assert not any(any(row) for row in durations.values())


def test_counters_survive_a_dump_and_a_load() -> None:
    own = SelfMetrics()
    own.rejected("event", errors.INVALID_DATA, 3)
    own.duplicate("session")
    own.redactions.update({"email": 2})
    own.attempts.update({"ok": 5})
    own.observe("/api/events", "POST", 422, 0.003)
    again = SelfMetrics(posts=["/api/events"], redactions=["email", "phone"])
    again.observe("/api/events", "POST", 422, 0.003)
    again.load(dump(own.counts()))
    now = again.counts()
    assert (now.records, now.attempts) == (own.records, own.attempts)
    assert now.redactions == {"email": 2, "phone": 0}
    assert now.durations["/api/events", "POST", "422"] == own.counts().durations["/api/events", "POST", "422"]
