"""What only SQLite has: its settings, its write-ahead log, its file."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import StoreError
from otel_bridge.journal.sqlite import SqliteStore, checkpoints, grouping, reading
from otel_bridge.journal.sqlite.reading import wal_bytes
from tests.harness.waiting import wait_for
from tests.journal.backends import CONSUMER, SqliteBackend, count
from tests.journal.stores import append, at, commit, held
from tests.journal.test_open import refused
from tests.journal.test_store import MIDNIGHT
from tests.unit.samples import event, session


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    made = SqliteBackend(tmp_path)
    yield made
    made.close()


@pytest.fixture
def store(backend: SqliteBackend) -> SqliteStore:
    opened = backend.open()
    assert isinstance(opened, SqliteStore)
    return opened


def test_a_commit_is_an_fsync(store: SqliteStore) -> None:
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_a_reader_that_is_closed_ends_its_count(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        commit(store, append(session(number)))
    monkeypatch.setattr(reading, "TURN_STEPS", 1)
    monkeypatch.setattr(reading, "TURN_SECONDS", 0.0)
    monkeypatch.setattr(reading, "PAUSE_SECONDS", 0.05)
    reader, raised = store.reader(), list[BaseException]()

    def count() -> None:
        try:
            reader.windows(MIDNIGHT, {"1d": 86_400})
        except StoreError as error:
            raised.append(error)

    counting = threading.Thread(target=count)
    counting.start()
    wait_for(lambda: reader._in_turns.locked(), "a count")
    reader.close()
    counting.join(10)
    assert len(raised) == 1, "hundreds of steps, of which each has a pause"


def test_few_texts_are_prepared_however_many_sessions_a_commit_has() -> None:
    row = [None] * 7
    texts = {sql for count in range(1, 1500) for sql, _ in grouping.statements([], [[None] * 7], [row] * count)}
    assert len(texts) <= 200


def test_the_wal_is_begun_anew_although_commits_never_pause(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "WAL_PAGES", 50)
    reader = store.reader()
    sizes, number = [], 0

    def between(run: Callable[[], None]) -> None:
        reader.ledger()  # what kept the last commit from being moved has ended
        run()

    for _ in range(8):
        for _ in range(50):
            number += 1
            commit(store, append(event(number)))
        reader.begin_snapshot()
        number += 1
        commit(store, append(event(number)))
        store.maintain(1 << 40, between)
        sizes.append(wal_bytes(store.path))
    assert sizes[-1] <= 1.5 * sizes[0]
    assert len(held(store)) == number


def test_a_wal_that_is_long_for_its_journal_is_emptied(store: SqliteStore) -> None:
    commit(store, append(*(event(n) for n in range(1000))))
    assert wal_bytes(store.path) > 100_000
    store.maintain(1 << 40, lambda run: run())
    assert wal_bytes(store.path) > 100_000
    store.maintain(800_000, lambda run: run())
    assert wal_bytes(store.path) == 0


def test_while_somebody_reads_for_long_no_answer_waits_for_the_log_to_be_emptied(store: SqliteStore) -> None:
    """A backup does; the log cannot be emptied until it is done."""
    asked: list[Callable[[], None]] = []
    reader = store.reader()
    reader.begin_snapshot()
    commit(store, append(*(event(n) for n in range(1000))))
    count(store)
    store.maintain(800_000, asked.append)
    assert wal_bytes(store.path) > 100_000 and asked == []
    reader.ledger()
    store.maintain(800_000, asked.append)
    assert asked == [store._checkpoints._shorten]


def test_what_closes_last_leaves_one_file(store: SqliteStore) -> None:
    reader = store.reader()
    commit(store, append(event(1)))
    reader.ledger()
    store.maintain(1 << 40, lambda run: run())
    reader.close()
    store.close()
    assert sorted(path.name for path in store.path.parent.iterdir()) == [
        "journal.db",
        "journal.db.lock",
        "journal.db.mark",
    ]


def test_a_key_that_a_client_chose_yesterday_makes_no_key_of_today_a_suspect(store: SqliteStore) -> None:
    """Nobody looks keys up one by one, which is the price of a repeat, for what is plainly new."""
    before, after = at(MIDNIGHT - 0.0001, 1), at(MIDNIGHT + 0.0001, 2)
    commit(store, append(before, keys=[b"i1"], digests={0: b"content"}))
    commit(store, append(after, keys=[b"c1"]))
    statements: list[str] = []
    store._db.set_trace_callback(statements.append)
    commit(store, append(after, keys=[b"c2"]))
    assert statements and not [sql for sql in statements if "SELECT key, arrived_us" in sql]


def test_somebody_elses_file_is_refused_and_left_alone(backend: SqliteBackend) -> None:
    backend.sql("CREATE TABLE recipes (name TEXT)")
    assert "no es un diario de otel-bridge" in refused(backend)
    assert backend.sql("SELECT name FROM sqlite_master") == [("recipes",)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(backend: SqliteBackend) -> None:
    garbage = b"this is no database, but somebody may want it\n" * 100
    backend.path.write_bytes(garbage)
    said = refused(backend)
    assert "está dañado" in said and "copia" in said
    assert backend.path.read_bytes() == garbage


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match="Not a directory"):
        journal.open(f"sqlite:///{tmp_path}/file/journal.db", CONSUMER)
