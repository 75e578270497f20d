"""What is recorded for the boards: of which series, and that no other software's series are taken for the bridge's."""

from __future__ import annotations

import pytest
from prometheus_files import BOARD_RULES, Rule, parse

from otel_bridge import catalog

FIRST = ":first5m"
COUNTERS = {
    series
    for metric in catalog.METRICS
    if metric.type in {"counter", "histogram"}
    for series in metric.series
    if series not in {f"{catalog.TOKEN_USAGE.name}_bucket", f"{catalog.TOKEN_USAGE.name}_count"}
    and series not in {catalog.WORKER_RESTARTS.name, catalog.METRICS_PUSHES.name}
}
"""What boards take totals of. No board counts requests by tokens; what a process counts of itself begins with it."""
BRIDGE = catalog.BUILD_INFO.name
SHARED = 'gen_ai_agent_id!="", event_type!=""'


def test_the_first_value_of_every_counter_that_a_board_adds_up_is_recorded() -> None:
    recorded = [rule.name for rule in BOARD_RULES if rule.name.endswith(FIRST)]
    assert set(recorded) == {name + FIRST for name in (*COUNTERS, BRIDGE)}
    assert recorded[-1] == BRIDGE + FIRST, "where a bridge's beginning is known, those of its series are"


@pytest.mark.parametrize("rule", [r for r in BOARD_RULES if r.name.removesuffix(FIRST) in COUNTERS], ids=str)
def test_a_first_value_is_recorded_of_the_bridges_own_series_and_keeps_their_labels(rule: Rule) -> None:
    counter = rule.name.removesuffix(FIRST)
    selector = f"{counter}{{{SHARED}}}" if counter.startswith("gen_ai_") else counter
    assert rule.expr == f"min_over_time({selector}[5m]) unless last_over_time({selector}[2m] offset 5m)"
    assert {name for name, _ in parse(rule.expr).selectors} == {counter}
