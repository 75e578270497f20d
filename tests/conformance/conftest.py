"""The protocol's own conformance suite and the official TypeScript client, as their lock file says. They come with the
Node that they need; where this machine lacks what that takes, the tests say so and are skipped."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.bridge import Bridge
from tests.harness.install import NpmPackages, lack

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
NODE = (22, 0)
"""The oldest that the suite runs on."""


class Node:
    """The installation: begun by the first test of any, waited for by each."""

    def __init__(self) -> None:
        self._lack = lack("npm", (0, 0), "--version")
        self._packages = None if self._lack is not None else NpmPackages(HERE)

    def run(self, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Runs a JavaScript file."""
        if self._lack is not None:
            pytest.skip(self._lack)
        assert self._packages is not None
        self._packages.wait()
        node = str(next(MODULES.glob("node-linux-*/bin/node"), "node"))
        reason = lack(node, NODE, "--version")
        if reason is not None:
            pytest.skip(reason)
        return subprocess.run([node, *arguments], cwd=HERE, capture_output=True, text=True, timeout=timeout)

    def close(self) -> None:
        if self._packages is not None:
            self._packages.close()


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    begun = Node()
    yield begun
    begun.close()


@pytest.fixture(scope="session")
def bridge(tmp_path_factory: pytest.TempPathFactory, node: Node) -> Iterator[Bridge]:
    """Started while the packages are installed."""
    made = Bridge(tmp_path_factory.mktemp("bridge"), "[gpts.devops-expert]\n")
    yield made.start()
    made.close()
