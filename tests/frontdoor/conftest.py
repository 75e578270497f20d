"""Bridges that a whole module shares: a start costs more than most of these tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.harness.bridge import Bridge

Serve = Callable[..., Bridge]


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """`serve(config, **environ)` → a started bridge, closed after the module's last test."""
    made: list[Bridge] = []

    def start(config: str | None = None, **environ: str) -> Bridge:
        folder: Path = tmp_path_factory.mktemp("bridge")
        made.append(Bridge(folder, config, **environ))
        return made[-1].start()

    yield start
    for one in made:
        one.close()
