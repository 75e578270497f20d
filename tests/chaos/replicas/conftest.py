"""One server and three replicas for the tests of a file, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.replicas.world import World
from tests.harness.postgres import LAX, Cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Its crashes are the server's alone, never the machine's."""
    made = Cluster({**LAX, "full_page_writes": "on"}).start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def world(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = cluster.database()
    made = World(
        tmp_path_factory.mktemp("replicas"),
        cluster.dsn(database),
        lambda statement: cluster.sql(statement, database=database),
    )
    made.database = database
    try:
        yield made.start()
    finally:
        made.close()
