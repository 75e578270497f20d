"""One bad record never blocks the rest: it is found, set aside with the receiver's words, and can be sent again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from google.rpc.status_pb2 import Status

from tests.chaos.lanes import LONG, side_by_side
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Received, Reply, json_partial, partial
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

POISON = "veneno"
WORDS = "atributo prohibido en este inquilino"


def _post(bridge: Bridge, total: int = 120, bad: tuple[int, ...] = (7, 60, 61)) -> str:
    session = bridge.session()
    events = [{**GUIDE_EVENT, "sesion_id": session, "tipo": POISON if i in bad else "consulta"} for i in range(total)]
    half = total // 2
    assert bridge.post("/events", events[:half]).status_code == 201
    for event in events[half : half + 10]:
        assert bridge.post("/events", event).status_code == 201
    assert bridge.post("/events", events[half + 10 :]).status_code == 201
    return session


def _bad(spans: list[Received]) -> bool:
    return any(one.attributes.get("gpt.event.type") == POISON for one in spans)


def _parked(bridge: Bridge) -> float:
    return bridge.metric("otel_bridge_parked_records")


@pytest.mark.parametrize("status", [400, 422, 500] if LONG else [400, 500])
@side_by_side
def test_poison_is_found_by_halving_parked_and_replayed(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, status: int
) -> None:
    body = Status(code=3, message=WORDS).SerializeToString()
    receiver.behave = lambda spans: Reply(status, body) if _bad(spans) else OK
    bridge = make_bridge(**receiver.environ).start()
    _post(bridge)
    wait_for(lambda: _parked(bridge) == 3, "three parked records", 45)
    settle(bridge)
    assert len(receiver.times) == 1 + 117
    assert bridge.metric("otel_bridge_exported_records_total") == 118
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    shown = bridge.run("journal", "parked")
    assert shown.returncode == 0 and shown.stdout.count(WORDS) == 3, shown
    lines = [json.loads(line) for line in bridge.run("journal", "parked", "--json").stdout.splitlines()]
    assert {one["reason"] for one in lines} == {"server-error" if status == 500 else "refused"}
    # Sent again before the fix, it is refused again and stays where it was seen.
    name = "retry" if status == 500 else "poison"
    refused = bridge.metric("otel_bridge_export_attempts_total", result=name)
    assert bridge.run("journal", "replay", str(lines[0]["seq"])).returncode == 0
    wait_for(lambda: bridge.metric("otel_bridge_export_attempts_total", result=name) > refused, "another refusal")
    assert _parked(bridge) == 3
    # After the fix everything arrives, and the ledger still holds.
    receiver.behave = lambda spans: OK
    assert bridge.run("journal", "replay").returncode == 0
    wait_for(lambda: _parked(bridge) == 0, "nothing parked")
    assert len(receiver.times) == 121
    assert bridge.metric("otel_bridge_exported_records_total") == 121
    assert bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_an_endpoint_that_refuses_everything_parks_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """A wrong path or tenant answers 400 to every record: that is the endpoint's state, not the records'."""
    receiver.behave = lambda spans: Reply(400, b"no such tenant")
    bridge = make_bridge(**receiver.environ).start()
    _post(bridge, 50, ())
    wait_for(lambda: len(receiver.requests) >= 6, "some attempts")
    assert _parked(bridge) == 0 and bridge.metric("otel_bridge_pending_records") == 51
    assert "no such tenant" in bridge.output()
    receiver.behave = lambda spans: OK
    settle(bridge)
    assert len(receiver.times) == 51 and _parked(bridge) == 0


@side_by_side
def test_a_single_bad_record_among_nothing_is_parked_as_well(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """Nothing stands beside it in its batch: what was delivered before shows that the endpoint is well."""
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    wait_for(lambda: len(receiver.times) == 1, "the session's root")
    receiver.behave = lambda spans: Reply(400, WORDS.encode()) if _bad(spans) else OK
    settle(bridge)
    bridge.kill()  # a process that has delivered nothing itself yet
    bridge.start()
    bridge.event(session, tipo=POISON)
    wait_for(lambda: _parked(bridge) == 1, "the parked record")
    assert bridge.metric("otel_bridge_pending_records") == 0


@side_by_side
def test_the_endpoint_dies_while_a_batch_is_halved(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    """Every fourth request is answered with 503: what was found so far is kept, and the search goes on."""

    def behave(spans: list[Received]) -> Reply:
        if len(receiver.requests) % 4 == 0:
            return Reply(503)
        return Reply(400, WORDS.encode()) if _bad(spans) else OK

    receiver.behave = behave
    bridge = make_bridge(**receiver.environ).start()
    _post(bridge)
    wait_for(lambda: _parked(bridge) == 3, "three parked records", 60)
    settle(bridge)
    assert len(receiver.times) == 118 and bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_too_much_at_once_is_sent_in_smaller_requests(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    receiver.behave = lambda spans: Reply(413, b"too large") if len(spans) > 50 else OK
    bridge = make_bridge(**receiver.environ).start()
    for _ in range(4):
        _post(bridge, 600, ())
    settle(bridge)
    assert _parked(bridge) == 0 and len(receiver.times) == 4 * 601
    assert bridge.metric("otel_bridge_ledger_gap") == 0


@pytest.mark.parametrize("refusal", [partial(1, WORDS), json_partial(1, WORDS)], ids=["protobuf", "JSON"])
@side_by_side
def test_partial_success_is_set_aside_and_never_asked_again_by_itself(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, refusal: Reply
) -> None:
    """The specification forbids to retry and nobody says which spans were refused: the request's records are parked
    with the receiver's words, and the requests after it are small."""
    bridge = make_bridge(**receiver.environ).start()
    receiver.behave = lambda spans: refusal if _bad(spans) else OK
    _post(bridge, 40, (3,))
    settle(bridge)
    assert 1 <= _parked(bridge) <= 41
    _post(bridge, 400, (250,))
    settle(bridge)
    parked = _parked(bridge)
    assert 2 <= parked <= 41 + 64
    assert len(receiver.times) == 442 - parked
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    told = bridge.run("journal", "parked").stdout
    assert "tramos rechazados: 1, en un envío de " in told and WORDS in told
    attempts = len(receiver.requests)
    receiver.behave = lambda spans: OK
    assert bridge.run("journal", "replay").returncode == 0
    wait_for(lambda: _parked(bridge) == 0, "nothing parked")
    assert len(receiver.times) == 442 and len(receiver.requests) > attempts


@side_by_side
def test_a_damaged_segment_is_parked_and_the_rest_delivered(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge()  # nowhere to export to yet
    bridge.start()
    session = bridge.session()
    for _ in range(3):
        bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 10)
    assert bridge.stop() == 0
    with closing(sqlite3.connect(bridge.journal, isolation_level=None)) as db:
        db.execute("UPDATE segment SET body = zeroblob(length(body)) WHERE last = 11")
    bridge.environ.update(receiver.environ)
    bridge.start()
    settle(bridge)
    assert _parked(bridge) == 10 and len(receiver.times) == 21
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert "suma de comprobación" in bridge.run("journal", "parked").stdout
