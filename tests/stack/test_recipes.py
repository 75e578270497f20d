"""deploy/recipes/: the bridge takes each of its files, and what it sends with it has the headers that the service asks
for; the programs' own files are read by the programs. The Collector's runs in tests/chaos/test_collector_recipe.py."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from otel_bridge.config.diagnostics import Diagnostics
from otel_bridge.config.otlp import read_otlp
from tests.harness.bridge import ROOT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle

RECIPES = ROOT / "deploy" / "recipes"
PAGE = (ROOT / "docs" / "tu-propio-stack.md").read_text("utf-8")
ENVIRONMENTS = sorted(RECIPES.glob("*.env"))
LOCAL = "http://127.0.0.1:4318/v1/traces"
SENT = {
    "otel-collector.env": (LOCAL, {}),
    "grafana-cloud-alloy.env": (LOCAL, {}),
    "jaeger.env": (LOCAL, {}),
    "datadog-agent.env": (LOCAL, {}),
    "grafana-cloud.env": (
        "https://otlp-gateway-prod-eu-west-2.grafana.net/otlp/v1/traces",
        {"authorization": "Basic " + base64.b64encode(b"123456:glc_ejemplo").decode()},
    ),
    "datadog.env": (
        "https://otlp.datadoghq.com/v1/traces",
        {"dd-api-key": "0123456789abcdef" * 2, "compute_stats": "true"},
    ),
    "honeycomb.env": ("https://api.honeycomb.io/v1/traces", {"x-honeycomb-team": "hcaik_ejemplo0123456789"}),
}
"""File → where the bridge sends, and which headers."""


def environment(path: Path) -> dict[str, str]:
    """As `docker run --env-file` and systemd's EnvironmentFile read it: no quotes, no expansion."""
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_every_file_is_known_here_and_on_the_page() -> None:
    assert {path.name for path in ENVIRONMENTS} == set(SENT)
    for path in RECIPES.iterdir():
        assert f"deploy/recipes/{path.name}" in PAGE, f"{path.name} is not on the page"


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_the_bridge_takes_it_and_sends_where_it_says(path: Path, make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(**environment(path))
    checked = bridge.run("check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "OTEL_EXPORTER" not in checked.stdout + checked.stderr, "nothing is missing, and nothing is wrong"
    diagnostics = Diagnostics()
    read = read_otlp(environment(path), diagnostics)
    assert read is not None
    assert (read.endpoint, dict(read.headers), read.protocol) == (*SENT[path.name], "http/protobuf")


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_with_another_host_in_it_spans_arrive_with_their_headers(
    path: Path, make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    there = f"http://127.0.0.1:{receiver.port}"
    environ = {name: re.sub(r"^https?://[^/]+", there, value) for name, value in environment(path).items()}
    bridge = make_bridge(**environ).start()
    bridge.event(bridge.session())
    settle(bridge)
    assert len(receiver.times) == 2
    assert SENT[path.name][1].items() <= receiver.headers[-1].items()


def test_alloy_takes_its_file() -> None:
    if (alloy := shutil.which("alloy")) is None:
        pytest.skip("alloy is not installed")
    path = RECIPES / "grafana-cloud.alloy"
    done = subprocess.run([alloy, "fmt", path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, path.read_text("utf-8")), done.stderr
    validated = [alloy, "validate", "--stability.level=public-preview", path]
    done = subprocess.run(validated, capture_output=True, text=True, timeout=60, env={**os.environ})
    assert done.returncode == 0, done.stderr


def test_prometheus_takes_the_agents_file(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    assert promtool, "promtool is not installed: apt-get install prometheus"
    text = (RECIPES / "prometheus-agent.yml").read_text("utf-8")
    password = tmp_path / "password"
    password.write_text("x")
    copy = tmp_path / "prometheus-agent.yml"
    copy.write_text(text.replace("/etc/prometheus/remote-write-password", str(password)), "utf-8")
    done = subprocess.run([promtool, "check", "config", "--agent", copy], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    (write,) = yaml.safe_load(text)["remote_write"]
    assert write["send_exemplars"]
