"""A session that outgrows a trace, in the middle of kills: each event is in one trace, and every answer names it."""

from __future__ import annotations

import random
import re
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from otel_bridge.journal.parts import PART_BYTES, PART_EVENTS
from otel_bridge.records import event_span_id, part_trace_id, session_span_id
from tests.chaos.lanes import LONG
from tests.chaos.test_kill import export_process
from tests.harness.bridge import GUIDE_EVENT, OPENMETRICS, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle

BATCHES, EVENTS = (60, 500) if LONG else (6, 500)
EXEMPLAR = re.compile(r'# \{trace_id="([0-9a-f]{32})",span_id="([0-9a-f]{16})"\}').findall


def batch(session: str, number: int) -> list[dict[str, Any]]:
    """Events of all days, not in order; some with ids of their own."""
    chosen = random.Random(number)
    now = datetime.now(UTC)
    return [
        {
            **GUIDE_EVENT,
            "sesion_id": session,
            "contenido": "ñ" * chosen.randint(1, 1400 if LONG else 300),
            "timestamp": (now - timedelta(seconds=chosen.uniform(0, 3_000_000))).isoformat(),
            **({"id": str(uuid.UUID(int=chosen.getrandbits(128), version=4))} if i % 2 else {}),
        }
        for i in range(EVENTS)
    ]


@pytest.mark.timeout(600)
def test_a_long_session_is_in_traces_of_bounded_size_whatever_is_killed(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    moments = random.Random(16)
    # Some requests are taken, and the answer is lost on its way: they come again.
    turn = iter(range(1 << 30))
    lost = Reply(body=b"lost", truncate=True)
    receiver.behave = lambda spans: lost if next(turn) % (3 if LONG else 5) == 1 else OK
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    posted: list[tuple[dict[str, Any], str]] = []
    for number in range(BATCHES):
        body = batch(session, number)
        answer = bridge.post("/events", body).json()
        assert answer["aceptados"] == EVENTS
        posted += [(event, one["id"]) for event, one in zip(body, answer["resultados"], strict=True)]
        if number % 4 == 1:
            exporter = export_process(bridge)
            if exporter is not None:
                exporter.send_signal(signal.SIGKILL)
        if number % 4 == 2:
            time.sleep(moments.uniform(0.0, 0.2))
            bridge.kill()
            bridge.start()
            repeat = bridge.post("/events", body).json()
            assert [one["id"] for one in repeat["resultados"]] == [one["id"] for one in answer["resultados"]]
    settle(bridge)

    id_ = uuid.UUID(session).bytes
    state = bridge.http.get(f"{bridge.api}/sessions/{session}").json()
    traces = [one["trace_id"] for one in state["trazas"]]
    assert traces == [part_trace_id(id_, part).hex() for part in range(len(traces))]
    assert state["trace_id"] == traces[0] == id_.hex() and state["eventos"] == len(posted) == BATCHES * EVENTS
    assert len(traces) > 2 and max(receiver.times.values()) > 1

    # Each span in one trace, however often it came; each trace with its root, and no larger than it may be.
    spans = {(one.trace_id, one.span_id): one for one in receiver.spans}
    assert Counter(span for _, span in spans).most_common(1)[0][1] == 1
    assert {trace for trace, _ in spans} == set(traces)
    sizes: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for (trace, span), one in spans.items():
        sizes[trace] += one.span.ByteSize()
        root = session_span_id(bytes.fromhex(trace)).hex()
        if span == root:
            links = [(link.trace_id, link.span_id) for link in one.span.links]
            assert links == ([] if trace == traces[0] else [(id_, session_span_id(id_))])
            assert one.attributes.get("gpt.session.part", 0) == traces.index(trace)
        else:
            counts[trace] += 1
            assert one.span.parent_span_id.hex() == root and one.attributes["session.id"] == session
    assert len(spans) == len(posted) + len(traces)
    assert max(sizes.values()) <= PART_BYTES and max(counts.values()) <= PART_EVENTS

    # What the bridge says of an event is where it is: of a repeat, of an exemplar.
    where = {span: trace for trace, span in spans}
    for event, event_id in moments.sample(posted, 60):
        repeat_one = bridge.post("/events", event)
        assert (repeat_one.status_code, repeat_one.json()["id"]) == (200, event_id)
        span = event_span_id(uuid.UUID(event_id).bytes).hex()
        assert repeat_one.json()["span_id"] == span and repeat_one.json()["trace_id"] == where[span]
    shown = EXEMPLAR(bridge.http.get(bridge.metrics_url, headers=OPENMETRICS).text)
    assert shown and all(where[span] == trace for trace, span in shown)
    assert any(trace != traces[0] for trace, _ in shown)
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.metric("otel_bridge_exported_records_total") == len(posted) + 1
