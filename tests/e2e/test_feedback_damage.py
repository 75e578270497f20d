"""Ratings after what befalls a bridge: a kill, a trim, damage."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import requests

from otel_bridge import catalog
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for


def rate(bridge: Bridge, event: dict[str, Any], valor: float = 1) -> requests.Response:
    return bridge.post(f"/events/{event['id']}/valoracion", {"valor": valor})


def test_after_a_kill_a_rating_is_counted_once_delivered_and_answered_as_before(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    event = bridge.event(session).json()
    first = rate(bridge, event)
    end = bridge.http.post(f"{bridge.api}/sessions/{session}/fin", timeout=30).json()
    bridge.kill()
    bridge.start()
    again = rate(bridge, event)
    assert (first.status_code, again.status_code) == (201, 200) and again.json() == first.json()
    assert bridge.http.post(f"{bridge.api}/sessions/{session}/fin", timeout=30).json() == end
    wait_for(lambda: receiver.find(span_id=first.json()["span_id"]), "the rating's span")
    settle(bridge)
    assert bridge.metric(catalog.FEEDBACK.name, result="good") == 1
    assert bridge.metric("gpt_session_events_count") == 1
    assert bridge.metric("otel_bridge_records_total", kind="feedback", result="accepted") == 1
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.run("journal", "status").returncode == 0


def test_a_rating_in_a_damaged_place_is_refused_and_others_are_taken(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    events = [bridge.event(session).json() for _ in range(6)]
    assert bridge.stop() == 0
    with sqlite3.connect(bridge.journal) as db:
        assert db.execute("UPDATE segment SET body = x'00' WHERE last = 4").rowcount == 1
    db.close()
    bridge.start()
    statuses = [rate(bridge, event).status_code for event in events]
    assert sorted(statuses) == [201] * 5 + [503]
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=10).status_code == 200
    assert "an event is looked for" in bridge.output()


def test_what_was_trimmed_is_not_found_and_what_came_since_is(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    old = bridge.event(session).json()
    assert rate(bridge, old).status_code == 201
    assert bridge.stop() == 0
    with sqlite3.connect(bridge.journal) as db:
        db.execute("UPDATE sink SET cursor = 2")
        db.execute("DELETE FROM segment WHERE last <= 2")
    db.close()
    bridge.start()
    assert rate(bridge, old).status_code == 404
    assert rate(bridge, bridge.event(session).json()).status_code == 201
    assert bridge.metric(catalog.FEEDBACK.name, result="good") == 2
