"""Others load the served documents: a client generated from them, the field's linters, the MCP SDK for Go."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.documents.conftest import HERE, Tools
from tests.harness.bridge import Bridge

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first


def test_the_guides_bodies_are_right_in_a_generated_typescript_client_and_it_works(
    tools: Tools, served: Path, bridge: Bridge, tmp_path: Path
) -> None:
    for name in ("openapi", "actions"):
        made = tools.npm("openapi-typescript", str(served / f"{name}.json"), "-o", f"{name}.d.ts", folder=tmp_path)
        assert made.returncode == 0, made.stderr
    for name in ("guide.ts", "tsconfig.json"):
        shutil.copy(HERE / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(HERE / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    compiled = tools.npm("tsc", "--strict", "--project", ".", folder=tmp_path)
    assert compiled.returncode == 0, compiled.stdout
    ran = subprocess.run(
        ["node", "guide.js", bridge.url], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"eventos": 2, "enlace_traza": None, "campo": "tipo"}


def test_a_go_program_with_the_official_sdk_loads_every_schema_and_calls_every_tool(
    tools: Tools, bridge: Bridge
) -> None:
    ran = tools.go(bridge.url)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    document = bridge.http.get(f"{bridge.url}/openapi.json", timeout=10).json()
    assert set(seen["schemas"]) == set(document["components"]["schemas"])
    names = ("crear_sesion", "registrar_evento", "valorar_evento", "terminar_sesion")
    assert seen["tools"] == dict.fromkeys(names, "fits")

    def events(session: str) -> int:
        return int(bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()["eventos"])

    assert events(seen["session"]) == 2 and events(seen["mcp"]) == events(seen["bare"]) == 1
    assert seen["protocol"] == "2026-07-28"


LINTERS = {
    "redocly": ("redocly", "lint", "--config", str(HERE / "redocly.yaml")),
    "spectral": ("spectral", "lint", "--ruleset", str(HERE / "spectral.yaml"), "--fail-severity", "error"),
}


@pytest.mark.parametrize("linter", LINTERS)
def test_a_linter_finds_no_error(tools: Tools, served: Path, linter: str) -> None:
    names = sorted(path.name for path in served.glob("*.json"))
    assert len(names) == 3
    found = tools.npm(*LINTERS[linter], *names, folder=served)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("linter", LINTERS)
def test_a_linter_would_find_one(tools: Tools, served: Path, tmp_path: Path, linter: str) -> None:
    document: dict[str, Any] = json.loads((served / "openapi.json").read_text(encoding="utf-8"))
    del document["components"]["schemas"]["ProblemOut"]
    (tmp_path / "broken.json").write_text(json.dumps(document), encoding="utf-8")
    assert tools.npm(*LINTERS[linter], "broken.json", folder=tmp_path).returncode == 1
