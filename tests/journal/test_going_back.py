"""A start recognises a journal that is not as it was left, and nothing where it is: whatever was killed, and when."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Store
from otel_bridge.journal.sqlite import backup_file, witness
from otel_bridge.journal.sqlite.mark import mark_path, read_mark
from tests.journal.backends import CONSUMER, SqliteBackend
from tests.journal.stores import append, commit, held, transact
from tests.journal.test_release import FIXTURES
from tests.unit.samples import event

KEY = b"k" * 32


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[SqliteBackend]:
    (tmp_path / "first").mkdir()
    made = SqliteBackend(tmp_path / "first")
    yield made
    made.close()


class Images:
    """Copies of a journal's folder: what a kill at that moment leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.taken = 0

    def take(self, path: Path, *without: str) -> Path:
        """The journal in a copy of its folder, without the files of these endings."""
        to = self.folder / f"image{self.taken}"
        self.taken += 1
        shutil.copytree(path.parent, to)
        for ending in without:
            (to / f"{path.name}{ending}").unlink(missing_ok=True)
        return to / path.name


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(tmp_path)


def opened(path: Path) -> Store:
    store = journal.open(f"sqlite:///{path}", CONSUMER)
    store.begin_service()
    return store


def found(path: Path) -> tuple[str, int, int] | None:
    """(kind, last, before) of what a start there recognises."""
    store = opened(path)
    said = store.went_back
    store.close()
    return None if said is None else (said.kind, said.last, said.before)


def fill(store: Store, *numbers: int) -> None:
    """Records of these numbers, ten of them in a commit."""
    for start in range(0, len(numbers), 10):
        commit(store, append(*(event(number) for number in numbers[start : start + 10])))


def keep(store: Store) -> None:
    store.maintain(1 << 40, lambda run: run())


def test_a_kill_at_any_moment_and_again_is_no_return(backend: SqliteBackend, images: Images) -> None:
    store = backend.open()
    moments = [images.take(backend.path)]

    def then(step: Callable[[], object]) -> None:
        step()
        moments.append(images.take(backend.path))

    number = 0
    for _ in range(2):
        for _ in range(2):
            number += 1
            then(lambda n=number: fill(store, n))  # type: ignore[misc]
        then(lambda: keep(store))
        then(store.begin)
        then(lambda: store.write([append(event(900))]))
        then(lambda: keep(store))
        then(store.rollback)
        then(lambda: store.maintain(0, lambda run: run()))  # empties the log
    then(store.close)
    then(lambda: moments.append(backend.path))
    for path in moments:
        for _ in range(2):
            again = opened(path)
            assert again.went_back is None and again.warnings == [], path
            path = images.take(path)  # killed right after its start
            again.close()
        assert found(path) is None
    last = opened(moments[-1])
    assert len(held(last)) == 4
    last.close()


def test_the_mark_is_never_ahead_of_what_is_committed(backend: SqliteBackend) -> None:
    store = backend.open()
    assert isinstance(backend.path, Path)

    def marked() -> int:
        mark = read_mark(backend.path)
        assert mark is not None
        return mark.last

    assert marked() == 0
    fill(store, 1)
    store.begin()
    store.write([append(event(2), event(3))])
    store.maintain(1 << 40, lambda run: None)  # beside a commit, and nothing between two
    assert marked() == 1
    store.commit()
    assert marked() == 1
    keep(store)
    assert marked() == 3


def test_a_mark_that_is_cut_or_spoilt_is_none_and_stops_nothing(backend: SqliteBackend) -> None:
    store = backend.open()
    fill(store, 1)
    store.close()
    place = mark_path(backend.path)
    whole = place.read_bytes()
    for spoilt in (b"", whole[:40], whole.replace(b"1 ", b"2 ", 1), b"\xff" * len(whole), b"x" * 5000):
        place.write_bytes(spoilt)
        assert read_mark(backend.path) is None
        assert found(backend.path) is None
        assert place.read_bytes()[:26] == whole[:26] and len(place.read_bytes()) == len(whole)
    place.unlink()
    place.mkdir()  # cannot be written
    assert found(backend.path) is None


def test_an_older_copy_is_recognised_once_and_goes_on_under_another_id(backend: SqliteBackend, images: Images) -> None:
    store = backend.open()
    fill(store, 1, 2)
    store.close()
    old = images.take(backend.path)
    before = journal.open_reader(backend.url, CONSUMER)
    first_id = before.identity().id
    before.close()
    store = opened(backend.path)
    fill(store, 3, 4, 5)
    store.close()
    newer = images.take(backend.path)
    shutil.copy(old, backend.path)
    assert found(backend.path) == ("older", 2, 5)
    assert found(backend.path) is None
    reader = journal.open_reader(backend.url, CONSUMER)
    identity = reader.identity()
    reader.close()
    assert identity.id and identity.id != first_id
    assert identity.went_back is not None and identity.went_back.kind == "older"
    store = opened(backend.path)
    fill(store, 6)
    store.close()
    shutil.copy(newer, backend.path)  # what it was before, although it has more records
    assert found(backend.path) == ("other", 5, 3)


def test_a_start_that_is_killed_before_its_mark_says_the_same_again(backend: SqliteBackend, images: Images) -> None:
    store = backend.open()
    fill(store, 1)
    store.close()
    old = images.take(backend.path)
    store = opened(backend.path)
    fill(store, 2)
    store.close()
    mark = mark_path(backend.path).read_bytes()
    shutil.copy(old, backend.path)
    store = opened(backend.path)
    first = store.went_back
    killed = images.take(backend.path)
    store.close()
    mark_path(killed).write_bytes(mark)
    again = opened(killed)
    assert again.went_back == first and first is not None
    again.close()
    assert found(killed) is None


def test_a_copy_without_its_log_is_recognised_with_and_without_a_mark(backend: SqliteBackend, images: Images) -> None:
    store = backend.open()
    fill(store, 1)
    keep(store)
    fill(store, 2, 3)
    alone = images.take(backend.path, "-wal", "-shm", ".mark")
    status = images.take(backend.path, "-wal", "-shm", ".mark")
    before = images.take(backend.path, "-wal", "-shm")  # the mark says 1, and so does the file
    store.maintain(0, lambda run: run())
    fill(store, 4)
    keep_mark(store)
    removed = images.take(backend.path, "-wal", "-shm")
    store.close()
    reader = journal.open_reader(f"sqlite:///{status}", CONSUMER)  # makes an empty log
    reader.ledger()
    reader.close()
    assert found(alone) == ("incomplete", 1, 0)
    assert found(alone) is None
    assert found(status) == ("incomplete", 1, 0)
    assert found(removed) == ("incomplete", 3, 4)
    store = opened(before)
    assert store.went_back is None
    assert "write-ahead log is not there" in store.warnings[0]
    store.close()


def keep_mark(store: Store) -> None:
    store._witness.keep(store.last, store._watch.age)  # type: ignore[attr-defined]


def test_a_copy_of_parts_is_refused(backend: SqliteBackend, images: Images) -> None:
    """A file that was copied while the log was moved into it."""
    store = backend.open()
    fill(store, *range(1, 400))
    keep(store)
    path = images.take(backend.path, "-wal", "-shm", ".mark")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 8192 // 2 * 8192)  # nothing that an open reads
        file.write(b"\0" * 8192)
    with pytest.raises(StartRefused, match=r"sin su log de escritura, y está dañado.*journal restore ARCHIVO"):
        opened(path)


def test_another_journal_and_a_new_one_are_recognised_where_one_was(backend: SqliteBackend, images: Images) -> None:
    store = backend.open()
    fill(store, 1, 2, 3)
    store.close()
    shutil.copy(FIXTURES / "journal-0.1.0.db", backend.path)
    said = found(backend.path)
    assert said is not None and said[0] == "other" and said[2] == 3
    backend.path.unlink()
    said = found(backend.path)
    assert said is not None and said[:2] == ("other", 0)
    assert found(backend.path) is None


def test_a_journal_of_an_earlier_release_is_no_return_and_gets_an_id(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    shutil.copy(FIXTURES / "journal-0.1.0.db", path)
    assert found(path) is None and found(path) is None
    with closing(sqlite3.connect(path)) as db:
        rows = dict(db.execute("SELECT name, seq FROM meta"))
        assert set(rows) == {"checkpoint", "journal", "totals"}
        # The release before takes the highest for the snapshot's.
        assert max(rows.values()) == rows["checkpoint"]


def test_a_program_that_tidies_the_log_up_after_a_kill_is_no_return(backend: SqliteBackend, images: Images) -> None:
    store = backend.open()
    fill(store, 1, 2)
    keep(store)
    fill(store, 3)
    killed = images.take(backend.path)
    with closing(sqlite3.connect(killed)) as db:
        assert db.execute("SELECT max(last) FROM segment").fetchone() == (3,)
    assert not Path(f"{killed}-wal").exists()
    again = opened(killed)
    assert again.went_back is None and "tidied the log up" in again.warnings[0]
    again.close()


def test_a_start_on_a_full_disk_serves_and_begins_to_be_recognised_once_there_is_room(
    backend: SqliteBackend, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend.open().close()
    mark = mark_path(backend.path).read_bytes()

    def full(*_: object) -> None:
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(witness, "put_row", full)
        store = opened(backend.path)
        fill(store, 1)
        keep(store)
        assert mark_path(backend.path).read_bytes() == mark
        assert found(images.take(backend.path)) is None
    keep(store)
    assert mark_path(backend.path).read_bytes() != mark
    fill(store, 2)
    assert found(images.take(backend.path)) is None
    assert found(images.take(backend.path, "-wal", "-shm", ".mark")) == ("incomplete", 1, 0)
    store.close()


# --- backups --------------------------------------------------------------------------------------------------------


def test_a_backup_is_one_state_of_the_journal_whatever_is_committed_beside_it(
    backend: SqliteBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup_file, "PIECE_PAGES", 4)
    store = backend.open()
    fill(store, *range(1, 300))
    transact(store, lambda: store.save_snapshot(100, b"counted"))
    transact(store, lambda: store.advance(120, 120, []))
    number, pieces = 300, 0

    def beside(done: int, total: int) -> None:
        nonlocal number, pieces
        pieces += 1
        assert pieces < 100, "it begins again and again"
        fill(store, number)
        store.maintain(0, lambda run: run())
        number += 1
        assert 0 < done <= total

    made = journal.backup(backend.url, tmp_path / "b.db", KEY, progress=beside)
    assert pieces > 2 and store.last == 299 + pieces
    assert (made.last, made.cursor, made.key, made.damaged) == (299, 120, KEY, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.db", "first"]
    assert (tmp_path / "b.db").stat().st_mode & 0o777 == 0o600
    restored, moved = journal.restore(tmp_path / "b.db", f"sqlite:///{tmp_path}/second/journal.db")
    assert restored == made and moved == []
    path = tmp_path / "second" / "journal.db"
    assert journal.carried_key(f"sqlite:///{path}") == KEY
    again = opened(path)
    assert again.went_back is not None and again.went_back[:2] == ("backup", 299)
    assert again.snapshot() == (100, b"counted") and len(held(again)) == 299
    again.close()
    assert journal.carried_key(f"sqlite:///{path}") is None
    assert found(path) is None


def test_a_backup_put_in_place_by_hand_never_gets_the_log_that_was_there(
    backend: SqliteBackend, images: Images, tmp_path: Path
) -> None:
    store = backend.open()
    fill(store, *range(1, 50))
    journal.backup(backend.url, tmp_path / "b.db", None)
    fill(store, *range(50, 200))
    killed = images.take(backend.path)
    log = Path(f"{killed}-wal").read_bytes()
    shutil.copy(tmp_path / "b.db", killed)
    again = opened(killed)
    assert again.went_back is not None and again.went_back[:2] == ("backup", 49)
    assert "the journal that stood here before" in again.warnings[0]
    assert len(held(again)) == 49
    assert [path.read_bytes() for path in killed.parent.glob("*.before-*-wal")] == [log]
    again.close()


@pytest.mark.parametrize("when", ["before this service", "while it served"])
def test_an_older_copy_with_the_newer_ones_log_is_refused(backend: SqliteBackend, images: Images, when: str) -> None:
    store = backend.open()
    fill(store, 1)
    if when == "before this service":
        store.close()
        old = images.take(backend.path)
        store = opened(backend.path)
    else:
        store.maintain(1 << 40, lambda run: run())
        old = images.take(backend.path)
    for number in range(2, 40):
        commit(store, append(*(event(number * 1000 + n) for n in range(200))))
    keep(store)
    store.maintain(1 << 40, lambda run: run())
    store.keep_in_place()
    keep(store)
    commit(store, append(*(event(n) for n in range(500_000, 500_100))))
    killed = images.take(backend.path)
    store.close()
    shutil.copy(old, killed)
    with pytest.raises(StartRefused, match="no es el suyo"):
        opened(killed)


REFUSALS = {
    "the journal itself": (lambda folder: folder / "first" / "journal.db", "este es el diario mismo"),
    "its log": (lambda folder: folder / "first" / "journal.db-wal", "uno de sus archivos"),
    "its mark": (lambda folder: folder / "first" / "journal.db.mark", "uno de sus archivos"),
    "a file that is there": (lambda folder: folder / "there.txt", "ya existe, y queda como está"),
    "no such folder": (lambda folder: folder / "none" / "b.db", "No such file or directory"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_where_no_backup_can_be_it_says_why_and_writes_nothing(
    backend: SqliteBackend, tmp_path: Path, refusal: str
) -> None:
    backend.open()
    (tmp_path / "there.txt").write_text("mine")
    place, words = REFUSALS[refusal]
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Exception, match=words) as caught:
        journal.backup(backend.url, place(tmp_path), None)
    assert isinstance(caught.value, StartRefused | journal.StoreError)
    assert sorted(tmp_path.rglob("*")) == before and (tmp_path / "there.txt").read_text() == "mine"


def test_a_damaged_journal_makes_no_backup_and_leaves_the_one_before(backend: SqliteBackend, tmp_path: Path) -> None:
    store = backend.open()
    fill(store, *range(1, 400))
    journal.backup(backend.url, tmp_path / "b.db", None)
    good = (tmp_path / "b.db").read_bytes()
    store.close()
    with backend.path.open("r+b") as file:
        file.seek(8192 * 3)
        file.write(b"\0" * 8192)
    with pytest.raises(StartRefused, match="hay daños"):
        journal.backup(backend.url, tmp_path / "b.db", None, replace=True)
    assert (tmp_path / "b.db").read_bytes() == good
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.db", "first"]


def test_a_run_of_records_that_was_damaged_before_is_told_and_backed_up(backend: SqliteBackend, tmp_path: Path) -> None:
    store = backend.open()
    for number in (1, 2, 3):
        fill(store, number)
    backend.damage_segment(2)
    assert journal.backup(backend.url, tmp_path / "b.db", None).damaged == 1


def test_a_restore_moves_aside_what_is_there_with_its_log_and_deletes_nothing(
    backend: SqliteBackend, images: Images, tmp_path: Path
) -> None:
    store = backend.open()
    fill(store, 1)
    journal.backup(backend.url, tmp_path / "b.db", None)
    fill(store, 2, 3)
    with pytest.raises(StartRefused, match="un otel-bridge lo está sirviendo"):
        journal.restore(tmp_path / "b.db", backend.url, replace=True)
    killed = images.take(backend.path)
    url = f"sqlite:///{killed}"
    with pytest.raises(StartRefused, match="ya hay uno, y queda como está"):
        journal.restore(tmp_path / "b.db", url)
    _, moved = journal.restore(tmp_path / "b.db", url, replace=True)
    aside = Path(moved[0])
    old = opened(aside)
    assert len(held(old)) == 3
    old.close()
    assert found(killed) == ("backup", 1, 0)  # its mark was of the start: nothing had been kept since


def test_what_is_no_backup_is_not_restored(backend: SqliteBackend, images: Images, tmp_path: Path) -> None:
    fill(backend.open(), 1)
    to = f"sqlite:///{tmp_path}/second/journal.db"
    (tmp_path / "notes.txt").write_text("not a database, but somebody's notes\n" * 9)
    for file, words in (
        (tmp_path / "none.db", "no existe esa copia"),
        (images.take(backend.path), "no una copia hecha por `otel-bridge journal backup`"),
        (tmp_path / "notes.txt", "no es un diario de otel-bridge"),
    ):
        with pytest.raises(StartRefused, match=words):
            journal.restore(file, to)
    journal.backup(backend.url, tmp_path / "b.db", None)
    with (tmp_path / "b.db").open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(StartRefused, match="hay daños"):
        journal.restore(tmp_path / "b.db", to)
    assert not (tmp_path / "second").exists()


def test_what_a_killed_backup_has_left_goes_with_the_next(backend: SqliteBackend, tmp_path: Path) -> None:
    fill(backend.open(), 1)
    (tmp_path / "b.db.4711.part").write_text("half")
    (tmp_path / "b.db.4711.part-wal").write_text("half")
    journal.backup(backend.url, tmp_path / "b.db", None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.db", "first"]
