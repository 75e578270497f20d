"""The boards and the alerts on somebody else's Prometheus: another job name, an instance and labels of theirs, an agent
that writes to a store. Every number is the same, nothing is empty, and no alert fires for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.test_boards_truth import Posted, Scene, check, says
from tests.harness.prometheus import Prometheus, available
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.skipif(available() is None, reason="prometheus is not installed")

JOB = "monitoring/gpt-bridge"
SERVICE_MONITOR = {
    "instance": "10.0.3.17:9464",
    "namespace": "asistentes",
    "service": "gpt-bridge",
    "endpoint": "metrics",
    "pod": "gpt-bridge-0",
    "container": "otel-bridge",
    "cluster": "eu-1",
}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    started = Scene(tmp_path)
    yield started
    started.close()


def _scraped(scene: Scene, **how: Any) -> Prometheus:
    return scene.install(waits=False, job=JOB, labels=SERVICE_MONITOR, **how)


def _written(scene: Scene) -> Prometheus:
    """It scrapes nothing: an agent writes to it, as Alloy and the Prometheus Agent do."""
    store = scene.install(waits=False, targets=[])
    agent = Prometheus(
        scene.folder / "agent",
        targets=[f"127.0.0.1:{scene.bridge.metrics_port}"],
        job="integrations/gpt-bridge",
        labels={"cluster": "eu-1", "namespace": "asistentes"},
        agent_of=store,
    ).start()
    scene.prometheus.append(agent)
    scene.wait_known(store)
    return store


def _alerts(prometheus: Prometheus) -> set[tuple[str, str]]:
    return {(one["labels"]["alertname"], one["labels"]["severity"]) for one in prometheus.alerts()}


@pytest.mark.parametrize(
    "install",
    [_scraped, lambda scene: _scraped(scene, honor_labels=True), _written],
    ids=["a ServiceMonitor's labels", "honor_labels", "an agent's remote write"],
)
def test_every_number_is_the_same_and_no_alert_fires_for_it(scene: Scene, install: Any) -> None:
    here = scene.install(waits=False)
    there = install(scene)
    scene.ten_sessions()
    tools = [{"nombre": "buscar", "ms": 120}]
    scene.post(scene.session(), Posted("consulta", 2.0, more=says(version="v1", ttft_ms=400, herramientas=tools)))
    check(scene, there)

    def no_other_alerts() -> bool:
        found = _alerts(there)
        assert found == _alerts(here) and not {name for name, _ in found if name.startswith("Bridge")}, found
        return True

    wait_for(no_other_alerts, "the same alerts, none of the bridge, and the first scrape's forgotten", 60)
    scene.bridge.kill()
    wait_for(lambda: ("BridgeDown", "page") in _alerts(there), "BridgeDown", 30)
    (down,) = (one for one in there.alerts() if one["labels"]["alertname"] == "BridgeDown")
    assert down["labels"]["job"] != "otel-bridge" and down["labels"]["cluster"] == "eu-1"
    assert down["labels"]["instance"] in down["annotations"]["summary"]
    assert not down["annotations"].get("dashboard_url") and not down["annotations"].get("runbook_url")


def test_a_targets_label_of_the_bridges_own_names_is_overruled_by_honor_labels(scene: Scene) -> None:
    """Kubernetes' `version` of a pod, copied to every target: without `honor_labels` that of an event is
    `exported_version`, and each version of a GPT is the pod's."""
    pods = {"version": "2026-11"}
    overruled = scene.install(job=JOB, labels=pods)
    honoured = scene.install(job=JOB, labels=pods, honor_labels=True)
    scene.post(scene.session(), Posted("consulta", 2.0, more=says(version="v7")))
    series = 'gpt_version_events_total{%s="v7"}'
    honoured.wait_value(f"sum({series % 'version'})", 1)
    overruled.wait_value(f"sum({series % 'exported_version'})", 1)
    assert overruled.value(f"sum({series % 'version'})") is None
