"""README.md: every command in it is run, as it stands there, or by the test that is named here."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT, blocks
from tests.harness.bridge import Bridge, refusals
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

PAGE = ROOT / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")


def commands() -> list[str]:
    """Of all blocks, one by one: lines that belong together by their quotes are one."""
    found: list[str] = []
    for block in blocks(PAGE):
        assert block.language in ("bash", ""), block.text
        part = ""
        for line in block.text.splitlines():
            part += line + "\n"
            if part.count("'") % 2 == 0:
                if part.strip():
                    found.append(part.strip())
                part = ""
        assert not part
    return found


COMMANDS = commands()
ELSEWHERE = {
    "make demo": "tests/stack/test_demo.py::test_make_demo_tells_an_incident_from_traffic_to_resolve",
    "make demo REPLICAS=3": (
        "tests/stack/test_replicas.py::test_what_was_acknowledged_is_counted_once_although_a_replica_was_killed"
    ),
    "make test": "tests/docs/test_readme.py::test_make_test_is_what_ci_runs",
}
"""Commands that a test of their own runs."""
HERE = {
    "sudo apt install": "test_what_is_installed_first_is_what_a_bare_system_is_tried_with",
    "make run": "test_make_run_serves_and_what_is_posted_is_seen",
    "OTEL_EXPORTER_OTLP_ENDPOINT=": "test_make_run_serves_and_what_is_posted_is_seen",
    "make up": "test_make_up_makes_a_stack_that_compose_can_read",
    "curl": "test_make_run_serves_and_what_is_posted_is_seen",
    "otel-bridge": "test_make_run_serves_and_what_is_posted_is_seen",
}
"""How a command begins, and which test below runs it."""


def bare(command: str) -> str:
    """Without the comment at its end."""
    return re.sub(r"\s+#[^'\n]*$", "", command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_run(command: str) -> None:
    named = ELSEWHERE.get(bare(command))
    if named is None:
        assert any(command.startswith(begin) for begin in HERE), "a command that no test runs"
        return
    file, _, name = named.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_make_test_is_what_ci_runs() -> None:
    assert "make test" in COMMANDS and (ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("make test")


def test_what_is_installed_first_is_what_a_bare_system_is_tried_with() -> None:
    (line,) = [bare(command) for command in COMMANDS if command.startswith("sudo apt install")]
    asked = set(line.split()[4:])
    tried = set(re.findall(r"[\w-]+", (ROOT / "scripts/fresh").read_text(encoding="utf-8")))
    assert line.split()[:4] == ["sudo", "apt", "install", "-y"] and asked and asked <= tried


@pytest.fixture
def make(tmp_path: Path) -> Iterator[list[str]]:
    """`make` in a folder of its own, with the commands of this environment: nothing is installed again."""
    for name in ("Makefile", "otel-bridge.toml", "docker-compose.yml", "docker-compose.scale.yml", ".env.example"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    yield ["make", "-o", ".venv/run.stamp", f"BIN={Path(sys.executable).parent}"]


def test_make_run_serves_and_what_is_posted_is_seen(tmp_path: Path, make: list[str], receiver: OtlpReceiver) -> None:
    bridge = Bridge(tmp_path)
    shutil.copy(ROOT / "otel-bridge.toml", tmp_path)  # the repository's, not the harness's
    ports = {"OTEL_BRIDGE_PORT": str(bridge.port), "OTEL_BRIDGE_METRICS_PORT": str(bridge.metrics_port)}
    environ = {**bridge.env(), **ports, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    exporting = [command for command in COMMANDS if command.endswith("make run") and command != "make run"]
    assert exporting == ["OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 make run"] and "make run" in COMMANDS
    log = (tmp_path / "served.log").open("w")
    endpoint = receiver.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    served = subprocess.Popen(
        [*make, "run"], cwd=tmp_path, env={**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        bridge.process = served
        bridge.wait_ready(60)
        printed = {}
        for command in COMMANDS:
            if command.startswith(("curl", "otel-bridge")):
                run = bare(command).replace(":8000", f":{bridge.port}").replace(":9464", f":{bridge.metrics_port}")
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", run], cwd=tmp_path, env=environ, capture_output=True, text=True,
                    timeout=120,
                )  # fmt: skip
                assert done.returncode == 0, (command, done.stdout, refusals(done.stderr))
                printed[bare(command)] = done.stdout
        one, two, three, series = [text for command, text in printed.items() if command.startswith("curl")]
        session = json.loads(one)
        assert json.loads(two)["sesion_id"] == session["id"]
        assert json.loads(three)["eventos"] == 1 and json.loads(three)["trace_id"] == session["trace_id"]
        assert 'gpt_sessions_total{gen_ai_agent_id="devops-expert"' in series
        wait_for(lambda: len(receiver.spans) >= 2, "both spans")
        for command, text in printed.items():
            assert text.strip() or "--output" in command or "import" in command, f"{command} prints nothing"
    finally:
        os.killpg(served.pid, signal.SIGTERM)
        served.wait(30)
        log.close()
        bridge.close()


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="docker-compose is not installed")
def test_make_up_makes_a_stack_that_compose_can_read(tmp_path: Path, make: list[str]) -> None:
    """There is no Docker engine here: compose reads all that it would start."""
    asked = {bare(command) for command in COMMANDS if command.startswith("make up")}
    assert asked == {"make up", "make up REPLICAS=3"}
    place = tmp_path / "bin"
    place.mkdir()
    for name in ("docker", "docker-compose"):
        stub = place / name
        real = shlex.quote(str(shutil.which("docker-compose")))
        stub.write_text(
            "#!/bin/sh\n" + ("exit 1\n" if name == "docker" else f'[ "$*" = "up -d --build" ] && exec {real} config\n')
        )
        stub.chmod(0o755)
    for command in sorted(asked):
        done = subprocess.run(
            [*make, *command.split()[1:]], cwd=tmp_path, env={**os.environ, "PATH": f"{place}:{os.environ['PATH']}"},
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        replicas = "otel-bridge-3:" in done.stdout
        assert "grafana:" in done.stdout and replicas == ("REPLICAS" in command)


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT)
    assert len(links) >= 30
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_it_says_in_ten_lines_what_it_is_and_is_not() -> None:
    before, _, _ = TEXT.partition("\n![")
    lines = [line for line in before.splitlines()[1:] if line.strip()]
    assert len(lines) <= 10 and "**It is** " in before and "**It is not** " in before


def test_every_runtime_dependency_is_explained() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[\[<>=;~ ]", one)[0] for one in asked} - {"otel-bridge"}
    table = TEXT.partition("## What it is built on")[2].partition("## Tests")[0].lower()
    assert {name for name in names if name.lower() not in table} == set()
