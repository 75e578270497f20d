"""The JavaScript client as a package: packed, installed, imported both ways, compiled against, judged by others."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.harness.javascript import CLIENT, Project, tool

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]  # installing comes first

MADE = ("otel-bridge-client.cjs", "otel-bridge-client.d.cts")
NAMES = ["BridgeClient", "VERSION", "current", "instrument", "medir", "medirRespuesta", "newUuid"]
PRINT = "console.log(JSON.stringify([Object.keys(client).filter((name) => name !== 'default').sort(), client.VERSION]))"


def test_what_require_gets_is_made_of_the_modules_as_they_are(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "client"
    shutil.copytree(CLIENT, folder, ignore=shutil.ignore_patterns("node_modules", *MADE))
    (folder / "node_modules").symlink_to(CLIENT / "node_modules")
    made = subprocess.run(["npm", "run", "build"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    for name in MADE:
        assert (folder / name).read_text() == (CLIENT / name).read_text(), (
            f"npm run build in clients/javascript: {name}"
        )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("by-import.mjs", f'import * as client from "otel-bridge-client"; {PRINT}'),
        ("by-require.cjs", f'const client = require("otel-bridge-client"); {PRINT}'),
        ("without-esm.cjs", f'const client = require("otel-bridge-client"); {PRINT}'),
    ],
)
def test_it_is_imported_and_required(project: Project, name: str, text: str) -> None:
    (project.folder / name).write_text(text)
    # What cannot `require` a module at all, such as an older Node or Jest, takes it as well.
    options = ["--no-experimental-require-module"] if name.startswith("without") else []
    names, version = json.loads(project.node(*options, name))
    assert (names, version) == (NAMES, json.loads((CLIENT / "package.json").read_text())["version"])


@pytest.mark.parametrize(
    ("resolution", "name"),
    [("nodenext", "sample.mts"), ("bundler", "sample.mts"), ("nodenext", "sample.cts"), ("bundler", "packages.mts")],
)
def test_a_sample_compiles_strictly_and_wrong_lines_of_it_do_not(project: Project, resolution: str, name: str) -> None:
    options = {
        "strict": True,
        "noEmit": True,
        "target": "es2022",
        "lib": ["es2022", "dom"],
        "types": [],
        "module": "nodenext" if resolution == "nodenext" else "esnext",
        "moduleResolution": resolution,
        "skipDefaultLibCheck": True,
        "skipLibCheck": name == "packages.mts",  # those of others are theirs
    }
    configuration = project.folder / f"tsconfig.{resolution}.{name}.json"
    configuration.write_text(json.dumps({"compilerOptions": options, "files": [name]}))
    compiled = tool("tsc", "--project", configuration.name, folder=project.folder)
    assert compiled.returncode == 0, compiled.stdout


def test_publint_and_attw_find_nothing(project: Project) -> None:
    linted = tool("publint", "--strict", str(project.tarball))
    assert linted.returncode == 0, linted.stdout
    typed = tool("attw", str(project.tarball))
    assert typed.returncode == 0, typed.stdout


def test_it_brings_nothing_along_and_its_lock_names_no_index() -> None:
    assert "dependencies" not in json.loads((CLIENT / "package.json").read_text())
    packages = json.loads((CLIENT / "package-lock.json").read_text())["packages"]
    assert not [name for name, found in packages.items() if "resolved" in found]
