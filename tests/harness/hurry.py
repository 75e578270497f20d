"""Replicas whose patience with PostgreSQL is short for a while: a server that is busy is not taken for one that hangs
before and after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from otel_bridge.journal.postgres import reading
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.patience import Patient
from otel_bridge.journal.postgres.reading import PostgresReader
from otel_bridge.journal.postgres.writing import PostgresStore

SECONDS = 0.5


@contextmanager
def hurried(store: PostgresStore, *readers: PostgresReader) -> Iterator[None]:
    """What the store, and its readers, ask meanwhile is waited for that long."""
    patience = store._holding.patience
    seconds, of_readers = patience.seconds, reading.PATIENCE_SECONDS
    patience.seconds = _bound(store._holding.db, SECONDS)
    if readers:  # a little longer, as always: what they ask ends with what the store asks
        reading.PATIENCE_SECONDS = SECONDS + 0.2
    for reader in readers:
        _bound(reader._connection, reading.PATIENCE_SECONDS)
    try:
        yield
    finally:
        patience.seconds = _bound(store._holding.db, seconds)
        reading.PATIENCE_SECONDS = of_readers
        for reader in readers:
            _bound(reader._connection, of_readers)


def _bound(connection: Connection, seconds: float) -> float:
    assert isinstance(connection, Patient)
    connection.seconds = seconds
    return seconds
