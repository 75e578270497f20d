"""One suite over every backend: a backend joins with a class in `backends.py` and a parameter here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge.journal import Store
from tests.journal import stores
from tests.journal.backends import Backend, PostgresBackend, SqliteBackend

BACKENDS: dict[str, type[Backend]] = {"sqlite": SqliteBackend, "postgresql": PostgresBackend}


WAYS = {f"{name}{'-alone' if alone else ''}": (name, alone) for name in BACKENDS for alone in (False, True)}


@pytest.fixture(params=list(WAYS.values()), ids=list(WAYS))
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A journal that is written in both ways a store has: with a transaction around it, and alone."""
    name, alone = request.param
    monkeypatch.setattr(stores, "alone", alone)
    made = BACKENDS[name](tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(backend: Backend) -> Store:
    return backend.open()
