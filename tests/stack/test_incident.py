"""One incident through the real stack: traffic, slow answers, the page, the boards meanwhile, the resolve.

bridge ─▶ Prometheus ─▶ Alertmanager ─▶ a receiver of its webhook, all with the shipped files (`deploy.native.shorten`
divides their waits by 60).
"""

from __future__ import annotations

import math
import threading
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from deploy.native.stack import Stack, get_json
from grafana.boards import EXPECTED_EMPTY, Query, queries
from grafana.boards.queries import ONLY_EXEMPLARS, ONLY_UNMEASURED, ONLY_WITHOUT_TRAFFIC
from otel_bridge.commands.api import Api
from otel_bridge.commands.traffic import Traffic, post_traffic
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

GPT = "devops-expert"
FACTOR = 60
ALERT = "GPTLatencyBudgetBurn"
EMPTY_HERE = {
    ("gpt-resumen", "Sesiones activas por día"): "its bars need a midnight to have passed",
    ("gpt-resumen", "Sesiones activas por semana"): "its bars need a Monday",
    ("gpt-resumen", "Sesiones activas por mes"): "its bars need a first of month",
    ("otel-bridge-salud", "Alertas activas"): "the GPT is slow, not the bridge",
    ("otel-bridge-salud", "Rechazos por motivo"): "nothing is rejected",
    ("otel-bridge-salud", "Rechazos del intervalo"): "nothing is rejected",
    ("otel-bridge-salud", "Historia traída"): "no history is brought",
}
"""All the others have data while this incident lasts, those of EXPECTED_EMPTY too."""
UNPRICED = {("gpt-resumen", "Coste (24 h)", "sinprecio"), ("gpt-resumen", "Cómo va cada GPT", "I")}
"""Every model here has a price."""
ALL_MEASURED = {("gpt-resumen", "Cómo va cada GPT", "J")}
"""No event here comes without its numbers."""
NO_OBJECTIVE = {
    ("gpt-slo", "Tiempo hasta el primer token", "objetivo"),
    ("gpt-slo", "Primer token de cada GPT", "C"),
    ("gpt-slo", "Primer token de cada GPT", "D"),
    ("gpt-slo", "Primer token de cada GPT", "E"),
}
"""The shipped GPT has none of the first token."""
SAME_JOURNAL = {("otel-bridge-salud", "Reinicios", "B")}
"""The journal here is the one that was left."""
SCRAPED = {("otel-bridge-salud", "Peticiones al almacén de trazas", "B")}
"""No metrics are pushed here."""
EMPTY_WHILE_ALL_IS_WELL = (ONLY_WITHOUT_TRAFFIC, ONLY_UNMEASURED, ONLY_EXEMPLARS)
"""Refs of queries that draw nothing while there is traffic: Prometheus takes them, that is all to see here."""


@dataclass
class Incident:
    """What was seen while it went on."""

    stack: Stack
    before: list[dict[str, Any]] = field(default_factory=list)
    """Pages before it began."""
    panels: dict[tuple[str, int, str], list[Any]] = field(default_factory=dict)
    """(board, panel id, ref) → the result of the panel's query while the alert fired."""
    errors: dict[str, str] = field(default_factory=dict)
    """Queries that Prometheus refused."""
    firing: list[dict[str, Any]] = field(default_factory=list)
    resolved: list[dict[str, Any]] = field(default_factory=list)
    counted: float = 0.0
    posted: int = 0


def ask(stack: Stack, query: Query) -> list[Any]:
    """As Grafana asks: an instant, or the last five minutes."""
    base, now = stack.prometheus_url, time.time()
    if query.instant:
        document = get_json(f"{base}/api/v1/query", query=query.expr, time=f"{now}")
    else:
        span = {"start": f"{now - 300}", "end": f"{now}", "step": "5"}
        document = get_json(f"{base}/api/v1/query_range", query=query.expr, **span)
    found: list[Any] = document["data"]["result"]
    return found


@pytest.fixture(scope="module")
def incident(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Incident]:
    # Ports of its own: on the documented ones `make demo` of another test may come to listen.
    stack = Stack(
        tmp_path_factory.mktemp("stack") / "run",
        FACTOR,
        optional=(),
        free=lambda wanted: free_port(),
        OTEL_BRIDGE_IDLE_AFTER_SECONDS="2",
        OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="1",
    )
    traffic = Traffic(Api(stack.bridge_url), GPT, rate=40, hour=10, seed=1)
    stop = threading.Event()
    posting = threading.Thread(target=post_traffic, args=(traffic, lambda text: None), kwargs={"stop": stop})
    seen = Incident(stack)
    try:
        stack.start()
        pager = stack.pager
        assert pager is not None
        posting.start()
        wait_for(lambda: stack.value(f"sum(gpt:gpt_slo_events:rate5m{{gen_ai_agent_id='{GPT}'}})") > 10, "traffic", 40)
        wait_for(lambda: stack.query("gpt:gpt_slo_budget:remaining30d"), "a recorded budget", 40)
        seen.before = pager.alerts(ALERT, "firing")
        traffic.slow.set()
        wait_for(lambda: pager.alerts(ALERT, "firing", "/guardia"), "the page", 60)
        seen.firing = pager.alerts(ALERT, "firing", "/guardia")
        for query in queries():
            try:
                seen.panels[query.board, query.panel_id, query.ref] = ask(stack, query)
            except urllib.error.HTTPError as error:
                seen.errors[f"{query.board} «{query.panel}» {query.ref}: {query.expr}"] = error.read().decode()
        traffic.slow.clear()
        wait_for(lambda: pager.alerts(ALERT, "resolved", "/guardia"), "the resolve", 60)
        seen.resolved = pager.alerts(ALERT, "resolved", "/guardia")
        stop.set()
        posting.join(20)
        seen.posted = traffic.tally.events
        counted = f'sum(gen_ai_client_operation_duration_seconds_count{{gen_ai_agent_id="{GPT}"}})'
        wait_for(lambda: stack.value(counted) >= seen.posted, "a scrape of the last event", 20)
        seen.counted = stack.value(counted)
        yield seen
    finally:
        stop.set()
        if posting.is_alive():
            posting.join(20)
        stack.stop()


# --- from slow posts to a page --------------------------------------------------------------------------------------


def test_nobody_is_paged_while_answers_are_quick(incident: Incident) -> None:
    assert incident.before == []


def test_slow_posts_page_the_person_on_call(incident: Incident) -> None:
    labels = incident.firing[0]["labels"]
    assert {key: labels[key] for key in ("alertname", "gen_ai_agent_id", "severity", "ventana")} == {
        "alertname": ALERT,
        "gen_ai_agent_id": GPT,
        "severity": "page",
        "ventana": "1h",
    }
    assert not {"grafana_url", "docs_url"} & set(labels)


def test_the_page_says_what_where_and_what_to_do(incident: Incident) -> None:
    texts = incident.firing[0]["annotations"]
    assert GPT in texts["summary"]
    assert "99%" in texts["description"] and "5s" in texts["description"], "the objective, from the bridge's series"
    assert texts["dashboard_url"] == f"{incident.stack.grafana_url}/d/gpt-slo?var-gpt={GPT}"
    assert not texts.get("runbook_url"), "nobody said where the pages are: no link, and not half of one"


def test_when_it_is_over_the_same_page_is_resolved(incident: Incident) -> None:
    prints = {alert["fingerprint"] for alert in incident.firing}
    assert {alert["fingerprint"] for alert in incident.resolved} <= prints


def test_one_cause_pages_once(incident: Incident) -> None:
    """The tickets that slow answers also cause are inhibited by the page. A machine that is too busy for a scrape is
    another cause, and pages by another alert."""
    assert incident.stack.pager is not None
    paged = {alert["labels"]["alertname"] for _, path, m in incident.stack.pager.messages if path == "/guardia"
             for alert in m["alerts"]}  # fmt: skip
    assert {name for name in paged if name.startswith("GPT")} == {ALERT}
    assert incident.stack.pager.refused == 0, "Alertmanager bears the token of its file"


def test_every_post_is_counted_in_prometheus(incident: Incident) -> None:
    assert incident.counted == incident.posted


# --- boards -----------------------------------------------------------------------------------------------------------


def test_prometheus_takes_every_query_of_every_panel(incident: Incident) -> None:
    assert incident.errors == {}


def has_data(result: list[Any]) -> bool:
    values = [value for series in result for _, value in series.get("values") or [series["value"]]]
    return any(not math.isnan(float(value)) for value in values)


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.board}-{query.panel_id}{query.ref}")
def test_a_panel_has_data(incident: Incident, query: Query) -> None:
    if (
        (query.board, query.panel) in EMPTY_HERE
        or query.ref in EMPTY_WHILE_ALL_IS_WELL
        or (query.board, query.panel, query.ref) in UNPRICED | SAME_JOURNAL | SCRAPED | ALL_MEASURED | NO_OBJECTIVE
    ):
        return
    assert has_data(incident.panels.get((query.board, query.panel_id, query.ref), [])), (
        f"«{query.panel}» {query.ref} is empty: {query.expr}"
    )


def test_what_is_empty_here_is_said_to_be_so_and_exists() -> None:
    panels = {(query.board, query.panel) for query in queries()}
    assert set(EMPTY_HERE) <= set(EXPECTED_EMPTY) <= panels
