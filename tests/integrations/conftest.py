"""What the integrations are tried with: the real packages, in an environment of their own that is installed as its lock
says; where no index of packages is reached, the tests say so and are skipped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.bridge import ROOT, Bridge
from tests.harness.install import Install, lack
from tests.harness.model_api import ModelApi
from tests.harness.otlp import OtlpReceiver

HERE = Path(__file__).parent
PLACE = HERE / ".venv"
"""Kept for the next run, as long as the lock is the same."""
LOCKS = (HERE / "requirements.txt", HERE / "installer.txt")
NODE = (20, 0)
"""The oldest that the JavaScript client runs on."""
_STAMP = PLACE / ".of-lock"


class Packages:
    """The environment. Begun by the first test of any; waited for by those that need it."""

    def __init__(self) -> None:
        lock = hashlib.sha256(b"".join(lock.read_bytes() for lock in LOCKS) + sys.version.encode()).hexdigest()
        self._install = None
        if not (_STAMP.exists() and _STAMP.read_text() == lock):
            python = PLACE / "bin" / "python"
            locked = "--no-deps --require-hashes --only-binary :all: -q -r"
            # uv, for it is ten times faster at this.
            pip = f"'{python}' -m pip install --disable-pip-version-check {locked} '{LOCKS[1]}'"
            uv = f"'{python}' -m uv pip install --python '{python}' {locked} '{LOCKS[0]}'"
            made = f"'{sys.executable}' -m venv --clear '{PLACE}' && {pip} && {uv} && printf {lock} > '{_STAMP}'"
            # Test processes side by side want the same: one makes it, the others wait and find it made.
            command = f"test \"$(cat '{_STAMP}' 2>&1)\" = {lock} || {{ {made}; }}"
            self._install = Install("Python packages", ["flock", str(HERE), "sh", "-c", command], HERE)

    def run(self, script: str | Path, environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
        """A program with the packages and this repository's client."""
        if self._install is not None:
            self._install.wait()
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))}
        environ = {
            **clean,
            "PYTHONPATH": f"{ROOT / 'clients' / 'python'}",
            "PYTHONDONTWRITEBYTECODE": "",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it looks for its list of prices on the web
            "LITELLM_LOG": "ERROR",
            "NO_PROXY": "*",
            **environ,
        }
        program = [str(PLACE / "bin" / "python"), *(["-c", script] if isinstance(script, str) else [str(script)])]
        return subprocess.run(program, cwd=folder, env=environ, capture_output=True, text=True, timeout=200)

    def node(self, script: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["node", str(script)],
            cwd=script.parent,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            timeout=60,
        )

    def link_node(self, folder: Path) -> None:
        """Has a script of that folder find the packages of package-lock.json, and this repository's client."""
        lacking = lack("node", NODE, "--version") or lack("npm", (0, 0), "--version")
        if lacking is not None:
            pytest.skip(lacking)
        stamp = HERE / "node_modules" / ".of-lock"
        lock = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
        if not (stamp.exists() and stamp.read_text() == lock):
            command = [
                "npm",
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--prefer-offline",
                "--fetch-retries=1",
            ]
            install = Install("npm packages", command, HERE)
            install.wait()
            install.close()
            stamp.write_text(lock)
        modules = folder / "node_modules"
        modules.mkdir(exist_ok=True)
        for package in (HERE / "node_modules").iterdir():
            if not package.name.startswith("."):
                (modules / package.name).symlink_to(package)

    def close(self) -> None:
        if self._install is not None:
            self._install.close()


@pytest.fixture(scope="session")
def packages() -> Iterator[Packages]:
    begun = Packages()
    yield begun
    begun.close()


@pytest.fixture(scope="session")
def model() -> Iterator[ModelApi]:
    api = ModelApi()
    yield api
    api.close()


class Told:
    """What a script of scenarios told, and what the bridge made of it."""

    def __init__(self, lines: list[dict[str, Any]], stats: dict[str, Any], receiver: OtlpReceiver) -> None:
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.drops: dict[str, list[str]] = {}
        for line in lines:
            if "drop" in line:
                self.drops.setdefault(line["scenario"], []).append(line["drop"])
            else:
                self.events.setdefault(line["scenario"], []).append(line)
        self.stats = stats
        self.receiver = receiver

    def one(self, scenario: str) -> dict[str, Any]:
        (event,) = self.events[scenario]
        return event


def play(script: Path, packages: Packages, model: ModelApi, receiver: OtlpReceiver, folder: Path) -> Iterator[Told]:
    bridge = Bridge(folder, **receiver.environ).start()
    try:
        done = packages.run(script, {**model.environ, "OTB_URL": bridge.api}, folder)
        assert done.returncode == 0, done.stderr
        *lines, stats = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        yield Told(lines, stats, receiver)
    finally:
        bridge.close()
