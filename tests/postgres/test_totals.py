"""Totals that are added behind the commits: as SQLite has them in its commits, and exactly once, whoever adds them."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.ids import DAY_US
from otel_bridge.journal import Append, Store
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.parts import PART_BYTES, PART_EVENTS
from otel_bridge.journal.postgres import idle, totals
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.records import Event, Extras, Idle, Record, ToolCall
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.unit.samples import SESSION_ID, START_US, event, feedback, session, uid

SESSIONS = """SELECT id, gpt, "user", started_us, last_us, first_event_us, last_event_us, events, failed, tokens_in,
    tokens_out, stretch_us, stretch_events, live, digest, stretch_last_us, coalesce(active_us, last_us),
    coalesce(fill, 0), coalesce(unmeasured_latency, 0), coalesce(unmeasured_in, 0), coalesce(unmeasured_out, 0)
    FROM {}session ORDER BY id"""
USAGE = 'SELECT hour, gpt, "user", events, tokens FROM {}usage ORDER BY 1, 2, 3'


@pytest.fixture
def stores(url: str) -> Iterator[list[Store]]:
    """Three replicas."""
    opened: list[Store] = [journal.open(url, "otlp") for _ in range(3)]
    yield opened
    for store in opened:
        store.close()


def write(store: Store, *records: Record) -> None:
    store.write_alone([Append([record], [None]) for record in records])


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    with connect(url) as connection:
        return connection.execute(sql, binary=True).fetchall()


def counted(url: str) -> tuple[int, int]:
    """Events in the sessions' rows, and in the usage."""
    sql = "SELECT sum(events)::bigint, (SELECT sum(events)::bigint FROM otel_bridge.usage) FROM otel_bridge.session"
    ((in_sessions, in_usage),) = rows(url, sql)
    return in_sessions or 0, in_usage or 0


# --- what is added ----------------------------------------------------------------------------------------------------


def history(drawn: random.Random) -> list[list[Record]]:
    """Commits of a few sessions: history, late and early events, failed ones, ones that nobody measured, long ones."""
    commits: list[list[Record]] = []
    made: list[int] = []
    now = START_US
    for n in range(40):
        now += drawn.choice([1_000, 10_000_000, 20 * 60_000_000, DAY_US // 3])
        records: list[Record] = []
        if not made or drawn.random() < 0.1:
            made.append(len(made) + 1)
            records.append(session(made[-1], started_us=now - drawn.choice([0, DAY_US]), arrived_us=now))
        for i in range(drawn.choice([0, 1, 1, 1, 2, 5, 40])):
            end_us = now + drawn.choice(
                [-5_000_000, 0, -1_000, -HOUR_US, -3 * HOUR_US, -2 * DAY_US, -400 * DAY_US, HOUR_US]
            )
            extras = drawn.choice([None, None, Extras(drawn.randrange(8)), Extras(tools=[ToolCall("f", 1.0)] * 9)])
            records.append(
                event(
                    n * 100 + i, session=uid(drawn.choice(made)), arrived_us=now + i, end_us=end_us,
                    error=drawn.choice([None, None, "timeout"]), tokens_in=drawn.randrange(99), extras=extras,
                    content=drawn.choice([None, "¿Qué tal?", "x" * 300_000]),
                )
            )  # fmt: skip
        if drawn.random() < 0.1:
            records.append(feedback(n, arrived_us=now))
        commits.append(records or [event(n * 100 + 99, session=uid(made[0]), arrived_us=now, end_us=now)])
    return commits


@pytest.mark.parametrize("seed", range(3))
def test_they_are_as_sqlite_has_them_however_many_segments_are_added_at_once(
    url: str, tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = random.Random(seed)
    theirs = journal.open(f"sqlite:///{tmp_path / 'journal.db'}", "otlp")
    ours = journal.open(url, "otlp")
    with connect(url) as connection:
        for records in history(drawn):
            for store in (theirs, ours):
                write(store, *[_copy(record) for record in records])
            if drawn.random() < 0.2:
                monkeypatch.setattr(totals, "STEP_SEGMENTS", drawn.choice([1, 2, 1_000]))
                totals.catch_up(connection)
            if drawn.random() < 0.1:
                for store in (theirs, ours):
                    _fall_idle(store, records[0].arrived_us)
        totals.catch_up(connection)
    theirs.close()
    ours.close()
    with closing(sqlite3.connect(tmp_path / "journal.db")) as db:
        assert rows(url, USAGE.format("otel_bridge.")) == db.execute(USAGE.format("")).fetchall()
        expected = [(*row[:13], bool(row[13]), *row[14:]) for row in db.execute(SESSIONS.format(""))]
    assert rows(url, SESSIONS.format("otel_bridge.")) == expected
    assert max(row[17] for row in expected) > PART_BYTES, "no session is long"


def _copy(record: Record) -> Record:
    """A store sets the parts of what it takes."""
    return type(record)(*[getattr(record, name) for name in record.__struct_fields__])  # type: ignore[return-value]


def _fall_idle(store: Store, now_us: int) -> None:
    reader = store.reader()
    idles = reader.idle_candidates(now_us - 30 * 60_000_000, 100)
    reader.close()
    store.begin()
    store.fall_idle(idles, now_us - 30 * 60_000_000)
    store.commit()


def test_a_page_of_a_session_has_what_every_replica_took_before_it_is_added(stores: list[Store], url: str) -> None:
    write(stores[0], session(), event(1))
    write(stores[1], event(2, error="timeout"), event(3, session=uid(9)))
    write(stores[2], event(4, extras=Extras(7)))
    reader = stores[0].reader()
    before = reader.session(SESSION_ID)
    assert before is not None and (before.events, before.failed, before.unmeasured) == (3, 1, (1, 1, 1))
    alone = reader.session(uid(9))
    assert alone is not None and alone.events == 1, "a session that no record has made"
    assert reader.session(uid(404)) is None
    assert counted(url) == (0, 0), "nothing was added yet, so that it was looked for"
    reader.catch_up()  # type: ignore[attr-defined]
    assert (reader.session(SESSION_ID), reader.session(uid(9))) == (before, alone)
    reader.close()


# --- exactly once -----------------------------------------------------------------------------------------------------


def test_whoever_adds_them_and_whatever_is_cut_off_each_event_is_added_once(
    cluster: Cluster, stores: list[Store], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "STEP_SEGMENTS", 40)
    write(stores[0], *[session(n) for n in range(20)])
    done, enough = threading.Event(), threading.Event()
    steps: list[int] = []
    taken: list[int] = []

    def add() -> None:
        while not done.is_set():
            try:
                with closing(connect(f"{url}?application_name=adds")) as connection:
                    while not done.is_set():
                        steps.append(totals.catch_up(connection))
            except psycopg.OperationalError:
                steps.append(-1)  # it was cut off

    def take(store: Store, which: int) -> None:
        drawn = random.Random(which)
        while not enough.is_set():
            numbers = [which * 1_000_000 + len(taken) + i for i in range(5)]
            write(store, *[event(number, session=uid(drawn.randrange(20))) for number in numbers])
            taken.extend(numbers)

    threads = [threading.Thread(target=add) for _ in range(3)]
    threads += [threading.Thread(target=take, args=(store, n)) for n, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        known = len(steps)
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'adds'")
        wait_for(lambda known=known: len(steps) > known + 6, "steps between two terminations", 20)  # type: ignore[misc]
    enough.set()
    for thread in threads[3:]:
        thread.join()
    wait_for(lambda: counted(url)[0] >= len(taken), "all events added", 20)
    done.set()
    for thread in threads[:3]:
        thread.join()
    assert counted(url) == (len(taken), len(taken))
    assert steps.count(-1) > 6 and sum(step > 0 for step in steps) > 6


def test_what_a_transaction_that_is_rolled_back_has_added_is_added_again(stores: list[Store], url: str) -> None:
    write(stores[0], session(), event(1))
    stores[1].begin()
    assert stores[1].end(SESSION_ID, START_US)
    stores[1].rollback()
    assert counted(url) == (0, 0)
    stores[1].begin()
    assert stores[1].end(SESSION_ID, START_US) == [Idle(SESSION_ID, "devops-expert", 0.0, 1, START_US)]
    stores[1].commit()
    assert counted(url) == (1, 1)


def test_a_session_falls_idle_once_and_with_all_that_came_for_it(stores: list[Store]) -> None:
    write(stores[0], session(), event(1))
    before_us = START_US + HOUR_US
    reader = stores[1].reader()
    idles = reader.idle_candidates(before_us, 10)
    write(stores[2], event(2, end_us=event().end_us + 5_000_000))  # another replica took it meanwhile
    fallen: list[list[Record]] = []

    def fall(store: Store) -> None:
        store.begin()
        fallen.append(store.fall_idle(idles, before_us))
        store.commit()

    falling = [threading.Thread(target=fall, args=(store,)) for store in stores]
    for thread in falling:
        thread.start()
    for thread in falling:
        thread.join()
    assert sorted(fallen, key=len) == [[], [], [Idle(SESSION_ID, "devops-expert", 5.0, 2, idles[0].arrived_us)]]
    reader.close()


def test_what_comes_while_a_session_ends_is_of_its_next_period(cluster: Cluster, stores: list[Store], url: str) -> None:
    """Also where there was nothing to add before it ended: who adds meanwhile waits."""
    write(stores[0], session(), event(1), event(2))
    reader = stores[1].reader()
    reader.catch_up()  # type: ignore[attr-defined]
    stores[0].begin()
    (ended,) = stores[0].end(SESSION_ID, START_US)
    write(stores[1], event(3))
    adding = threading.Thread(target=reader.catch_up)  # type: ignore[attr-defined]
    adding.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    wait_for(lambda: cluster.sql(waiting, url.rpartition("/")[2])[0][0] == 1, "somebody who waits", 20)
    stores[0].commit()
    adding.join()
    reader.close()
    assert isinstance(ended, Idle) and ended.events == 2
    assert rows(url, "SELECT events, stretch_events, live FROM otel_bridge.session") == [(3, 1, True)]


def test_a_replica_that_is_halted_while_it_adds_holds_up_the_others_for_a_while_only(
    stores: list[Store], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(totals, "HALTED_SECONDS", 0.3)
    write(stores[0], session(), event(1))
    with closing(connect(url)) as halted:  # which does nothing more
        halted.execute("BEGIN")
        assert totals.catch_up(halted) == 2
        monkeypatch.undo()
        reader = stores[1].reader()
        reader.catch_up()  # type: ignore[attr-defined]
        reader.close()
    assert counted(url) == (1, 1)


# --- what cannot be read ----------------------------------------------------------------------------------------------


def test_a_damaged_segment_is_passed_over_and_told(
    stores: list[Store], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    for n in range(3):
        write(stores[0], event(n))
    write(stores[1], event(9))
    rows(url, "UPDATE otel_bridge.segment SET body = '\\x00' WHERE last = 2 RETURNING 1")
    reader = stores[0].reader()
    assert reader.top_users(START_US + HOUR_US, 86_400, 1)[0].events == 3
    assert "records up to 2 are damaged: the totals of their sessions lack them" in caplog.text
    reader.close()


def test_records_that_have_vanished_at_the_end_of_a_lane_hold_up_nobody(stores: list[Store], url: str) -> None:
    for n in range(3):
        write(stores[0], event(n))
    write(stores[1], event(9))
    rows(url, "DELETE FROM otel_bridge.segment WHERE last IN (2, 3) RETURNING 1")
    reader = stores[0].reader()
    assert reader.top_users(START_US + HOUR_US, 86_400, 1)[0].events == 2
    assert (reader.ledger().last, reader.ledger().pending) == (3, 1)
    reader.close()


# --- parts ------------------------------------------------------------------------------------------------------------


def test_a_part_that_one_replica_fills_another_goes_on_from(stores: list[Store]) -> None:
    write(stores[0], session(), event(1))
    assert _taken(stores[1], event(2)).part == 0
    write(stores[0], *[event(10 + n) for n in range(PART_EVENTS - 1)])
    for store in stores:
        store.maintain(1 << 60, lambda run: run())
    assert [_taken(store, event(5_000 + n)).part for n, store in enumerate(stores)] == [1, 1, 1]
    write(stores[2], *[event(10_000 + n) for n in range(PART_EVENTS)])
    stores[1].maintain(1 << 60, lambda run: run())
    assert _taken(stores[1], event(20_000)).part == 2
    reader = stores[0].reader()
    row = reader.session(SESSION_ID)
    assert row is not None and row.parts == 3
    reader.close()


def _taken(store: Store, record: Event) -> Event:
    (taken,) = store.write_alone([Append([record], [None])])
    assert isinstance(taken, Event)
    return taken


def test_a_replica_that_starts_knows_how_far_the_last_one_came(url: str) -> None:
    first = journal.open(url, "otlp")
    write(first, session(), *[event(n) for n in range(PART_EVENTS)])
    first.close()
    second = journal.open(url, "otlp")
    assert _taken(second, event(5_000)).part == 1
    second.close()


# --- idle -------------------------------------------------------------------------------------------------------------


def test_of_many_live_sessions_those_that_are_due_are_looked_at_and_once(
    stores: list[Store], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idle, "DUE_SESSIONS", 4)
    write(stores[0], *[session(n, arrived_us=START_US + n) for n in range(1, 13)])
    later_us = START_US + HOUR_US
    write(stores[1], *[event(n, session=uid(n), arrived_us=later_us + n) for n in range(1, 13) if n not in (5, 11)])
    reader = stores[2].reader()
    found = [one.session for _ in range(3) for one in reader.idle_candidates(later_us, 2)]
    assert set(found) == {uid(5), uid(11)}
    postponed = f"SELECT count(*) FROM otel_bridge.session WHERE due_us = last_us AND last_us > {later_us}"
    assert rows(url, postponed) == [(10,)]
    stores[2].begin()
    assert len(stores[2].fall_idle(reader.idle_candidates(later_us, 10), later_us)) == 2
    stores[2].commit()
    assert reader.idle_candidates(later_us, 2) == []
    write(stores[0], event(50, session=uid(5), arrived_us=later_us + 50))
    assert [one.session for one in reader.idle_candidates(later_us + 100, 20)][-1] == uid(5)
    reader.close()
