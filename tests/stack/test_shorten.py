"""Shorter waits and windows, and nothing else changed."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from deploy.native.shorten import divide, milliseconds, shorten
from deploy.native.stack import find

ROOT = Path(__file__).resolve().parents[2]
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
ALERTMANAGER = ROOT / "prometheus" / "alertmanager"


@pytest.mark.parametrize(
    ("before", "factor", "after"),
    [
        ("        for: 5m", 10, "        for: 30s"),
        ("        for: 15m  # why", 10, "        for: 90s  # why"),
        ("    interval: 1m", 10, "    interval: 6s"),
        ("  scrape_interval: 5s # text", 10, "  scrape_interval: 1s # text"),
        ("      group_wait: 10s", 4, "      group_wait: 2500ms"),
        ("expr: rate(x[5m])", 10, "expr: rate(x[30s])"),
        ("expr: rate(x[1m])", 60, "expr: rate(x[5s])"),
        ("expr: x[30d:2m]", 10, "expr: x[259200s:12s]"),
        ("expr: x[30d:]", 10, "expr: x[259200s:]"),
        ("expr: x offset 1w", 10, "expr: x offset 60480s"),
        ("expr: gpt:gpt_slo_events:rate5m * 300 > 10", 10, "expr: gpt:gpt_slo_events:rate5m * 300 > 10"),
        ("ventana: 1h", 10, "ventana: 1h"),
        ("summary: en los últimos 5 minutos (5m)", 10, "summary: en los últimos 5 minutos (5m)"),
        ("        for: 5m", 1, "        for: 5m"),
    ],
)
def test_lines(before: str, factor: float, after: str) -> None:
    assert shorten(before, factor) == after


def test_nothing_falls_below_what_can_be_scraped() -> None:
    assert divide("1s", 100) == "1s"
    assert milliseconds(divide("1m", 1000)) == 1000


def test_no_duration_of_the_shipped_files_is_overlooked() -> None:
    for path in [*RULES, ROOT / "prometheus" / "prometheus.yml", ALERTMANAGER / "examples" / "webhook.yml"]:
        text = path.read_text("utf-8")
        short = shorten(text, 10)
        for before, after in zip(text.splitlines(), short.splitlines(), strict=True):
            code = re.sub(r"#.*", "", before)
            waits = re.search(r"^\s+(?:for|\w*interval|\w*wait|\w*timeout): \d|\[\d+[smhdwy]|offset \d", code)
            changed = code != re.sub(r"#.*", "", after)
            assert changed == bool(waits), f"{path.name}: {before}"


@pytest.mark.parametrize("factor", [2, 10, 60])
def test_promtool_and_amtool_accept_the_shorter_files(tmp_path: Path, factor: float) -> None:
    for path in RULES:
        (tmp_path / path.name).write_text(shorten(path.read_text("utf-8"), factor), "utf-8")
    promtool, amtool = find("promtool"), find("amtool")
    assert promtool and amtool, "apt-get install prometheus prometheus-alertmanager"
    done = subprocess.run(
        [promtool, "check", "rules", *map(str, tmp_path.glob("*.yml"))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    config = tmp_path / "alertmanager.yaml"
    config.write_text(shorten((ALERTMANAGER / "examples" / "webhook.yml").read_text("utf-8"), factor), "utf-8")
    done = subprocess.run([amtool, "check-config", str(config)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
