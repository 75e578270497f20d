"""The image, as far as it can be judged without building it: pinned, small, without root, complete."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_TEXT = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
LINES = [line.split(None, 1) for line in _TEXT.splitlines() if line.strip() and not line.startswith("#")]


def instructions(name: str) -> list[str]:
    return [rest for instruction, rest in LINES if instruction == name]


def last_stage() -> list[list[str]]:
    start = max(number for number, (instruction, _) in enumerate(LINES) if instruction == "FROM")
    return LINES[start:]


def test_every_base_is_pinned_and_there_are_two_stages() -> None:
    bases = [rest.split()[0] for rest in instructions("FROM")]
    assert len(bases) == 2
    for base in bases:
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base), base


def test_everything_copied_exists_and_is_let_in_by_dockerignore() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line and line[0] != "#"]
    assert rules[0] == "*", "everything stays out but what is named"
    for line in instructions("COPY"):
        words = [word for word in line.split() if not word.startswith("--")]
        if "--from=" in line:
            continue
        for source in words[:-1]:
            assert (ROOT / source).exists(), f"COPY {source}"
            assert any(fnmatch.fnmatch(source, rule.removeprefix("!")) for rule in rules if rule[0] == "!"), source


def test_it_runs_as_nobody_of_importance() -> None:
    users = [rest for instruction, rest in last_stage() if instruction == "USER"]
    assert users == ["10001:10001"]
    after = [instruction for instruction, _ in last_stage()]
    assert "RUN" not in after[after.index("USER") :]


def test_dependencies_are_the_locked_ones() -> None:
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert "--require-hashes -r requirements/run.txt" in installs[0]
    assert "--no-deps" in installs[1]


def test_the_last_stage_has_no_pip_install_and_no_compiler() -> None:
    text = " ".join(rest for instruction, rest in last_stage() if instruction == "RUN")
    assert "pip" not in text and "apt" not in text


def test_it_serves_knows_whether_it_is_well_and_stops_in_order() -> None:
    stage = dict(last_stage())
    assert json.loads(stage["ENTRYPOINT"]) == ["otel-bridge"]
    assert json.loads(stage["CMD"]) == ["serve"]
    assert "/readyz" in stage["HEALTHCHECK"]
    assert stage["STOPSIGNAL"] == "SIGTERM"


def test_it_listens_beyond_loopback_only_where_it_is_told() -> None:
    assert "OTEL_BRIDGE_HOST" not in " ".join(instructions("ENV"))


def test_where_it_writes_is_one_volume() -> None:
    stage = dict(last_stage())
    assert stage["VOLUME"] == "/var/lib/otel-bridge"
    assert "sqlite:////var/lib/otel-bridge/" in " ".join(instructions("ENV"))
