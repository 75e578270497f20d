"""What Tempo throws away after its 200, and that a long session is not among it. Tried with a real Tempo where it is on
PATH."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from msgspec.structs import replace

from deploy.native.stack import Stack, find
from otel_bridge.commands.stations import Doctor, Places
from otel_bridge.commands.stations import _spans as spans_of
from otel_bridge.export.spans import SpanProjection
from otel_bridge.records import Record
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION
from tests.harness.waiting import wait_for
from tests.unit.samples import event, gpt, session

pytestmark = pytest.mark.skipif(find("tempo") is None, reason="Tempo has no Debian package; tried where it is on PATH")
EVENTS = 10_001
DISCARDED = re.compile(r'^tempo_discarded_spans_total\{reason="(\w+)",tenant="[^"]*"\} (\S+)$', re.MULTILINE).findall
DEFAULTS = {"TEMPO_MAX_TRACE_BYTES": "5000000", "TEMPO_MAX_LIVE_TRACES": "10000"}
"""Tempo's own limits."""


def running(folder: Path, **tempo: str) -> Iterator[Stack]:
    made = Stack(
        folder / "run",
        60,
        ("tempo",),
        OTEL_BRIDGE_CONTENT_MAX_CHARS="4000",
        OTEL_BRIDGE_RATE_LIMIT="off",
    )
    made.tempo_environ = tempo
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A bridge, and a Tempo with the limits that it has by default."""
    yield from running(tmp_path_factory.mktemp("tempo"), **DEFAULTS)


@pytest.fixture
def shipped(tmp_path: Path) -> Iterator[Stack]:
    """The same, with the limits of deploy/tempo.yaml."""
    yield from running(tmp_path)


def send(stack: Stack, records: list[Record]) -> None:
    """Straight to Tempo: as a bridge of before sends a long session, and any bridge what waited for hours."""
    url = f"http://127.0.0.1:{stack.ports.tempo_otlp}/v1/traces"
    for start in range(0, len(records), 2_000):
        body = SpanProjection({"devops-expert": gpt()}).request(records[start : start + 2_000])
        answer = requests.post(url, body, headers={"Content-Type": "application/x-protobuf"}, timeout=30)
        assert answer.status_code == 200


def too_much() -> list[Record]:
    """One trace of 7.5 MB, and 12,000 traces."""
    now_us = time.time_ns() // 1_000
    long = [event(content="x" * 1_500, session=os.urandom(16), id=os.urandom(16), end_us=now_us)]
    many = [replace(long[0], id=os.urandom(16)) for _ in range(3_500)]
    return [*long, *many, *(session(id=os.urandom(16), started_us=now_us, arrived_us=now_us) for _ in range(12_000))]


def accepting(stack: Stack) -> bool:
    return bool(requests.get(f"{stack.tempo_url}/ready", timeout=5).status_code == 200)


def discarded(stack: Stack) -> dict[str, float]:
    text = requests.get(f"{stack.tempo_url}/metrics", timeout=10).text
    return {reason: float(count) for reason, count in DISCARDED(text)}


def trace(stack: Stack, trace_id: str) -> Any:
    headers = {"Accept": "application/json"}
    answer = requests.get(f"{stack.tempo_url}/api/traces/{trace_id}", headers=headers, timeout=30)
    return answer.json() if answer.status_code == 200 else None


def test_a_session_of_ten_thousand_long_events_is_found_whole(stack: Stack) -> None:
    opened = requests.post(f"{stack.bridge_url}/api/sessions", json=GUIDE_SESSION, timeout=10).json()["id"]
    content = "La pregunta de un usuario, que aquí es larga. " * 44
    for start in range(0, EVENTS, 2_500):
        batch = [
            {**GUIDE_EVENT, "sesion_id": opened, "contenido": f"{i} {content}"[:2_048]}
            for i in range(start, min(start + 2_500, EVENTS))
        ]
        answer = requests.post(f"{stack.bridge_url}/api/events", json=batch, timeout=120)
        assert answer.status_code == 201, answer.text[:300]
    state = requests.get(f"{stack.bridge_url}/api/sessions/{opened}", timeout=10).json()
    traces = [one["trace_id"] for one in state["trazas"]]
    assert state["eventos"] == EVENTS and len(traces) > 5

    def found() -> bool:
        return sum(spans_of(trace(stack, one)) for one in traces) == EVENTS + len(traces)

    wait_for(found, "every span of the session", 120)
    assert discarded(stack) == {}

    def searched() -> bool:
        query = {"q": f'{{ span.session.id = "{opened}" }}', "limit": "100"}
        answer = requests.get(f"{stack.tempo_url}/api/search", params=query, timeout=10).json()
        here = {one["traceID"].zfill(32): one["rootTraceName"] for one in answer["traces"]}
        return here == dict.fromkeys(traces, "session devops-expert")

    wait_for(searched, "all its traces in a search", 60)


def test_what_it_throws_away_is_counted_by_reason_and_opens_a_ticket(stack: Stack) -> None:
    def fires() -> bool:
        send(stack, too_much())  # the first of a reason is where its series begins
        time.sleep(2)
        return discarded(stack).keys() == {"trace_too_large", "live_traces_exceeded"} and {
            state for (name, _), (state, _) in stack.alerts().items() if name == "BridgeSpansDiscarded"
        } == {"firing"}

    wait_for(fires, "the alert", 90)
    places = Places(stack.bridge_url, stack.metrics_url, traces=stack.tempo_url)
    results = {one.station: one for one in Doctor(places, "devops-expert", 10).examine(lambda result: None)}
    # While it holds all the traces that it may, it throws the doctor's own away.
    told = results["trazas"].text
    assert re.search(r"tiró tramos que había aceptado: live_traces_exceeded \d+, trace_too_large \d", told), told
    assert {one["metric"]["job"] for one in stack.query("tempo_discarded_spans_total")} == {"tempo"}


def test_with_the_shipped_limits_it_keeps_them(shipped: Stack) -> None:
    wait_for(lambda: accepting(shipped), "a ready Tempo", 60)
    records = too_much()
    send(shipped, records)
    long = records[0].session.hex()  # type: ignore[union-attr]
    wait_for(lambda: spans_of(trace(shipped, long)) == 3_501, "the long trace", 30)
    assert discarded(shipped) == {}
