"""A journal that cannot be used is refused at the start, with what to do; it is never started afresh."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.chaos.disks import SmallDisk
from tests.chaos.lanes import side_by_side
from tests.harness.bridge import GUIDE_EVENT, Bridge

_made: list[Path] = []
_filling = threading.Lock()


def _filled(bridge: Bridge) -> Path:
    """A journal with a few records, of a bridge that has stopped: made once, and copied."""
    with _filling:
        if not _made:
            bridge.start()
            session = bridge.session()
            assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 50).status_code == 201
            assert bridge.stop() == 0
            _made.append(shutil.copytree(bridge.journal.parent, bridge.folder / "made"))
        else:
            shutil.copytree(_made[0], bridge.journal.parent)
    return bridge.journal


def _refused(bridge: Bridge) -> str:
    """What `serve` says when it refuses to start."""
    before = bridge.journal.read_bytes()
    done: subprocess.CompletedProcess[str] = bridge.run(
        "serve", "--port", str(bridge.port), "--metrics-port", str(bridge.metrics_port), timeout=30
    )
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert bridge.journal.read_bytes() == before, "a refused journal was changed"
    return done.stderr


def _as_it_is(path: Path, other: Path) -> Path:
    return path


def _symbolic(path: Path, other: Path) -> Path:
    other.symlink_to(path)
    return other


def _hard(path: Path, other: Path) -> Path:
    other.hardlink_to(path)
    return other


def _without_lock_file(path: Path, other: Path) -> Path:
    Path(f"{path}.lock").unlink()
    other.symlink_to(path.parent)
    return other / path.name


@side_by_side
def test_a_journal_that_another_bridge_serves_is_refused(make_bridge: Callable[..., Bridge], tmp_path: Path) -> None:
    """Whatever it is called. (By a mount, and within one process: tests/journal/test_files.py.)"""
    first = make_bridge().start()
    session = first.session()
    second = make_bridge()
    other = tmp_path / "other"
    for rename in (_as_it_is, _symbolic, _hard, _without_lock_file):
        second.environ["OTEL_BRIDGE_JOURNAL"] = f"sqlite:///{rename(first.journal, other)}"
        done = second.run("serve", "--port", "0", "--metrics-port", "0")
        assert done.returncode == 2 and "otro otel-bridge lo está sirviendo" in done.stderr, (rename, done)
        other.unlink(missing_ok=True)
    assert first.event(session).status_code == 201


@side_by_side
def test_a_journal_with_a_second_name_is_refused_until_it_has_one(make_bridge: Callable[..., Bridge]) -> None:
    """Its log stands beside one of them: after a kill, a start by the other would miss what is in it."""
    bridge = make_bridge()
    other = _filled(bridge).with_name("other.db")
    other.hardlink_to(bridge.journal)
    assert "2 nombres (enlaces duros)" in _refused(bridge)


@side_by_side
def test_a_path_with_a_percent_sign_names_one_file(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge(OTEL_BRIDGE_JOURNAL="sqlite:///data/100%25 día.db").start()
    bridge.session()
    assert '"records": 1' in bridge.run("journal", "status", "--json").stdout
    assert bridge.stop() == 0
    names = sorted(path.name for path in bridge.journal.parent.iterdir())
    assert names == ["100%25 día.db", "100%25 día.db.lock", "100%25 día.db.mark", "100%25 día.key"]
    # As an earlier release had it: never passed over, and never started afresh.
    bridge.journal.rename(bridge.journal.with_name("100% día.db"))
    for command in (["serve", "--port", "0", "--metrics-port", "0"], ["journal", "status"], ["check"]):
        done = bridge.run(*command)
        assert done.returncode == 2 and "mv 'data/100% día.db' 'data/100%25 día.db'" in done.stderr, done


def _header(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\xff" * 100)


def _not_sqlite(path: Path) -> None:
    path.write_bytes(b"this is no database, but somebody's notes\n" * 100)


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _newest_segment(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE segment SET body = zeroblob(length(body)) WHERE last = (SELECT max(last) FROM segment)")


def _sql(text: str) -> Callable[[Path], None]:
    def run(path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript(text)

    return run


DAMAGE = {
    "header overwritten": (_header, "Restáuralo de una copia"),
    "no database": (_not_sqlite, "Restáuralo de una copia"),
    "cut in half": (_cut, "Restáuralo de una copia"),
    "newest segment": (_newest_segment, "suma de comprobación"),
    "snapshot": (_sql("UPDATE meta SET body = x'c1' WHERE name = 'checkpoint'"), "restáuralo de una copia"),
    "position of totals": (_sql("UPDATE meta SET body = x'c1' WHERE name = 'totals'"), "Restáuralo de una copia"),
    "newer schema": (_sql("PRAGMA user_version = 99"), "Lo escribió uno más nuevo: usa ese"),
    "another program's database": (
        _sql("PRAGMA user_version = 0; DROP TABLE meta; CREATE TABLE recipes (name TEXT)"),
        "no es un diario de otel-bridge",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
@side_by_side
def test_a_damaged_or_foreign_journal_is_refused_and_left_as_it_is(
    make_bridge: Callable[..., Bridge], damage: str
) -> None:
    bridge = make_bridge()
    path = _filled(bridge)
    spoil, advice = DAMAGE[damage]
    spoil(path)
    said = _refused(bridge)
    assert advice in said and str(path.name) in said, said


@side_by_side
def test_a_read_only_journal_is_refused(
    make_bridge: Callable[..., Bridge], small_disk: Callable[[str], SmallDisk]
) -> None:
    disk = small_disk("16m")
    bridge = make_bridge(
        OTEL_BRIDGE_JOURNAL=f"sqlite:///{disk.folder}/data/otel-bridge.db", OTEL_BRIDGE_DISK_MIN_FREE="0"
    )
    bridge.start()
    bridge.event(bridge.session())
    assert bridge.stop() == 0
    disk.remount("ro")
    done = bridge.run("serve", "--port", "0", "--metrics-port", "0")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert "Permite a este usuario escribir" in done.stderr, done.stderr
    disk.remount("rw")
    bridge.start()
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 1
