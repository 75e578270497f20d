"""Langfuse's ingestion: why it is not measured."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.peers.beside import Beside, Row

WHY = (
    "its server comes as container images only (the packages of npm and PyPI are clients), and wants PostgreSQL, "
    "Redis, an S3 store and ClickHouse ≥ 25.12, of which Debian has 18.16"
)
PROMISE = "by its documentation: raw in the S3 store and queued in Redis; a worker writes it to ClickHouse later"


def run(_: Beside) -> Iterator[Row]:
    yield "Langfuse", "not here", WHY
    yield "Langfuse: what its answer promises", "–", PROMISE
