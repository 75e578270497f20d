"""What a failed commit has left in SQLite's log: whether a recovery would find it, and that it is written anew."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_bridge.journal import OutcomeUnknown, StoreLost, StoreUnavailable
from otel_bridge.journal.sqlite import SqliteStore
from otel_bridge.journal.sqlite.wal import WriteAheadLog
from tests.journal.backends import SqliteBackend
from tests.journal.stores import append, commit, held
from tests.unit.samples import event

HEADERS = 136
"""Bytes of the index that say which commits there are."""


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


@pytest.fixture
def log(store: SqliteStore) -> WriteAheadLog:
    return WriteAheadLog(store.path)


class Index:
    """The index, set back to an earlier commit: as after one whose frames were written, and that failed."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(f"{path}-shm", os.O_RDWR)  # never closed: SQLite's locks would go with it
        self._before = os.pread(self._file, HEADERS, 0)

    def set_back(self) -> None:
        os.pwrite(self._file, self._before, 0)


Spoil = Callable[[Path], None]


def _nothing(wal: Path) -> None:
    pass


def _cut(wal: Path) -> None:
    os.truncate(wal, wal.stat().st_size - 1)


def _byte(at: int) -> Spoil:
    def spoil(wal: Path) -> None:
        with wal.open("r+b") as file:
            file.seek(at, os.SEEK_END)
            byte = file.read(1)
            file.seek(at, os.SEEK_END)
            file.write(bytes([byte[0] ^ 1]))

    return spoil


@pytest.mark.parametrize(
    "spoil, found",
    [(_nothing, True), (_cut, False), (_byte(-1), False), (_byte(-8192 - 24 + 7), False), (_byte(-8192 - 16), False)],
    ids=["whole", "cut short", "a page's last byte", "the mark of its end", "another log's"],
)
@pytest.mark.parametrize("begun_anew", [False, True], ids=["behind others", "first of its log"])
def test_a_commit_is_found_in_the_log_as_a_recovery_finds_it(
    store: SqliteStore, log: WriteAheadLog, spoil: Spoil, found: bool, begun_anew: bool
) -> None:
    commit(store, append(event(1)))
    if begun_anew:
        store.maintain(0, lambda run: run())  # empties the log
    index = Index(store.path)
    assert not log.may_hold(None)
    commit(store, append(*(event(n) for n in range(2, 600))))
    assert not log.may_hold(None)
    index.set_back()
    spoil(Path(f"{store.path}-wal"))
    assert log.may_hold(None) == found
    busy = sqlite3.OperationalError()
    busy.sqlite_errorcode = sqlite3.SQLITE_BUSY
    assert not log.may_hold(busy)  # it is somebody else's


def test_the_log_before_is_no_commit_of_this_one(store: SqliteStore, log: WriteAheadLog) -> None:
    """All of it is in the file, and the header of the next log could not be written."""
    commit(store, append(event(1)))
    store.maintain(1 << 40, lambda run: run())
    before = Path(f"{store.path}-wal").read_bytes()
    commit(store, append(event(2)))  # begins the log anew
    index = Index(store.path)
    store.maintain(0, lambda run: run())
    index._before = os.pread(index._file, HEADERS, 0)
    Path(f"{store.path}-wal").write_bytes(before)
    assert not log.may_hold(None)


def test_what_cannot_be_looked_at_may_hold_anything(tmp_path: Path) -> None:
    assert WriteAheadLog(tmp_path / "journal.db").may_hold(None)


def test_the_log_is_written_anew_as_it_is(store: SqliteStore, log: WriteAheadLog) -> None:
    commit(store, append(*(event(n) for n in range(3000))))
    wal = Path(f"{store.path}-wal")
    before, written = wal.read_bytes(), wal.stat().st_mtime_ns
    log.renew()
    assert wal.read_bytes() == before and wal.stat().st_mtime_ns > written
    assert len(held(store)) == 3000


class FailingDb:
    """A connection whose next statement that matches fails."""

    def __init__(self, db: sqlite3.Connection, matching: str, code: int) -> None:
        self._db = db
        self._matching = matching
        self._error = sqlite3.OperationalError("disk I/O error")
        self._error.sqlite_errorcode = code

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if self._matching in sql:
            raise self._error
        return self._db.execute(sql, *parameters)


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_CORRUPT])
def test_an_error_that_left_no_commit_took_nothing(store: SqliteStore, code: int) -> None:
    commit(store, append(event(1)))
    store._db = FailingDb(store._db, "INSERT INTO taken", code)  # type: ignore[assignment]
    with pytest.raises(StoreUnavailable):
        store.write_alone([append(event(2))])
    store.rollback()
    assert store.last == 1
    store._db = store._db._db  # type: ignore[attr-defined]
    assert store.write_alone([append(event(3))]) and held(store) == [event(1), event(3)]


@pytest.mark.parametrize("alone", [True, False])
def test_an_fsync_that_fails_leaves_the_outcome_to_the_next_process(store: SqliteStore, alone: bool) -> None:
    fails = "INSERT INTO taken" if alone else "COMMIT"
    store._db = FailingDb(store._db, fails, sqlite3.SQLITE_IOERR_FSYNC)  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        if alone:
            store.write_alone([append(event(1))])
        else:
            store.begin()
            store.write([append(event(1))])
            store.commit()
    with pytest.raises(StoreLost):
        store.resolve_outcome()


def test_a_checkpoint_whose_fsync_fails_is_told_to_the_writer(store: SqliteStore) -> None:
    told: list[Callable[[], None]] = []
    store.maintain(1 << 40, told.append)
    store._checkpoints.connection = FailingDb(  # type: ignore[assignment]
        store._checkpoints.connection,
        "wal_checkpoint",
        sqlite3.SQLITE_IOERR_FSYNC,  # type: ignore[arg-type]
    )
    with pytest.raises(StoreLost):
        store.maintain(1 << 40, told.append)
    (tell,) = told
    with pytest.raises(StoreLost):
        tell()
