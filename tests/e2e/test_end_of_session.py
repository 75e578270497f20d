"""A session that its client ends: its period is observed once, and a later event begins the next."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.e2e.conftest import Pair
from tests.harness.bridge import Bridge
from tests.harness.waiting import wait_for

CONFIG = """
idle_after_seconds = 1
[gpts.devops-expert]
name = "DevOps Expert"
"""


def end(bridge: Bridge, session: str, **options: object) -> requests.Response:
    return bridge.http.post(f"{bridge.api}/sessions/{session}/fin", timeout=30, **options)  # type: ignore[arg-type]


def periods(bridge: Bridge) -> tuple[float, float, float]:
    """Periods that were observed, their events, their seconds."""
    labels = {"gen_ai_agent_id": "devops-expert"}
    return (
        bridge.metric("gpt_session_events_count", **labels),
        bridge.metric("gpt_session_events_sum", **labels),
        bridge.metric("gpt_session_duration_seconds_sum", **labels),
    )


def test_it_is_observed_at_once_and_once(shared: Pair) -> None:
    bridge = shared.bridge
    session = bridge.session()
    for second in (0, 7):
        bridge.event(session, timestamp=f"2025-06-29T20:00:0{second}.000Z")
    before = periods(bridge)
    answers = [end(bridge, session) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    state = answers[0].json()
    assert (state["id"], state["activa"], state["eventos"]) == (session, False, 2)
    assert all(answer.json() == state for answer in answers)
    assert state == bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=30).json()
    assert periods(bridge) == (before[0] + 1, before[1] + 2, before[2] + 7)


def test_a_later_event_begins_a_period_of_its_own(shared: Pair) -> None:
    bridge = shared.bridge
    session = bridge.session()
    bridge.event(session, timestamp="2025-06-29T20:00:00.000Z")
    end(bridge, session)
    before = periods(bridge)
    assert bridge.event(session, timestamp="2025-06-29T21:00:00.000Z").status_code == 201
    assert bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=30).json()["activa"] is True
    assert end(bridge, session).json()["eventos"] == 2
    assert periods(bridge) == (before[0] + 1, before[1] + 1, before[2])


def test_one_without_events_may_be_ended(shared: Pair) -> None:
    session = shared.bridge.session()
    before = periods(shared.bridge)
    assert end(shared.bridge, session).json()["activa"] is False
    assert periods(shared.bridge) == (before[0] + 1, before[1], before[2])


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 200),
        ({"json": {}}, 200),
        ({"data": b" \n"}, 200),
        ({"json": {"motivo": "adiós"}}, 200),
        ({"json": []}, 422),
        ({"json": 7}, 422),
        ({"data": b"{"}, 400),
        ({"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ({"headers": {"Origin": "https://otra.example"}}, 415),
        ({"json": {"motivo": "a" * 70_000}}, 413),
    ],
)
def test_the_body_says_nothing(shared: Pair, options: dict[str, object], status: int) -> None:
    session = shared.bridge.session()
    answer = end(shared.bridge, session, **options)
    assert answer.status_code == status, answer.text
    state = shared.bridge.http.get(f"{shared.bridge.api}/sessions/{session}", timeout=30).json()
    assert state["activa"] is (status != 200)


@pytest.mark.parametrize("session", ["6ba7b810-9dad-41d1-80b4-00c04fd430c8", "no-es-un-uuid", "%ff"])
def test_an_unknown_session_is_404(shared: Pair, session: str) -> None:
    answer = end(shared.bridge, session)
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:otel-bridge:sesion-no-encontrada")


def test_ends_and_events_and_housekeeping_at_once_observe_each_event_once(make_bridge: Callable[..., Bridge]) -> None:
    """Every second housekeeping looks for idle sessions; what it has found may have been ended meanwhile."""
    bridge = make_bridge(CONFIG).start()
    sessions = [bridge.session() for _ in range(8)]

    def work(session: str) -> int:
        with requests.Session() as http:
            for i in range(40):
                http.post(f"{bridge.api}/events", json={**_EVENT, "sesion_id": session}, timeout=30)
                if i % 3 == 0:
                    assert http.post(f"{bridge.api}/sessions/{session}/fin", timeout=30).status_code == 200
        return 40

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, sessions)) == 320
    wait_for(lambda: periods(bridge)[1] == 320, "every event's period")
    bridge.kill()
    bridge.start()
    assert periods(bridge)[1] == 320 and bridge.metric("otel_bridge_ledger_gap") == 0


_EVENT = {"tipo": "consulta", "contenido": "¿Cómo?", "latency_ms": 15, "tokens_entrada": 2, "tokens_salida": 1}
