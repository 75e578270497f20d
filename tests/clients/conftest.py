"""Both clients behind one face: each a process that obeys commands."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.scripted import Reply, Request, Scripted, taken
from tests.harness.bridge import Bridge
from tests.harness.javascript import Project

HERE = Path(__file__).parent
LANGUAGES = {
    "python": [sys.executable, str(HERE / "driver.py")],
    "javascript": ["node", str(HERE / "driver.mjs")],
}


class Driver:
    """A client in a process of its own."""

    def __init__(self, command: list[str], folder: Path | None = None) -> None:
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.errors = ""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**options: Any) -> Any:
            assert self.process.stdin is not None and self.process.stdout is not None
            self.process.stdin.write(json.dumps({"do": name, **options}) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the client's process ended in {name}: {self.end()}")
            return json.loads(line)

        return call

    def end(self, timeout: float = 30) -> str:
        """Lets the process run to its end, without flush or close; what it wrote to standard error."""
        if self.process.poll() is None:
            try:
                _, self.errors = self.process.communicate('{"do": "end"}\n', timeout=timeout)
            except BrokenPipeError:
                pass
        return self.errors

    def discard(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass


@pytest.fixture(params=list(LANGUAGES))
def client(request: pytest.FixtureRequest) -> Iterator[Driver]:
    started = Driver(LANGUAGES[request.param])
    yield started
    started.discard()


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that uses the packed JavaScript client, with the real packages around it and our programs in it."""
    made = Project(tmp_path_factory.mktemp("project"))
    shutil.copytree(HERE / "javascript", made.folder, dirs_exist_ok=True)
    return made


class Counts:
    """What a bridge that several tests share has counted since a test began."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self._before = bridge.scrape()

    def metric(self, name: str, **labels: str) -> float:
        wanted = labels.items()
        before = sum(v for (found, have), v in self._before.items() if found == name and wanted <= dict(have).items())
        return self.bridge.metric(name, **labels) - before

    def records(self) -> tuple[float, float]:
        """Sessions and events."""
        return self.metric("gpt_sessions_total"), self.metric("gen_ai_client_operation_duration_seconds_count")


@pytest.fixture(scope="module")
def shared_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    """One bridge for the tests that do it no harm: starting one takes longer than most of them."""
    bridge = Bridge(tmp_path_factory.mktemp("shared"))
    bridge.start()
    yield bridge
    bridge.close()


@pytest.fixture
def counts(shared_bridge: Bridge) -> Counts:
    return Counts(shared_bridge)


@pytest.fixture
def make_server() -> Iterator[Callable[..., Scripted]]:
    made: list[Scripted] = []

    def make(behave: Callable[[Request], Reply | None] = taken) -> Scripted:
        made.append(Scripted(behave))
        return made[-1]

    yield make
    for one in made:
        one.close()
