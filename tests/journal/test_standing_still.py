"""A replica stands still in the middle of a transaction: the others wait for its locks no longer than for its lease."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge.journal.postgres import connection, lane
from otel_bridge.journal.store import OutcomeUnknown, StoreUnavailable
from tests.journal.backends import PostgresBackend
from tests.journal.stores import append
from tests.unit.samples import event, session


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgresBackend]:
    short = connection._SESSION.replace(f"'{connection.IDLE_SECONDS}s', false", "'3s', false")
    assert short != connection._SESSION
    monkeypatch.setattr(connection, "_SESSION", short)
    made = PostgresBackend(tmp_path)
    yield made
    made.close()


def test_its_locks_are_gone_before_its_lease_is_over() -> None:
    assert connection.IDLE_SECONDS < lane.LEASE_SECONDS


def test_a_key_that_it_has_not_committed_is_taken_by_another(backend: PostgresBackend) -> None:
    """And what it goes on with later was not taken."""
    still, other = backend.open(), backend.open()
    still.begin()
    still.write([append(session(), event(1), keys=[None, b"key"])])
    repeated = append(event(1), keys=[b"key"])
    assert other.write_alone([repeated]) == [event(1)] and repeated.outcomes is None
    with pytest.raises((StoreUnavailable, OutcomeUnknown)) as ended:
        still.commit()
    if ended.type is OutcomeUnknown:
        assert still.resolve_outcome() is False
    else:
        still.rollback()
    again = append(event(1), keys=[b"key"])
    assert still.write_alone([again]) == [] and again.outcomes is not None
