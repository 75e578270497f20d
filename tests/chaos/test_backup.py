"""Backups under load and under faults; and journals that come back older than they went, each said aloud."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append
from otel_bridge.journal import open as open_journal
from tests.chaos.disks import SmallDisk
from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Load, Say, journaled
from tests.harness.bridge import CUSTOMISED, GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.unit.samples import event

BACKUPS = 20 if LONG else 1
RESTARTS = 20 if LONG else 2
MEGABYTES = 400 if LONG else 16

Make = Callable[..., Bridge]


def _note(bridge: Bridge) -> str:
    return str(bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()["diario"])


def _went_back(bridge: Bridge) -> list[str]:
    return [line for line in bridge.output().splitlines() if "has gone back" in line]


def _made(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr


@side_by_side
def test_a_backup_under_load_restored_elsewhere_holds_all_that_was_acknowledged_before_it(
    make_bridge: Make, receiver: OtlpReceiver, tmp_path: Path, say: Say
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    with Load(bridge, clients=2, pause=0.01) as load:
        for number in range(BACKUPS):
            wait_for(lambda n=number: load.ledger.acknowledged > 50 * (n + 1), "some load")  # type: ignore[misc]
            with load.ledger.lock:
                before = set(load.ledger.sessions), set(load.ledger.events)
            _made(bridge.run("journal", "backup", str(tmp_path / "b.db"), "--replace", timeout=120))
    settle(bridge)
    assert bridge.stop() == 0 and not _went_back(bridge)
    elsewhere = make_bridge(**receiver.environ)
    _made(elsewhere.run("journal", "restore", str(tmp_path / "b.db")))
    elsewhere.start()
    settle(elsewhere)
    sessions, events = journaled(elsewhere)
    assert before[0] <= set(sessions) and before[1] <= set(events)
    assert set(sessions) <= load.ledger.sessions and set(events) <= load.ledger.events
    assert max(sessions.values()) == max(events.values()) == 1
    counted = elsewhere.metric("gpt_sessions_total"), elsewhere.metric("gen_ai_client_operation_duration_seconds_count")
    assert counted == (len(sessions), len(events)) and elsewhere.metric("otel_bridge_ledger_gap") == 0
    assert set(receiver.times) == load.ledger.spans
    assert len(_went_back(elsewhere)) == 1 and "copia de seguridad" in _note(elsewhere)
    key = bridge.journal.with_suffix(".key").read_bytes()
    assert elsewhere.journal.with_suffix(".key").read_bytes() == key
    held = len(sessions) + len(events)
    say(f"{BACKUPS} backups under load; the last held {held} of {load.ledger.acknowledged} records")


def _grown(bridge: Bridge) -> None:
    """A journal that takes a moment to copy."""
    bridge.journal.parent.mkdir(exist_ok=True)
    store = open_journal(f"sqlite:///{bridge.journal}", CONSUMER)
    number = 0
    while bridge.journal.stat().st_size < MEGABYTES << 20:
        records: list[Any] = [event(number + n, content="palabra " * 200) for n in range(2000)]
        store.write_alone([Append(records, [None] * len(records))])
        number += len(records)
        store.maintain(1 << 20, lambda run: run())
    store.close()


@side_by_side
def test_a_backup_that_is_killed_in_the_middle_leaves_no_file_of_its_name(make_bridge: Make, tmp_path: Path) -> None:
    bridge = make_bridge()
    _grown(bridge)
    bridge.start()
    place = tmp_path / "backups"
    place.mkdir()
    slow = {**bridge.env(), "PYTHONPATH": CUSTOMISED, "CHAOS_FDATASYNC_SECONDS": "30"}  # of its first piece
    for number in (signal.SIGKILL, signal.SIGTERM):
        running = subprocess.Popen(
            bridge.command("journal", "backup", str(place / "b.db")), cwd=bridge.folder, env=slow,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        part = place / f"b.db.{running.pid}.part"
        wait_for(lambda one=part: one.stat().st_size, "a part of it", pause=0.001)  # type: ignore[misc]
        running.send_signal(number)
        assert running.wait(30) != 0
        assert not (place / "b.db").exists()
    assert not list(place.iterdir())  # the second has taken the first one's part away, and its own
    assert bridge.event(bridge.session()).status_code == 201
    _made(bridge.run("journal", "backup", str(place / "b.db"), timeout=120))
    assert [one.name for one in place.iterdir()] == ["b.db"]


@side_by_side
def test_a_backup_to_a_disk_without_room_says_so_and_leaves_nothing(
    make_bridge: Make, small_disk: Callable[[str], SmallDisk]
) -> None:
    disk = small_disk("8m")
    bridge = make_bridge()
    _grown(bridge)
    bridge.start()
    place = disk.folder / "b.db"
    place.write_bytes(b"the one before")
    narrow = bridge.run("journal", "backup", str(place), "--replace")
    assert narrow.returncode == 2 and "hacen falta" in narrow.stderr and "Traceback" not in narrow.stderr
    bridge.under = ["bash", "-c", 'ulimit -f 2000; trap "" XFSZ; exec "$@"', "bash"]  # room at first, then none
    full = subprocess.run(
        [*bridge.under, *bridge.command("journal", "backup", "limited.db")],
        cwd=bridge.folder, env=bridge.env(), capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert full.returncode == 2 and "no se puede escribir" in full.stderr and "Traceback" not in full.stderr, (
        full.stderr
    )
    assert [one.read_bytes() for one in disk.folder.iterdir()] == [b"the one before"]
    assert not list(bridge.folder.glob("limited*"))
    assert bridge.event(bridge.session()).status_code == 201


@side_by_side
def test_an_older_backup_put_in_place_by_hand_is_said_aloud_and_its_spans_are_sent_again(
    make_bridge: Make, receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    answers = [bridge.event(session, timestamp=f"2025-06-29T20:01:0{n}Z").json() for n in range(6)]
    settle(bridge)
    _made(bridge.run("journal", "backup", "b.db"))
    later = bridge.event(session, timestamp="2025-06-29T20:02:00Z").json()
    settle(bridge)
    shown = bridge.metric("gen_ai_client_operation_duration_seconds_count")
    wait_for(lambda: b"00000000000000000008 " in _mark(bridge), "the mark")
    bridge.kill()  # its log stays, and is not the backup's
    shutil.copy(bridge.folder / "b.db", bridge.journal)
    bridge.start()
    settle(bridge)
    assert "record 7; record 8 was here by" in _went_back(bridge)[0]
    assert "VOLVIÓ ATRÁS" in bridge.output() and "copia de seguridad" in _note(bridge)
    assert "volvió atrás" in bridge.run("journal", "status").stdout
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 6 < shown
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    again = bridge.event(session, timestamp="2025-06-29T20:01:00Z")
    assert again.status_code == 200 and again.json() == answers[0]
    lost = bridge.event(session, timestamp="2025-06-29T20:02:00Z")
    assert lost.status_code == 201 and lost.json()["id"] == later["id"]  # counted again, under the id that it had
    settle(bridge)
    assert max(receiver.times.values()) == 2 and receiver.times[later["span_id"]] == 2
    assert bridge.stop() == 0
    bridge.start()
    assert len(_went_back(bridge)) == 1 and _note(bridge) == "ok"


@side_by_side
def test_a_copy_without_its_log_is_said_aloud(make_bridge: Make) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    for _ in range(5):
        bridge.event(session)
    wait_for(lambda: b"00000000000000000006 " in _mark(bridge), "the mark")
    elsewhere = make_bridge()
    elsewhere.journal.parent.mkdir()
    shutil.copy(bridge.journal, elsewhere.journal)
    bridge.event(session)
    wait_for(lambda: b"00000000000000000007 " in _mark(bridge), "the mark")
    bridge.kill()
    elsewhere.start()
    assert "without its log: it ends with record" in _went_back(elsewhere)[0]
    assert "mientras se servía" in _note(elsewhere)
    assert elsewhere.metric("otel_bridge_ledger_gap") == 0
    shutil.copy(elsewhere.journal, bridge.journal)
    Path(f"{bridge.journal}-wal").unlink()
    bridge.start()
    assert len(_went_back(bridge)) == 1
    assert bridge.event(session).status_code == 201


def _mark(bridge: Bridge) -> bytes:
    return Path(f"{bridge.journal}.mark").read_bytes()


@side_by_side
def test_kills_and_restarts_are_never_taken_for_a_return(make_bridge: Make) -> None:
    bridge = make_bridge()
    for number in range(RESTARTS):
        bridge.start()
        session = bridge.session()
        for _ in range(number % 4):
            bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 50)
        if number % 2:
            bridge.run("journal", "status")
            time.sleep(0.3 * (number % 3))
        if number % 5 == 4:
            assert bridge.stop() == 0
        else:
            bridge.kill()
    bridge.start()
    assert not _went_back(bridge) and "log is not there" not in bridge.output() and _note(bridge) == "ok"
