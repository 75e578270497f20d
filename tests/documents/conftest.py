"""What the documents are tried with: packages from npm, and a Go program. Both are installed as their lock files say;
where this machine lacks what that takes, the tests say so and are skipped."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge.access import keys
from tests.harness.bridge import Bridge
from tests.harness.install import Install, NpmPackages, lack

HERE = Path(__file__).parent
NODE = (20, 19)
"""The oldest that redocly runs on."""
GO = (1, 25)
"""As go.mod says."""
CONFIG = f"""
[gpts.devops-expert]
[gpts.con-clave]
api_key_hashes = ["{keys.hash_of(b"otb_" + b"d" * 43)}"]
"""


class Tools:
    """Both installations. Each is begun by the first test of any, and waited for by those that need it."""

    def __init__(self, folder: Path) -> None:
        self.program = folder / "documents"
        self.no_npm = lack("node", NODE, "--version") or lack("npm", (0, 0), "--version")
        self.no_go = lack("go", GO, "version")
        self._npm = None if self.no_npm is not None else NpmPackages(HERE)
        self._go = None
        if self.no_go is None:
            # Not optimised, not linked for a debugger: two thirds of the time.
            command = [
                "go",
                "build",
                "-mod=readonly",
                "-gcflags=all=-N -l",
                "-ldflags=-s -w",
                "-o",
                str(self.program),
                ".",
            ]
            self._go = Install("Go modules", command, HERE / "go", CGO_ENABLED="0", GOTOOLCHAIN="local")

    def npm(self, *command: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Runs a command of a package."""
        if self.no_npm is not None:
            pytest.skip(self.no_npm)
        assert self._npm is not None
        self._npm.wait()
        environ = {**os.environ, "REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
        program = HERE / "node_modules" / ".bin" / command[0]
        return subprocess.run(
            [str(program), *command[1:]], cwd=folder, env=environ, capture_output=True, text=True, timeout=200
        )

    def go(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs the Go program."""
        if self.no_go is not None:
            pytest.skip(self.no_go)
        assert self._go is not None
        self._go.wait()
        return subprocess.run([str(self.program), *arguments], capture_output=True, text=True, timeout=200)

    def close(self) -> None:
        for one in (self._npm, self._go):
            if one is not None:
                one.close()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tools]:
    begun = Tools(tmp_path_factory.mktemp("tools"))
    yield begun
    begun.close()


@pytest.fixture(scope="session")
def bridge(tmp_path_factory: pytest.TempPathFactory, tools: Tools) -> Iterator[Bridge]:
    """One with an open GPT and one that wants a key. Started while the tools are installed."""
    made = Bridge(tmp_path_factory.mktemp("bridge"), CONFIG)
    yield made.start()
    made.close()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, bridge: Bridge) -> Path:
    """A folder with the served documents: of the API, and of each GPT's actions."""
    folder = tmp_path_factory.mktemp("served")
    paths = {
        "openapi": "/openapi.json",
        "actions": "/openapi-gpt.json?gpt=devops-expert",
        "actions-with-key": "/openapi-gpt.json?gpt=con-clave",
    }
    for name, path in paths.items():
        answer = bridge.http.get(bridge.url + path, timeout=10)
        assert answer.status_code == 200
        (folder / f"{name}.json").write_bytes(answer.content)
    return folder
