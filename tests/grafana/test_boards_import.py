"""The boards imported by hand into a Grafana that nobody provisioned, whose sources have other names and uids: a real
one, where it is on PATH."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from deploy.native.grafana import grafana_places, grafana_settings
from deploy.native.stack import find
from tests.harness.bridge import Bridge
from tests.harness.ports import free_port
from tests.harness.prometheus import Prometheus, available
from tests.harness.waiting import wait_for

DASHBOARDS = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"
LOGIN = ("admin", "de-prueba")


@pytest.fixture
def grafana(tmp_path: Path) -> Iterator[str]:
    """Its address; an empty one."""
    if (binary := find("grafana")) is None:
        pytest.skip("grafana is not on PATH")
    data, empty, port = tmp_path / "grafana", tmp_path / "nothing", free_port()
    data.mkdir()
    empty.mkdir()
    environ = {**os.environ, **grafana_places(data, port), **grafana_settings()}
    environ |= {"GF_PATHS_PROVISIONING": str(empty), "GF_SECURITY_ADMIN_PASSWORD": LOGIN[1]}
    home = os.environ.get("GRAFANA_HOME", "/usr/share/grafana")
    with (data / "grafana.log").open("wb") as log:
        process = subprocess.Popen([binary, "server", "--homepath", home], env=environ, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        assert process.poll() is None, (data / "grafana.log").read_text(errors="replace")[-2000:]
        return requests.get(f"{url}/api/health", timeout=5).status_code == 200

    try:
        wait_for(healthy, "Grafana", 120)
        yield url
    finally:
        process.kill()
        process.wait()


def _call(method: str, url: str, body: Any = None) -> Any:
    answer = requests.request(method, url, json=body, auth=LOGIN, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.skipif(available() is None, reason="prometheus is not installed")
@pytest.mark.timeout(300)
def test_they_are_imported_without_a_question_and_read_whichever_source_is_chosen(
    grafana: str, bridge: Bridge, tmp_path: Path
) -> None:
    prometheus = Prometheus(tmp_path / "p", targets=[f"127.0.0.1:{bridge.metrics_port}"], job="gpt-bridge").start()
    try:
        prometheus.wait_value("otel_bridge_ledger_gap", 0)
        source = {"name": "Mimir", "type": "prometheus", "uid": "ajeno-1", "url": prometheus.url, "access": "proxy"}
        _call("POST", f"{grafana}/api/datasources", source)
        for path in sorted(DASHBOARDS.glob("*.json")):
            board = json.loads(path.read_text("utf-8"))
            # As «Import» does: it asks for what is in __inputs, and there is nothing.
            body = {"dashboard": board, "overwrite": False, "inputs": [], "folderUid": ""}
            assert _call("POST", f"{grafana}/api/dashboards/import", body)["importedUrl"].startswith(
                f"/d/{board['uid']}/"
            )
            kept = _call("GET", f"{grafana}/api/dashboards/uid/{board['uid']}")["dashboard"]
            assert kept["panels"] == board["panels"] and kept["templating"] == board["templating"]
        (panel,) = (one for one in kept["panels"] if one.get("title") == "Libro de cuentas")
        asked = json.dumps(panel["targets"]).replace("${datasource}", "ajeno-1")
        asked = asked.replace("$job", ".+").replace("$instance", ".+")
        answer = _call("POST", f"{grafana}/api/ds/query", {"from": "now-5m", "to": "now", "queries": json.loads(asked)})
        (frame,) = answer["results"]["A"]["frames"]
        assert frame["data"]["values"][-1][-1] == 0
    finally:
        prometheus.close()
