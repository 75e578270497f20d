"""A cluster for all tests of a worker, and a database of each test's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_bridge import journal
from tests.harness.postgres import LAX, Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    started = Cluster(LAX).start()
    yield started
    started.close()


@pytest.fixture
def empty(cluster: Cluster) -> str:
    """The URL of a database without tables."""
    return cluster.dsn(cluster.database())


@pytest.fixture(scope="session")
def template(cluster: Cluster) -> str:
    name = cluster.database()
    journal.migrate(cluster.dsn(name), None, lambda line: None)
    return name


@pytest.fixture
def url(cluster: Cluster, template: str) -> str:
    """The URL of a database with tables."""
    return cluster.dsn(cluster.database(template))
