"""Which objective is proposed, from answers whose result is known."""

from __future__ import annotations

from otel_bridge import catalog
from otel_bridge.objectives import rules
from otel_bridge.objectives.minutes import MINUTE_US, NICE, Minutes, over
from otel_bridge.objectives.suggestion import suggest

BOUNDS = (*NICE, *catalog.OPERATION_DURATION.buckets, 1.7)


def answers(*of: tuple[int, float, bool], minutes: int = 3 * 1440) -> Minutes:
    """In each minute so many answers of so many seconds, failed or not."""
    counted = Minutes(BOUNDS)
    for minute in range(minutes):
        for count, seconds, failed in of:
            for _ in range(count):
                counted.add((30_000_000 + minute) * MINUTE_US, seconds, failed)
    return counted


def test_the_tightest_that_was_kept_without_a_page_is_proposed() -> None:
    found = suggest(answers((9, 0.9, False), (1, 1.4, False)), rules.latency, 0.99, 5.0)
    assert found.proposed is not None and found.proposed.seconds == 1.5 and found.proposed.kept == 1
    tighter = found.tighter
    assert tighter is not None and (tighter.seconds, round(tighter.budget, 6)) == (1.25, 10)
    assert tighter.fired.pages >= 1, "a tenth of bad answers burns ten times too fast, for six hours and more"
    assert {row.seconds for row in found.rows} >= {5.0, 1.25, 1.5}


def test_pages_that_a_looser_one_does_not_have_are_a_reason_against_it() -> None:
    counted = answers((10, 0.9, False))
    for minute in range(4000, 4060):  # a bad hour
        for _ in range(60):
            counted.add((30_000_000 + minute) * MINUTE_US, 1.2, False)
    found = suggest(counted, rules.latency, 0.9, None)
    kept = next(row for row in found.rows if row.seconds == 1.0)
    assert kept.budget < 1 and kept.fired.pages
    assert found.proposed is not None and (found.proposed.seconds, found.proposed.fired.pages) == (1.25, 0)


def test_pages_of_an_incident_that_any_objective_shows_are_none() -> None:
    counted = answers((10, 0.9, False))
    for minute in range(4000, 4060):
        for _ in range(60):
            counted.add((30_000_000 + minute) * MINUTE_US, 200, False)
    found = suggest(counted, rules.latency, 0.9, None)
    assert found.proposed is not None and found.proposed.seconds == 1.0 and found.proposed.fired.pages


def test_errors_alone_can_spend_the_budget() -> None:
    found = suggest(answers((24, 0.9, False), (1, 0.9, True)), rules.latency, 0.99, None)
    assert found.only_errors and found.proposed is None and all(row.budget >= 4 for row in found.rows)
    assert not suggest(answers((24, 0.9, False), (1, 0.9, True)), rules.latency, 0.95, None).only_errors


def test_few_answers_propose_nothing() -> None:
    assert suggest(answers((1, 0.9, False), minutes=99), rules.latency, 0.99, None).proposed is None


def test_an_objective_of_today_is_compared_whatever_it_is() -> None:
    found = suggest(answers((1, 0.9, False)), rules.latency, 0.99, 1.7)
    assert 1.7 in {row.seconds for row in found.rows}


def test_a_window_sums_the_last_minutes() -> None:
    assert over([1, 2, 3, 4], 2) == [1, 3, 5, 7]
    assert over([1, 2], 5) == [1, 3]
    assert over([], 5) == []


def test_a_duration_at_a_bound_is_within_it() -> None:
    counted = Minutes((1.0, 2.0))
    counted.add(0, 1.0)
    counted.add(MINUTE_US, 2.1, failed=True)
    assert counted.within(1.0) == 1 and counted.bad(1.0) == [0, 1] and counted.totals() == [1, 1]
    assert counted.durations(1, 5, (1.0, 2.0)) == [1, 0, 1]
    assert counted.durations(0, 5, (2.0,)) == [1, 0]
