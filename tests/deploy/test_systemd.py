"""The systemd unit, as systemd itself reads it. Nothing is started: who tests has no systemd as process 1."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from otel_bridge import config
from otel_bridge.config import SETTINGS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "systemd"
PAGE = ROOT / "docs" / "systemd.md"
PROGRAM = "/opt/otel-bridge/bin/otel-bridge"
EXPOSURE = 1.5
"""Of ten: what `systemd-analyze security` may say at the most."""

UNIT = (FOLDER / "otel-bridge.service").read_text("utf-8")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed")
    return subprocess.run([found, *arguments], capture_output=True, text=True, timeout=60)


def installed(folder: Path, unit: str = UNIT) -> Path:
    """The unit with its drop-in, whose program is one that is here."""
    path = folder / "otel-bridge.service"
    path.write_text(unit.replace(PROGRAM, sys.executable), "utf-8")
    drop_in = folder / "otel-bridge.service.d"
    drop_in.mkdir()
    # What is commented out in it is tried, too.
    text = (FOLDER / "secrets.conf").read_text("utf-8")
    (drop_in / "secrets.conf").write_text(
        re.sub(r"^# (LoadCredential|Environment)=", r"\1=", text, flags=re.M), "utf-8"
    )
    return path


def values(name: str, text: str = UNIT) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def test_systemd_reads_it_without_a_word(tmp_path: Path) -> None:
    done = analyze("verify", "--man=no", str(installed(tmp_path)))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_has_words_for_what_is_wrong(tmp_path: Path) -> None:
    done = analyze("verify", "--man=no", str(installed(tmp_path, UNIT.replace("TimeoutStopSec", "TimeoutStop"))))
    assert "TimeoutStop" in done.stderr


def test_it_is_confined(tmp_path: Path) -> None:
    path = installed(tmp_path)
    done = analyze("security", "--offline=yes", "--no-pager", f"--threshold={EXPOSURE * 10:.0f}", str(path))
    if "offline" in done.stderr:
        pytest.skip("this systemd-analyze cannot look at a file (before 250)")
    assert done.returncode == 0, done.stdout + done.stderr
    loose = tmp_path / "loose"
    loose.mkdir()
    path = installed(loose, UNIT.replace("SystemCallFilter=", "#").replace("CapabilityBoundingSet=", "#"))
    assert analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:.0f}", str(path)).returncode != 0


def test_a_stop_has_the_time_that_it_takes() -> None:
    told = (ROOT / "docs" / "failure-modes.md").read_text("utf-8")
    longest = re.search(r"A stop while PostgreSQL stands still takes up to (\d+) seconds", told)
    assert longest is not None
    assert int(values("TimeoutStopSec")[0]) >= int(longest[1]) + 10
    assert values("ExecReload") == ["/bin/kill -HUP $MAINPID"]


def test_its_variables_are_the_bridges(tmp_path: Path) -> None:
    """With those of the example files, read by the bridge itself."""
    assignments = values("Environment")
    example = (FOLDER / "otel-bridge.env").read_text("utf-8")
    assignments += re.findall(r"^(?:# )?([A-Z_]+=.*)$", example, re.MULTILINE)
    environ = dict(one.split("=", 1) for one in assignments)
    loaded = config.load(str(ROOT / "otel-bridge.toml"), environ)
    assert loaded.otlp is not None
    assert (
        loaded.journal_path.parent
        == Path("/var/lib") / values("StateDirectory")[0]
        == Path(values("WorkingDirectory")[0])
    )


def test_each_secret_that_systemd_hands_over_is_named_by_a_variable_of_the_bridge() -> None:
    text = (FOLDER / "secrets.conf").read_text("utf-8")
    handed = re.findall(r"^(?:# )?LoadCredential=([\w-]+):", text, re.MULTILINE)
    named = dict(re.findall(r"([A-Z_]+)_FILE=%d/([\w-]+)", text))
    assert sorted(handed) == sorted(named.values())
    assert named.keys() <= {setting.env for setting in SETTINGS if setting.in_file} | {"OTEL_EXPORTER_OTLP_HEADERS"}


def test_the_page_installs_every_file_and_the_program_where_the_unit_has_it() -> None:
    page = PAGE.read_text("utf-8")
    for path in FOLDER.iterdir():
        assert f"deploy/systemd/{path.name}" in page, path.name
    assert f"python3 -m venv {Path(PROGRAM).parents[1]}" in page
    assert values("ExecStart") == [f"{PROGRAM} serve"]
    assert values("Environment")[0] == "OTEL_BRIDGE_CONFIG=/etc/otel-bridge/otel-bridge.toml"
    sources = re.findall(r"(?<= )(?:deploy/systemd/[\w.-]+|requirements/[\w.]+|otel-bridge\.toml)(?= )", page)
    assert sources and all((ROOT / name).exists() for name in sources)
