"""Files that were taken away, led to by links or left by a disk that failed: no start takes that for a return."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import OutcomeUnknown, StoreLost
from otel_bridge.journal.sqlite import SqliteStore, witness
from otel_bridge.journal.sqlite.mark import mark_path, read_mark
from tests.journal.backends import CONSUMER, SqliteBackend
from tests.journal.stores import append, commit, held
from tests.journal.test_files import REMOVALS, secures
from tests.journal.test_going_back import found, keep, opened
from tests.journal.test_wal import FailingDb
from tests.unit.samples import event


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    (tmp_path / "first").mkdir()
    made = SqliteBackend(tmp_path / "first")
    yield made
    made.close()


def marked(path: Path) -> int:
    mark = read_mark(path)
    assert mark is not None
    return mark.last


@pytest.mark.parametrize("end", ["a stop", "a kill"])
@pytest.mark.parametrize("removal", REMOVALS)
def test_what_was_put_back_is_the_journal_that_was_there(
    backend: SqliteBackend, tmp_path: Path, removal: str, end: str
) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    keep(store)
    commit(store, append(event(2)))
    REMOVALS[removal](backend.path)
    secures(store)
    if end == "a stop":
        store.close()
    shutil.copytree(backend.path.parent, tmp_path / "then")
    again = opened(tmp_path / "then" / backend.path.name)
    assert again.went_back is None and len(held(again)) == 2
    if end == "a stop" or not removal.startswith("the log"):
        assert again.warnings == []
    again.close()


def test_no_mark_is_put_where_the_journal_was(backend: SqliteBackend, tmp_path: Path) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    backend.path.parent.rename(tmp_path / "moved")
    secures(store)
    backend.path.parent.mkdir()
    keep(store)
    store.close()
    assert not mark_path(backend.path).exists()
    assert found(backend.path) is None
    assert found(tmp_path / "moved" / backend.path.name) is None


def test_a_kept_copy_given_its_name_back_is_the_journal_that_was_there(backend: SqliteBackend, tmp_path: Path) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    keep(store)
    (tmp_path / "other.db").write_bytes(b"")
    (tmp_path / "other.db").replace(backend.path)
    secures(store)
    (saved,) = backend.path.parent.glob("*.saved")
    store.close()
    saved.replace(backend.path)
    again = opened(backend.path)
    assert (again.went_back, again.warnings, len(held(again))) == (None, [], 1)
    again.close()


def test_a_commit_of_unknown_outcome_is_not_in_the_mark(backend: SqliteBackend) -> None:
    store = backend.open()
    assert isinstance(store, SqliteStore)
    commit(store, append(event(1)))
    store._db = FailingDb(store._db, "INSERT INTO taken", sqlite3.SQLITE_IOERR_FSYNC)  # type: ignore[assignment]
    with pytest.raises(OutcomeUnknown):
        store.write_alone([append(event(2))])
    keep(store)
    store.close()
    assert store.last == 2 and marked(backend.path) == 1


def test_a_service_whose_begin_is_of_unknown_outcome_loses_the_store(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full at the start, and fails at the next attempt."""

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(witness, "put_row", full)
        store = backend.open()
    assert isinstance(store, SqliteStore)
    store._db = FailingDb(store._db, "COMMIT", sqlite3.SQLITE_IOERR_FSYNC)  # type: ignore[assignment]
    with pytest.raises(StoreLost):
        keep(store)
    assert not mark_path(backend.path).exists()


def test_by_a_link_the_mark_stands_beside_the_file_and_a_backup_takes_its_place(
    backend: SqliteBackend, tmp_path: Path
) -> None:
    link = tmp_path / "journal.db"
    link.symlink_to(backend.path)
    url = f"sqlite:///{link}"
    store = journal.open(url, CONSUMER)
    store.begin_service()
    commit(store, append(event(1)))
    keep(store)
    assert marked(backend.path) == 1 and not mark_path(link).exists()
    journal.backup(url, tmp_path / "b.db", None)
    commit(store, append(event(2)))
    for served in (url, backend.url):
        with pytest.raises(StartRefused, match="un otel-bridge lo está sirviendo"):
            journal.restore(tmp_path / "b.db", served, replace=True)
    store.close()
    _, moved = journal.restore(tmp_path / "b.db", url, replace=True)
    assert link.is_symlink() and [Path(one).parent for one in moved] == [backend.path.parent]
    assert found(backend.path) == ("backup", 1, 2)


def test_a_restore_is_refused_by_whatever_name_the_journal_is_served(backend: SqliteBackend, tmp_path: Path) -> None:
    """The lock is the file's own: the one beside it is another's by otro nombre, and may be removed."""
    store = backend.open()
    commit(store, append(event(1)))
    journal.backup(backend.url, tmp_path / "b.db", None)
    Path(f"{backend.path}.lock").unlink()
    with pytest.raises(StartRefused, match="un otel-bridge lo está sirviendo"):
        journal.restore(tmp_path / "b.db", backend.url, replace=True)
    store.close()
