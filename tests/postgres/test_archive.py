"""All lanes of a database as one archive: what is delivered, counted, parked and known stays so in its new order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import DEDUP_HORIZON_US, Forms, Parked, Store, StoreError
from otel_bridge.journal.archive import KeyRow
from otel_bridge.journal.postgres import dump, totals
from otel_bridge.journal.postgres.schema import base, tables
from otel_bridge.journal.sqlite.key_rows import packed, unpacked
from otel_bridge.records import Event, decode, encode
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.journal.stores import append, commit, transact
from tests.unit.samples import START_US, event, session, uid


class Plain:
    """Snapshots that are pairs of what is shared and what is each one's own."""

    def parted(self, snapshot: bytes) -> tuple[bytes, bytes]:
        shared, own = msgspec.msgpack.decode(snapshot)
        return shared, msgspec.msgpack.encode(own)

    def joined(self, shared: bytes, own: Any) -> bytes:
        return msgspec.msgpack.encode((shared, [one for each in own for one in msgspec.msgpack.decode(each)]))


FORMS: Forms = Plain()


@pytest.fixture
def lanes(url: str) -> Iterator[list[Store]]:
    with ExitStack() as stack:
        stores = [stack.enter_context(closing(journal.open(url, CONSUMER))) for _ in range(3)]
        assert stores[0].replicas is not None and stores[0].replicas.claim_key(b"k" * 16)
        yield stores


def fold(store: Store, *lanes: int) -> None:
    """The steward saves all that is in these lanes now."""
    assert store.replicas is not None
    with closing(store.replicas.steward()) as steward:
        assert steward.hold()
        position, _ = steward.load()
        steward.save(position, lambda segments: None, lambda saved: b"state", False)


def backed_up(url: str, to: Path, key: bytes | None = None) -> sqlite3.Connection:
    to.unlink(missing_ok=True)
    made = journal.backup(url, to, key, forms=FORMS)
    db = sqlite3.connect(to)
    assert made.last == db.execute("SELECT coalesce(max(last), 0) FROM segment").fetchone()[0]
    return db


def records(db: sqlite3.Connection, where: str = "") -> list[bytes]:
    """Ids of the events, in order."""
    rows = db.execute(f"SELECT body FROM segment {where} ORDER BY last")
    return [record.id for (body,) in rows for record in decode(body) if isinstance(record, Event)]


def at(number: int, seconds: int = 0) -> Event:
    return event(number, arrived_us=START_US + seconds * 1_000_000)


def test_what_each_lane_has_delivered_and_counted_stays_so(url: str, lanes: list[Store], tmp_path: Path) -> None:
    one, two, three = lanes
    commit(one, append(session(arrived_us=START_US)))
    commit(one, append(at(1, 1), at(2, 1)))
    commit(two, append(at(3, 2)))
    commit(three, append(at(4, 3)))
    commit(one, append(at(5, 4)))
    transact(one, lambda: one.advance(3, 3, []))
    transact(two, lambda: two.advance(base(1) + 1, 0, [Parked(base(1) + 1, b"p", "refused", "no", START_US, 1)]))
    for store, own in ((one, 7), (two, 8)):
        transact(store, lambda store=store, own=own: store.save_snapshot(store.last, msgspec.msgpack.encode([own])))
    fold(one)
    commit(three, append(at(6, 5)))
    commit(one, append(at(7, 6)))
    transact(three, lambda: three.advance(base(2) + 2, 2, []))

    with closing(backed_up(url, tmp_path / "b.db", b"key" * 11)) as db:
        # Delivered and counted: lane 0 up to event 2, lane 1. Counted: the rest of that moment. Then what came since.
        assert records(db) == [uid(number) for number in (1, 2, 3, 4, 5, 6, 7)]
        assert db.execute("SELECT last, count, total FROM segment ORDER BY last").fetchall() == [
            (1, 1, 1), (3, 2, 3), (4, 1, 4), (5, 1, 5), (6, 1, 6), (7, 1, 7), (8, 1, 8)
        ]  # fmt: skip
        # Of lane 2 event 4 is delivered and counted, event 6 delivered only: that goes out again, and 4 before 5.
        assert db.execute("SELECT name, cursor, exported FROM sink").fetchall() == [(CONSUMER, 5, 4)]
        assert db.execute("SELECT seq, body, words FROM parked").fetchall() == [(4, b"p", "no")]
        seq, body = db.execute("SELECT seq, body FROM meta WHERE name = 'checkpoint'").fetchone()
        assert (seq, msgspec.msgpack.decode(body)) == (6, [b"state", [7, 8]])
        assert db.execute("SELECT events, tokens_in FROM session").fetchall() == [(7, 7 * 25)]
        assert db.execute("SELECT sum(events) FROM usage").fetchone() == (7,)
        assert db.execute("SELECT body FROM meta WHERE name = 'key'").fetchone() == (b"key" * 11,)
    with closing(journal.open_reader(f"sqlite:///{tmp_path}/b.db", CONSUMER)) as reader:
        ledger = reader.ledger()
        assert (ledger.exported, ledger.pending, ledger.parked) == (4, 3, 1)


def test_what_is_parked_behind_the_snapshot_is_delivered_again_and_parked_no_more(
    url: str, lanes: list[Store], tmp_path: Path
) -> None:
    one = lanes[0]
    commit(one, append(session(), at(1)))
    fold(one)
    commit(one, append(at(2)))
    transact(one, lambda: one.advance(3, 2, [Parked(3, encode([at(2)]), "refused", "no", START_US, 1)]))
    with closing(backed_up(url, tmp_path / "b.db")) as db:
        assert db.execute("SELECT cursor, exported FROM sink").fetchall() == [(2, 2)]
        assert db.execute("SELECT count(*) FROM parked").fetchone() == (0,)
        assert records(db, "WHERE last > 2") == [uid(2)]


def test_where_no_steward_has_counted_the_whole_is_counted_by_who_opens_it(
    url: str, lanes: list[Store], tmp_path: Path
) -> None:
    commit(lanes[0], append(session(), at(1)))
    commit(lanes[1], append(at(2, 1)))
    transact(lanes[0], lambda: lanes[0].advance(2, 2, []))
    with closing(backed_up(url, tmp_path / "b.db")) as db:
        assert db.execute("SELECT cursor, exported FROM sink").fetchall() == [(2, 2)]
        assert db.execute("SELECT count(*) FROM meta WHERE name = 'checkpoint'").fetchone() == (0,)
        assert records(db) == [uid(1), uid(2)]


def test_what_is_trimmed_keeps_its_numbers_and_parked_records_of_it_their_place(
    url: str, lanes: list[Store], cluster: Cluster, tmp_path: Path
) -> None:
    one, two = lanes[:2]
    for store, number in ((one, 1), (two, 2), (one, 3)):
        commit(store, append(at(number, number)))
    transact(one, lambda: one.advance(2, 1, [Parked(1, b"p1", "refused", "no", START_US, 1)]))
    transact(two, lambda: two.advance(base(1) + 1, 0, [Parked(base(1) + 1, b"p2", "refused", "no", START_US, 1)]))
    fold(one)
    cluster.sql("DELETE FROM otel_bridge.segment WHERE last IN (1, %s)", base(1) + 1, database=url.rpartition("/")[2])
    with closing(backed_up(url, tmp_path / "b.db")) as db:
        assert db.execute("SELECT last, total FROM segment").fetchall() == [(3, 3)]
        assert db.execute("SELECT seq, body FROM parked ORDER BY seq").fetchall() == [(1, b"p1"), (2, b"p2")]
        assert db.execute("SELECT cursor, exported FROM sink").fetchall() == [(3, 1)]


def test_keys_of_every_turn_are_known_each_once(url: str, lanes: list[Store], tmp_path: Path) -> None:
    keyed = [at(number, number * 40_000) for number in range(6)]  # over three days
    for number, one in enumerate(keyed):
        commit(lanes[number % 3], append(one, keys=[b"k%d" % number], digests={0: b"d" * 16}))
    again = at(9, 5 * 40_000)  # past the horizon of the first
    commit(lanes[0], append(again, keys=[b"k0"]))
    with closing(backed_up(url, tmp_path / "b.db")) as db:
        rows = [
            (one.key, generation, one.arrived_us)
            for generation, *columns in db.execute(
                "SELECT generation, width, keys, arrived, rest FROM key ORDER BY row"
            )
            for one in unpacked(columns)
        ]
        assert sorted((key, arrived) for key, _, arrived in rows) == [
            (b"k0", again.arrived_us), *((b"k%d" % number, keyed[number].arrived_us) for number in range(1, 6))
        ]  # fmt: skip
        assert all(generation == arrived // DEDUP_HORIZON_US for _, generation, arrived in rows)
        assert [generation for _, generation, _ in rows] == sorted(generation for _, generation, _ in rows)


def test_a_backup_under_load_is_one_moment(url: str, lanes: list[Store], tmp_path: Path) -> None:
    ends = threading.Event()
    failed: list[Exception] = []

    def write(lane: int) -> None:
        store, number = lanes[lane], 0
        try:
            while not ends.is_set():
                number += 1
                commit(store, append(at(lane * 1_000_000 + number), keys=[b"%d-%d" % (lane, number)]))
                if number % 7 == 0:
                    transact(store, lambda: store.advance(store.last, 7, []))
        except Exception as error:
            failed.append(error)

    def is_past(number: int) -> bool:
        return all(store.last - base(lane) > number for lane, store in enumerate(lanes))

    commit(lanes[0], append(session()))
    transact(lanes[0], lambda: lanes[0].advance(1, 1, []))
    writers = [threading.Thread(target=write, args=(lane,)) for lane in range(3)]
    for writer in writers:
        writer.start()
    try:
        seen = 0
        for _ in range(4):
            before = seen
            wait_for(partial(is_past, before // 3 + 1), "more of it")  # the first lane has the session, too
            with closing(backed_up(url, tmp_path / "b.db")) as db:
                ids = records(db)
                seen = len(ids)
                assert len(set(ids)) == seen > before
                assert db.execute("SELECT events FROM session").fetchone() == (seen,)
                assert db.execute("SELECT sum(events) FROM usage").fetchone() == (seen,)
                assert db.execute("SELECT sum(length(keys) / width) FROM key").fetchone() == (seen,)
                pending = "SELECT count(*) FROM segment WHERE last > (SELECT max(cursor) FROM sink)"
                exported = db.execute("SELECT max(exported) FROM sink").fetchone()[0] or 0
                total = db.execute("SELECT max(total) FROM segment").fetchone()[0]
                assert exported + db.execute(pending).fetchone()[0] == total == seen + 1
    finally:
        ends.set()
        for writer in writers:
            writer.join()
    assert failed == []


def test_commits_wait_a_moment_for_a_backup_and_not_for_one_that_is_halted(
    url: str, lanes: list[Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "HOLD_SECONDS", 1)
    commit(lanes[0], append(session()))
    calls = 0
    going_on = threading.Event()

    def halted(*arguments: Any) -> int:
        nonlocal calls
        calls += 1
        if calls == dump.ROUNDS + 1:  # while it holds the lanes
            going_on.wait(30)
        return 0

    monkeypatch.setattr(totals, "catch_up", halted)
    done: list[object] = []

    def back_up() -> None:
        try:
            done.append(journal.backup(url, tmp_path / "b.db", None, forms=FORMS))
        except StoreError as error:
            done.append(error)

    thread = threading.Thread(target=back_up)
    thread.start()
    wait_for(lambda: calls == dump.ROUNDS + 1, "a backup that holds the lanes")
    commit(lanes[0], append(at(1)))  # goes on when the server has ended the one that holds it
    assert not done
    going_on.set()
    thread.join()
    assert isinstance(done[0], StoreError) and not (tmp_path / "b.db").exists()


def test_what_a_file_may_hold_is_what_a_database_then_holds(url: str, cluster: Cluster, tmp_path: Path) -> None:
    file = f"sqlite:///{tmp_path}/j.db"
    with closing(journal.open(file, CONSUMER)) as store:
        store.begin_service()
        commit(store, append(session(), at(1)))
        commit(store, append(at(2)))
        commit(store, append(at(3)))
        transact(store, lambda: store.advance(3, 2, [Parked(2, b"p", "refused", "n\0o", START_US, 1)]))
        transact(store, lambda: store.save_snapshot(2, msgspec.msgpack.encode((b"shared", [5]))))
    with closing(sqlite3.connect(tmp_path / "j.db")) as db:
        # Rows as earlier releases have left them, and a key that was taken again after its horizon.
        db.execute("UPDATE segment SET total = NULL WHERE last < 4")
        db.execute("UPDATE session SET fill = NULL, unmeasured_in = NULL, live = 0")
        old, new = [KeyRow(b"\xaa", 1, None, 0), KeyRow(b"\xab", 1, None, 0)], [KeyRow(b"\xaa", 2, b"\xdd", 3)]
        for row, (generation, keys) in enumerate(((20000, old), (20001, new)), 1):
            (columns,) = packed(keys)
            db.execute("INSERT INTO key VALUES (?, ?, ?, ?, ?, ?)", (row, generation, *columns))
        db.commit()
    told: dict[str, int] = {}
    copied = journal.copy(file, url, b"f" * 16, FORMS, told.__setitem__)
    assert told == {"segment": 3, "seen_1": 2, "session": 1, "usage": 1, "parked": 1} and copied.keys == 2

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return cluster.sql(sql, database=url.rpartition("/")[2])

    assert rows("SELECT last, count, total, epoch FROM otel_bridge.segment ORDER BY last") == [
        (2, 2, 2, 0), (3, 1, 3, 0), (4, 1, 4, 0)
    ]  # fmt: skip
    assert rows("SELECT key, arrived_us, digest, part FROM otel_bridge.seen_1 ORDER BY key") == [
        (b"\xaa", 2, b"\xdd", 3), (b"\xab", 1, None, None)
    ]  # fmt: skip
    assert rows("SELECT lane, owner, last, total, turn, doubled FROM otel_bridge.lane") == [(0, None, 4, 4, 1, False)]
    assert rows("SELECT events, live, fill, unmeasured_in FROM otel_bridge.session") == [(3, False, 0, 0)]
    assert rows("SELECT seq, words, replay FROM otel_bridge.parked") == [(2, "n�o", False)]
    assert rows("SELECT cursor, exported FROM otel_bridge.sink WHERE lane = 0") == [(3, 2)]
    assert rows("SELECT lane, seq FROM otel_bridge.counted") == [(0, 4)]
    assert rows("SELECT lane, seq FROM otel_bridge.folded") == [(0, 2)]
    assert rows("SELECT body FROM otel_bridge.steward") == [(b"shared",)]
    assert rows("SELECT lane, body FROM otel_bridge.snapshot") == [(0, msgspec.msgpack.encode([5]))]
    assert rows("SELECT key_fingerprint, went_back, turn FROM otel_bridge.journal") == [(b"f" * 16, None, 1)]
    for table in tables(1):  # each was thought of
        assert rows(f"SELECT 1 FROM otel_bridge.{table} LIMIT 1") or table.startswith("seen_"), table
    with closing(journal.open(url, CONSUMER)) as store:
        assert store.last == 4
        commit(store, append(at(4), keys=[b"\xaa"]))
        assert store.last == 5 and store.snapshot() == (2, msgspec.msgpack.encode([5]))
        with closing(store.reader()) as reader:
            assert reader.ledger()[:5] == (5, 3, 2, 2, 1)


def test_a_copy_that_is_not_what_was_copied_is_not_kept(
    url: str, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = f"sqlite:///{tmp_path}/j.db"
    with closing(journal.open(file, CONSUMER)) as store:
        commit(store, append(session(), at(1)))
    cluster.sql(
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER lose BEFORE INSERT ON otel_bridge.usage FOR EACH ROW EXECUTE FUNCTION lose()",
        database=url.rpartition("/")[2],
    )
    with pytest.raises(StoreError, match=r"usage_rows 1 y después 0.*no se guardó nada"):
        journal.copy(file, url, None, FORMS, lambda table, rows: None)
    assert cluster.sql("SELECT count(*) FROM otel_bridge.segment", database=url.rpartition("/")[2]) == [(0,)]
