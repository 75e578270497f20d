"""The journal's files are removed, moved or replaced under a running bridge: it says so and takes nothing more, and
what it holds is put where the next start finds it. (More ways, without a process: tests/journal/test_files.py.)"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.conftest import long_form
from tests.chaos.disks import SmallDisk
from tests.chaos.lanes import side_by_side
from tests.harness.bridge import Bridge
from tests.harness.waiting import wait_for

EVENTS = "gen_ai_client_operation_duration_seconds_count"


class Sender:
    """Posts events one by one; counts what was acknowledged."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.session = bridge.session()
        self.taken = 0

    def post(self, count: int = 1) -> list[int]:
        statuses = []
        for _ in range(count):
            answer = self.bridge.event(self.session)
            statuses.append(answer.status_code)
            if answer.status_code == 201:
                self.taken += 1
            else:
                assert answer.json()["type"] == "urn:otel-bridge:diario-no-disponible", answer.text
                assert int(answer.headers["Retry-After"]) > 0
        return statuses


def _files(bridge: Bridge) -> list[Path]:
    return sorted(bridge.journal.parent.glob(f"{bridge.journal.name}*"))


def _rm_all(bridge: Bridge) -> None:
    for path in _files(bridge):
        path.unlink()


def _rm(suffix: str) -> Callable[[Bridge], None]:
    return lambda bridge: Path(f"{bridge.journal}{suffix}").unlink()


def _rm_folder(bridge: Bridge) -> None:
    shutil.rmtree(bridge.journal.parent)


REMOVALS: dict[str, tuple[Callable[[Bridge], None], str]] = {
    "all of it": (_rm_all, "otel-bridge.db was removed"),
    "its folder": (_rm_folder, "otel-bridge.db was removed"),
    "the database": (_rm(""), "otel-bridge.db was removed"),
    "the log": (_rm("-wal"), "otel-bridge.db-wal was removed"),
    "the index": (_rm("-shm"), "otel-bridge.db-shm was removed"),
}
SHORT = ("all of it", "the log")


def _not_ready(bridge: Bridge) -> None:
    def unready() -> str | None:
        answer = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
        return answer.text if answer.status_code == 503 else None

    said = wait_for(unready, "unready bridge", 10)
    assert "sus archivos se borraron, movieron o reemplazaron" in said and "disk_min_free" not in said, said
    wait_for(lambda: bridge.metric("otel_bridge_journal_in_place") == 0, "what the alert looks at", 10)


def _refuses(sender: Sender) -> None:
    """What was on its way is taken; then nothing is, until something changes."""
    wait_for(lambda: sender.post() == [503], "refusal", 10, pause=0.0)
    assert sender.post(3) == [503] * 3


@pytest.mark.parametrize(
    "removal", [pytest.param(name, marks=[long_form] if name not in SHORT else []) for name in REMOVALS]
)
@side_by_side
def test_what_is_removed_is_missed_and_nothing_is_lost(make_bridge: Callable[..., Bridge], removal: str) -> None:
    bridge = make_bridge().start()
    sender = Sender(bridge)
    sender.post(10)
    key = bridge.journal.with_suffix(".key").read_bytes()
    remove, words = REMOVALS[removal]
    remove(bridge)
    _refuses(sender)
    _not_ready(bridge)
    assert words in bridge.output(), bridge.output()
    wait_for(lambda: "start the bridge again" in bridge.output(), "what to do, in the log", 10)
    wait_for(bridge.journal.with_suffix(".key").exists, "the key of the users' hashes")
    bridge.kill()
    bridge.start()
    assert bridge.metric(EVENTS) == sender.taken
    assert bridge.metric("gpt_sessions_total") == 1
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.journal.with_suffix(".key").read_bytes() == key
    assert sender.post(1) == [201]


@long_form
@side_by_side
def test_a_stop_right_after_the_removal_keeps_it_all(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    sender = Sender(bridge)
    sender.post(10)
    _rm_folder(bridge)
    assert bridge.stop() == 0
    bridge.start()
    assert bridge.metric(EVENTS) == sender.taken == 10


@side_by_side
def test_what_is_moved_is_missed_until_it_is_back(make_bridge: Callable[..., Bridge]) -> None:
    """Nothing is written in its old place, and nothing is needed but to move it back."""
    bridge = make_bridge().start()
    sender = Sender(bridge)
    sender.post(10)
    here, there = bridge.journal.parent, bridge.folder / "moved"
    here.rename(there)
    _refuses(sender)
    _not_ready(bridge)
    assert "otel-bridge.db was moved away" in bridge.output()
    wait_for(lambda: "put that file back" in bridge.output(), "what to do, in the log", 10)
    assert not here.exists()
    there.rename(here)
    wait_for(lambda: sender.post() == [201], "records accepted again", 10)
    wait_for(lambda: bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200, "readiness", 10)
    assert bridge.metric("otel_bridge_journal_in_place") == 1
    bridge.kill()
    bridge.start()
    assert bridge.metric(EVENTS) == sender.taken


@long_form
@side_by_side
def test_a_database_that_is_moved_alone_is_whole_wherever_it_is(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    sender = Sender(bridge)
    sender.post(10)
    there = bridge.folder / "elsewhere.db"
    bridge.journal.rename(there)
    _refuses(sender)
    _not_ready(bridge)
    wait_for(lambda: "put that file back" in bridge.output(), "what to do, in the log", 10)
    bridge.kill()
    for path in _files(bridge):
        path.unlink()
    there.rename(bridge.journal)
    bridge.start()
    assert bridge.metric(EVENTS) == sender.taken


@long_form
@side_by_side
def test_another_file_in_its_place_is_left_alone_and_the_journal_kept_beside_it(
    make_bridge: Callable[..., Bridge],
) -> None:
    """As by who restores a backup under the running bridge: both are whole, and it is for the operator to choose."""
    other = make_bridge().start()
    other_sender = Sender(other)
    other_sender.post(3)
    assert other.stop() == 0
    bridge = make_bridge().start()
    sender = Sender(bridge)
    sender.post(10)
    other.journal.replace(bridge.journal)
    _refuses(sender)
    _not_ready(bridge)
    wait_for(lambda: "another file stands at" in bridge.output(), "what to do, in the log", 10)
    (saved,) = bridge.journal.parent.glob("*.saved")
    bridge.kill()
    bridge.start()
    assert bridge.metric(EVENTS) == other_sender.taken
    assert bridge.stop() == 0
    bridge.environ["OTEL_BRIDGE_JOURNAL"] = f"sqlite:///{saved}"
    bridge.start()
    assert bridge.metric(EVENTS) == sender.taken


@side_by_side
def test_what_the_bridge_can_do_without_or_make_again_harms_nothing(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    sender = Sender(bridge)
    key = bridge.journal.with_suffix(".key").read_bytes()
    Path(f"{bridge.journal}.lock").unlink()
    bridge.journal.with_suffix(".key").unlink()
    wait_for(bridge.journal.with_suffix(".key").exists, "the key of the users' hashes")
    assert bridge.journal.with_suffix(".key").read_bytes() == key
    bridge.journal.chmod(0)  # what is open stays so
    assert sender.post(10) == [201] * 10
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200


@long_form
@side_by_side
def test_a_disk_that_is_taken_away_is_missed(
    make_bridge: Callable[..., Bridge], small_disk: Callable[[str], SmallDisk]
) -> None:
    disk = small_disk("16m")
    bridge = make_bridge(
        OTEL_BRIDGE_JOURNAL=f"sqlite:///{disk.folder}/otel-bridge.db", OTEL_BRIDGE_DISK_MIN_FREE="1MiB"
    ).start()
    sender = Sender(bridge)
    sender.post(10)
    subprocess.run(["umount", "-l", str(disk.folder)], check=True)
    _refuses(sender)
    _not_ready(bridge)
    assert not list(disk.folder.iterdir()), "written where the disk was"
