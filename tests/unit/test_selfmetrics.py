"""What the bridge counts of itself."""

from __future__ import annotations

from itertools import permutations

from otel_bridge import catalog, errors
from otel_bridge.metrics.own import NOTHING, OwnCounts, SelfMetrics, dump, since, total


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


def counted(seconds: float, refused: int = 0) -> OwnCounts:
    own = SelfMetrics()
    own.observe("/api/events", "POST", 201, seconds)
    own.rejected("event", errors.INVALID_DATA, refused)
    return own.counts()


def test_the_sum_of_replicas_is_the_same_in_whatever_order_they_come() -> None:
    """Added with `+` it is not: one that comes back in another place would let the sum fall."""
    key = "/api/events", "POST", "201"
    orders = [*permutations((0.1, 0.2, 0.3, 1e6))]
    assert len({sum(order) for order in orders}) > 1
    assert {total(map(counted, order)).durations[key][-1] for order in orders} == {1000000.6}


def test_what_replicas_count_is_added_by_label_set() -> None:
    added = total([counted(0.1, 2), counted(0.1, 3), NOTHING])
    assert added.records["event", "rejected", errors.INVALID_DATA.type] == 5
    assert sum(added.durations["/api/events", "POST", "201"][:-1]) == 2


def test_what_was_counted_since_a_moment_and_what_was_before_are_all() -> None:
    before, now = counted(0.1, 2), counted(0.1, 5)
    assert since(now, before).records["event", "rejected", errors.INVALID_DATA.type] == 3
    assert total([before, since(now, before)]) == now
    assert since(now, NOTHING) == now
