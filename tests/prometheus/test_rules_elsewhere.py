"""The rules on somebody else's Prometheus: every test of an alert once more, under jobs of another name and with the
labels that a ServiceMonitor, an agent or a store of many clusters adds; and once more beside a bridge of the same job
that is well.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_files import TEST_FILES, load, run, tool

from otel_bridge import catalog

ADDED = {"cluster": "eu-1", "namespace": "asistentes"}
NEIGHBOUR = {"cluster": "eu-1", "namespace": "pruebas"}
"""ServiceMonitors of two namespaces give the same `job`, agents that scrape 127.0.0.1 the same `instance`."""
OF_SCRAPE = re.compile(r'\{job="([^"]*)"(?:, ?instance="([^"]*)")?')
KEPT = (
    "alertname", "severity", "ventana", "causa", "gen_ai_agent_id", "worker", "kind", "label", "reason", "job",
    "instance",
)  # fmt: skip
"""Labels of an alert that are compared; `pod` is one more where the rule keeps all of them."""
ALERT_TESTS = [path for path in TEST_FILES if any("alert_rule_test" in test for test in load(path)["tests"])]
SHARED_AND_WELL = ((catalog.SERIES.name, 100), (catalog.LEDGER_GAP.name, 0))
ALONE = {
    "BridgeMetricsAbsent": "it speaks where there is no bridge at all",
    "Watchdog": "it asks of no bridge",
    "GPTSilent": "it asks of all bridges together whether anything can be said of a GPT",
}
"""Alert → why a bridge that is well beside it is news to it."""


def _renamed(series: str) -> str:
    """Under another job, with what is added. A pod has an instance; what replicas share has neither."""

    def more(found: re.Match[str]) -> str:
        job, instance = found.groups()
        labels = {"job": f"monitoring/{job}", **ADDED}
        if instance is not None:
            labels |= {"instance": instance, "pod": f"pod-of-{instance}", "endpoint": "metrics"}
        return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items())

    return OF_SCRAPE.sub(more, series)


def _beside(inputs: list[dict[str, str]]) -> list[dict[str, str]]:
    """A bridge, or replicas, of the same job and instance in another namespace, that are well."""
    ours = [one["series"] for one in inputs if one["series"].startswith(("otel_bridge_", "up{"))]
    targets = sorted({match.groups() for match in map(OF_SCRAPE.search, ours) if match}, key=str)
    steps = max(sum(int(count) for count in re.findall(r"x(\d+)", one["values"])) for one in inputs) + 100
    made: list[dict[str, str]] = []
    for job in sorted({job for job, _ in targets}):
        instances = [instance for of, instance in targets if of == job and instance] or ["b:9464"]
        shared = None if (job, None) in targets else instances[0]
        for number, instance in enumerate(instances):
            steward = int(number == 0)
            for name, value in (("up", 1), (catalog.BUILD_INFO.name, 1), (catalog.STEWARD.name, steward)):
                made.append(_series(name, job, instance, value, steps))
        made += [_series(name, job, shared, value, steps) for name, value in SHARED_AND_WELL]
    return made


def _series(name: str, job: str, instance: str | None, value: int, steps: int) -> dict[str, str]:
    labels = {"job": f"monitoring/{job}", **NEIGHBOUR, **({"instance": instance} if instance else {})}
    inside = ", ".join(f'{label}="{text}"' for label, text in labels.items())
    return {"series": f"{name}{{{inside}}}", "values": f"{value}x{steps}"}


def _fires(check: dict[str, Any]) -> dict[str, Any]:
    """An alert's test as one of the series that it makes: which labels it has beside KEPT is the rule's affair."""
    seen: Counter[tuple[tuple[str, str], ...]] = Counter()
    for expected in check["exp_alerts"]:
        labels = {"alertname": check["alertname"], **expected["exp_labels"]}
        if "job" in labels:
            labels["job"] = f"monitoring/{labels['job']}"
        seen[tuple((name, labels[name]) for name in KEPT if name in labels)] += 1
    return {
        "expr": f'count by ({", ".join(KEPT)}) (ALERTS{{alertname="{check["alertname"]}", alertstate="firing"}})',
        "eval_time": check["eval_time"],
        "exp_samples": [
            {"labels": "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}", "value": count}
            for labels, count in seen.items()
        ],
    }


def _elsewhere(path: Path, *, beside: bool) -> dict[str, Any]:
    # As it stands: to YAML «0x40», forty zeros more, would be a number.
    document: dict[str, Any] = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
    document["rule_files"] = [str((path.parent / name).resolve()) for name in document["rule_files"]]
    tests = []
    for test in document["tests"]:
        checks = test.pop("alert_rule_test", [])
        neighbours = _beside(test["input_series"]) if beside else []
        for fed in test["input_series"]:
            fed["series"] = _renamed(fed["series"])
        test["input_series"] += neighbours
        test["promql_expr_test"] = [_fires(check) for check in checks]
        if checks:
            tests.append(test)
    document["tests"] = tests
    return document


def _passes(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "elsewhere_test.yml"
    file.write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    run(tool("promtool"), "test", "rules", file)


@pytest.mark.parametrize("path", ALERT_TESTS, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent_under_another_job_with_labels_of_others(path: Path, tmp_path: Path) -> None:
    _passes(_elsewhere(path, beside=False), tmp_path)


@pytest.mark.parametrize(
    "path", [path for path in ALERT_TESTS if path.stem.split("_")[0] not in ALONE], ids=lambda path: path.stem
)
def test_a_bridge_of_the_same_job_elsewhere_that_is_well_hides_nothing(path: Path, tmp_path: Path) -> None:
    _passes(_elsewhere(path, beside=True), tmp_path)
