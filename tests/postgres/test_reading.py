"""What a replica reads of a journal that it shares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from otel_bridge import journal
from otel_bridge.journal import Append, Ledger, Reader, Store, StoreUnavailable
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.journal.postgres.schema import base
from otel_bridge.records import Record, decode
from tests.harness.postgres import LAX, Cluster
from tests.journal.stores import parked
from tests.unit.samples import SESSION_ID, START_US, event, session, uid


@pytest.fixture
def stores(url: str) -> Iterator[list[Store]]:
    """Three replicas."""
    opened: list[Store] = [journal.open(url, "otlp") for _ in range(3)]
    assert opened[0].replicas is not None and opened[0].replicas.claim_key(b"of the tests")
    yield opened
    for store in opened:
        store.close()


@pytest.fixture
def readers(stores: list[Store]) -> Iterator[list[Reader]]:
    """One of each replica."""
    opened = [store.reader() for store in stores]
    yield opened
    for reader in opened:
        reader.close()


def write(store: Store, *records: Record) -> None:
    store.write_alone([Append([record], [None]) for record in records])


def test_a_session_that_one_replica_opened_is_there_for_all(stores: list[Store], readers: list[Reader]) -> None:
    write(stores[1], session())
    assert all(reader.sessions([SESSION_ID]) for reader in readers)


def test_each_reads_its_own_lane_and_finds_events_of_all(stores: list[Store], readers: list[Reader]) -> None:
    for number, store in enumerate(stores):
        write(store, event(number, arrived_us=START_US + number))
    for number, reader in enumerate(readers):
        (segment,) = reader.segments(reader.cursor(), 10)
        assert segment.last == base(number) + 1 and decode(segment.body) == [
            event(number, arrived_us=START_US + number)
        ]
        assert reader.segments(base(number + 1) + 1, 10) == [], "what follows in another lane is another's"
        for other in range(3):
            found = reader.event_near(uid(other), START_US + other)
            assert found is not None and found.id == uid(other)


def test_who_has_no_lane_reads_one_after_the_other(stores: list[Store], readers: list[Reader], url: str) -> None:
    for number in (0, 2):
        for n in range(3):
            write(stores[number], event(10 * number + n))
    with closing(journal.open_reader(url, "otlp")) as reader:
        after, found = 0, []
        while segments := reader.segments(after, 2):
            after = segments[-1].last
            found += [segment.last for segment in segments]
        assert found == [1, 2, 3, base(2) + 1, base(2) + 2, base(2) + 3]


def test_a_ledger_is_of_one_lane_or_of_all_together(stores: list[Store], readers: list[Reader], url: str) -> None:
    for number, store in enumerate(stores):
        write(store, *[event(10 * number + n, arrived_us=START_US - number) for n in range(number + 1)])
    stores[2].begin()
    stores[2].advance(base(2) + 3, 2, [parked(base(2) + 1)])
    stores[2].commit()
    assert [reader.ledger() for reader in readers] == [
        Ledger(1, 0, 0, 1, 0, START_US),
        Ledger(base(1) + 2, base(1), 0, 2, 0, START_US - 1),
        Ledger(base(2) + 3, base(2) + 3, 2, 0, 1, None),
    ]
    with closing(journal.open_reader(url, "otlp")) as reader:
        assert reader.ledger() == Ledger(6, 3, 2, 3, 1, START_US - 1)


def test_what_was_parked_is_sent_again_by_its_lane_or_for_one_that_nobody_holds_by_the_lowest(
    stores: list[Store], readers: list[Reader], url: str
) -> None:
    for number, store in enumerate(stores):
        write(store, event(number))
        store.begin()
        store.advance(base(number) + 1, 0, [parked(base(number) + 1)])
        store.commit()

    def asked() -> list[list[int]]:
        return [[one.seq for one in reader.parked(10, replay_only=True)] for reader in readers]

    assert asked() == [[], [], []]
    assert journal.mark_replay(url, None) == 3
    assert asked() == [[1], [base(1) + 1], [base(2) + 1]]
    stores[0].close()
    assert asked()[1:] == [[1, base(1) + 1], [base(2) + 1]]
    stores[1].begin()
    stores[1].unpark([1, base(1) + 1])
    stores[1].repark([parked(base(2) + 1, message="again"), parked(1, message="delivered meanwhile")])
    stores[1].commit()
    assert readers[1].replay_marks() == {base(2) + 1: False}
    with closing(journal.open_reader(url, "otlp")) as reader:
        assert (reader.ledger().exported, reader.ledger().parked) == (2, 1)
    assert readers[1].ledger().exported == 1, "each lane counts what it has"


def test_a_report_of_a_lane_that_was_lost_is_passed_over(stores: list[Store], readers: list[Reader]) -> None:
    write(stores[0], event(1))
    stores[1].begin()
    stores[1].advance(1, 1, [parked(1)])
    stores[1].commit()
    assert readers[0].cursor() == 0 and readers[0].parked(10) == []


def test_a_reader_goes_on_when_its_connection_was_cut_or_the_server_is_back(
    stores: list[Store], readers: list[Reader], cluster: Cluster, url: str
) -> None:
    write(stores[0], session())
    readers[0].begin_snapshot()
    cluster.terminate(url.rpartition("/")[2])
    assert readers[0].sessions([SESSION_ID])
    assert readers[0].ledger().pending == 1
    readers[0].begin_snapshot()
    cluster.terminate(url.rpartition("/")[2])
    with pytest.raises(StoreUnavailable):
        readers[0].ledger()
    assert readers[0].ledger().pending == 1


def test_while_the_server_is_away_a_reader_says_so_and_then_goes_on() -> None:
    with closing(Cluster(LAX)) as cluster:
        url = cluster.start().dsn(cluster.database())
        journal.migrate(url, None, lambda line: None)
        with closing(journal.open(url, "otlp")) as store, closing(store.reader()) as reader:
            write(store, session())
            cluster.crash()
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    reader.sessions([SESSION_ID])
            cluster.start()
            assert reader.sessions([SESSION_ID])


def test_what_the_database_sets_for_others_holds_nobody_up(cluster: Cluster, url: str) -> None:
    name = url.rpartition("/")[2]
    for setting in ("default_transaction_isolation = 'serializable'", "lock_timeout = '1ms'"):
        cluster.sql(f"ALTER DATABASE {name} SET {setting}")
    with closing(connect(url)) as connection:
        assert connection.execute("SHOW transaction_isolation").fetchall() == [("read committed",)]
        assert connection.execute("SHOW lock_timeout").fetchall() == [("0",)]
