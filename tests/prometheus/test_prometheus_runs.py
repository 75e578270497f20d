"""A real Prometheus on the shipped files: it reads the targets, runs every rule, and knows where its links lead."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_files import ALERTS, PROMETHEUS, RECORDED, tool

from otel_bridge import catalog
from tests.harness.ports import free_port

FLAGS = ["--enable-feature=exemplar-storage,expand-external-labels"]
"""What prometheus.yml asks for."""


JOB = "ai-observability"
"""Not the name in prometheus.yml: no rule depends on it."""


def exposition(value: int) -> bytes:
    """OpenMetrics with every metric of the catalog, each once, a histogram's one bucket with an exemplar."""
    lines: list[str] = []
    for metric in catalog.METRICS:
        family = metric.name.removesuffix("_total") if metric.type == "counter" else metric.name
        lines.append(f"# TYPE {family} {metric.type}")
        labels = ",".join(f'{label}="{"bad" if label == "result" else "devops-expert"}"' for label in metric.labels)
        for series in metric.series:
            if series.endswith("_bucket"):
                full = ",".join(part for part in (labels, 'le="+Inf"') if part)
                lines.append(f'{series}{{{full}}} {value} # {{trace_id="0af7651916cd43dd8448eb211c80319c"}} 1.5')
            else:
                lines.append(f"{series}{{{labels}}} {0.5 if metric is catalog.SLO_TARGET else value}")
    return "\n".join([*lines, "# EOF", ""]).encode()


class _Bridge(BaseHTTPRequestHandler):
    """A bridge as Prometheus sees it; whatever it shows rises with every page."""

    pages = itertools.count()

    def do_GET(self) -> None:
        body = exposition(next(self.pages))
        self.send_response(200)
        self.send_header("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)["data"]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that runs the shipped files, but for its targets and the groups' intervals: a group's
    first run comes at a moment of its own within an interval, which is up to a minute."""
    folder = tmp_path_factory.mktemp("prometheus")
    shutil.copytree(PROMETHEUS, folder / "prometheus")
    for rules in (folder / "prometheus" / "rules").glob("*.yml"):
        text = rules.read_text(encoding="utf-8")
        rules.write_text(re.sub(r"^(    interval:) \w+$", r"\1 5s", text, flags=re.MULTILINE), encoding="utf-8")
    config = folder / "prometheus" / "prometheus.yml"
    config.write_text(config.read_text(encoding="utf-8").replace("job_name: otel-bridge", f"job_name: {JOB}"))
    bridge = ThreadingHTTPServer(("127.0.0.1", 0), _Bridge)
    thread = threading.Thread(target=bridge.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    targets = folder / "prometheus" / "targets"
    (targets / "otel-bridge.yml").write_text(f'- targets: ["127.0.0.1:{bridge.server_address[1]}"]\n')
    for other in ("alertmanager.yml", "stack.yml"):
        (targets / other).write_text("[]\n")
    port = free_port()
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={folder}/prometheus/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                *FLAGS,
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "GRAFANA_URL": "https://tablero.example.org", "DOCS_URL": ""},
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"no rule group has run: {log.read_text()}"
            try:
                groups = _get(f"{url}/api/v1/rules")["groups"]
                scraped = _get(f"{url}/api/v1/query?query=gpt_sessions_total")["result"]
                if scraped and all(not group["lastEvaluation"].startswith("0001") for group in groups):
                    break
            except OSError:
                pass
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)
        bridge.shutdown()
        thread.join()
        bridge.server_close()


def test_it_reads_the_bridge_and_its_exemplars(prometheus: str) -> None:
    targets = _get(f"{prometheus}/api/v1/targets")["activeTargets"]
    assert [(target["labels"]["job"], target["health"]) for target in targets] == [(JOB, "up")]
    asked = "gen_ai_client_operation_duration_seconds_bucket&start=0&end=9999999999"
    exemplars = _get(f"{prometheus}/api/v1/query_exemplars?query={asked}")
    assert exemplars, "no exemplar arrived"
    assert exemplars[0]["exemplars"][0]["labels"] == {"trace_id": "0af7651916cd43dd8448eb211c80319c"}


def test_it_runs_every_rule_without_an_error(prometheus: str) -> None:
    found = [rule for group in _get(f"{prometheus}/api/v1/rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in found} == {rule.name for rule in ALERTS} | RECORDED
    bad = {rule["name"]: rule.get("lastError") for rule in found if rule["health"] == "err"}
    assert not bad, bad


def test_under_a_job_of_any_name_every_recorded_series_is_there(prometheus: str) -> None:
    # A series' last value is recorded where it has ended.
    expected = sorted(name for name in RECORDED if not name.endswith(":last"))

    def missing() -> list[str]:
        return [name for name in expected if not _get(f"{prometheus}/api/v1/query?query={name}")["result"]]

    deadline = time.monotonic() + 60
    while missing():
        assert time.monotonic() < deadline, missing()
        time.sleep(0.5)


def test_it_takes_the_address_of_links_from_the_environment(prometheus: str) -> None:
    config = _get(f"{prometheus}/api/v1/status/config")["yaml"]
    assert "grafana_url: https://tablero.example.org" in config
    assert "${" not in config
