"""The files of a journal: their names, the lock on them, and what becomes of the journal when they are taken away."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Store, StoreUnavailable
from otel_bridge.journal.sqlite import lock, watch
from tests.journal.backends import CONSUMER, SqliteBackend
from tests.journal.stores import append, commit
from tests.unit.samples import event

NAMES = ["a%20b.db", "50%.db", "%41.db", "a%zz.db", "¿qué? #1 & más.db", "mode=ro.db", "día\u0301.db"]


@pytest.fixture(autouse=True)
def _look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.0)


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    (tmp_path / "data").mkdir()
    made = SqliteBackend(tmp_path / "data")
    yield made
    made.close()


def held_at(url: str) -> int:
    """Records in the journal by that URL."""
    reader = journal.open_reader(url, CONSUMER)
    try:
        return reader.ledger().pending
    finally:
        reader.close()


def somebody_closes(path: Path) -> None:
    """Another process that reads the journal and closes it. It must not take itself for the last one there."""
    code = f"import sqlite3; db = sqlite3.connect({str(path)!r}); db.execute('SELECT * FROM sink'); db.close()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Path(f"{path}-wal").exists(), "SQLite's locks were lost"


def refused(url: str) -> str:
    with pytest.raises(StartRefused) as caught:
        journal.open(url, CONSUMER)
    return str(caught.value)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_taken_as_it_is_written(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{tmp_path}/{name}"
    assert not journal.exists(url)
    store = journal.open(url, CONSUMER)
    store.begin_service()
    commit(store, append(event(1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [name, f"{name}-shm", f"{name}-wal", f"{name}.lock", f"{name}.mark"]
    )
    assert held_at(url) == 1 and journal.exists(url) and store.url == url
    store.close()


def test_two_slashes_at_the_start_are_a_path_like_others(tmp_path: Path) -> None:
    journal.open(f"sqlite:////{tmp_path}/journal.db", CONSUMER).close()
    assert (tmp_path / "journal.db").exists()


def test_what_an_earlier_release_took_the_name_for_is_not_passed_over(tmp_path: Path) -> None:
    """That release opened `my journal.db` by this URL: a new journal in its place would hide it."""
    url = f"sqlite:///{tmp_path}/my%20journal.db"
    journal.open(f"sqlite:///{tmp_path}/my journal.db", CONSUMER).close()
    for attempt in (
        journal.exists,
        lambda url: journal.open(url, CONSUMER),
        lambda url: journal.mark_replay(url, None),
    ):
        with pytest.raises(StartRefused, match=r"mv '.*my journal.db' '.*my%20journal.db'"):
            attempt(url)
    (tmp_path / "my journal.db").rename(tmp_path / "my%20journal.db")
    assert journal.exists(url)


def test_links_lead_to_one_place(backend: SqliteBackend, tmp_path: Path) -> None:
    """Log, lock and index stand beside the file, not beside a link to it, in a folder that is a link, too."""
    (tmp_path / "folder").symlink_to(backend.path.parent)
    (tmp_path / "link.db").symlink_to(tmp_path / "folder" / "journal.db")
    store = journal.open(f"sqlite:///{tmp_path}/link.db", CONSUMER)
    commit(store, append(event(1)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "folder", "link.db"]
    assert store.url == backend.url
    commit(store, append(event(2)))
    reader = store.reader()
    assert reader.ledger().pending == held_at(backend.url) == 2
    reader.close()
    store.close()


# --- the lock -------------------------------------------------------------------------------------------------------


def _symbolic(path: Path, other: Path) -> None:
    other.symlink_to(path)


def _hard(path: Path, other: Path) -> None:
    other.hardlink_to(path)


def _bind(path: Path, other: Path) -> None:
    other.touch()
    if subprocess.run(["mount", "--bind", str(path), str(other)], capture_output=True).returncode:
        pytest.skip("only root may mount")


def _same(path: Path, other: Path) -> None:
    Path(f"{path}.lock").unlink()
    other.symlink_to(path)


OTHER_NAMES = {"symbolic link": _symbolic, "hard link": _hard, "mount": _bind, "removed lock": _same}


@pytest.fixture(params=OTHER_NAMES)
def other_name(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Gives a file another name; the URL by it."""
    other = tmp_path / "other.db"

    def give(path: Path) -> str:
        OTHER_NAMES[request.param](path, other)
        return f"sqlite:///{other}"

    yield give
    subprocess.run(["umount", "-l", str(other)], capture_output=True, check=False)


@pytest.mark.parametrize("process", ["this process", "another process"])
def test_whatever_its_name_one_bridge_serves_it(
    backend: SqliteBackend, other_name: Callable[[Path], str], process: str
) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    url = other_name(backend.path)
    if process == "this process":
        assert "otro otel-bridge lo está sirviendo" in refused(url)
    else:
        code = f"from otel_bridge import journal; journal.open({url!r}, {CONSUMER!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert "otro otel-bridge lo está sirviendo" in done.stderr
    somebody_closes(backend.path)
    commit(store, append(event(2)))


def test_what_reads_in_the_bridges_own_process_takes_no_lock_from_it(backend: SqliteBackend) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    assert journal.exists(backend.url) and held_at(backend.url) == 1
    somebody_closes(backend.path)


def test_by_a_name_without_the_log_nothing_is_read_or_marked(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_bridge.journal.sqlite.examine.NAME_SECONDS", 0.0)
    store = backend.open()
    commit(store, append(event(1)))
    (tmp_path / "other.db").hardlink_to(backend.path)
    other = f"sqlite:///{tmp_path}/other.db"
    for attempt in (lambda: journal.open_reader(other, CONSUMER), lambda: journal.mark_replay(other, None)):
        with pytest.raises(StartRefused, match=r"su log .* no está aquí"):
            attempt()
    assert held_at(backend.url) == 1
    store.close()
    with pytest.raises(StartRefused, match="otro nombre"):
        journal.open_reader(other, CONSUMER)


def test_a_file_with_two_names_is_refused_until_it_has_one(backend: SqliteBackend, tmp_path: Path) -> None:
    backend.open().close()
    (tmp_path / "other.db").hardlink_to(backend.path)
    assert "2 nombres (enlaces duros)" in refused(backend.url)
    assert "2 nombres (enlaces duros)" in refused(f"sqlite:///{tmp_path}/other.db")
    (tmp_path / "other.db").unlink()
    backend.open()


def test_a_second_name_that_a_kill_has_left_is_no_obstacle(backend: SqliteBackend) -> None:
    """A restore gives the file its name, then takes the other away."""
    store = backend.open()
    commit(store, append(event(1)))
    store.close()
    left = backend.path.with_name(f"{backend.path.name}.1234.part")
    left.hardlink_to(backend.path)
    backend.open()
    assert not left.exists() and held_at(backend.url) == 1


@pytest.mark.parametrize("beside", ["the file", "a link to it"])
def test_an_earlier_release_beside_it_is_seen(backend: SqliteBackend, tmp_path: Path, beside: str) -> None:
    """It locks a file beside the name that it was given."""
    (tmp_path / "link.db").symlink_to(backend.path)
    locked = backend.path if beside == "the file" else tmp_path / "link.db"
    with Path(f"{locked}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "otro otel-bridge lo está sirviendo" in refused(f"sqlite:///{tmp_path}/link.db")
    journal.open(f"sqlite:///{tmp_path}/link.db", CONSUMER).close()


def test_a_file_that_is_replaced_between_opening_and_locking_is_not_taken_for_the_journal(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.open().close()
    locked: list[int] = []
    take = lock.Lock._lock_inode

    def replace_then_lock(self: lock.Lock, descriptor: int) -> None:
        if not locked:
            shutil.copy(backend.path, f"{backend.path}.copy")
            Path(f"{backend.path}.copy").replace(backend.path)
        locked.append(descriptor)
        take(self, descriptor)

    monkeypatch.setattr(lock.Lock, "_lock_inode", replace_then_lock)
    commit(backend.open(), append(event(1)))
    assert len(locked) == 2
    assert held_at(backend.url) == 1


def test_where_the_system_cannot_lock_the_file_that_is_said(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def unsupported(*arguments: object) -> bytes:
        raise OSError(22, os.strerror(22))

    monkeypatch.setattr("otel_bridge.journal.sqlite.lock.fcntl.fcntl", unsupported)
    backend.open()
    assert "cannot be locked here" in caplog.text
    assert "otro otel-bridge lo está sirviendo" in refused(backend.url)


# --- files that are taken away --------------------------------------------------------------------------------------


def _suffixes(*suffixes: str) -> Callable[[Path], None]:
    def remove(path: Path) -> None:
        for suffix in suffixes:
            Path(f"{path}{suffix}").unlink()

    return remove


REMOVALS: dict[str, Callable[[Path], None]] = {
    "all of it": _suffixes("", "-wal", "-shm", ".lock"),
    "its folder": lambda path: shutil.rmtree(path.parent),
    "the database": _suffixes(""),
    "the database and its log": _suffixes("", "-wal"),
    "the log": _suffixes("-wal"),
    "the index": _suffixes("-shm"),
    "the log and its index": _suffixes("-wal", "-shm"),
}


def refuses(store: Store, number: int) -> str:
    """What a commit says that is refused, in both ways that there are."""
    with pytest.raises(StoreUnavailable) as caught:
        store.write_alone([append(event(number))])
    store.rollback()
    with pytest.raises(StoreUnavailable):
        store.begin()
    store.rollback()
    assert store.displaced
    return str(caught.value)


def secures(store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        store.keep_in_place()


def after_a_kill(backend: SqliteBackend, tmp_path: Path) -> int:
    """How many records a start finds if the process ends as it is now."""
    shutil.copytree(backend.path.parent, tmp_path / "killed")
    store = journal.open(f"sqlite:///{tmp_path}/killed/{backend.path.name}", CONSUMER)
    store.close()
    return held_at(f"sqlite:///{tmp_path}/killed/{backend.path.name}")


@pytest.mark.parametrize("when", ["while it runs", "in a stop"])
@pytest.mark.parametrize("removal", REMOVALS)
def test_what_is_removed_is_missed_and_put_back(
    backend: SqliteBackend, tmp_path: Path, removal: str, when: str
) -> None:
    store = backend.open()
    for number in range(10):
        commit(store, append(event(number + 1)))
    free = store.free_space()
    REMOVALS[removal](backend.path)
    assert "was removed" in refuses(store, 99)
    assert store.free_space() is not None and free is not None, "a lost folder is no full disk"
    if when == "in a stop":
        store.close()
    else:
        secures(store)
        secures(store)
    assert after_a_kill(backend, tmp_path) == 10
    assert list(backend.path.parent.glob("*.saved")) == list(backend.path.parent.glob("*.part")) == []


def test_what_was_committed_before_the_next_look_is_put_back_too(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 60.0)
    store = backend.open()
    commit(store, append(event(1)))
    REMOVALS["all of it"](backend.path)
    commit(store, append(event(2)))
    secures(store)
    assert after_a_kill(backend, tmp_path) == 2


def test_a_lost_log_is_saved_by_the_first_commit_that_misses_it(backend: SqliteBackend, tmp_path: Path) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    REMOVALS["the log"](backend.path)
    refuses(store, 2)
    assert after_a_kill(backend, tmp_path) == 1


def test_what_was_written_back_and_is_removed_again_is_written_again(backend: SqliteBackend, tmp_path: Path) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    for _ in range(2):
        REMOVALS["its folder"](backend.path)
        secures(store)
    assert after_a_kill(backend, tmp_path) == 1


def test_what_was_written_back_is_for_its_user_alone(backend: SqliteBackend) -> None:
    store = backend.open()
    REMOVALS["its folder"](backend.path)
    secures(store)
    assert backend.path.stat().st_mode & 0o777 == 0o600
    assert backend.path.parent.stat().st_mode & 0o077 == 0


def test_what_was_written_back_can_be_served_and_read_meanwhile(backend: SqliteBackend) -> None:
    """Who stops last takes nothing from who started since."""
    store = backend.open()
    commit(store, append(event(1)))
    REMOVALS["all of it"](backend.path)
    secures(store)
    new = journal.open(backend.url, CONSUMER)
    commit(new, append(event(2)))
    store.close()
    assert Path(f"{backend.path}-wal").exists()
    commit(new, append(event(3)))
    assert held_at(backend.url) == 3
    new.close()


def test_what_is_moved_stays_where_it_is_and_goes_on_when_it_is_back(
    backend: SqliteBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    backend.path.parent.rename(tmp_path / "moved")
    assert "was moved away" in refuses(store, 2)
    secures(store)
    assert "put that file back" in caplog.text
    assert not backend.path.parent.exists()
    (tmp_path / "moved").rename(backend.path.parent)
    commit(store, append(event(2)))
    store.keep_in_place()
    assert not store.displaced and held_at(backend.url) == 2


def test_a_link_that_leads_elsewhere_is_missed_until_it_leads_back(
    backend: SqliteBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a release is switched by a link: a start would go by it, and find another journal or none."""
    link, elsewhere = tmp_path / "current", tmp_path / "next"
    elsewhere.mkdir()
    link.symlink_to(backend.path.parent)
    store = journal.open(f"sqlite:///{link}/{backend.path.name}", CONSUMER)
    commit(store, append(event(1)))
    link.unlink()
    link.symlink_to(elsewhere)
    assert "does not lead to" in refuses(store, 2)
    secures(store)
    assert "make that name lead there again" in caplog.text
    link.unlink()
    assert "does not lead to" in refuses(store, 2)
    link.symlink_to(backend.path.parent)
    commit(store, append(event(2)))
    store.keep_in_place()
    assert not store.displaced and held_at(backend.url) == 2
    link.unlink()
    store.close()
    assert after_a_kill(backend, tmp_path) == 2


@pytest.mark.parametrize("way", ["over it", "after it was moved"])
def test_another_file_in_its_place_is_left_as_it_is(backend: SqliteBackend, tmp_path: Path, way: str) -> None:
    other = SqliteBackend(tmp_path)
    commit(other.open(), append(event(1)), append(event(2)))
    other.close()
    store = backend.open()
    commit(store, append(event(1)))
    if way == "after it was moved":
        backend.path.rename(tmp_path / "moved.db")
    other.path.replace(backend.path)
    assert "was replaced by another file" in refuses(store, 2)
    secures(store)
    assert not Path(f"{backend.path}-wal").exists(), "the other database would take our log for its own"
    kept = tmp_path / "moved.db" if way == "after it was moved" else next(backend.path.parent.glob("*.saved"))
    shutil.copy(kept, tmp_path / "kept.db")
    assert held_at(f"sqlite:///{tmp_path}/kept.db") == 1
    assert after_a_kill(backend, tmp_path) == 2
    secures(store)
    assert len(list(backend.path.parent.glob("*.saved"))) == (way == "over it")


def test_a_file_that_is_emptied_is_missed_for_good(backend: SqliteBackend, caplog: pytest.LogCaptureFixture) -> None:
    store = backend.open()
    for number in range(10):
        commit(store, append(event(number + 1)))
    backend.path.write_bytes(b"")
    assert "was emptied" in refuses(store, 99)
    secures(store)
    assert "from a backup" in caplog.text and "goes on from there" not in caplog.text
    store.close()
    assert backend.path.stat().st_size == 0


@pytest.mark.parametrize("what", ["an older backup of it", "another journal"])
@pytest.mark.parametrize("then", ["a stop", "a kill"])
def test_what_is_copied_over_it_is_seen_and_left_as_it_is(
    backend: SqliteBackend, tmp_path: Path, what: str, then: str
) -> None:
    """As by who restores a backup with `cp` under the running bridge: the file stays the same, its content does not."""
    other = SqliteBackend(tmp_path)
    store = backend.open() if what == "an older backup of it" else other.open()
    for number in range(5):
        commit(store, append(event(number + 1)))
    store.close()
    copy = store.path.read_bytes()
    store = backend.open()
    for number in range(100):
        commit(store, append(*(event(1000 * number + n) for n in range(100))))
    store.maintain(1 << 40, lambda run: run())
    store.keep_in_place()
    commit(store, append(event(999_999)))
    with backend.path.open("r+b") as file:
        file.truncate(0)
        file.write(copy)
    assert "was written over by another program" in refuses(store, 999_998)
    secures(store)
    assert "was written over by another program" in refuses(store, 999_998)
    if then == "a stop":
        store.close()
    assert backend.path.read_bytes() == copy
    assert after_a_kill(backend, tmp_path) == 5


@pytest.mark.parametrize("mover", ["the bridge", "somebody else"])
def test_a_journal_that_grows_and_shrinks_is_no_suspect(backend: SqliteBackend, mover: str) -> None:
    """The header changes with every move of the log, whoever moves it, and in a VACUUM by an operator."""
    store = backend.open()
    for number in range(100):
        commit(store, append(*(event(1000 * number + n) for n in range(100))))
        if number % 10 == 0:
            if mover == "the bridge":
                store.maintain(1 << 40, lambda run: run())
            else:
                backend.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            store.keep_in_place()
    store.begin()
    store.advance(store.last, 0, [])
    store.save_snapshot(store.last, b"")
    while store.trim(1 << 60, 1 << 60, 1000, []).rows:
        pass
    store.commit()
    backend.sql("VACUUM")
    store.maintain(1 << 40, lambda run: run())
    store.keep_in_place()
    for number in range(3):
        commit(store, append(event(900_000 + number)))
        store.maintain(1 << 40, lambda run: run())
        store.keep_in_place()
    assert not store.displaced and store.last == 10_003


def test_where_it_cannot_be_written_back_that_is_said_once(
    backend: SqliteBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    REMOVALS["its folder"](backend.path)
    backend.path.parent.write_text("a file where the folder was")
    for _ in range(3):
        secures(store)
    assert caplog.text.count("cannot be put in safety") == 1
    backend.path.parent.unlink()
    store.close()
    assert held_at(backend.url) == 1, "the last chance was not taken"


def test_a_store_that_is_closed_twice_leaves_the_next_one_alone(backend: SqliteBackend) -> None:
    store = backend.open()
    commit(store, append(event()))
    store.close()
    following = backend.open()
    commit(following, append(event(8)))
    descriptors = set(Path("/proc/self/fd").iterdir())
    looked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch.os, "pread", lambda descriptor, *_: looked.append(descriptor))
        store.close()
    assert not looked  # at what may be somebody else's file by now
    assert set(Path("/proc/self/fd").iterdir()) == descriptors
    commit(following, append(event(9)))
    following.close()
    assert held_at(backend.url) == 3
