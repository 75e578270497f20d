"""A connection that is lost, or a replica that comes between, at the very moment at which a promise could break."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.journal import OutcomeUnknown, StoreLost, StoreUnavailable
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.journal.postgres.generations import Generations, Turn
from otel_bridge.journal.postgres.writing import PostgresStore
from tests.harness.postgres import Cluster
from tests.journal.stores import append
from tests.unit.samples import START_US, event, session


@pytest.fixture
def stores(url: str) -> Iterator[list[PostgresStore]]:
    """Two replicas."""
    opened = [journal.open(url, "otlp") for _ in range(2)]
    yield opened  # type: ignore[misc]
    for store in opened:
        store.close()


def key(at_us: int, number: int) -> bytes:
    """That starts with its event's time, as live traffic has them."""
    return b"c" + (at_us // 1000).to_bytes(6, "big") + bytes([number]) * 9


def take(store: PostgresStore, number: int, at_us: int, arrived_us: int | None = None) -> int:
    """How many were new."""
    return len(store.write_alone([append(event(number, arrived_us=arrived_us or at_us), keys=[key(at_us, number)])]))


class Dying:
    """A connection whose back end ends when it is asked for what stands in older keys."""

    def __init__(self, db: Any, cluster: Cluster) -> None:
        self._db, self._cluster = db, cluster

    def execute(self, sql: str, *values: Any) -> Any:
        if "FROM otel_bridge.seen_" in sql:
            self._cluster.sql("SELECT pg_terminate_backend(%s)", self._db.info.backend_pid)
        return self._db.execute(sql, *values)


def test_a_turn_is_taken_on_whole_or_not_at_all(
    stores: list[PostgresStore], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = stores
    tomorrow = START_US + 5 * HOUR_US
    take(one, 1, START_US)
    take(other, 2, START_US + 1_000)
    take(other, 3, tomorrow)  # begins the turn
    load, dying = Generations.load, [True]

    def dies_once(self: Generations, db: Any, turn: Turn) -> None:
        load(self, Dying(db, cluster) if dying.pop() else db, turn)
        dying.append(False)

    with monkeypatch.context() as patched, pytest.raises(StoreUnavailable):
        patched.setattr(Generations, "load", dies_once)
        take(one, 4, tomorrow)
    one.rollback()
    assert take(one, 4, tomorrow) == 1
    assert take(one, 2, START_US + 1_000, arrived_us=tomorrow) == 0, "a retry of yesterday's event was taken again"
    assert take(other, 4, tomorrow) == 0


@pytest.mark.parametrize("within_commit", [False, True])
def test_a_journal_that_went_back_is_told_though_another_has_claimed_the_lane(
    stores: list[PostgresStore], cluster: Cluster, url: str, within_commit: bool
) -> None:
    one, other = stores
    take(one, 1, START_US)
    lane = one.lane
    with connect(url) as db:
        row = db.execute("SELECT last, total, commits FROM otel_bridge.lane WHERE lane = %s", (lane,)).fetchone()
        assert row is not None
        take(one, 2, START_US)
        # As a promoted standby has it that lacks that commit; its failover took longer than a lease.
        db.execute("DELETE FROM otel_bridge.segment WHERE last > %s AND last >> 40 = %s", (row[0], lane))
        db.execute(
            "UPDATE otel_bridge.lane SET last = %s, total = %s, commits = %s, lease_until = '-infinity' "
            "WHERE lane = %s", (*row, lane),
        )  # fmt: skip
    adopted = other.replicas.adopt()
    assert adopted is not None
    if within_commit:
        cluster.terminate(url.rpartition("/")[2])
    with pytest.raises(StoreLost, match="went back"):
        try:
            take(one, 3, START_US)
        except OutcomeUnknown:
            one.resolve_outcome()
    reader = adopted.reader()
    assert reader.identity().went_back is not None
    reader.close()
    adopted.close()


def test_nobody_adds_to_sessions_beside_one_that_ends_their_periods(stores: list[PostgresStore], url: str) -> None:
    store = stores[0]
    store.write_alone([append(session(), event(1))])
    reader = store.reader()
    idles = reader.idle_candidates(START_US + HOUR_US, 10)
    store.begin()
    assert store.fall_idle(idles, START_US + HOUR_US)
    with connect(url) as other:
        other.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
            other.execute("SELECT 1 FROM otel_bridge.counted FOR UPDATE")
    store.commit()
    reader.close()
