"""Nothing that was acknowledged is lost or counted twice: across a stop, a kill -9, a kill -9 under fire."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import requests

from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
AWAY = Reply(status=503, keep=False)
OWN = ("gen_ai_client_", "gpt_sessions", "gpt_slo_events", "gpt_cost", "gpt_unpriced", "gpt_session_")


def totals(bridge: Bridge) -> dict[object, float]:
    """Every counter and histogram of the GPTs, and what was accepted."""
    return {
        key: value
        for key, value in bridge.scrape().items()
        if key[0].startswith(OWN) or (key[0] == "otel_bridge_records_total" and ("result", "accepted") in key[1])
    }


def some_traffic(bridge: Bridge) -> list[str]:
    sessions = [bridge.session(usuario_id=f"u{n}") for n in range(3)]
    for n, session in enumerate(sessions):
        for tipo in ("consulta", "pipeline", "raro")[: n + 1]:
            assert bridge.event(session, tipo=tipo, latency_ms=100 * n + 0.5).status_code == 201
    assert bridge.event(sessions[0], error="timeout", modelo="modelo-x").status_code == 201
    return sessions


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_totals_are_the_same_after(make_bridge: Make, receiver: OtlpReceiver, end: str) -> None:
    bridge = make_bridge(**receiver.environ).start()
    some_traffic(bridge)
    before = totals(bridge)
    assert len(before) > 100
    for _ in range(2):
        getattr(bridge, end)()
        bridge.start()
        assert totals(bridge) == before
    bridge.event(bridge.session())
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == 8
    wait_for(lambda: bridge.metric("otel_bridge_exported_records_total") == 12, "all records exported")
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.stop() == 0


def test_after_kill_9_the_spans_that_were_not_exported_are_delivered(make_bridge: Make, receiver: OtlpReceiver) -> None:
    receiver.behave = lambda spans: AWAY
    bridge = make_bridge(**receiver.environ).start()
    some_traffic(bridge)
    before = totals(bridge)
    wait_for(lambda: receiver.requests, "an attempt to export")
    assert bridge.metric("otel_bridge_pending_records") == 10
    bridge.kill()
    assert receiver.spans == []

    receiver.behave = lambda spans: Reply()
    bridge.start()
    wait_for(lambda: len(receiver.times) == 10, "the ten spans")
    assert totals(bridge) == before
    settle(bridge)
    assert bridge.metric("otel_bridge_exported_records_total") == 10
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.stop() == 0


def test_a_stop_flushes_what_waits_for_export(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}] * 5_000).status_code == 201
    assert bridge.stop() == 0
    assert len(receiver.times) == 5_001


def test_a_kill_under_fire_loses_nothing_that_was_acknowledged(make_bridge: Make, receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    acknowledged: list[str] = []
    killed = threading.Event()

    def client() -> None:
        with requests.Session() as http:
            while not killed.is_set():
                try:
                    answer = http.post(f"{bridge.api}/events", json={**GUIDE_EVENT, "sesion_id": session}, timeout=10)
                except requests.RequestException:
                    return
                if answer.status_code == 201:
                    acknowledged.append(answer.json()["span_id"])

    clients = [threading.Thread(target=client) for _ in range(4)]
    for one in clients:
        one.start()
    wait_for(lambda: len(acknowledged) > 300, "some traffic")
    bridge.kill()
    killed.set()
    for one in clients:
        one.join()

    bridge.start()
    settle(bridge)
    delivered = {one.span_id for one in receiver.find(name="consulta")}
    assert set(acknowledged) <= delivered
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == len(delivered)
    assert bridge.metric("otel_bridge_records_total", kind="event", result="accepted") == len(delivered)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    state = bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()
    assert state["eventos"] == len(delivered)
    assert bridge.stop() == 0
