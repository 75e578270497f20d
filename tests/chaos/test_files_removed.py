"""The journal's files are removed, moved or replaced under a running bridge: it says so, takes nothing more, and what it
holds is put where the next start finds it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("removal", REMOVALS)
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
