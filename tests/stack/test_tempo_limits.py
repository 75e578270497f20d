"""What Tempo throws away after its 200, and that a long session is not among it. Tried with a real Tempo where it is on
PATH."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from deploy.native.stack import Stack, find
from otel_bridge.commands.stations import _spans as spans_of
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION
from tests.harness.waiting import wait_for

pytestmark = pytest.mark.skipif(find("tempo") is None, reason="Tempo has no Debian package; tried where it is on PATH")
EVENTS = 10_001
DISCARDED = re.compile(r'^tempo_discarded_spans_total\{reason="(\w+)",tenant="[^"]*"\} (\S+)$', re.MULTILINE).findall
DEFAULTS = {"TEMPO_MAX_TRACE_BYTES": "5000000", "TEMPO_MAX_LIVE_TRACES": "10000"}
"""Tempo's own limits."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A bridge, and a Tempo with the limits that it has by default."""
    made = Stack(
        tmp_path_factory.mktemp("tempo") / "run",
        60,
        ("tempo",),
        OTEL_BRIDGE_CONTENT_MAX_CHARS="4000",
        OTEL_BRIDGE_RATE_LIMIT="off",
    )
    made.tempo_environ = DEFAULTS
    try:
        made.start()
        yield made
    finally:
        made.stop()


def discarded(stack: Stack) -> dict[str, float]:
    text = requests.get(f"{stack.tempo_url}/metrics", timeout=10).text
    return {reason: float(count) for reason, count in DISCARDED(text)}


def trace(stack: Stack, trace_id: str) -> Any:
    headers = {"Accept": "application/json"}
    answer = requests.get(f"{stack.tempo_url}/api/traces/{trace_id}", headers=headers, timeout=30)
    return answer.json() if answer.status_code == 200 else None


def test_a_session_of_ten_thousand_long_events_is_found_whole(stack: Stack) -> None:
    session = requests.post(f"{stack.bridge_url}/api/sessions", json=GUIDE_SESSION, timeout=10).json()["id"]
    content = "La pregunta de un usuario, que aquí es larga. " * 44
    for start in range(0, EVENTS, 2_500):
        batch = [
            {**GUIDE_EVENT, "sesion_id": session, "contenido": f"{i} {content}"[:2_048]}
            for i in range(start, min(start + 2_500, EVENTS))
        ]
        answer = requests.post(f"{stack.bridge_url}/api/events", json=batch, timeout=120)
        assert answer.status_code == 201, answer.text[:300]
    state = requests.get(f"{stack.bridge_url}/api/sessions/{session}", timeout=10).json()
    traces = [one["trace_id"] for one in state["trazas"]]
    assert state["eventos"] == EVENTS and len(traces) > 5

    def found() -> bool:
        return sum(spans_of(trace(stack, one)) for one in traces) == EVENTS + len(traces)

    wait_for(found, "every span of the session", 120)
    assert discarded(stack) == {}

    def searched() -> bool:
        query = {"q": f'{{ span.session.id = "{session}" }}', "limit": "100"}
        answer = requests.get(f"{stack.tempo_url}/api/search", params=query, timeout=10).json()
        here = {one["traceID"].zfill(32): one["rootTraceName"] for one in answer["traces"]}
        return here == dict.fromkeys(traces, "session devops-expert")

    wait_for(searched, "all its traces in a search", 60)
