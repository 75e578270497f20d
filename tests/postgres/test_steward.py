"""The steward's lease, and what it reads and saves, against a real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.journal import Position, Segment, Store, StoreLost, StoreUnavailable, Total
from otel_bridge.journal.postgres import schema, steward
from otel_bridge.journal.postgres.steward import PostgresSteward
from otel_bridge.records import decode
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.journal.stores import append, commit, parked, transact
from tests.unit.samples import event, session

CONSUMER = "otlp"
Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def sql(cluster: Cluster, url: str) -> Sql:
    database = url.rpartition("/")[2]
    return lambda statement, *values: cluster.sql(statement, *values, database=database)


@pytest.fixture
def contenders(url: str) -> Iterator[tuple[PostgresSteward, PostgresSteward]]:
    two = PostgresSteward(url, CONSUMER), PostgresSteward(url, CONSUMER)
    yield two
    for one in two:
        one.close()


@pytest.fixture
def lanes(url: str) -> Iterator[tuple[Store, Store]]:
    """Two replicas' stores, with three and two records."""
    two = journal.open(url, CONSUMER), journal.open(url, CONSUMER)
    commit(two[0], append(session()), append(event(1)))
    commit(two[0], append(event(2)))
    commit(two[1], append(event(3), event(4)))
    yield two
    for store in two:
        store.close()


class Account:
    """What a steward has folded."""

    def __init__(self, position: Position | None = None) -> None:
        self.position: Position = {} if position is None else position
        self.segments: list[Segment] = []
        self.told: dict[int, bytes] = {}

    def fold(self, segments: list[Segment]) -> None:
        self.segments += segments

    def state(self, told: dict[int, bytes]) -> bytes:
        self.told = told
        return b"%d records" % self.records

    @property
    def records(self) -> int:
        return sum(segment.size for segment in self.segments)

    def follow(self, by: PostgresSteward) -> int:
        """How many segments there were."""
        before = len(self.segments)
        while by.follow(self.position, self.fold):
            pass
        return len(self.segments) - before

    def save(self, by: PostgresSteward, count: bool = True) -> Total | None:
        return by.save(self.position, self.fold, self.state, count)


def lapse(sql: Sql) -> None:
    """As if the steward had been silent for the length of its lease."""
    sql("UPDATE otel_bridge.steward SET lease_until = clock_timestamp() - interval '1 second'")


# --- the lease --------------------------------------------------------------------------------------------------------


def test_one_of_two_is_the_steward_until_it_gives_the_lease_up(
    contenders: tuple[PostgresSteward, PostgresSteward],
) -> None:
    one, two = contenders
    assert one.hold() and not two.hold() and one.hold()
    one.close()
    assert two.hold() and not one.hold()


def test_a_lease_that_is_over_is_anothers_and_its_steward_is_told_once(
    contenders: tuple[PostgresSteward, PostgresSteward], sql: Sql
) -> None:
    one, two = contenders
    assert one.hold()
    lapse(sql)
    assert two.hold()
    with pytest.raises(StoreLost):
        one.hold()
    assert not one.hold()
    assert sql("SELECT epoch FROM otel_bridge.steward") == [(2,)]


def test_a_lease_that_is_over_is_renewed_where_nobody_has_taken_it(
    contenders: tuple[PostgresSteward, PostgresSteward], sql: Sql
) -> None:
    one, two = contenders
    assert one.hold()
    lapse(sql)
    assert one.hold() and not two.hold()
    assert sql("SELECT epoch FROM otel_bridge.steward") == [(1,)]


def test_the_lease_of_a_process_of_this_machine_that_has_ended_is_free_at_once(
    contenders: tuple[PostgresSteward, PostgresSteward], sql: Sql
) -> None:
    one, two = contenders
    assert one.hold()
    name = sql("SELECT name FROM otel_bridge.steward")[0][0].split(" ")
    assert not two.hold()
    sql("UPDATE otel_bridge.steward SET name = %s", " ".join([*name[:3], "1"]))  # started at another time
    assert two.hold()
    sql("UPDATE otel_bridge.steward SET name = %s", " ".join(["elsewhere", *name[1:3], "1"]))
    assert not one_more(one)


def one_more(contender: PostgresSteward) -> bool:
    """Whether one that has lost the lease gets it anew."""
    with pytest.raises(StoreLost):
        contender.hold()
    return contender.hold()


def test_a_server_that_ends_the_connection_is_asked_again_on_a_new_one(
    contenders: tuple[PostgresSteward, PostgresSteward], cluster: Cluster, url: str
) -> None:
    one, _ = contenders
    assert one.hold()
    cluster.terminate(url.rpartition("/")[2])
    with pytest.raises(StoreUnavailable):
        one.hold()
    assert one.hold(), "it is the same one still"


# --- what it folds and saves ------------------------------------------------------------------------------------------


def test_all_lanes_are_folded_counted_and_saved_as_of_one_moment(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store]
) -> None:
    one, two = contenders
    transact(lanes[0], lambda: lanes[0].save_snapshot(lanes[0].last, b"of lane 0"))
    transact(lanes[0], lambda: lanes[0].advance(2, 1, [parked(2)]))
    account = Account()
    assert one.hold() and one.load() == ({}, None)
    total = account.save(one)
    assert total == Total(exported=1, pending=3, parked=1, oldest_pending_us=event(1).arrived_us)
    assert account.records == 5 and account.told == {0: b"of lane 0"}
    assert account.position == {0: lanes[0].last, 1: lanes[1].last}
    one.close()
    assert two.hold() and two.load() == (account.position, b"5 records")
    assert Account(dict(account.position)).follow(two) == 0


def test_what_comes_is_followed_and_only_what_is_new_is_handed_on(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steward, "READ_SEGMENTS", 1)
    monkeypatch.setattr(steward, "READ_BYTES", 1)
    one, _ = contenders
    account = Account()
    assert one.hold()
    turns = []
    while one.follow(account.position, account.fold):
        turns.append(schema.lane_of(account.segments[-1].last))
    assert turns == [0, 1], "lanes that are far behind take turns"
    assert account.records == 5
    commit(lanes[1], append(event(5)))
    assert account.follow(one) == 1
    assert account.save(one, count=False) is None
    ids = [record.id for segment in account.segments for record in decode(segment.body)]  # type: ignore[union-attr]
    assert len(ids) == len(set(ids)) == 6


def test_a_save_under_a_lease_that_is_anothers_saves_nothing(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store], sql: Sql
) -> None:
    one, two = contenders
    account, later = Account(), Account()
    assert one.hold()
    account.save(one)
    lapse(sql)
    assert two.hold()
    commit(lanes[0], append(event(6)))
    with pytest.raises(StoreLost):
        account.save(one)
    assert two.load()[1] == b"5 records"
    later.save(two)
    assert two.load()[1] == b"6 records"


def test_nobody_takes_the_lease_within_a_save_however_long_that_is(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store], sql: Sql
) -> None:
    one, two = contenders
    account = Account()
    assert one.hold()
    lapse(sql)
    tried = []

    def state(told: dict[int, bytes]) -> bytes:
        tried.append(two.hold())
        return account.state(told)

    one.save(account.position, account.fold, state, False)
    assert tried == [False] and not two.hold(), "the save has lengthened the lease"
    assert two.load()[1] == b"5 records"


def test_a_steward_that_is_halted_within_a_save_holds_nobody_up(
    url: str, lanes: tuple[Store, Store], sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steward, "IDLE_SECONDS", 0.2)
    one, two = PostgresSteward(url, CONSUMER), PostgresSteward(url, CONSUMER)
    account = Account()
    assert one.hold()
    lapse(sql)

    def state(told: dict[int, bytes]) -> bytes:
        wait_for(two.hold, "another steward", 10)
        return account.state(told)

    with pytest.raises(StoreUnavailable):
        one.save(account.position, account.fold, state, False)
    monkeypatch.undo()  # its next connection is one like any other
    with pytest.raises(StoreLost):
        account.save(one)
    assert two.load() == ({}, None)
    one.close()
    two.close()


def test_a_fold_that_fails_within_a_save_saves_nothing_and_blocks_nobody(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store]
) -> None:
    one, two = contenders
    account = Account()
    assert one.hold()

    def fails(segments: list[Segment]) -> None:
        raise KeyError("a record of a newer release")

    with pytest.raises(KeyError):
        one.save(account.position, fails, account.state, True)
    assert one.hold() and one.load() == ({}, None)
    one.close()
    assert two.hold()
    account.save(two)
    assert account.records == 5


def test_a_lane_that_went_back_makes_what_was_folded_void(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store], sql: Sql
) -> None:
    one, _ = contenders
    account = Account()
    assert one.hold()
    account.save(one)
    sql("UPDATE otel_bridge.lane SET last = last - 1 WHERE lane = 1")
    with pytest.raises(StoreLost, match="went back: lane 1"):
        account.follow(one)
    assert one.hold(), "it may begin anew"


def test_records_that_have_vanished_are_told_as_damaged_ones(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store], sql: Sql
) -> None:
    one, _ = contenders
    sql("DELETE FROM otel_bridge.segment WHERE last = 2")
    account = Account()
    assert one.hold()
    total = account.save(one)
    assert total is not None and total.pending == 3
    lost = account.segments[0]
    assert (lost.last, lost.size, lost.spans, lost.damaged, lost.exact) == (2, 2, 2, True, False)
    assert account.records == 5


def test_a_segment_that_does_not_match_its_checksum_is_told_with_its_spans(
    contenders: tuple[PostgresSteward, PostgresSteward], lanes: tuple[Store, Store], sql: Sql
) -> None:
    one, _ = contenders
    sql("UPDATE otel_bridge.segment SET body = '\\x00' WHERE last = 2")
    account = Account()
    assert one.hold()
    assert account.follow(one) == 3
    assert [(segment.last, segment.spans) for segment in account.segments if segment.damaged] == [(2, 2)]


# --- what replicas ask ------------------------------------------------------------------------------------------------


def test_every_lane_is_told_with_who_has_it_and_what_waits_there(url: str, lanes: tuple[Store, Store]) -> None:
    lanes[1].close()
    with psycopg.connect(url, autocommit=True) as connection:
        first, second = steward.lanes(connection, CONSUMER)
    assert (first.lane, first.last, first.cursor, first.pending) == (0, 3, 0, 3)
    assert first.name and first.lease_seconds > 0
    base = schema.base(1)
    assert (second.lane, second.name, second.last, second.cursor, second.pending) == (1, None, base + 2, base, 2)


def test_the_first_key_that_is_claimed_is_the_journals(lanes: tuple[Store, Store]) -> None:
    first, second = lanes[0].replicas, lanes[1].replicas
    assert first is not None and second is not None
    assert first.claim_key(b"one") and not second.claim_key(b"other") and second.claim_key(b"one")
