"""A real Caddy (Debian's) with deploy/Caddyfile, on a free port of the loopback interface."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import requests

from deploy.native.stack import find
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

CADDYFILE = Path(__file__).resolve().parents[2] / "deploy" / "Caddyfile"


class Caddy:
    def __init__(self, folder: Path, bridge: str, grafana: str, balancing: str | None = None) -> None:
        """`bridge`, `grafana`: "host:port"; of replicas several, and `balancing="replicas"`."""
        self.port = free_port()
        self.log = folder / "caddy.log"
        self.env = {
            **os.environ,
            "DOMAIN": self.url,
            "BRIDGE_UPSTREAM": bridge,
            "GRAFANA_UPSTREAM": grafana,
            "CADDY_OPTIONS": "admin off\ndefault_bind 127.0.0.1",
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }
        if balancing is not None:
            self.env["BRIDGE_BALANCING"] = balancing
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> Caddy:
        binary = find("caddy")
        assert binary, "caddy is not installed: apt-get install caddy"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [binary, "run", "--adapter", "caddyfile", "--config", str(CADDYFILE)],
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for(lambda: requests.get(f"{self.url}/metrics", timeout=2).status_code == 404, "listening Caddy", 20)
        return self

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
