"""A real Prometheus that scrapes a bridge and is pushed to by it holds the same series twice, with the same values."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import requests

from otel_bridge import catalog
from otel_bridge.catalog import Metric
from otel_bridge.metrics import otlp
from otel_bridge.metrics.shown import shown
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.prometheus import Prometheus
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.pushed.conftest import Start, pushing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

OURS = '__name__=~"(gen_ai|gpt|otel_bridge)_.+"'
MOVING = {catalog.METRICS_PUSHES.name}
"""Each push is one more."""
Series = dict[tuple[tuple[str, str], ...], float]

CONFIG = """
[gpts.devops-expert]
model = "gpt-6.2-sol"
prices = "shipped"
ttft_objective_seconds = 1.0
[gpts.otro]
"""


def series(prometheus: Prometheus, job: str, matching: str = OURS) -> Series:
    """Labels → value of all that came this way. `le` is told by its number: what is scraped is written `1.0`, what is
    pushed `1`."""
    found = {_key(one["metric"]): float(one["value"][1]) for one in prometheus.query(f'{{{matching}, job="{job}"}}')}
    return {key: value for key, value in found.items() if dict(key)["__name__"] not in MOVING}


def newest_exemplars(prometheus: Prometheus, job: str) -> dict[tuple[tuple[str, str], ...], tuple[str, str, str]]:
    """By series: trace, span and value of the last one. Which came before it, each way has seen by its own times."""
    found = {}
    for one in prometheus.query_exemplars(f'{{{OURS}, job="{job}"}}'):
        last = max(one["exemplars"], key=lambda exemplar: exemplar["timestamp"])
        found[_key(one["seriesLabels"])] = last["labels"]["trace_id"], last["labels"]["span_id"], last["value"]
    return found


def _key(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    told = {name: text for name, text in labels.items() if name not in ("job", "instance")}
    if "le" in told:
        told["le"] = repr(float(told["le"]))
    return tuple(sorted(told.items()))


def traffic(bridge: Bridge, errors: int = 2) -> None:
    """Of every kind that there are families for."""
    session = bridge.session()
    for i in range(20):
        fields: dict[str, Any] = {"latency_ms": 37 * i * i, "tokens_entrada": 10**i % 99_991, "tokens_salida": i}
        if i % 3 == 0:
            fields |= {"ttft_ms": 90 * i, "version": f"v{i % 2}", "tokens_razonamiento": 0}
            fields["herramientas"] = [{"nombre": "buscar", "ms": 12.5}]
        if i < errors:
            fields["error"] = f"codigo_{i}"
        answer = bridge.event(session, tipo=("consulta", "pipeline", "inventado")[i % 3], modelo=f"m{i % 2}", **fields)
        assert answer.status_code == 201, answer.text
    rated = bridge.http.post(f"{bridge.api}/events/{answer.json()['id']}/valoracion", json={"valor": 1}, timeout=10)
    assert rated.status_code in (200, 201), rated.text
    assert bridge.event(session, latency_ms=-1).status_code == 422
    assert bridge.post(f"/sessions/{session}/fin", None).status_code in (200, 201, 204)


def same(prometheus: Prometheus, matching: str = OURS) -> Series:
    """Waits until both ways hold the same, and returns it."""

    def found() -> Series:
        scraped, pushed = series(prometheus, "scraped", matching), series(prometheus, "otel-bridge", matching)
        differ = {key: (scraped.get(key), pushed.get(key)) for key in scraped.keys() | pushed.keys()}
        assert not (differ := {key: pair for key, pair in differ.items() if pair[0] != pair[1]}), differ
        return scraped

    return wait_for(found, "same series both ways", 60, pause=0.5)


def test_what_is_pushed_is_what_is_scraped(start: Start, tmp_path: Path) -> None:
    receiver = OtlpReceiver().start()
    environ = {**receiver.environ, "OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "0.2"}
    environ["OTEL_BRIDGE_JOURNAL_MAX_SIZE"] = "100MiB"  # else it is what the disk has room for, which others change
    bridge = Bridge(tmp_path, CONFIG, **environ)
    prometheus = start(f"127.0.0.1:{bridge.metrics_port}")
    bridge.environ |= pushing(prometheus.url)
    try:
        bridge.start()
        prometheus.wait_value("count(otel_bridge_series)", 2)
        traffic(bridge)
        settle(bridge)
        both = same(prometheus)
        assert len(both) > 1_000
        names = {dict(key)["__name__"] for key in both}
        all_names = {name for metric in catalog.METRICS for name in metric.series} - MOVING
        all_names -= {*catalog.UNMEASURED.series, *catalog.HISTORIC.series}  # over /mcp, and imported
        assert names == all_names, names ^ all_names
        (pushes,) = prometheus.query('otel_bridge_metrics_pushes_total{job="otel-bridge", result="ok"}')
        assert float(pushes["value"][1]) > 0

        # The newest exemplar of each bucket opens the same trace both ways.
        found = newest_exemplars(prometheus, "scraped")
        assert len(found) > 10 and found == newest_exemplars(prometheus, "otel-bridge")

        # A label set that is new while both look on begins at 0 for both.
        for metric in ("gpt_sessions_total", "gen_ai_client_operation_duration_seconds_count"):
            query = f'min_over_time({metric}{{gen_ai_request_model="m1", job="JOB"}}[5m])'
            for job in ("scraped", "otel-bridge"):
                for one in prometheus.query(query.replace("JOB", job)):
                    assert float(one["value"][1]) == 0, one

        # One that is no more (a user who is not among the busiest any more) ends for both, and not five minutes later.
        before = {dict(key)["user_hash"] for key in both if "user_hash" in dict(key)}
        for user in range(12):
            session = bridge.session(usuario_id=f"otro{user}")
            for _ in range(21):
                assert bridge.event(session).status_code == 201
        settle(bridge)
        prometheus.wait_value("count(gpt_top_user_events > 20)", 2 * catalog.TOP_USERS)
        after = {dict(key)["user_hash"] for key in same(prometheus) if "user_hash" in dict(key)}
        assert before.isdisjoint(after) and len(after) == catalog.TOP_USERS
        assert bridge.stop() == 0
    finally:
        bridge.close()
        receiver.close()


def test_counters_never_fall_when_the_bridge_is_killed(start: Start, tmp_path: Path) -> None:
    receiver = OtlpReceiver().start()
    prometheus = start()
    bridge = Bridge(tmp_path, CONFIG, **receiver.environ, **pushing(prometheus.url))
    accepted = 'sum(otel_bridge_records_total{kind="event", result="accepted"})'
    try:
        bridge.start()
        for n in range(1, 4):
            traffic(bridge, errors=n)
            prometheus.wait_value(accepted, 20 * n)
            bridge.kill()
            bridge.start()
        traffic(bridge)
        prometheus.wait_value(accepted, 80)
        # What a process counts of itself begins with it; all else has one series and has only grown.
        for metric in catalog.METRICS:
            if metric.type != "gauge" and metric.name not in catalog.OF_EACH_PROCESS:
                for name in metric.series:
                    assert prometheus.query(f"resets({name}[10m]) > 0") == []
        instances = prometheus.query(f"count by (instance) ({{{OURS}}})")
        assert len(instances) == 1 and instances[0]["metric"]["instance"]
        assert prometheus.value("count(count by (job) (gpt_sessions_total))") == 1
    finally:
        bridge.close()
        receiver.close()


@pytest.mark.parametrize(
    "strategy",
    [
        "UnderscoreEscapingWithSuffixes",
        "UnderscoreEscapingWithoutSuffixes",
        "NoUTF8EscapingWithSuffixes",
        "NoTranslation",
    ],
)
def test_every_name_is_the_same_however_a_receiver_translates(start: Start, strategy: str) -> None:
    prometheus = start(strategy=strategy)
    families = [shown(metric, [(_labels(metric), _value(metric))]) for metric in catalog.METRICS]
    whose = otlp.resources("otel-bridge", [], "one", None)
    now = time.time_ns()
    (request,) = otlp.requests(families, [], whose, otlp.Times(now, now - 10**9, now - 10**9), 1 << 20)
    answer = requests.post(
        f"{prometheus.url}/api/v1/otlp/v1/metrics",
        data=request.SerializeToString(),
        headers={"Content-Type": "application/x-protobuf"},
        timeout=10,
    )
    assert answer.status_code == 200, answer.text
    found = {one["metric"]["__name__"]: one["metric"] for one in prometheus.query(f"{{{OURS}}}")}
    assert found.keys() == {name for metric in catalog.METRICS for name in metric.series}
    for metric in catalog.METRICS:
        labels = found[metric.series[0]].keys() - {"__name__", "job", "instance", "le"}
        assert labels == {*metric.labels}, metric.name


def _labels(metric: Metric) -> tuple[str, ...]:
    return tuple(f"a {name}" for name in metric.labels)


def _value(metric: Metric) -> Any:
    if metric.type == "histogram":
        return [1] * (len(metric.buckets) + 1), 3.5, []
    return 1
