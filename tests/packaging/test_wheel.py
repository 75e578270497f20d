"""The package by itself, without the repository around it."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import requests

from otel_bridge import errors
from tests.harness.bridge import Bridge
from tests.packaging.conftest import ROOT, Packages, clean_environ


def of_the_package(folder: Path) -> set[str]:
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_it_holds_every_file_of_the_package_and_what_runs_beside_it(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("otel_bridge/")}
    beside = {name for name in inside if name.startswith("otel_bridge/files/")}
    assert inside - beside == of_the_package(ROOT / "otel_bridge")
    assert "otel_bridge/files/grafana/dashboards/gpt-resumen.json" in beside
    assert not any(name.endswith(".py") for name in beside)


def test_the_archive_of_the_sources_has_what_the_wheel_is_built_of(packages: Packages) -> None:
    with tarfile.open(packages.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"setup.py", "grafana/dashboards/gpt-resumen.json", "docker-compose.yml", "LICENSE", "NOTICE"} <= names


def test_licences_are_in_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("LICENSE", "NOTICE"):
        assert any(entry.endswith(f".dist-info/licenses/{name}") for entry in names), name


class Installed(Bridge):
    """A bridge that is run as its users do: by the command, in a folder with nothing in it."""

    def __init__(self, folder: Path, programs: Path, **environ: str) -> None:
        super().__init__(folder, None, **environ)
        self.config.unlink()
        self.programs = programs

    def command(self, *arguments: str) -> list[str]:
        return [str(self.programs / "otel-bridge"), *arguments]

    def env(self) -> dict[str, str]:
        return {**clean_environ(), "PYTHONUNBUFFERED": "1", **self.environ}


@pytest.mark.slow
def test_a_plain_installation_serves_in_an_empty_folder(plain: Path, tmp_path: Path) -> None:
    bridge = Installed(tmp_path, plain).start()
    try:
        session = bridge.session()
        assert bridge.event(session).status_code == 201
        page = requests.get(bridge.metrics_url, timeout=10).text
        assert 'otel_bridge_records_total{kind="event",reason="",result="accepted"} 1' in page.replace(".0", "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bridge.log", "data"]
    finally:
        assert bridge.stop() == 0
    assert "instala otel-bridge[mcp]" in bridge.output()


@pytest.mark.slow
def test_a_plain_installation_has_no_more_than_it_needs(plain: Path, tmp_path: Path) -> None:
    listed = subprocess.run(
        [plain / "python", "-m", "pip", "list", "--format=json"], capture_output=True, check=True, timeout=60
    ).stdout
    names = {package["name"].lower() for package in json.loads(listed)}
    assert not names & {"mcp", "mcp-types", "pyjwt", "cryptography", "redis", "psycopg"}
    bridge = Installed(tmp_path, plain).start()
    try:
        answer = requests.post(f"{bridge.url}/mcp", json={}, timeout=10)
        assert (answer.status_code, answer.json()["type"]) == (501, errors.MCP_NOT_INSTALLED.type)
    finally:
        bridge.stop()


def test_the_shipped_configuration_is_named(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "otel_bridge", "check"],
        cwd=tmp_path / "empty",
        env={**clean_environ(), "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/site/otel_bridge/default.toml: bien" in done.stdout
