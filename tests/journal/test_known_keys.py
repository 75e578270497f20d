"""Dedup keys in SQLite: rows that are appended, and hints in memory that say where to look."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import CONFLICT, Append, Duplicate, Store
from otel_bridge.journal.archive import KeyRow
from otel_bridge.journal.sqlite import hints, known_keys
from otel_bridge.journal.sqlite.key_rows import pack_keys, packed, unpacked
from otel_bridge.journal.sqlite.names import log_of
from otel_bridge.journal.sqlite.writing import SqliteStore
from otel_bridge.journal.store import DEDUP_HORIZON_US, DamagedPart, StoreDamaged
from otel_bridge.records import Event
from otel_bridge.times import AHEAD_US
from tests.journal.backends import CONSUMER
from tests.journal.earlier import as_before
from tests.journal.pages import LEAF, OVERFLOW, Pages
from tests.unit.samples import START_US, event, uid

HOUR_US = 3_600_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def opened(path: Path) -> SqliteStore:
    store = journal.open(f"sqlite:///{path}", CONSUMER)
    assert isinstance(store, SqliteStore)
    return store


def timed(at_us: int, name: bytes) -> bytes:
    """A key of an event of that time."""
    return b"c" + (at_us // 1000).to_bytes(6, "big") + name.rjust(10, b"\0")


def post(keys: list[bytes], arrived_us: int, digest: bytes | None = None) -> Append:
    digests = {} if digest is None else dict.fromkeys(range(len(keys)), digest)
    return Append([event(i, arrived_us=arrived_us) for i in range(len(keys))], list(keys), digests)


# --- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("times", ["together", "each by itself"])
def test_a_row_gives_back_what_went_in(times: str) -> None:
    rows = [
        KeyRow(bytes([65 + i]) * 17, START_US + (i if times != "together" else 0), b"d" * 16 if i % 2 else None, i % 3)
        for i in range(40)
    ]
    (columns,) = packed(rows)
    assert unpacked(columns) == rows
    plain = [row._replace(digest=None, part=0) for row in rows]
    assert unpacked(pack_keys([row.key for row in rows], [row.arrived_us for row in rows])) == plain


def test_keys_of_several_widths_take_a_row_each() -> None:
    rows = [KeyRow(b"k" * width, START_US, None, 0) for width in (17, 3, 32, 3)]
    assert sorted(one.key for columns in packed(rows) for one in unpacked(columns)) == sorted(row.key for row in rows)
    assert len(list(packed(rows))) == 3


@pytest.mark.parametrize(
    "columns",
    [(0, b"ab", b"\0" * 8, None), (2, b"abc", b"\0" * 8, None), (1, b"abc", b"\0" * 9, None), (1, b"abc", None, None),
     (17, None, b"\0" * 8, None), ("1", b"a", b"\0" * 8, None), (1, b"a", b"\0" * 8, b"\xc1")],
)  # fmt: skip
def test_what_is_no_row_of_keys_is_told(columns: tuple[object, ...]) -> None:
    with pytest.raises(ValueError):
        unpacked(columns)


# --- hints ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread", ["hashed", "all in one slot"])
def test_hints_name_every_row_of_a_key_and_hardly_another(spread: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "LEAST_SLOTS", 16)
    count = 20_000 if spread == "hashed" else 300
    if spread != "hashed":
        monkeypatch.setattr(hints, "hash", lambda key: 7, raising=False)
    drawn = random.Random(20)
    table, rows = hints.Hints(), dict[bytes, set[int]]()
    for row in range(1, count // 10):
        keys = [drawn.randbytes(17) for _ in range(10)] + drawn.sample(sorted(rows), 2 if row > 1 else 0)
        before = table.add(keys, row)
        for key in keys:
            assert rows.get(key, set()) <= {at for one, at in before if one == key}
            rows.setdefault(key, set()).add(row)
    places = table.places(list(rows))
    found = dict[bytes, set[int]]()
    for key, row in places:
        found.setdefault(key, set()).add(row)
    assert all(rows[key] <= found[key] for key in rows)
    if spread == "hashed":
        assert len(places) < sum(map(len, rows.values())) * 1.01
        strangers = [drawn.randbytes(17) for _ in range(10_000)]
        assert len(table.places(strangers)) < 20


def test_hints_forget_what_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "LEAST_SLOTS", 16)
    drawn = random.Random(20)
    table, kept = hints.Hints(), list[tuple[bytes, int]]()
    for row in range(1, 400):
        keys = [drawn.randbytes(17) for _ in range(drawn.randrange(1, 20))]
        without = table.places(keys)  # by chance another row may have such a hint: each process hashes differently
        table.add(keys, row)
        if drawn.random() < 0.5:
            before = table.places(keys)
            table.add(keys, row + 1_000)
            table.remove(keys, row + 1_000)
            assert table.places(keys) == before
            kept += [(key, row) for key in keys]
        else:
            table.remove(keys, row)
            assert table.places(keys) == without
    assert set(kept) <= set(table.places([key for key, _ in kept]))


# --- the store --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_what_is_known_is_what_a_dictionary_would_know(path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys in any order, repeats of before and of the same group, with and without digests, what is undone, restarts,
    days that pass."""
    monkeypatch.setattr(hints, "LEAST_SLOTS", 16)
    drawn = random.Random(seed)
    store, now_us = opened(path), START_US
    known: dict[bytes, tuple[int, bytes | None, int]] = {}

    def drawn_key() -> bytes:
        if known and drawn.random() < 0.3:
            return drawn.choice(sorted(known))
        if drawn.random() < 0.2:
            return b"g" + drawn.randbytes(16)
        return timed(now_us - drawn.randrange(48 * HOUR_US), drawn.randbytes(9))

    for _ in range(150):
        now_us += drawn.choice((1_000, 1_000_000, HOUR_US // 2, 6 * HOUR_US))
        digest = drawn.choice((None, None, b"d" * 16, b"e" * 16))
        appends = [post([drawn_key() for _ in range(drawn.randrange(1, 8))], now_us, digest) for _ in range(3)]
        undone = drawn.random() < 0.15
        store.begin()
        store.write(appends)
        if undone:
            store.rollback()
        after = dict(known)
        for one in appends:
            for i, key in enumerate(one.keys):
                assert key is not None
                before = after.get(key)
                expected = None
                if before is not None and before[0] > now_us - DEDUP_HORIZON_US:
                    expected = Duplicate(before[0], before[2]) if before[1] == digest else CONFLICT
                else:
                    record = one.records[i]
                    assert isinstance(record, Event)
                    after[key] = now_us, digest, record.part
                assert (one.outcomes[i] if one.outcomes else None) == expected
        if not undone:
            store.commit()
            known = after
        if drawn.random() < 0.1:
            store.close()
            store = opened(path)
        if drawn.random() < 0.1:
            store.begin()
            while store.forget(drawn.randrange(1, 5)):
                pass
            store.commit()
    store.close()


def test_what_has_nothing_to_forget_looks_again_when_a_day_has_passed(path: Path) -> None:
    """A step of trimming asks many times a second."""
    store = opened(path)
    store.write_alone([post([timed(START_US, b"1")], START_US)])
    said = list[str]()
    store._db.set_trace_callback(said.append)
    assert [forgotten(store), forgotten(store)] == [0, 0]
    assert sum("FROM key" in sql for sql in said) == 1
    later = START_US + 2 * DEDUP_HORIZON_US
    store.write_alone([post([timed(later, b"2")], later)])
    assert [forgotten(store), forgotten(store)] == [1, 0]
    store.close()


def forgotten(store: SqliteStore) -> int:
    store.begin()
    gone = store.forget(10)
    store.commit()
    return gone


@pytest.mark.parametrize("how", ["repeated", "undone"])
def test_what_was_not_taken_leaves_no_hints(path: Path, how: str) -> None:
    """Else one batch that comes again and again fills the memory, and each time is slower than the one before."""
    store = opened(path)
    keys = [timed(START_US + n * 1_000, b"%d" % n) for n in range(100)]
    if how == "repeated":
        store.write_alone([post(keys, START_US)])
    before = store._known.places(keys)
    for _ in range(200):
        store.begin()
        new = store.write([post(keys, START_US + 1)])
        if how == "undone":
            assert len(new) == len(keys)
            store.rollback()
        else:
            assert not new
            store.commit()
    assert store._known.places(keys) == before
    store.close()


def log_bytes(store: SqliteStore, commits: list[list[bytes]]) -> int:
    """What these commits write to the log."""
    begin = log_of(store.path).stat().st_size
    for keys in commits:
        store.write_alone([post(keys, START_US)])
    return log_of(store.path).stat().st_size - begin


def test_a_commit_writes_as_much_whatever_the_order_of_its_keys(tmp_path: Path) -> None:
    drawn = random.Random(20)
    orders: dict[str, Callable[[int], int]] = {
        "rising": lambda n: START_US + n * 1_000,
        "of one millisecond": lambda n: START_US,
        "at random": lambda n: START_US - drawn.randrange(24 * HOUR_US),
    }
    written = {}
    for number, (name, at) in enumerate(orders.items()):
        store = opened(tmp_path / str(number) / "journal.db")
        commits = [[timed(at(64 * c + i), drawn.randbytes(9)) for i in range(64)] for c in range(300)]
        log_bytes(store, commits[:200])
        written[name] = log_bytes(store, commits[200:])
        store.close()
    assert max(written.values()) <= 1.02 * min(written.values()), written


def test_a_reader_finds_arrivals_with_and_without_the_writers_hints(path: Path) -> None:
    store = opened(path)
    keys = [b"g" + uid(n) for n in range(300)]
    for n, key in enumerate(keys):
        store.write_alone([post([key], START_US + n)])
    wanted = [keys[7], b"g" + uid(900), keys[250]]
    with_hints, without = store.reader(), journal.open_reader(f"sqlite:///{path}", CONSUMER)
    assert (
        with_hints.arrivals(wanted)
        == without.arrivals(wanted)
        == [(keys[250], START_US + 250), (keys[7], START_US + 7)]
    )
    for reader in (with_hints, without):
        reader.close()
    store.close()


# --- the journal of the release before --------------------------------------------------------------------------------


def fill(store: Store, count: int) -> list[bytes]:
    keys = [timed(START_US - n * 1_000_000, b"%d" % n) for n in range(count)] + [b"g" + uid(n) for n in range(count)]
    store.write_alone([post(keys[:count], START_US)])
    store.write_alone([post(keys[count:], START_US + DEDUP_HORIZON_US // 2, b"d" * 16)])
    return keys


def assert_known(store: Store, keys: list[bytes], digest: bytes | None, arrived_us: int) -> None:
    repeat = post(keys, START_US + DEDUP_HORIZON_US // 2 + 1, digest)
    assert store.write_alone([repeat]) == [] and repeat.outcomes == [Duplicate(arrived_us)] * len(keys)


@pytest.mark.parametrize("rated", [False, True])
def test_keys_of_the_release_before_are_known(path: Path, rated: bool) -> None:
    store = opened(path)
    keys = fill(store, 500)
    store.close()
    as_before(path, rated)
    store = opened(path)
    assert_known(store, keys[:500], None, START_US)
    assert_known(store, keys[500:], b"d" * 16, START_US + DEDUP_HORIZON_US // 2)
    store.close()
    with closing(sqlite3.connect(path)) as db:
        assert not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'seen'").fetchone()
        assert db.execute("PRAGMA user_version").fetchone() == (3,)


def test_a_move_that_is_cut_off_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(Exception):
        pass

    store = opened(path)
    keys = fill(store, 500)
    store.close()
    as_before(path)
    monkeypatch.setattr(known_keys, "MOST_KEYS", 100)
    append, calls = known_keys.KnownKeys.append, []

    def cut(self: known_keys.KnownKeys, rows: list[KeyRow], generation: int) -> None:
        append(self, rows, generation)
        calls.append(len(rows))
        if len(calls) == 4:
            raise Cut

    monkeypatch.setattr(known_keys.KnownKeys, "append", cut)
    with pytest.raises(Cut):
        opened(path)
    store = opened(path)
    assert sum(calls) == len(keys) + 100
    assert_known(store, keys[:500], None, START_US)
    assert_known(store, keys[500:], b"d" * 16, START_US + DEDUP_HORIZON_US // 2)
    store.close()


def test_a_move_does_not_fill_the_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(path)
    fill(store, 5_000)
    store.close()
    as_before(path)
    monkeypatch.setattr(known_keys, "MOST_KEYS", 100)
    store = opened(path)
    assert log_of(path).stat().st_size < path.stat().st_size
    store.close()


def test_the_release_before_does_not_open_what_this_one_has_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would look for keys where none are."""
    opened(path).close()
    monkeypatch.setattr("otel_bridge.journal.sqlite.schema.VERSION", 2)
    with pytest.raises(StartRefused, match="Lo escribió uno más nuevo: usa ese"):
        opened(path)


# --- damage -----------------------------------------------------------------------------------------------------------


def torn(path: Path, page: Callable[[Pages], int]) -> None:
    pages = Pages(path, "key")
    pages.spoil(page(pages), "zeros", random.Random(1))


def many_rows(path: Path, size: int) -> list[list[bytes]]:
    store = opened(path)
    commits = []
    for n in range(200):
        at = START_US + n * 60_000_000
        commits.append([timed(at - i * 1_000, b"%d" % i) for i in range(size)])
        store.write_alone([post(commits[-1], at)])
    store.close()
    return commits


@pytest.mark.parametrize(
    ("size", "page"),
    [(20, lambda pages: pages.of(LEAF)[len(pages.of(LEAF)) // 2]), (2_000, lambda pages: pages.of(OVERFLOW)[9])],
    ids=["a leaf", "an overflow page"],
)
def test_events_that_may_be_in_keys_that_cannot_be_read_are_refused_for_a_day(
    path: Path, size: int, page: Callable[[Pages], int]
) -> None:
    commits = many_rows(path, size)
    torn(path, page)
    store = opened(path)
    end_us = START_US + 200 * 60_000_000
    lost = 0
    for keys in commits:
        repeat = post(keys, end_us)
        try:
            new = store.write_alone([repeat])
        except StoreDamaged as error:
            assert error.part is DamagedPart.KEYS and ".recover" in str(error.advice)
            store.rollback()
            lost += 1
        else:
            assert not new
    assert lost == len(commits)  # nobody can tell which of them it is
    later_us = START_US + 199 * 60_000_000 + AHEAD_US + 1_000_000
    fresh = post([timed(later_us, b"new")], later_us)
    assert len(store.write_alone([fresh])) == 1, "its time says that it cannot be among them"
    over_us = end_us + DEDUP_HORIZON_US
    assert len(store.write_alone([post([b"g" + uid(1)], over_us)])) == 1, "their horizon has passed"
    store.close()


def test_keys_whose_newest_row_cannot_be_read_refuse_the_start(path: Path) -> None:
    many_rows(path, 20)
    torn(path, lambda pages: pages.of(LEAF)[-1])
    with pytest.raises(StartRefused, match=r"\.recover"):
        opened(path)
