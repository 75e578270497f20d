"""One server and three replicas for the tests of a file, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.fleet import Fleet, fleet_of
from tests.harness.otlp import OtlpReceiver
from tests.harness.postgres import LAX, Cluster


class Place:
    """A journal, its replicas, and what they deliver to."""

    def __init__(self, cluster: Cluster, database: str, fleet: Fleet, receiver: OtlpReceiver) -> None:
        self.cluster = cluster
        self._database = database
        self.fleet = fleet
        self.receiver = receiver

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.cluster.sql(statement, *values, database=self._database)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    cluster = Cluster(LAX).start()
    receiver = OtlpReceiver().start()
    try:
        database = cluster.database()
        folder = tmp_path_factory.mktemp("replicas")
        environ = {**receiver.environ, "OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "1"}
        with fleet_of(folder, cluster.dsn(database), **environ) as fleet:
            yield Place(cluster, database, fleet, receiver)
    finally:
        receiver.close()
        cluster.close()
