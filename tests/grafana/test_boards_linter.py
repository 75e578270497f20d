"""github.com/grafana/dashboard-linter over the boards, where it can be had: `DASHBOARD_LINTER`, or on PATH.

`go install` refuses it (its go.mod replaces a module): build it from a checkout of v0.1.1 or take its release.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from grafana.boards import DASHBOARDS
from grafana.boards.queries import boards, panels

LINTER = os.environ.get("DASHBOARD_LINTER") or shutil.which("dashboard-linter")
EXCLUSIONS = DASHBOARDS / ".lint"


def lint(board: Path, *options: str) -> subprocess.CompletedProcess[str]:
    if LINTER is None:
        pytest.skip("no dashboard-linter on PATH and DASHBOARD_LINTER is not set: build v0.1.1 from its checkout")
    command = [LINTER, "lint", "--strict", "--verbose", *options, str(board)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("board", sorted(DASHBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_the_linter_has_nothing_to_say_that_is_not_excluded(board: Path) -> None:
    done = lint(board)
    said = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)
    assert done.returncode == 0, "\n".join(line for line in said.splitlines() if "❌" in line or "⚠" in line)


def test_the_linter_speaks_where_there_is_something_to_say(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.yml"
    nothing.write_text("exclusions: {}\n")
    assert lint(DASHBOARDS / "gpt-sesiones.json", "--config", str(nothing)).returncode != 0


def test_every_exclusion_has_its_reason_and_is_about_a_panel_that_there_is() -> None:
    titles = {panel["title"] for board in boards() for panel in panels(board)}
    rules = yaml.safe_load(EXCLUSIONS.read_text("utf-8"))["exclusions"]
    for name, rule in rules.items():
        assert rule["reason"], name
        for entry in rule.get("entries", []):
            assert entry["panel"] in titles, f"{name}: {entry['panel']}"
