"""A receiver takes messages up to a size of its own: more records than fit go in several, and only one that is over it
by itself is parked."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Say
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

ROUNDS = 20 if LONG else 1
LARGE = {"OTEL_BRIDGE_CONTENT_MAX_CHARS": "1000000", "OTEL_BRIDGE_REDACTION": "off"}
"""Contents as long as a post may have them; redaction would take most of the test's time."""


def _post(bridge: Bridge, session: str, sizes: list[int]) -> None:
    """A batch of events with contents of these sizes."""
    events = [{**GUIDE_EVENT, "sesion_id": session, "contenido": "palabra " * (size // 8)} for size in sizes]
    assert bridge.post("/events", events).status_code == 201


def _refused(bridge: Bridge) -> float:
    return bridge.metric("otel_bridge_export_attempts_total", result="poison")


@side_by_side
def test_a_grpc_server_with_its_default_limit_gets_a_backlog_of_large_contents(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say
) -> None:
    """4 MiB a message is what gRPC servers take unless told otherwise: no request is larger, so none is refused."""
    receiver.behave = lambda spans: Reply(grpc=grpc.StatusCode.UNAVAILABLE)
    bridge = make_bridge(**receiver.grpc_environ, **LARGE).start()
    session = bridge.session()
    for _ in range(ROUNDS):
        _post(bridge, session, [1_000_000] * 7)
        _post(bridge, session, [100] * 300)
        _post(bridge, session, [200_000, 100] * 30)
    accepted = 1 + ROUNDS * (7 + 300 + 60)
    assert bridge.metric("otel_bridge_pending_records") == accepted
    receiver.behave = lambda spans: OK
    settle(bridge, 60 + ROUNDS)
    say(f"{accepted} records in {len(receiver.requests)} requests, {_refused(bridge):g} refused")
    assert len(receiver.times) == accepted and _refused(bridge) == 0
    assert bridge.metric("otel_bridge_parked_records") == 0 and bridge.metric("otel_bridge_ledger_gap") == 0


@side_by_side
def test_a_grpc_server_with_a_small_limit_gets_all_but_what_is_over_it_alone(
    make_bridge: Callable[..., Bridge], say: Say
) -> None:
    receiver = OtlpReceiver(grpc_limit=256 << 10).start()
    bridge = make_bridge(**receiver.grpc_environ, **LARGE).start()
    session = bridge.session()
    wait_for(lambda: len(receiver.times) == 1, "the session's root")
    for _ in range(ROUNDS):
        _post(bridge, session, [100_000] * 20 + [300_000] + [100_000] * 20)
        _post(bridge, session, [100] * 300)
        _post(bridge, session, [50_000, 100] * 30)
    settle(bridge, 60 + 3 * ROUNDS)
    parked, accepted = bridge.metric("otel_bridge_parked_records"), 1 + ROUNDS * (41 + 300 + 60)
    say(f"{accepted} records in {len(receiver.requests)} requests, {_refused(bridge):g} refused, {parked:g} parked")
    assert _refused(bridge) <= 12 + 2 * ROUNDS, "the limit is learnt: a refusal costs a tenth of a second and more"
    assert parked == ROUNDS and len(receiver.times) == accepted - ROUNDS
    assert bridge.run("journal", "parked").stdout.count("larger than max") == ROUNDS
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    receiver.close()
