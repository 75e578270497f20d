"""`user forget`, killed again and again in the middle: the journal is whole after each, and the next run finishes."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Load
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

KILLS = 60 if LONG else 4
LATEST_SECONDS = 0.4
"""After its beginning, that a kill comes: about as long as it takes."""
PERSON, SAID = "ana.garcia-0042", "esto lo dijo solo una persona"

Make = Callable[..., Bridge]


def _talk(bridge: Bridge, count: int) -> None:
    session = bridge.session(usuario_id=PERSON)
    for number in range(count):
        assert bridge.event(session, contenido=f"{SAID} {number}").status_code == 201


def _status(bridge: Bridge) -> dict[str, object]:
    found: dict[str, object] = json.loads(bridge.run("journal", "status", "--json").stdout)
    return {name: value for name, value in found.items() if name != "bytes"}


def _forget(bridge: Bridge) -> dict[str, object]:
    done = bridge.run("user", "forget", PERSON, "--yes", "--json", timeout=120)
    assert done.returncode == 0, done.stderr
    before, after = map(json.loads, done.stdout.splitlines())
    return {**before, **after}


def _killed(bridge: Bridge, after: float) -> None:
    """Begins, and is killed so many seconds after its first line of audit."""
    audit = bridge.journal.with_suffix(".audit.jsonl")
    size = audit.stat().st_size if audit.exists() else 0
    process = subprocess.Popen(
        bridge.command("user", "forget", PERSON, "--yes"), cwd=bridge.folder, env=bridge.env(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: audit.exists() and audit.stat().st_size > size, "the beginning")
    time.sleep(after)
    process.kill()
    process.wait()


def _holds(folder: Path, *needles: str) -> list[str]:
    contents = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # a bridge that runs may put another in its place
            contents += [path.read_bytes()] if path.is_file() else []
    return [needle for needle in needles if any(needle.encode() in content for content in contents)]


@side_by_side
def test_forget_that_is_killed_again_and_again_leaves_a_whole_journal_and_goes_on(
    make_bridge: Make, receiver: OtlpReceiver
) -> None:
    bridge = make_bridge().start()
    _talk(bridge, 400)
    user = bridge.run("user", "hash", PERSON).stdout.strip()
    assert bridge.stop() == 0
    data, kept = bridge.journal.parent, bridge.folder / "kept"
    shutil.copytree(data, kept)
    before = _status(bridge)
    for number in range(KILLS):
        shutil.rmtree(data)
        shutil.copytree(kept, data)
        _killed(bridge, LATEST_SECONDS * number / KILLS)
        assert _status(bridge) == before
        found = json.loads(bridge.run("user", "forget", PERSON, "--json").stdout)
        assert found["damaged_segments"] == 0
        _forget(bridge)
        assert json.loads(bridge.run("user", "forget", PERSON, "--json").stdout)["events"] == 0
        assert _holds(data, user, SAID) == []
    bridge.environ |= receiver.environ
    bridge.start()
    settle(bridge)
    assert bridge.metric("otel_bridge_ledger_gap") == 0 and len(receiver.spans) == 401
    assert bridge.metric("gpt_sessions_total", gen_ai_agent_id="devops-expert") == 1
    assert not any("user.hash" in span.attributes for span in receiver.spans)


@side_by_side
def test_forget_under_load_and_killed_counts_and_delivers_everything(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ).start()
    _talk(bridge, 100)
    user = bridge.run("user", "hash", PERSON).stdout.strip()
    with Load(bridge, clients=2, pause=0.01) as load:
        wait_for(lambda: load.ledger.acknowledged > 50, "some load")
        for _ in range(KILLS // 4):
            _killed(bridge, random.uniform(0, LATEST_SECONDS))
        _forget(bridge)
        so_far = load.ledger.acknowledged
        wait_for(lambda: load.ledger.acknowledged > so_far + 50, "more load")
    settle(bridge)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("otel_bridge_parked_records") == 0
    assert load.ledger.spans <= {span.span_id for span in receiver.spans}
    assert _holds(bridge.journal.parent, user, SAID) == []
