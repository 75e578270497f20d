"""What reaches an OTLP receiver, attribute by attribute, over both protocols; and what waits where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_bridge import __version__
from tests.e2e.conftest import Pair
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, ROOT, Bridge
from tests.harness.otlp import OtlpReceiver, Received, plain
from tests.harness.ports import free_port
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]

START_NS = int(datetime(2025, 6, 29, 20, tzinfo=UTC).timestamp()) * 1_000_000_000
CALLER = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


def received(receiver: OtlpReceiver, session: str, count: int) -> dict[str, Received]:
    trace_id = session.replace("-", "")
    wait_for(lambda: len(receiver.find(trace_id=trace_id)) == count, f"{count} spans")
    return {one.span.name: one for one in receiver.find(trace_id=trace_id)}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_trace_attribute_by_attribute(make_bridge: Make, receiver: OtlpReceiver, protocol: str) -> None:
    environ = receiver.environ if protocol == "http" else receiver.grpc_environ
    bridge = make_bridge(
        **environ,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=prueba,service.instance.id=uno,service.name=no-gana",
        OTEL_EXPORTER_OTLP_HEADERS="x-scope-orgid=equipo-7,authorization=Bearer%20abc",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
    ).start()
    traceparent = {"traceparent": f"00-{CALLER[0]}-{CALLER[1]}-00"}
    arrived = time.time_ns()
    session = bridge.session()
    bridge.event(session, timestamp="2025-06-29T20:00:10.500Z", tokens_cache=20)
    failed = {**GUIDE_EVENT, "sesion_id": session, "tipo": "pipeline", "error": "timeout", "modelo": "modelo-x"}
    answer = bridge.post("/events", {**failed, "timestamp": "2025-06-29T20:00:20Z"}, headers=traceparent).json()

    spans = received(receiver, session, 3)
    root, event, error = spans["session devops-expert"], spans["consulta"], spans["pipeline"]
    state = bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()
    common = {
        "gen_ai.provider.name": "openai",
        "gen_ai.agent.id": "devops-expert",
        "gen_ai.agent.name": "DevOps Expert",
        "gen_ai.conversation.id": session,
        "session.id": session,
        "user.hash": state["usuario_hash"],
    }
    message = [{"role": "user", "parts": [{"type": "text", "content": GUIDE_EVENT["contenido"]}]}]
    of_event = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.request.model": "gpt-6.2-sol",
        "gen_ai.usage.input_tokens": 25,
        "gen_ai.usage.output_tokens": 150,
    }

    for one in (root, event, error):
        assert one.resource == {
            "service.name": "devops-expert",
            "service.namespace": "gpt",
            "service.instance.id": "uno",
            "deployment.environment": "prueba",
        }
        assert one.scope == ("otel_bridge", __version__)
        assert one.trace_id == session.replace("-", "")

    assert root.span.kind == Span.SPAN_KIND_INTERNAL and root.span.parent_span_id == b""
    # The guide's own example of a start is years old: a trace from there would seem to last as long.
    assert arrived // 1000 * 1000 <= root.span.start_time_unix_nano == root.span.end_time_unix_nano <= time.time_ns()
    assert root.attributes == common | {"gpt.session.claimed_start": "2025-06-29T20:00:00.000Z"}
    assert root.span.status.code == Status.STATUS_CODE_UNSET

    assert event.span.kind == Span.SPAN_KIND_SERVER and event.span.parent_span_id == root.span.span_id
    assert event.span.end_time_unix_nano == START_NS + 10_500_000_000
    assert event.span.start_time_unix_nano == START_NS + 9_000_000_000
    content = event.attributes.pop("gen_ai.input.messages")
    assert json.loads(content) == message
    assert {k: v for k, v in event.attributes.items() if k != "gen_ai.input.messages"} == {
        **common,
        **of_event,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gpt.event.type": "consulta",
    }
    assert event.span.status.code == Status.STATUS_CODE_UNSET and len(event.span.links) == 0

    assert error.span.status.code == Status.STATUS_CODE_ERROR
    assert {k: v for k, v in error.attributes.items() if k != "gen_ai.input.messages"} == {
        **common,
        **of_event,
        "gpt.event.type": "pipeline",
        "gen_ai.request.model": "modelo-x",
        "error.type": "timeout",
    }
    (link,) = error.span.links
    assert (link.trace_id.hex(), link.span_id.hex()) == CALLER and plain(link.attributes) == {}
    assert error.trace_id != CALLER[0], "a caller's trace is linked, never joined"
    assert (answer["trace_id"], answer["span_id"]) == (error.trace_id, error.span_id)

    headers = receiver.headers[-1]
    assert headers["x-scope-orgid"] == "equipo-7" and headers["authorization"] == "Bearer abc"
    assert f"otel-bridge/{__version__}" in headers["user-agent"]
    if protocol == "http":
        assert headers["content-encoding"] == "gzip" and headers["content-type"] == "application/x-protobuf"
    assert "usuario123" not in repr([one.attributes for one in receiver.spans])


def test_a_sessions_traceparent_is_linked_from_its_root(shared: Pair) -> None:
    answer = shared.bridge.post("/sessions", GUIDE_SESSION, headers={"traceparent": f"00-{CALLER[0]}-{CALLER[1]}-01"})
    (root,) = shared.spans(answer.json()["id"], 1)
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in root.span.links] == [CALLER]


@pytest.mark.parametrize("value", ["", "garbage", f"00-{'0' * 32}-{CALLER[1]}-01", f"ff-{CALLER[0]}-{CALLER[1]}-01"])
def test_an_unusable_traceparent_is_ignored(shared: Pair, value: str) -> None:
    answer = shared.bridge.post("/sessions", GUIDE_SESSION, headers={"traceparent": value})
    assert answer.status_code == 201
    assert len(shared.spans(answer.json()["id"], 1)[0].span.links) == 0


def test_without_an_endpoint_records_wait_and_a_later_start_delivers_them(
    make_bridge: Make, receiver: OtlpReceiver
) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    for _ in range(3):
        assert bridge.event(session).status_code == 201
    assert bridge.metric("otel_bridge_pending_records") == 4
    assert bridge.metric("otel_bridge_export_configured") == 0
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in bridge.output()
    assert bridge.stop() == 0

    bridge.environ.update(receiver.environ)
    bridge.start()
    wait_for(lambda: len(receiver.spans) == 4, "the four spans that waited")
    settle(bridge)
    assert bridge.metric("otel_bridge_exported_records_total") == 4
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    assert bridge.stop() == 0


def test_another_receiver_reads_the_same_spans(make_bridge: Make) -> None:
    """oteltap: an OTLP receiver that shares no code with this bridge or its tests."""
    port = free_port()
    tap = subprocess.Popen(
        [sys.executable, "-m", "oteltap", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert tap.stdout is not None
        assert "Listening" in tap.stdout.readline()
        bridge = make_bridge(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}").start()
        session = bridge.session()
        event = bridge.event(session, error="timeout").json()
        spans = {span["name"]: span for span in (json.loads(tap.stdout.readline()) for _ in range(2))}
    finally:
        tap.kill()
        tap.communicate()
    root, child = spans["session devops-expert"], spans["consulta"]
    assert root["traceId"] == child["traceId"] == session.replace("-", "")
    assert child["parentSpanId"] == root["spanId"] and child["spanId"] == event["span_id"]
    assert (root["kind"], child["kind"]) == (1, 2)
    assert int(child["endTimeUnixNano"]) - int(child["startTimeUnixNano"]) == 1_500_000_000
    assert child["status"]["code"] == 2
    attributes = {pair["key"]: next(iter(pair["value"].values())) for pair in child["attributes"]}
    assert attributes["gpt.event.type"] == "consulta" and attributes["gen_ai.usage.output_tokens"] == "150"


def test_gpts_that_are_registered_apart_are_services_apart(make_bridge: Make, receiver: OtlpReceiver) -> None:
    config = (ROOT / "otel-bridge.toml").read_text(encoding="utf-8") + '\n[gpts.ventas]\nname = "Ventas"\n'
    bridge = make_bridge(config, **receiver.environ).start()
    one, two = bridge.session(), bridge.session(gpt_id="ventas")
    batch = [{**GUIDE_EVENT, "sesion_id": session} for session in (one, two, one)]
    assert bridge.post("/events", batch).status_code == 201
    wait_for(lambda: len(receiver.spans) == 5, "five spans")
    services = {span.trace_id: span.resource["service.name"] for span in receiver.spans}
    assert services == {one.replace("-", ""): "devops-expert", two.replace("-", ""): "ventas"}
    assert bridge.metric("gpt_sessions_total", gen_ai_agent_id="ventas") == 1
