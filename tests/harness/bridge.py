"""A real bridge: `otel-bridge serve` as a process of its own, on free ports and a journal of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

ROOT = Path(__file__).parents[2]
CUSTOMISED = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "chaos")))
"""The PYTHONPATH of a program that does what `tests/chaos/sitecustomize.py` is told by its variables."""
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}

GUIDE_SESSION = {
    "gpt_id": "devops-expert",
    "usuario_id": "usuario123",
    "timestamp_inicio": "2025-06-29T20:00:00.000Z",
}
GUIDE_EVENT = {
    "tipo": "consulta",
    "contenido": "¿Cómo configuro un pipeline CI/CD con Docker?",
    "latency_ms": 1500,
    "tokens_entrada": 25,
    "tokens_salida": 150,
}


def refusals(said: str) -> list[str]:
    """What a command has complained of on standard error, a line each: as text, or among logs in JSON."""
    lines = []
    for line in said.splitlines():
        entry = json.loads(line) if line.startswith("{") else {"level": "error", "message": line}
        if entry["level"] == "error":
            lines.append(str(entry["message"]).removeprefix("otel-bridge: "))
    return lines


class Bridge:
    """Start it, kill it, start it again: the journal stays."""

    def __init__(self, folder: Path, config: str | None = None, **environ: str) -> None:
        self.folder = folder
        self.config = folder / "otel-bridge.toml"
        if config is None:
            config = (ROOT / "otel-bridge.toml").read_text(encoding="utf-8")
        self.config.write_text(config, encoding="utf-8")
        self.port, self.metrics_port = free_port(), free_port()
        self.environ = {"OTEL_BRIDGE_RATE_LIMIT": "off", "OTEL_BRIDGE_LOG_FORMAT": "json", **environ}
        self.arguments: list[str] = []
        """More of `serve`."""
        self.under: list[str] = []
        """What starts it, where it is not us: a program that runs the command after it (`prlimit --nofile=…`)."""
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "bridge.log"
        self.http = requests.Session()

    def customised(self, **variables: str) -> Bridge:
        """With what `tests/chaos/sitecustomize.py` makes of these variables."""
        self.environ |= {"PYTHONPATH": CUSTOMISED, **variables}
        return self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """The guide's «API Base URL»."""
        return f"{self.url}/api"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def journal(self) -> Path:
        url = self.environ.get("OTEL_BRIDGE_JOURNAL", "sqlite:///data/otel-bridge.db")
        return self.folder / url.removeprefix("sqlite:///")

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "otel_bridge", *arguments]

    def env(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "OTEL_BRIDGE_"))}
        return {**clean, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.environ}

    def start(self, wait: bool = True) -> Bridge:
        log = self.log.open("ab")
        self.process = subprocess.Popen(
            [
                *self.under,
                *self.command("serve", "--port", str(self.port), "--metrics-port", str(self.metrics_port)),
                *self.arguments,
            ],
            cwd=self.folder,
            env=self.env(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        log.close()
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, timeout: float = 30) -> None:
        def ready() -> bool:
            if self.process is not None and self.process.poll() is not None:
                raise SystemExit(f"the bridge ended with {self.process.returncode}:\n{self.output()}")
            return self.http.get(f"{self.url}/readyz", timeout=2).status_code == 200

        wait_for(ready, "ready bridge", timeout)

    def output(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""

    def run(self, *arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Another command of otel-bridge, with this bridge's configuration."""
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.env(), capture_output=True, text=True, timeout=timeout
        )

    def kill(self) -> None:
        """kill -9."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.http.close()

    def stop(self, timeout: float = 30) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout)
        self.http.close()
        return code

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.http.close()

    # --- a client's calls ---------------------------------------------------------------------------------------

    def post(self, path: str, body: Any, **options: Any) -> requests.Response:
        return self.http.post(f"{self.api}{path}", json=body, timeout=30, **options)

    def session(self, **fields: Any) -> str:
        answer = self.post("/sessions", {**GUIDE_SESSION, **fields})
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def event(self, session: str, **fields: Any) -> requests.Response:
        return self.post("/events", {**GUIDE_EVENT, "sesion_id": session, **fields})

    # --- what it shows ------------------------------------------------------------------------------------------

    def scrape(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample of /metrics: (name, sorted labels) → value. Of a second page, for a new label set stands at 0 on
        its first."""
        self.http.get(self.metrics_url, headers=OPENMETRICS, timeout=10)
        text = self.http.get(self.metrics_url, headers=OPENMETRICS, timeout=10).text
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
            for sample in family.samples
        }

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples that carry these labels."""
        want = labels.items()
        return sum(
            value for (found, have), value in self.scrape().items() if found == name and want <= dict(have).items()
        )
