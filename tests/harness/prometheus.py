"""A real Prometheus (Debian's `prometheus`): started on a free port with a folder of its own, asked through its API.

    prometheus = Prometheus(folder, targets=[bridge.metrics_target], rules=[Path("…/rules.yml")]).start()
    prometheus.value('gpt_sessions_total{gen_ai_agent_id="devops-expert"}')

Exemplar storage is on. Where no `config` is given, one is written: a job `otel-bridge` that scrapes `targets`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

CONFIG = """\
global:
  scrape_interval: {interval}
  evaluation_interval: {interval}
rule_files: [{rules}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: [{alertmanagers}]}}]
scrape_configs:
  - job_name: {job}
    honor_labels: {honor_labels}
    static_configs: [{{targets: [{targets}], labels: {labels}}}]
"""
AGENT = """\
global:
  scrape_interval: {interval}
  external_labels: {external}
remote_write:
  - url: {receiver}/api/v1/write
    send_exemplars: true
    queue_config: {{batch_send_deadline: 1s}}
scrape_configs:
  - job_name: {job}
    static_configs: [{{targets: [{targets}]}}]
"""


def available() -> str | None:
    """The path of the binary; None where Prometheus is not installed."""
    return shutil.which(os.environ.get("PROMETHEUS", "prometheus"))


def backfill(data: Path, samples: Iterable[tuple[str, int, float]]) -> None:
    """Makes a TSDB folder of samples (series, seconds since the epoch, value), by promtool, before a Prometheus starts
    on it."""
    by_name: dict[str, list[str]] = {}
    for series, at, value in samples:
        by_name.setdefault(series.partition("{")[0], []).append(f"{series} {value} {at}\n")
    data.mkdir(parents=True)
    text = data.with_name("samples.txt")
    text.write_text(
        "".join(f"# TYPE {name} unknown\n{''.join(lines)}" for name, lines in by_name.items()) + "# EOF\n", "utf-8"
    )
    run = subprocess.run(
        ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(text), str(data)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


class Prometheus:
    """`start` waits until it is ready; `close` ends it, whatever happened."""

    def __init__(
        self,
        folder: Path,
        config: str | None = None,
        *,
        targets: Sequence[str] = (),
        rules: Sequence[Path | str] = (),
        alertmanagers: Sequence[str] = (),
        interval: str = "1s",
        job: str = "otel-bridge",
        labels: Mapping[str, str] | None = None,
        honor_labels: bool = False,
        agent_of: Prometheus | None = None,
        binary: str | None = None,
        port: int | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """`config`: the whole text of prometheus.yml, instead of the arguments after it.
        `targets`, `alertmanagers`: "host:port". `rules`: rule files, taken where they are.
        `labels`: of every target. `agent_of`: it keeps nothing, and writes what it scrapes to that one; then `labels`
        are its external ones. `binary`: another than the installed one; `flags`: more of its command line."""
        self.binary = binary
        self.folder = folder
        self.port = port or free_port()
        self.flags = flags
        self.log = folder / "prometheus.log"
        self.config = folder / "prometheus.yml"
        self._agent = agent_of is not None
        if agent_of is not None:
            config = AGENT.format(
                interval=interval,
                job=job,
                external=json.dumps(dict(labels or {})),
                receiver=agent_of.url,
                targets=_quoted(targets),
            )
        self._text = config or CONFIG.format(
            interval=interval,
            job=job,
            labels=json.dumps(dict(labels or {})),
            honor_labels=str(honor_labels).lower(),
            targets=_quoted(targets),
            alertmanagers=_quoted(alertmanagers),
            rules=_quoted(str(Path(rule).resolve()) for rule in rules),
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.http = requests.Session()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Prometheus:
        binary = self.binary or available()
        if binary is None:
            raise FileNotFoundError("prometheus is not installed; on Debian: apt-get install prometheus")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self._text, encoding="utf-8")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={self.config}",
                    *self._storage(binary),
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--web.enable-lifecycle",
                    *self.flags,
                ],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._ready, "ready Prometheus", 30)
        return self

    def _storage(self, binary: str) -> list[str]:
        if self._agent:
            said = subprocess.run([binary, "--help"], capture_output=True, text=True, timeout=30)
            own = re.search(r"--(\[no-\])?agent\s", said.stdout + said.stderr)  # a flag of 3.x, a feature of 2.x
            agent = (
                ["--agent", "--enable-feature=exemplar-storage"] if own else ["--enable-feature=agent,exemplar-storage"]
            )
            return [f"--storage.agent.path={self.folder / 'agent'}", *agent]
        keeps = [f"--storage.tsdb.path={self.folder / 'tsdb'}", "--enable-feature=exemplar-storage"]
        return [*keeps, "--web.enable-remote-write-receiver"]

    def _ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise SystemExit(f"Prometheus ended with {self.process.returncode}:\n{self.output()}")
        return self.http.get(f"{self.url}/-/ready", timeout=2).status_code == 200

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def reload(self, config: str) -> None:
        """Another prometheus.yml, taken up without a restart."""
        self.config.write_text(config, encoding="utf-8")
        answer = self.http.post(f"{self.url}/-/reload", timeout=10)
        assert answer.status_code == 200, answer.text

    def stop(self, timeout: float = 15) -> None:
        """SIGTERM; SIGKILL where that does not end it in time."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.http.close()

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.http.close()

    # --- its HTTP API -------------------------------------------------------------------------------------------

    def get(self, path: str, **parameters: Any) -> Any:
        """`data` of /api/v1/<path>."""
        answer = self.http.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10)
        body = answer.json()
        assert body["status"] == "success", body
        return body["data"]

    def query(self, promql: str) -> list[dict[str, Any]]:
        """An instant query's result: [{"metric": {…}, "value": [time, "text"]}]."""
        found: list[dict[str, Any]] = self.get("query", query=promql)["result"]
        return found

    def value(self, promql: str) -> float | None:
        """The one value of an instant query; None where there is no series. Several series are an error."""
        found = self.query(promql)
        assert len(found) < 2, f"{promql} has {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    def query_exemplars(self, promql: str, seconds: float = 3600) -> list[dict[str, Any]]:
        """[{"seriesLabels": {…}, "exemplars": [{"labels": {"trace_id": …}, "value": …, "timestamp": …}]}] of the
        last `seconds` (and one minute ahead: an exemplar carries its event's time)."""
        now = time.time()
        found: list[dict[str, Any]] = self.get("query_exemplars", query=promql, start=now - seconds, end=now + 60)
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Active scrape targets: `health`, `lastError`, `scrapeUrl`, …"""
        found: list[dict[str, Any]] = self.get("targets", state="active")["activeTargets"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing alerts: `labels`, `annotations`, `state`, `activeAt`."""
        found: list[dict[str, Any]] = self.get("alerts")["alerts"]
        return found

    def wait_value(self, promql: str, value: float, timeout: float = 30) -> None:
        """Until the query's one value is this."""

        def reached() -> bool:
            found = self.value(promql)
            if found != value:
                raise AssertionError(f"{promql} is {found}")
            return True

        wait_for(reached, f"{promql} = {value:g}", timeout)


def _quoted(items: Any) -> str:
    return ", ".join(f'"{item}"' for item in items)
