"""docs/tu-propio-stack.md: what it says to do with the rules and the boards on somebody else's stack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.boards.names import names
from grafana.boards.queries import boards, queries
from tests.docs.markdown import DOCS, ROOT, blocks

PAGE = DOCS / "tu-propio-stack.md"
TEXT = PAGE.read_text("utf-8")
GRAFANA, RUNBOOKS = "https://grafana.example.org", "https://git.example.org/otel-bridge/blob/main"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "prometheus", tmp_path / "prometheus")
    return tmp_path


def _passes(copy: Path, test: dict[str, Any]) -> None:
    path = copy / "links_test.yml"
    path.write_text(yaml.safe_dump(test, allow_unicode=True), "utf-8")
    done = subprocess.run(["promtool", "test", "rules", path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _down(rules: str, external: dict[str, str], dashboard: str, runbook: str) -> dict[str, Any]:
    of = '{job="gpt-bridge", namespace="asistentes", instance="b:9464"}'
    text = (
        "Prometheus no logra leer /metrics de b:9464 desde hace más de un minuto. Mientras dure no hay cifras ni "
        "alertas de ningún GPT, y es probable que los clientes reciban errores. Lo ya aceptado está a salvo en el "
        "diario."
    )
    annotations = {
        "summary": "El puente b:9464 no responde",
        "description": text,
        "dashboard_url": dashboard,
        "runbook_url": runbook,
    }
    labels = {"severity": "page", "job": "gpt-bridge", "namespace": "asistentes", "instance": "b:9464"}
    return {
        "rule_files": [rules],
        "evaluation_interval": "15s",
        "tests": [
            {
                "interval": "15s",
                "external_labels": external,
                "input_series": [
                    {"series": f"up{of}", "values": "1x20 0x20"},
                    {"series": f"otel_bridge_build_info{of}", "values": "1x20 stale"},
                ],
                "alert_rule_test": [
                    {
                        "alertname": "BridgeDown",
                        "eval_time": "8m",
                        "exp_alerts": [{"exp_labels": labels, "exp_annotations": annotations}],
                    }
                ],
            }
        ],
    }


def test_links_come_from_external_labels_and_without_them_there_are_none(copy: Path) -> None:
    rules = "prometheus/rules/bridge.alerts.yml"
    board, runbook = f"{GRAFANA}/d/otel-bridge-salud", f"{RUNBOOKS}/docs/runbooks/BridgeDown.md"
    (config,) = (yaml.safe_load(b.text) for b in blocks(PAGE) if "external_labels" in b.text and b.language == "yaml")
    _passes(copy, _down(rules, config["global"]["external_labels"], board, runbook))
    _passes(copy, _down(rules, {}, "", ""))
    _passes(copy, _down(rules, {"cluster": "eu-1"}, "", ""))


def test_the_pages_command_writes_the_links_into_a_copy_of_the_rules(copy: Path) -> None:
    (command,) = (block.text for block in blocks(PAGE) if block.mark == "enlaces")
    done = subprocess.run(["bash", "-eu", "-c", command], cwd=copy, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    whole = "".join(path.read_text("utf-8") for path in (copy / "mis-reglas").glob("*.yml"))
    assert "$externalLabels" not in whole
    board, runbook = f"{GRAFANA}/d/otel-bridge-salud", f"{RUNBOOKS}/docs/runbooks/BridgeDown.md"
    _passes(copy, _down("mis-reglas/bridge.alerts.yml", {}, board, runbook))


def test_the_rule_files_that_boards_need_are_those_that_the_page_lists() -> None:
    records: dict[str, str] = {}
    reads: dict[str, set[str]] = {}
    for path in (ROOT / "prometheus" / "rules").glob("*.yml"):
        for group in yaml.safe_load(path.read_text("utf-8"))["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    records[rule["record"]] = path.name
                    reads.setdefault(rule["record"], set()).update(names(rule["expr"]).metrics)
    asked = {metric for query in queries() for metric in names(query.expr).metrics if metric in records}
    while more := {metric for name in asked for metric in reads[name] if metric in records} - asked:
        asked |= more
    table = TEXT.split("los archivos que necesitan")[1].split("###")[0]
    assert {records[name] for name in asked} == set(re.findall(r"`([\w.]+\.yml)`", table.split("\n\n")[1]))


def test_boards_name_no_source_of_their_own_and_ask_nothing_at_their_import() -> None:
    """Only variables: neither a uid of ours nor one of the Grafana in which somebody exported them."""

    def sources(node: Any) -> list[Any]:
        if isinstance(node, dict):
            own = [value for key, value in node.items() if key in ("datasource", "datasourceUid")]
            return own + [found for value in node.values() for found in sources(value)]
        return [found for value in node for found in sources(value)] if isinstance(node, list) else []

    for board in boards():
        assert not {"__inputs", "__requires", "id"} & set(board)
        found = sources(board)
        assert found
        assert {source["uid"] for source in found} <= {"${datasource}", "${trazas}", "-- Grafana --"}
        chosen = {v["name"]: v["query"] for v in board["templating"]["list"] if v["type"] == "datasource"}
        assert chosen == {"datasource": "prometheus", "trazas": "tempo"}
        links = re.findall(r'"url": "([^"]*)"', json.dumps(board))
        assert links and all(re.match(r"/d/(gpt|otel-bridge)-", url) for url in links), "to our own boards alone"
