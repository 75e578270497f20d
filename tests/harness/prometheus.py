"""A real Prometheus (Debian's `prometheus`): started on a free port with a folder of its own, asked through its API.

    prometheus = Prometheus(folder, targets=[bridge.metrics_target], rules=[Path("…/rules.yml")]).start()
    prometheus.value('gpt_sessions_total{gen_ai_agent_id="devops-expert"}')

Exemplar storage is on. Where no `config` is given, one is written: a job `otel-bridge` that scrapes `targets`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
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
    static_configs: [{{targets: [{targets}]}}]
"""


def available() -> str | None:
    """The path of the binary; None where Prometheus is not installed."""
    return shutil.which(os.environ.get("PROMETHEUS", "prometheus"))


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
        port: int | None = None,
        flags: Sequence[str] = (),
    ) -> None:
        """`config`: the whole text of prometheus.yml, instead of the arguments after it.
        `targets`, `alertmanagers`: "host:port". `rules`: rule files, taken where they are. `flags`: more of them."""
        self.folder = folder
        self.port = port or free_port()
        self.flags = flags
        self.log = folder / "prometheus.log"
        self.config = folder / "prometheus.yml"
        self._text = config or CONFIG.format(
            interval=interval,
            job=job,
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
        binary = available()
        if binary is None:
            raise FileNotFoundError("prometheus is not installed; on Debian: apt-get install prometheus")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config.write_text(self._text, encoding="utf-8")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    binary,
                    f"--config.file={self.config}",
                    f"--storage.tsdb.path={self.folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--enable-feature=exemplar-storage",
                    "--web.enable-lifecycle",
                    *self.flags,
                ],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(self._ready, "ready Prometheus", 30)
        return self

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
