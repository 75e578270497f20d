"""A connection that is lost, or a replica that comes between, at the very moment at which a promise could break."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.journal import OutcomeUnknown, StoreLost, StoreUnavailable
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.postgres import dump, lane, migrations, totals
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.journal.postgres.generations import Generations, Turn
from otel_bridge.journal.postgres.visiting import visit
from otel_bridge.journal.postgres.writing import PostgresStore
from otel_bridge.ops.forms import SnapshotForms
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
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


def test_a_backup_lets_a_step_by_that_holds_the_totals_and_waits_for_its_lane(
    stores: list[PostgresStore], cluster: Cluster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, other = stores
    take(other, 1, START_US)
    take(step, 3, START_US)
    rounds, ended = [0], threading.Event()

    def end() -> None:
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%counted%'"
        wait_for(lambda: cluster.sql(waits), "a backup that waits for the totals", pause=0.02)
        step.commit()
        ended.set()

    def catch_up(connection: Any, *rest: Any) -> int:
        added = totals.catch_up(connection, *rest)
        rounds[0] += 1
        if rounds[0] == dump.ROUNDS:
            take(other, 2, START_US)
            step.begin()
            step._db.execute("SELECT 1 FROM otel_bridge.counted ORDER BY lane FOR UPDATE")
            threading.Thread(target=end).start()
        return added

    monkeypatch.setattr(dump, "totals", SimpleNamespace(catch_up=catch_up))
    with dump.archive(url, SnapshotForms(), served=True) as archive:
        assert ended.wait(30)
        assert archive.sums.usage_events == archive.sums.records == 3


def test_a_process_of_another_machine_of_the_same_name_is_not_taken_for_gone() -> None:
    mine = lane.process_name()
    host, kernel, _, started = mine.split(" ")
    boot, _, namespace = kernel.partition(":")
    nobody = 1 << 22  # no process id is so high
    assert boot and namespace and not lane.is_gone(mine, mine)
    assert lane.is_gone(f"{host} {kernel} {nobody} {started}", mine)
    assert not lane.is_gone(f"{host} 00000000:{namespace} {nobody} {started}", mine)


def test_a_replica_that_starts_within_a_restore_has_the_turn_of_what_was_restored(url: str, cluster: Cluster) -> None:
    with visit(url) as db:
        db.execute("UPDATE otel_bridge.journal SET turn = 10")
        db.execute("UPDATE otel_bridge.turn SET turn = 10")
        started: list[PostgresStore] = []
        with db.transaction():
            db.execute("SELECT 1 FROM otel_bridge.journal FOR UPDATE")
            thread = threading.Thread(target=lambda: started.append(journal.open(url, "otlp")))  # type: ignore[arg-type]
            thread.start()
            waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FOR SHARE%'"
            wait_for(lambda: cluster.sql(waits), "a replica that waits")
            db.execute("ALTER SCHEMA otel_bridge RENAME TO before")  # as `journal restore --replace` does
            migrations.make(db)
        thread.join(30)
        rows = db.execute("SELECT lane, turn FROM otel_bridge.lane").fetchall()
    (store,) = started
    assert (rows, store.generations.now) == ([(0, 1)], Turn(1, False))
    store.close()


def test_a_lane_that_ends_with_damage_is_adopted_all_the_same(stores: list[PostgresStore], url: str) -> None:
    one, other = stores
    take(one, 1, START_US)
    with connect(url) as db:
        db.execute("UPDATE otel_bridge.segment SET body = '\\x00' WHERE last = %s", (one.last,))
        db.execute("UPDATE otel_bridge.lane SET lease_until = '-infinity' WHERE lane = %s", (one.lane,))
    adopted = other.replicas.adopt()
    assert adopted is not None and adopted.last == one.last
    reader = adopted.reader()
    (left,) = reader.segments(0, 10)
    assert left.damaged and left.spans == 1  # its exporter sets that aside
    reader.close()
    adopted.close()
