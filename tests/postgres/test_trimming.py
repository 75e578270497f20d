"""What is deleted of a journal that replicas share: of every lane what nobody needs, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_bridge import journal
from otel_bridge.ids import DAY_US
from otel_bridge.journal import Append, Reader, Store
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.postgres.schema import base
from otel_bridge.records import Record
from tests.harness.postgres import Cluster
from tests.unit.samples import SESSION_ID, START_US, event, session, uid

NOW_US = START_US + 30 * DAY_US


@pytest.fixture
def stores(url: str) -> Iterator[list[Store]]:
    """Three replicas, each with three segments of old events."""
    opened: list[Store] = [journal.open(url, "otlp") for _ in range(3)]
    for which, store in enumerate(opened):
        for n in range(3):
            write(store, event(10 * which + n))
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def reader(stores: list[Store]) -> Iterator[Reader]:
    opened = stores[0].reader()
    yield opened
    opened.close()


def write(store: Store, *records: Record) -> None:
    store.write_alone([Append([record], [None]) for record in records])


def deliver(store: Store, records: int = 3) -> None:
    store.begin()
    store.advance(base(_lane(store)) + records, records, [])
    store.commit()


def save(store: Store) -> None:
    """As each replica saves what it counts of itself."""
    store.begin()
    store.save_snapshot(store.last, b"own")
    store.commit()


def fold(store: Store) -> None:
    """As a steward does."""
    assert store.replicas is not None
    steward = store.replicas.steward()
    assert steward.hold()
    position, _ = steward.load()
    steward.save(position, lambda segments: None, lambda saved: b"shared", count=False)
    steward.close()


def trim(store: Store, before_us: int = START_US + DAY_US, limit: int = 100, make_room: bool = False) -> int:
    store.begin()
    rows = store.trim(before_us, NOW_US, limit, [], make_room).rows
    store.commit()
    return rows


def left(stores: list[Store]) -> list[int]:
    """Segments of each lane."""
    counts = []
    for store in stores:
        reader = store.reader()
        counts.append(len(reader.segments(0, 100)))
        reader.close()
    return counts


def _lane(store: Store) -> int:
    assert store.replicas is not None
    return store.replicas.lane


def test_one_replica_trims_all_lanes_where_their_consumers_and_the_steward_have_passed(stores: list[Store]) -> None:
    fold(stores[0])
    deliver(stores[0])
    deliver(stores[2], 2)
    trim(stores[1])
    assert left(stores) == [0, 3, 1]
    deliver(stores[1])
    deliver(stores[2])
    trim(stores[2])
    assert left(stores) == [0, 0, 0]


def test_what_the_steward_has_not_folded_stays_whatever_its_replica_has_saved(stores: list[Store]) -> None:
    fold(stores[0])
    late = journal.open(stores[0].url.partition("#")[0], "otlp")  # a lane that no steward has seen
    for n in range(3):
        write(late, event(100 + n))
    for store in (*stores, late):
        deliver(store)
        save(store)
    trim(stores[0], make_room=True)
    assert left([*stores, late]) == [0, 0, 0, 3]
    fold(stores[0])
    trim(stores[0], make_room=True)
    assert left([*stores, late]) == [0, 0, 0, 0]
    late.close()


def test_where_there_never_was_a_steward_the_snapshot_of_each_lane_counts(stores: list[Store]) -> None:
    for store in stores:
        deliver(store)
    save(stores[1])
    trim(stores[0])
    assert left(stores) == [3, 0, 3]


def test_what_is_deleted_was_added_to_the_totals_before(stores: list[Store], reader: Reader) -> None:
    fold(stores[0])
    for store in stores:
        deliver(store)
    trim(stores[0])
    row = reader.session(SESSION_ID)
    assert row is not None and row.events == 9
    assert left(stores) == [0, 0, 0]


def test_segments_that_everybody_has_passed_go_after_two_days_and_what_they_added_stays(
    stores: list[Store], reader: Reader
) -> None:
    arrived_us = event().arrived_us
    fold(stores[0])
    for store in stores:
        deliver(store)
    stores[0].begin()
    stores[0].trim(START_US - DAY_US, arrived_us + 2 * DAY_US, 100, [])
    stores[0].commit()
    assert left(stores) == [3, 3, 3]
    stores[0].begin()
    stores[0].trim(START_US - DAY_US, arrived_us + 2 * DAY_US + 1, 100, [])
    stores[0].commit()
    assert left(stores) == [0, 0, 0]
    assert reader.top_users(START_US + HOUR_US, 86_400, 1)[0].events == 9


def test_where_the_clock_is_not_believed_nothing_goes_by_it(stores: list[Store]) -> None:
    fold(stores[0])
    for store in stores:
        deliver(store)
    assert trim(stores[0], before_us=0) == 0
    assert trim(stores[0], before_us=0, make_room=True) == 9


def test_a_step_deletes_no_more_than_it_is_told_over_all_lanes(stores: list[Store]) -> None:
    fold(stores[0])
    for store in stores:
        deliver(store)
    assert trim(stores[0], limit=4) == 5  # of segments, and one row of usage
    assert sum(left(stores)) == 5
    assert trim(stores[0], limit=4) == 4 and trim(stores[0], limit=4) == 1 and trim(stores[0], limit=4) == 0


def test_a_session_that_another_replica_hears_of_is_kept(stores: list[Store], reader: Reader) -> None:
    write(stores[0], session(1), session(2))
    before_us = START_US + HOUR_US
    stores[0].begin()
    stores[0].fall_idle(reader.idle_candidates(before_us, 100), before_us)
    stores[0].commit()
    old = reader.old_sessions(before_us, 100)
    assert {uid(1), uid(2)} < {*old}
    write(stores[2], event(500, session=uid(2), arrived_us=before_us + 1))
    stores[0].begin()
    kept = stores[0].trim(before_us, NOW_US, 100, [uid(1), uid(2)]).kept_sessions
    stores[0].commit()
    assert kept == [uid(2)] and reader.session(uid(1)) is None


def test_room_that_segments_leave_is_no_longer_counted_though_their_table_keeps_it(
    stores: list[Store], reader: Reader, cluster: Cluster, url: str
) -> None:
    off = "ALTER TABLE otel_bridge.segment SET (autovacuum_enabled = off)"  # it may give room back at any moment
    cluster.sql(off, database=url.rpartition("/")[2])
    for n in range(30):
        write(stores[0], *[event(1_000 + 40 * n + i, content="x" * 3_000) for i in range(40)])
    used = reader.bytes_used()
    pending, exported = reader.bytes_of_segments()
    assert exported == 0 and 0.9 * pending < used < 3 * pending
    fold(stores[0])
    deliver(stores[0], stores[0].last)
    trim(stores[0], make_room=True)
    assert left(stores)[0] < 33
    while trim(stores[0], make_room=True):
        pass
    assert reader.bytes_used() < used - 0.9 * pending
    size = "SELECT pg_total_relation_size('otel_bridge.segment')"
    assert cluster.sql(size, database=url.rpartition("/")[2])[0][0] > pending
