"""Pages of the journal that cannot be read: a failing disk, a torn write.

What they held is parked as damaged, in sight; the rest is delivered. Where a promise cannot be kept any more nothing is
taken, and somebody is told what to do.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from otel_bridge.records import event_span_id, session_span_id
from tests.chaos.conftest import long_form
from tests.chaos.lanes import side_by_side
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.otlp import OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.journal.pages import LEAF, Pages

EVENTS = 1_400
SESSION = uuid.UUID(int=7, version=4)
IDS = [uuid.UUID(int=1_000 + n, version=4) for n in range(EVENTS)]
SPANS = {session_span_id(SESSION.bytes).hex(), *(event_span_id(one.bytes).hex() for one in IDS)}

_made: list[Path] = []
_filling = threading.Lock()


def _post(bridge: Bridge, ids: Sequence[uuid.UUID] = IDS) -> None:
    """A session and its events, each in a commit of its own: 40 or so of them are on a page."""
    assert bridge.post("/sessions", {**GUIDE_SESSION, "id": str(SESSION)}).status_code == 201
    for one in ids:
        answer = bridge.post("/events", {**GUIDE_EVENT, "sesion_id": str(SESSION), "id": str(one)})
        assert answer.status_code == 201


def _with_backlog(bridge: Bridge) -> Pages:
    """The journal of a bridge that had nowhere to deliver to and has stopped: made once, and copied."""
    with _filling:
        if not _made:
            endpoint = {
                name: bridge.environ.pop(name) for name in list(bridge.environ) if name.startswith("OTEL_EXPORTER_")
            }
            bridge.start()
            _post(bridge)
            assert bridge.stop() == 0
            bridge.environ.update(endpoint)
            _made.append(shutil.copytree(bridge.journal.parent, bridge.folder / "made"))
        else:
            shutil.copytree(_made[0], bridge.journal.parent)
    return Pages(bridge.journal, "segment")


def _parked(bridge: Bridge) -> set[int]:
    """Sequence numbers that are named as parked."""
    found: set[int] = set()
    for line in bridge.run("journal", "parked", "--json").stdout.splitlines():
        first, last = map(int, re.findall(r"registros (\d+) a (\d+)", json.loads(line)["words"])[0])
        assert json.loads(line)["reason"] == "damaged" and not found & set(range(first, last + 1))
        found |= set(range(first, last + 1))
    return found


def _spans(numbers: set[int]) -> set[str]:
    """Of these sequence numbers: the session is 1, its events follow."""
    ids = [session_span_id(SESSION.bytes).hex(), *(event_span_id(one.bytes).hex() for one in IDS)]
    return {ids[number - 1] for number in numbers}


def _ledger(bridge: Bridge) -> dict[str, float]:
    found = bridge.scrape()
    names = ("pending_records", "parked_records", "ledger_gap", "export_lag_seconds")
    return {name: found[(f"otel_bridge_{name}", ())] for name in names}


@pytest.mark.parametrize(
    ("pages", "kind"),
    [
        pytest.param((20,), "zeros", marks=long_form),
        ((3, 4, 17, 30), "noise"),
        pytest.param((0, 11), "second half zeros", marks=long_form),
    ],
)
@side_by_side
def test_a_torn_page_in_the_backlog_is_parked_and_the_rest_delivered(
    make_bridge: Callable[..., Bridge],
    receiver: OtlpReceiver,
    say: Callable[[str], None],
    pages: tuple[int, ...],
    kind: str,
) -> None:
    bridge = make_bridge()
    table = _with_backlog(bridge)
    for page in pages:
        table.spoil(table.of(LEAF)[page], kind, random.Random(page))
    status = json.loads(bridge.run("journal", "status", "--json").stdout)
    assert status["pending"] == EVENTS + 1 and 0 < status["unreadable"] < 60 * len(pages)
    bridge.start()
    assert (_ledger(bridge)["pending_records"], _ledger(bridge)["ledger_gap"]) == (EVENTS + 1, 0)
    assert _ledger(bridge)["export_lag_seconds"] > 0
    assert bridge.stop() == 0
    bridge.environ.update(receiver.environ)
    bridge.start()
    settle(bridge)
    lost = _parked(bridge)
    assert len(lost) == status["unreadable"] == _ledger(bridge)["parked_records"]
    assert set(receiver.times) == SPANS - _spans(lost)
    order = [one.span_id for one in receiver.spans if not one.is_part_root]
    assert order == sorted(order, key=[session_span_id(SESSION.bytes).hex(), *map(_span, IDS)].index)
    assert _ledger(bridge)["ledger_gap"] == 0 and bridge.metric("otel_bridge_worker_restarts_total") == 0
    assert bridge.event(str(SESSION)).status_code == 201
    wait_for(lambda: len(receiver.times) == EVENTS + 2 - len(lost), "the new event's delivery")
    replayed = bridge.run("journal", "replay")
    assert "apartados otra vez" in replayed.stdout and "no se puede enviar" in replayed.stdout
    assert _parked(bridge) == lost and _ledger(bridge)["ledger_gap"] == 0
    say(f"{len(receiver.times) - 1} of {EVENTS + 1} delivered, {len(lost)} parked; torn pages {len(pages)}, {kind}")


def _span(one: uuid.UUID) -> str:
    return event_span_id(one.bytes).hex()


@side_by_side
def test_a_page_that_is_torn_under_a_running_bridge(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    """The endpoint is away meanwhile. A page that holds what was delivered is torn, too."""
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    for _ in range(60):
        bridge.event(session)
    settle(bridge)
    receiver.behave = lambda spans: Reply(503, keep=False)
    _post(bridge, IDS[:300])

    def spoil() -> int:
        table = Pages(bridge.journal, "segment")  # what was committed is in the file now
        leaves = table.of(LEAF)
        for page in (leaves[0], leaves[len(leaves) // 2]):
            table.spoil(page, "zeros", random.Random(1))
        return len(leaves)

    wait_for(spoil, "a moment without a reader")
    assert bridge.event(session).status_code == 201  # readers look at the file again
    receiver.behave = lambda spans: Reply()
    settle(bridge)
    ledger = _ledger(bridge)
    assert ledger["ledger_gap"] == 0 and 20 < ledger["parked_records"] < 80
    sent = {session_span_id(SESSION.bytes).hex(), *map(_span, IDS[:300])}
    assert len(sent - set(receiver.times)) == ledger["parked_records"]
    assert bridge.http.get(f"{bridge.url}/readyz").status_code == 200
    bridge.kill()
    bridge.start()
    assert _ledger(bridge)["ledger_gap"] == 0 and _ledger(bridge)["parked_records"] == ledger["parked_records"]


@side_by_side
def test_what_cannot_be_read_at_a_start_is_not_counted_and_said_to_be_missing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """There is no snapshot that has it: all of the journal is folded."""
    bridge = make_bridge(**receiver.environ)
    table = _with_backlog(bridge)
    table.spoil(table.of(LEAF)[9], "zeros", random.Random(1))
    with closing(sqlite3.connect(bridge.journal, isolation_level=None)) as db:
        assert db.execute("DELETE FROM meta WHERE name = 'checkpoint'").rowcount == 1
    bridge.start()
    lost = wait_for(lambda: bridge.metric("otel_bridge_records_total", kind="unreadable", result="accepted"), "a count")
    assert re.search(rf"of the journal are damaged: {lost:.0f} of them are accepted and in no other", bridge.output())
    settle(bridge)
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == EVENTS - lost
    assert len(_parked(bridge)) == lost and _ledger(bridge)["ledger_gap"] == 0
    bridge.kill()
    bridge.start()
    wait_for(lambda: bridge.metric("otel_bridge_records_total", kind="unreadable") == lost, "the same count")
    assert _ledger(bridge)["ledger_gap"] == 0


def _wait_until_in_file(bridge: Bridge, rows: int) -> Pages:
    """The bridge moves what it has committed into the file by itself, once a second."""

    def found() -> Pages | None:
        table = Pages(bridge.journal, "segment", checkpoint=False)
        return table if table.rows() == rows else None

    return wait_for(found, "all of it in the file")


@side_by_side
def test_the_newest_page_torn_under_a_running_bridge_is_written_again(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """The bridge still has it in memory."""
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    for _ in range(100):
        bridge.event(session)
    settle(bridge)
    table = _wait_until_in_file(bridge, 101)
    table.spoil(table.of(LEAF)[-1], "zeros", random.Random(1))
    taken = [bridge.event(session).status_code for _ in range(3)]
    assert set(taken) <= {201, 503}
    wait_for(lambda: bridge.event(session).status_code == 201, "a post that is taken")
    settle(bridge)
    assert _ledger(bridge)["ledger_gap"] == 0 and _ledger(bridge)["parked_records"] == 0
    bridge.kill()
    bridge.start()
    assert _ledger(bridge)["ledger_gap"] == 0 and _ledger(bridge)["parked_records"] == 0


@side_by_side
def test_the_newest_page_torn_and_in_nobodys_memory_ends_the_taking(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    for _ in range(100):
        bridge.event(session)
    settle(bridge)

    def spoil() -> bool:
        table = Pages(bridge.journal, "segment")
        table.spoil(table.of(LEAF)[-1], "zeros", random.Random(1))
        return True

    wait_for(spoil, "a moment without a reader")
    assert bridge.event(session).status_code == 503

    def problems() -> str:
        answer = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
        return " ".join(answer.json()["problemas"]) if answer.status_code == 503 else ""

    wait_for(lambda: "los registros más nuevos" in problems() and "no se acepta nada" in problems(), "who says so")
    assert bridge.post("/sessions", GUIDE_SESSION).json()["type"].endswith("diario-no-disponible")
    assert bridge.metric("otel_bridge_worker_restarts_total") == 0, bridge.output()
    assert ".recover`" in bridge.output() and bridge.stop() == 0
    assert bridge.run("serve", "--port", "0", "--metrics-port", "0").returncode == 2


@pytest.mark.parametrize("which", ["the last page", pytest.param("the root", marks=long_form)])
@side_by_side
def test_a_journal_whose_newest_records_are_torn_is_refused(make_bridge: Callable[..., Bridge], which: str) -> None:
    """Nobody knows how far it went: what is taken on would get numbers that were given."""
    bridge = make_bridge()
    table = _with_backlog(bridge)
    table.spoil(table.of(LEAF)[-1] if which == "the last page" else table.root, "zeros", random.Random(1))
    before = bridge.journal.read_bytes()
    done = bridge.run("serve", "--port", "0", "--metrics-port", "0")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done
    assert "Restáuralo de una copia" in done.stderr and ".recover" in done.stderr
    assert bridge.journal.read_bytes() == before
    for command in ("status", "parked", "replay"):
        done = bridge.run("journal", command)
        assert "Traceback" not in done.stderr and (done.returncode == 0 or ".recover" in done.stderr), done


SHORT = ("session", "parked", "meta")
LONGER = ("session_live", "usage", "key", "sink")


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=long_form) for name in LONGER)])
@side_by_side
def test_another_table_that_is_torn_has_an_outcome_that_is_told(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Callable[[str], None], name: str
) -> None:
    """Refused at the start, with what to do; or it serves, and says what is damaged: what is taken is delivered, and
    what is not is told so. No worker dies of it again and again."""
    bridge = make_bridge(**receiver.environ)
    _with_backlog(bridge)
    table = Pages(bridge.journal, name)
    table.spoil(table.of(LEAF)[-1], "zeros", random.Random(1))
    bridge.start(wait=False)
    assert bridge.process is not None

    def told() -> str:
        if bridge.process is not None and bridge.process.poll() is not None:
            return "refused"
        answer = bridge.http.get(f"{bridge.url}/readyz", timeout=2)
        damaged = [one for one in answer.json()["problemas"] if "diario dañado" in one]
        return damaged[0] if answer.status_code == 503 and damaged else ""

    outcome = wait_for(lambda: ((bridge.event(str(SESSION)) if not told() else None) and "") or told(), "an outcome")
    say(f"{name}: {outcome}")
    assert "`sqlite3" in bridge.output() and ".recover`" in bridge.output()
    if outcome == "refused":
        assert bridge.process.returncode == 2
        return
    statuses = [bridge.event(str(SESSION)).status_code for _ in range(5)]
    statuses += [bridge.post("/sessions", GUIDE_SESSION).status_code for _ in range(5)]
    assert set(statuses) <= {201, 503}, statuses
    wait_for(lambda: len(receiver.times) >= EVENTS + 1 + statuses.count(201), "the rest delivered")
    assert bridge.metric("otel_bridge_worker_restarts_total") == 0, bridge.output()
    say(f"{name}: {statuses}")
