"""Totals that SQLite's store writes behind its commits: each record counts once, wherever a kill comes."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import journal
from otel_bridge.ids import DAY_US
from otel_bridge.journal import StoreDamaged, StoreFull, Which
from otel_bridge.journal.accounts import HOUR_US
from otel_bridge.journal.parts import PART_BYTES
from otel_bridge.journal.sqlite import SqliteStore, totals
from otel_bridge.records import Event, Extras, Idle, Record, ToolCall
from tests.journal.backends import CONSUMER, count
from tests.journal.pages import DAMAGE, LEAF, SCATTERED, Pages
from tests.journal.stores import append, commit, transact
from tests.unit.samples import START_US, USER, event, session, uid

SESSIONS = """SELECT id, gpt, user, started_us, last_us, first_event_us, last_event_us, events, failed, tokens_in,
    tokens_out, stretch_us, stretch_events, live, digest, stretch_last_us, active_us, fill,
    coalesce(unmeasured_latency, 0), coalesce(unmeasured_in, 0), coalesce(unmeasured_out, 0) FROM session ORDER BY id"""
USAGE = "SELECT hour, gpt, user, events, tokens FROM usage ORDER BY 1, 2, 3"
COUNTED = "SELECT sum(events), (SELECT sum(events) FROM usage) FROM session"


def opened(path: Path) -> SqliteStore:
    store = journal.open(f"sqlite:///{path}", CONSUMER)
    assert isinstance(store, SqliteStore)
    return store


def started(path: Path) -> SqliteStore:
    store = opened(path)
    store.begin_service()
    return store


def kill(store: SqliteStore) -> None:
    """What it has in memory is gone."""
    store._totals.write_all = lambda: None  # type: ignore[method-assign]
    store.close()


def rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(sql).fetchall()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = started(path)
    yield store
    store.close()


def history(drawn: random.Random) -> Iterator[list[Record]]:
    """Commits of a few sessions: late and early events, failed ones, ones that nobody measured, long sessions."""
    now, made = START_US, 0
    for n in range(60):
        now += drawn.choice([1_000, 10_000_000, 20 * 60_000_000, DAY_US // 3])
        records: list[Record] = []
        if not made or drawn.random() < 0.2:
            made += 1
            records.append(session(made, started_us=now - drawn.choice([0, DAY_US]), arrived_us=now))
        for i in range(drawn.choice([1, 1, 1, 2, 5, 40])):
            extras = drawn.choice([None, None, Extras(drawn.randrange(8)), Extras(tools=[ToolCall("f", 1.0)] * 9)])
            records.append(
                event(
                    n * 100 + i, session=uid(drawn.randint(1, made)), arrived_us=now + i,
                    end_us=now + drawn.choice([-5_000_000, 0, -1_000, -HOUR_US, -3 * HOUR_US, -2 * DAY_US, HOUR_US]),
                    error=drawn.choice([None, None, "timeout"]), tokens_in=drawn.randrange(99), extras=extras,
                    content=drawn.choice([None, "¿Qué tal?", "x" * 200_000]),
                )
            )  # fmt: skip
        yield records


def copies(records: list[Record]) -> list[Record]:
    """A store sets the parts of what it takes."""
    return [type(one)(*(getattr(one, name) for name in one.__struct_fields__)) for one in records]


def fall_idle(store: SqliteStore, before_us: int) -> list[Record]:
    idles = [Idle(uid(n), "devops-expert", 0.0, 0, before_us) for n in range(1, 20)]
    found: list[Record] = transact(store, lambda: store.fall_idle(idles, before_us))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_killed_anywhere_they_are_what_they_are_without(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a commit and what it adds, and within a round; and a session shows what is not written yet."""
    monkeypatch.setattr(totals, "SLICE", 2)
    drawn = random.Random(seed)
    calm, torn = started(tmp_path / "calm.db"), started(tmp_path / "torn.db")
    kills = rounds = 0
    for records in history(drawn):
        for store in (calm, torn):
            store.write_alone([append(*copies(records))])
        count(calm)
        if drawn.random() < 0.2:
            before_us = records[0].arrived_us - HOUR_US
            assert fall_idle(calm, before_us) == fall_idle(torn, before_us)
            count(calm)
        for _ in range(drawn.choice([0, 0, 1, 2, 5, 50])):
            torn._totals.step()
        if drawn.random() < 0.3:
            kills += 1
            rounds += bool(torn._totals._at.until)
            kill(torn)
            torn = drawn.choice([opened, started])(tmp_path / "torn.db")
        with closing(calm.reader()) as theirs, closing(torn.reader()) as ours:
            asked = uid(drawn.randint(1, 12))
            assert ours.session(asked) == theirs.session(asked)
    assert kills > 5 and rounds > 1
    calm.close()
    torn.close()
    assert rows(tmp_path / "torn.db", USAGE) == rows(tmp_path / "calm.db", USAGE)
    expected = rows(tmp_path / "calm.db", SESSIONS)
    assert rows(tmp_path / "torn.db", SESSIONS) == expected
    assert max(row[17] for row in expected) > PART_BYTES, "no session is long"


def test_killed_twice_in_one_round_usage_counts_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start reads a session without events, too, of which the round before had nothing to write."""
    monkeypatch.setattr(totals, "SLICE", 2)
    store = started(path)
    commit(store, append(session(9)))
    for n in range(1, 7):
        commit(store, append(event(n, session=uid(1), user=f"user-{n}")))
    while store._totals._at.usage is None:
        store._totals.step()
    for _ in range(2):
        kill(store)
        store = opened(path)
        store._totals.step()
    store.close()
    assert rows(path, COUNTED) == [(6, 6)]


def test_a_commit_writes_no_totals_and_a_session_is_there_at_once(store: SqliteStore, path: Path) -> None:
    commit(store, append(session(1), event(1, session=uid(1))))
    assert rows(path, COUNTED) == [(0, None)]
    with closing(store.reader()) as reader:
        assert list(reader.sessions([uid(1)])) == [uid(1)]
        found = reader.session(uid(1))
        assert found is not None and (found.events, found.live) == (1, True)
    store.maintain(1 << 40, lambda run: run())
    assert rows(path, COUNTED) == [(1, 1)]


def test_what_a_kill_has_left_is_written_before_the_first_record(path: Path) -> None:
    store = started(path)
    commit(store, append(session(1), *(event(n, session=uid(1)) for n in range(5))))
    kill(store)
    assert rows(path, COUNTED) == [(0, None)]
    store = started(path)
    assert rows(path, COUNTED) == [(5, 5)]
    store.close()


def test_a_transaction_that_is_undone_adds_nothing(store: SqliteStore, path: Path) -> None:
    commit(store, append(session(1), event(1, session=uid(1))))
    store.begin()
    store.write([append(event(2, session=uid(1)))])
    assert store.end(uid(1), START_US) == [Idle(uid(1), "devops-expert", 0.0, 2, START_US)]
    store.rollback()
    count(store)
    assert rows(path, "SELECT events, live FROM session") == [(1, 1)]


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "in a transaction"])
@pytest.mark.parametrize("sessions", [1, 1_000])
def test_memory_is_bounded_where_nobody_asks_for_them(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch, beside: bool, sessions: int
) -> None:
    """Events of one session, too, each of another user."""
    monkeypatch.setattr(totals, "MOST_WAITING", 100)
    monkeypatch.setattr(totals, "SLICE", 4)
    most = 0
    for n in range(0, 1_000, 10):
        for i in range(n, n + 10, 5):
            more = append(*(event(j, session=uid(j % sessions + 1), user=f"user-{j}") for j in range(i, i + 5)))
            if beside:
                commit(store, more)
            else:
                store.write_alone([more])
        most = max(most, store._totals._waiting.rows + store._totals._round.rows)
    assert 100 <= most <= 110
    count(store)
    assert rows(path, COUNTED) == [(1_000, 1_000)]


def test_where_they_find_no_room_the_delivery_goes_on(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what makes room: only what would add to them is refused."""
    commit(store, append(*(event(n, session=uid(n)) for n in range(1, 400))))
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    monkeypatch.setattr(totals, "MOST_WAITING", 10)
    with pytest.raises(StoreFull):
        store.write_alone([append(event(400))])
    transact(store, lambda: store.advance(store.last, 399, []))
    assert rows(path, COUNTED) == [(None, None)], "there was room"
    store._db.execute(f"PRAGMA max_page_count = {2 * pages + 1_000}").fetchone()
    store.write_alone([append(event(400))])
    count(store)
    assert rows(path, COUNTED) == [(400, 400)]


def test_no_segment_goes_before_it_is_counted(store: SqliteStore) -> None:
    commit(store, append(session(1), event(1, session=uid(1))))
    transact(store, lambda: store.advance(store.last, 2, []))
    transact(store, lambda: store.save_snapshot(store.last, b"state"))

    def trim() -> int:
        return int(transact(store, lambda: store.trim(1 << 60, 1 << 60, 100, [], make_room=True)).rows)

    assert trim() == 0
    count(store)
    assert trim() > 0


def test_a_session_that_something_waits_for_is_not_deleted(store: SqliteStore) -> None:
    commit(store, append(session(1), event(1, session=uid(1))))
    fall_idle(store, 1 << 60)

    def trim() -> list[bytes]:
        kept: list[bytes] = transact(store, lambda: store.trim(1 << 60, 1 << 60, 100, [uid(1)])).kept_sessions
        return kept

    assert trim() == [uid(1)]
    count(store)
    assert trim() == []


def test_usage_of_a_clock_that_ran_ahead_is_mended_in_a_round_too(store: SqliteStore, path: Path) -> None:
    commit(store, append(event(1, session=uid(1), arrived_us=START_US + 9 * DAY_US)))
    store._totals._begin()
    assert transact(store, lambda: store.mend(START_US, [], 10)), "the walk ends before the round is written"
    count(store)
    assert transact(store, lambda: store.mend(START_US, [], 10)) == 1
    assert rows(path, "SELECT hour FROM usage") == [(START_US // HOUR_US,)]
    assert transact(store, lambda: store.mend(START_US, [], 10)) == 0


def test_usage_of_a_clock_that_ran_ahead_counts_once_also_after_a_kill(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start reads the hours as they were: a round that had mended them would have written other keys."""
    monkeypatch.setattr(totals, "SLICE", 2)
    store = started(path)
    for n in range(5):
        for i, then_us in enumerate((START_US + 9 * DAY_US, START_US)):
            commit(store, append(event(2 * n + i, user=f"user-{n}", arrived_us=then_us, end_us=then_us)))
    transact(store, lambda: store.mend(START_US, [], 100))
    while store._totals._at.usage is None:
        store._totals.step()
    kill(store)
    store = started(path)
    while transact(store, lambda: store.mend(START_US, [], 100)):
        count(store)
    store.close()
    assert rows(path, COUNTED) == [(10, 10)]
    assert rows(path, "SELECT DISTINCT hour FROM usage") == [(START_US // HOUR_US,)]


def test_a_session_that_the_same_transaction_adds_to_is_not_deleted(store: SqliteStore, path: Path) -> None:
    commit(store, append(session(1), event(1, session=uid(1))))
    fall_idle(store, 1 << 60)
    count(store)
    store.begin()
    store.write([append(event(2, session=uid(1)))])
    assert store.trim(1 << 60, 1 << 60, 100, [uid(1)]).kept_sessions == [uid(1)]
    store.commit()
    count(store)
    assert rows(path, "SELECT events FROM session") == [(2,)]


def test_what_a_transaction_adds_is_tallied_once_however_many_fall_idle_in_it(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, append(*(session(n) for n in range(1, 20)), *(event(n, session=uid(n)) for n in range(1, 20))))
    tallied: list[int] = []
    put = totals.Tallies.put

    def counted(self: totals.Tallies, *accounts: Any) -> None:
        tallied.append(len(accounts[0]))
        put(self, *accounts)

    monkeypatch.setattr(totals.Tallies, "put", counted)
    store.begin()
    store.write([append(*(event(100 + n, session=uid(n)) for n in range(1, 20)))])
    idles = [Idle(uid(n), "devops-expert", 0.0, 0, START_US) for n in range(1, 20)]
    fallen = store.fall_idle(idles, 1 << 60)
    assert [idle.events for idle in fallen if isinstance(idle, Idle)] == [2] * 19
    assert sum(tallied) == 19
    store.commit()


def test_who_is_taken_out_while_totals_wait_does_not_come_back(store: SqliteStore, path: Path) -> None:
    commit(store, append(session(1), *(event(n, session=uid(1)) for n in range(5))))
    with closing(journal.erasing(f"sqlite:///{path}", CONSUMER)) as place:
        done: list[Any] = []
        thread = threading.Thread(target=lambda: done.append(journal.erase(place, Which(USER))))
        thread.start()
        time.sleep(0.3)
        assert not done, "it does not wait for them"
        count(store)
        thread.join(20)
        assert done
    commit(store, append(event(9, session=uid(1), user="other")))
    count(store)
    assert rows(path, "SELECT user, events FROM usage ORDER BY 1") == [("", 5), ("other", 1)]
    assert USER.encode() not in b"".join(file.read_bytes() for file in path.parent.iterdir() if "-wal" not in file.name)


@pytest.mark.parametrize("kills", [False, True])
def test_who_is_taken_out_within_a_round_is_counted_once_also_after_a_kill(
    path: Path, monkeypatch: pytest.MonkeyPatch, kills: bool
) -> None:
    """A round is kept by its keys, of which nobody's come first: a start would take them for written."""
    monkeypatch.setattr(totals, "SLICE", 2)
    store = started(path)
    for n in range(7):
        commit(store, append(event(n, session=uid(1), user=f"user-{n}")))
    while store._totals._at.usage is None:
        store._totals.step()
    with closing(journal.erasing(f"sqlite:///{path}", CONSUMER)) as place:
        done: list[Any] = []
        thread = threading.Thread(target=lambda: done.append(journal.erase(place, Which("user-6"))))
        thread.start()
        time.sleep(0.3)
        if kills:
            kill(store)
            store = started(path)
        count(store)
        thread.join(20)
        assert done
    store.close()
    assert rows(path, COUNTED) == [(7, 7)]
    assert rows(path, "SELECT user, events FROM usage ORDER BY 1")[0] == ("", 1)


def test_who_is_taken_out_after_a_kill_does_not_come_back(path: Path) -> None:
    store = started(path)
    commit(store, append(session(1), *(event(n, session=uid(1)) for n in range(5))))
    kill(store)
    with closing(journal.erasing(f"sqlite:///{path}", CONSUMER)) as place:
        journal.erase(place, Which(USER))
        assert place.purge(USER).places == 0
    started(path).close()
    assert rows(path, "SELECT user, events FROM usage") == [("", 5)]
    assert USER.encode() not in path.read_bytes()


def test_a_backup_and_a_copy_have_what_waits(store: SqliteStore, path: Path) -> None:
    commit(store, append(session(1), *(event(n, session=uid(1)) for n in range(5))))
    journal.backup(f"sqlite:///{path}", path.parent / "backup.db", None)
    assert rows(path.parent / "backup.db", COUNTED) == [(5, 5)]
    kill(store)
    forms: Any = None
    journal.copy(f"sqlite:///{path}", f"sqlite:///{path.parent}/copy.db", None, forms, lambda *_: None)
    assert rows(path.parent / "copy.db", COUNTED) == [(5, 5)]


def test_damaged_totals_are_told_and_hold_up_nothing(path: Path) -> None:
    store = started(path)
    commit(store, append(*(session(n) for n in range(1, 400)), *(event(n, session=uid(n)) for n in range(1, 400))))
    kill(store)
    pages = Pages(path, "session")
    pages.spoil(pages.of(LEAF)[1], next(kind for kind in DAMAGE if kind != SCATTERED), random.Random(1))
    store = opened(path)
    with pytest.raises(StoreDamaged, match="totals could not be written"):
        count(store)
    assert store._totals.counted == store.last
    with closing(store.reader()) as reader:
        first = reader.session(uid(1))
        assert first is not None and first.events == 1
    store.close()
    (usage,) = rows(path, "SELECT sum(events) FROM usage")
    assert usage == (399,)


def test_where_the_position_cannot_be_written_that_is_told_and_a_close_ends(path: Path) -> None:
    store = started(path)
    commit(store, append(*(event(n, session=uid(n)) for n in range(1, 40))))
    store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    pages = Pages(path, "meta")
    whole = path.read_bytes()
    pages.spoil(pages.of(LEAF)[0], "ones", random.Random(1))
    store._db.execute("PRAGMA shrink_memory")
    with pytest.raises(StoreDamaged, match="cannot be written"):
        count(store)
    store.close()
    path.write_bytes(whole)
    started(path).close()
    assert rows(path, COUNTED) == [(39, 39)]


def test_a_journal_of_an_earlier_release_has_nothing_behind(path: Path) -> None:
    store = started(path)
    commit(store, append(session(1), event(1, session=uid(1))))
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM meta WHERE name = 'totals'")
    kill(started(path))
    store = started(path)
    commit(store, append(event(2, session=uid(1))))
    kill(store)
    started(path).close()
    assert rows(path, COUNTED) == [(2, 2)]


def test_events_have_the_same_part_after_a_kill(path: Path) -> None:
    big = "x" * 500_000
    parts = []
    for kills in (False, True):
        file = path.with_name(f"{kills}.db")
        store = started(file)
        commit(store, append(session(1)))
        told = []
        for n in range(12):
            one = event(n, session=uid(1), content=big)
            commit(store, append(one))
            told.append(one.part)
            if kills:
                kill(store)
                store = opened(file)
        assert isinstance(one, Event) and one.part > 1
        store.close()
        parts.append(told)
    assert parts[0] == parts[1]
