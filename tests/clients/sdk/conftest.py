"""The programs of builders: processes with the real SDKs, whose records pass a proxy on their way to a real bridge."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripted import Scripted, losing_answers
from tests.harness.bridge import Bridge
from tests.harness.install import Install

HERE = Path(__file__).parent
MCP1 = HERE / ".mcp1"


@pytest.fixture(scope="session")
def mcp_1() -> str:
    """Where the 1.x line of the MCP SDK is, to be put before the locked one."""
    lock = HERE / "mcp1.txt"
    stamp = MCP1 / ".of-lock"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", "--retries=1"]
        what = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--upgrade", "--target", str(MCP1)]
        install = Install("The 1.x line of mcp", [*pip, *what, "-r", str(lock)], HERE)
        try:
            install.wait()
        finally:
            install.close()
        stamp.write_text(wanted)
    return str(MCP1)


class Program:
    """A driver that runs by itself."""

    def __init__(self, script: str, *arguments: str, before: str = "") -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))}
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            env={**environ, "PYTHONPATH": before},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""

    def said(self, timeout: float = 120) -> Any:
        output, self.errors = self._process.communicate(timeout=timeout)
        assert self._process.returncode == 0, self.errors
        return json.loads(output)

    def discard(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Road:
    """A real bridge, and the proxy in front of it that keeps what is posted."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.proxy = Scripted(losing_answers(bridge.port, lambda number: False))

    @property
    def api(self) -> str:
        return self.proxy.api

    def events(self) -> list[dict[str, Any]]:
        return [event for request in self.proxy.requests if request.path == "/api/events" for event in request.body]

    def sessions(self) -> dict[str, dict[str, Any]]:
        return {r.body["id"]: r.body for r in self.proxy.requests if r.path == "/api/sessions"}

    def by(self, field: str) -> dict[str, list[dict[str, Any]]]:
        found = defaultdict(list)
        for event in self.events():
            found[event.get(field)].append(event)
        return found

    def close(self) -> None:
        self.proxy.close()
        self.bridge.close()


@pytest.fixture(scope="module")
def make_road(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Road]]:
    made: list[Road] = []

    def make() -> Road:
        made.append(Road(Bridge(tmp_path_factory.mktemp("road")).start()))
        return made[-1]

    yield make
    for road in made:
        road.close()


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[..., Program]]:
    made: list[Program] = []

    def start(script: str, *arguments: str, before: str = "") -> Program:
        made.append(Program(script, *arguments, before=before))
        return made[-1]

    yield start
    for program in made:
        program.discard()
