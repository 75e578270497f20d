"""Replicas over one journal push: what they share is one series whoever is steward, as it is where they are scraped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from otel_bridge import catalog
from tests.harness.bridge import ROOT
from tests.harness.fleet import Fleet
from tests.harness.otlp import OtlpReceiver
from tests.harness.postgres import LAX, Cluster
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.pushed.conftest import Start, pushing
from tests.pushed.test_both_ways import same

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SHARED = '__name__=~"(gen_ai|gpt|otel_bridge)_.+", instance=""'
PUSHED = 'job="otel-bridge"'
ACCEPTED = f'sum(otel_bridge_records_total{{{PUSHED}, kind="event", result="accepted"}})'


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    cluster = Cluster(LAX).start()
    receiver = OtlpReceiver().start()
    made: Fleet | None = None
    try:
        environ = {
            **receiver.environ,
            "OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "0.5",
            "OTEL_BRIDGE_JOURNAL_MAX_SIZE": "100MiB",
            # What tells their places apart is on nothing that they share.
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prueba,host.name=una,service.instance.id=una",
        }
        made = Fleet(tmp_path / "fleet", cluster.dsn(cluster.database()), **environ)
        yield made
    finally:
        if made is not None:
            made.close()
        receiver.close()
        cluster.close()


def post(fleet: Fleet, count: int) -> None:
    for bridge in fleet.bridges:
        if bridge.process is not None and bridge.process.poll() is None:
            session = bridge.session()
            for i in range(count):
                assert bridge.event(session, latency_ms=100 * i).status_code == 201


def test_replicas_push_one_series_of_what_they_share(start: Start, fleet: Fleet) -> None:
    scrape = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    (job,) = [one for one in scrape if one["job_name"] == "otel-bridge-replicas"]
    targets = [f"127.0.0.1:{bridge.metrics_port}" for bridge in fleet.bridges]
    prometheus = start(*targets, relabel=job["metric_relabel_configs"])
    for bridge in fleet.bridges:
        bridge.environ |= pushing(prometheus.url)
    fleet.start()
    post(fleet, 10)
    settle(fleet)
    both = same(prometheus, SHARED)
    names = {dict(key)["__name__"] for key in both}
    assert {"gpt_sessions_total", "otel_bridge_ledger_gap", "gen_ai_client_token_usage_bucket"} <= names
    assert names.isdisjoint(catalog.OF_EACH_PROCESS)
    assert prometheus.value(ACCEPTED) == 30

    # What each shows of itself is told apart, and one of them is steward.
    by_instance = prometheus.query(f"otel_bridge_steward{{{PUSHED}}}")
    assert sorted(float(one["value"][1]) for one in by_instance) == [0, 0, 1]
    assert len({one["metric"]["instance"] for one in by_instance}) == 3
    assert prometheus.value(f'count(target_info{{{PUSHED}, instance="", host_name=""}})') == 1

    steward = fleet.steward()
    assert steward is not None
    steward.kill()
    wait_for(fleet.steward, "another steward", 60)
    post(fleet, 10)
    prometheus.wait_value(ACCEPTED, 50)
    settle(fleet)
    assert same(prometheus, SHARED).keys() >= both.keys()
    for metric in catalog.METRICS:
        if metric.type != "gauge" and metric.name not in catalog.OF_EACH_PROCESS:
            for name in metric.series:
                assert prometheus.query(f"resets({name}[10m]) > 0") == []
