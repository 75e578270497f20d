"""Every metric and label that a board names is in the catalog, and every metric of the catalog is on a board."""

import re
from typing import Any

import pytest

from grafana.boards import EXPECTED_EMPTY, may_be_empty, queries, trace_queries
from grafana.boards.names import names
from otel_bridge import catalog

FROM_PROMETHEUS = {
    "up": {"cluster", "namespace", "job", "instance"},
    "ALERTS": {"alertname", "alertstate", "severity", "gen_ai_agent_id", "job", "instance"},
    "ALERTS_FOR_STATE": {"alertname", "severity", "gen_ai_agent_id", "job", "instance"},
}
TARGET = {"cluster", "namespace", "job", "instance", "le"}


def labels_of_catalog() -> dict[str, set[str]]:
    """Series → the labels it may have in Prometheus."""
    known = {name: set(labels) for name, labels in FROM_PROMETHEUS.items()}
    for metric in catalog.METRICS:
        for series in metric.series:
            known[series] = {*metric.labels, *TARGET}
    return known


@pytest.mark.parametrize(
    ("expr", "metrics", "labels", "made"),
    [
        ("up", {"up"}, set(), set()),
        ('sum by (a, b) (rate(x_total{c="d", e=~"$f"}[$__rate_interval]))', {"x_total"}, {"a", "b", "c", "e"}, set()),
        ("sum(rate(x_total[5m])) by (a)", {"x_total"}, {"a"}, set()),
        ('label_replace(vector(0), "k", "none", "", "")', set(), set(), {"k"}),
        ('a:b:c / on (x) group_left (y) max by (x) (d{e!=""})', {"a:b:c", "d"}, {"x", "y", "e"}, set()),
        ('count_values("v", max(g)) > 1.5e3 or on () vector(1)', {"g"}, set(), {"v"}),
        ("1 - avg_over_time(x[30d:2m]) offset -1d", {"x"}, set(), set()),
        ('x{l="metric_like{a=b}"} unless y', {"x", "y"}, {"l"}, set()),
        ('topk by (a) (3, x) and ignoring (z) y{q="r"}', {"x", "y"}, {"a", "z", "q"}, set()),
    ],
)
def test_names_are_read_from_promql(expr: str, metrics: set[str], labels: set[str], made: set[str]) -> None:
    found = names(expr)
    assert (found.metrics, found.labels, found.made) == (metrics, labels, made)


def test_what_is_no_promql_is_refused() -> None:
    with pytest.raises(ValueError, match="no token"):
        names("sum(x) ~ ;")


def check(expr: str, known: dict[str, set[str]]) -> list[str]:
    """What an expression names that nobody provides."""
    found = names(expr)
    wrong = [f"metric {metric}" for metric in found.metrics if metric not in known]
    anywhere = {*found.made, *(label for metric in found.metrics for label in known.get(metric, ()))}
    wrong += [f"label {label}" for label in found.labels if label not in anywhere]
    for metric, matched in found.matched.items():
        wrong += [f"{metric}{{{label}}}" for label in matched if label not in known.get(metric, set())]
    return wrong


@pytest.fixture(scope="session")
def known(rules: dict[str, str]) -> dict[str, set[str]]:
    """The catalog's series and those that the rules record, with what each may be labelled."""
    series = labels_of_catalog()
    for record, expr in rules.items():
        found = names(expr)
        # What aggregates nothing keeps the labels of what it reads.
        is_whole = not re.search(r"\bby \(", expr)
        kept = {label for metric in found.metrics for label in series.get(metric, ()) if is_whole}
        series[record] = {*found.labels, *found.made, *catalog.AGENT, *kept}
    return series


def test_every_name_in_a_panel_is_known(known: dict[str, set[str]]) -> None:
    wrong = {(query.board, query.panel, query.ref): check(query.expr, known) for query in queries()}
    assert {where: what for where, what in wrong.items() if what} == {}


def test_every_name_in_a_recording_rule_is_known(known: dict[str, set[str]], rules: dict[str, str]) -> None:
    wrong = {record: check(expr, known) for record, expr in rules.items()}
    assert {record: what for record, what in wrong.items() if what} == {}


def test_every_name_in_a_variable_is_known(boards: dict[str, Any], known: dict[str, set[str]]) -> None:
    asked = 0
    for board in boards.values():
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert match, variable["name"]
            (metric,) = names(match[1]).metrics
            assert check(match[1], known) == []
            assert match[2] in known[metric]
            asked += 1
    assert asked


def test_every_name_in_an_annotation_is_known(boards: dict[str, Any], known: dict[str, set[str]]) -> None:
    for board in boards.values():
        for annotation in board["annotations"]["list"]:
            if "expr" in annotation.get("target", {}):
                assert check(annotation["target"]["expr"], known) == []


def test_every_metric_of_the_catalog_is_on_a_board(rules: dict[str, str]) -> None:
    asked = {metric for query in queries() for metric in names(query.expr).metrics}
    for _ in range(2):  # an increase is of what was seen, which is of the counter
        asked |= {metric for record in asked if record in rules for metric in names(rules[record]).metrics}
    missing = [metric.name for metric in catalog.METRICS if not asked & set(metric.series)]
    assert missing == []


def test_no_total_is_extrapolated() -> None:
    """`increase` loses a series' first value and makes up the window's ends. Only what falls at a restart needs it."""
    for query in queries():
        for match in re.finditer(r"increase\((\w+)", query.expr):
            assert match[1] == catalog.WORKER_RESTARTS.name, f"{query.board}: {query.panel}"


def test_label_values_that_a_board_names_exist() -> None:
    allowed = {
        "window": set(catalog.WINDOWS),
        "gen_ai_token_type": {"input", "output"},
    }
    for query in queries():
        for label, values in allowed.items():
            for value in re.findall(rf'{label}="([^"]*)"', query.expr):
                assert value in values, f"{query.board}: {query.panel}: {label}={value}"
        for value in re.findall(r'result=~?"([^"]*)"', query.expr):
            assert value in {
                *catalog.FEEDBACK_RESULTS, "slow", "failed", "ok", "error", "accepted", "duplicate", "rejected"
            }  # fmt: skip


def test_traceql_names_only_attributes_of_the_catalog() -> None:
    resources = {catalog.SERVICE_NAME, catalog.SERVICE_NAMESPACE}
    for query in trace_queries():
        for scope, name in re.findall(r"\b(span|resource)\.([\w.]+)", query.expr):
            assert name in (resources if scope == "resource" else catalog.SPAN_ATTRIBUTES), f"{query.panel}: {name}"


def test_what_may_be_empty_is_on_a_board() -> None:
    panels = {(query.board, query.panel) for query in queries()}
    assert [key for key in EXPECTED_EMPTY if key not in panels] == []
    assert all(may_be_empty(query) for query in queries() if (query.board, query.panel) in EXPECTED_EMPTY)
    assert any(may_be_empty(query) is None for query in queries())
