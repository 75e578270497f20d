"""Records → OTLP, as tables of input and output; every span is read back with the official classes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from otel_bridge import __version__
from otel_bridge.config import Gpt
from otel_bridge.export.spans import REMEMBERED, SESSIONS, SpanProjection, resource_attributes
from otel_bridge.records import (
    Event,
    Extras,
    Record,
    ToolCall,
    event_span_id,
    feedback_span_id,
    part_trace_id,
    session_span_id,
    tool_span_id,
)
from tests.harness.otlp import plain
from tests.unit.samples import SESSION_ID, START_US, USER, event, feedback, gpt, idle, session, uid

UUID_TEXT = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
SESSION_ATTRIBUTES = {
    "gen_ai.provider.name": "openai",
    "gen_ai.agent.id": "devops-expert",
    "gen_ai.agent.name": "DevOps Expert",
    "gen_ai.conversation.id": UUID_TEXT,
    "session.id": UUID_TEXT,
    "user.hash": USER,
}
EVENT_ATTRIBUTES = SESSION_ATTRIBUTES | {
    "gen_ai.operation.name": "invoke_agent",
    "gen_ai.request.model": "gpt-6.2-sol",
    "gpt.event.type": "consulta",
    "gen_ai.usage.input_tokens": 25,
    "gen_ai.usage.output_tokens": 150,
    "gen_ai.input.messages": (
        '[{"role":"user","parts":[{"type":"text","content":"¿Cómo configuro un pipeline CI/CD con Docker?"}]}]'
    ),
}


def request(*records: Record, **options: Any) -> ExportTraceServiceRequest:
    gpts = options.pop("gpts", {"devops-expert": gpt()})
    return ExportTraceServiceRequest.FromString(SpanProjection(gpts, **options).request(list(records)))


def one_span(record: Record, **options: Any) -> Span:
    (span,) = request(record, **options).resource_spans[0].scope_spans[0].spans
    return span


def test_a_session_is_a_root_span_that_starts_and_ends_at_its_start() -> None:
    span = one_span(session())
    assert span.name == "session devops-expert"
    assert span.kind == Span.SPAN_KIND_INTERNAL
    assert (span.trace_id, span.span_id, span.parent_span_id) == (SESSION_ID, session_span_id(SESSION_ID), b"")
    assert span.start_time_unix_nano == span.end_time_unix_nano == START_US * 1000
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert plain(span.attributes) == SESSION_ATTRIBUTES
    assert len(span.links) == 0


DAY_US = 86_400_000_000


@pytest.mark.parametrize("far", [DAY_US + 1, -DAY_US - 1, 515 * DAY_US, 40 * 365 * DAY_US])
def test_a_root_starts_at_its_arrival_where_its_claimed_start_is_far_from_that(far: int) -> None:
    record = session(arrived_us=START_US + far)
    span = one_span(record)
    assert span.start_time_unix_nano == span.end_time_unix_nano == record.arrived_us * 1000
    assert plain(span.attributes) == SESSION_ATTRIBUTES | {"gpt.session.claimed_start": "2025-06-29T20:00:00.000Z"}


@pytest.mark.parametrize("near", [DAY_US, 0, -DAY_US])
def test_a_root_starts_when_its_client_says_up_to_a_day_from_its_arrival(near: int) -> None:
    span = one_span(session(arrived_us=START_US + near))
    assert span.start_time_unix_nano == START_US * 1000
    assert plain(span.attributes) == SESSION_ATTRIBUTES


def test_an_event_is_a_child_span_that_ends_at_its_time_and_lasts_its_latency() -> None:
    span = one_span(event())
    assert span.name == "consulta"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.trace_id, span.span_id) == (SESSION_ID, event_span_id(uid(7)))
    assert span.parent_span_id == session_span_id(SESSION_ID)
    assert span.end_time_unix_nano == (START_US + 2_000_000) * 1000
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert plain(span.attributes) == EVENT_ATTRIBUTES


EVENTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "its own model": ({"model": "modelo-x"}, {"gen_ai.request.model": "modelo-x"}),
    "a type that is not configured": ({"type": "mi tipo raro"}, {"gpt.event.type": "mi tipo raro"}),
    "an error": ({"error": "timeout"}, {"error.type": "timeout"}),
    "no tokens": (
        {"tokens_in": 0, "tokens_out": 0},
        {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0},
    ),
    "tokens from the cache": ({"tokens_cached": 20}, {"gen_ai.usage.cache_read.input_tokens": 20}),
    "a cache that served none": ({"tokens_cached": 0}, {"gen_ai.usage.cache_read.input_tokens": 0}),
    "many tokens": ({"tokens_in": 10**9}, {"gen_ai.usage.input_tokens": 10**9}),
    "content that is dropped": ({"content": None}, {"gen_ai.input.messages": None}),
    "empty content": (
        {"content": ""},
        {"gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":""}]}]'},
    ),
    "content with quotes and breaks": (
        {"content": 'a"b\\c\nd'},
        {"gen_ai.input.messages": '[{"role":"user","parts":[{"type":"text","content":"a\\"b\\\\c\\nd"}]}]'},
    ),
}


@pytest.mark.parametrize("case", EVENTS)
def test_an_events_attributes(case: str) -> None:
    changes, wanted = EVENTS[case]
    expected = {key: value for key, value in (EVENT_ATTRIBUTES | wanted).items() if value is not None}
    assert plain(one_span(event(**changes)).attributes) == expected


@pytest.mark.parametrize(
    ("type_", "name"), [("pipeline", "pipeline"), ("mi tipo raro", "otro"), ("Consulta", "otro"), ("otro", "otro")]
)
def test_a_span_is_named_after_a_configured_type_else_otro(type_: str, name: str) -> None:
    span = one_span(event(type=type_))
    assert (span.name, plain(span.attributes)["gpt.event.type"]) == (name, type_)
    own = {"devops-expert": replace(gpt(), event_types=("mi tipo raro",))}
    assert one_span(event(type=type_), gpts=own).name == ("mi tipo raro" if type_ == "mi tipo raro" else "otro")


@pytest.mark.parametrize(
    ("missing", "named"),
    [(1, ["latency"]), (2, ["tokens_input"]), (6, ["tokens_input", "tokens_output"]),
     (7, ["latency", "tokens_input", "tokens_output"])],
)  # fmt: skip
def test_what_nobody_measured_is_named_and_no_attribute(missing: int, named: list[str]) -> None:
    record = event(latency_ms=0.0 if missing & 1 else 1500.0, extras=Extras(missing))
    span = one_span(record)
    absent = {"gen_ai.usage.input_tokens": missing & 2, "gen_ai.usage.output_tokens": missing & 4}
    expected = {key: value for key, value in EVENT_ATTRIBUTES.items() if not absent.get(key)}
    assert plain(span.attributes) == expected | {"gpt.unmeasured": named}
    assert (span.start_time_unix_nano == span.end_time_unix_nano) == bool(missing & 1)


SAID: dict[str, tuple[Extras, dict[str, Any]]] = {
    "time to first token": (Extras(ttft_ms=420.5), {"gen_ai.response.time_to_first_chunk": 0.4205}),
    "at once": (Extras(ttft_ms=0.0), {"gen_ai.response.time_to_first_chunk": 0.0}),
    "reasoning": (Extras(tokens_reasoning=80), {"gen_ai.usage.reasoning.output_tokens": 80}),
    "no reasoning": (Extras(tokens_reasoning=0), {"gen_ai.usage.reasoning.output_tokens": 0}),
    "a version": (Extras(version="prompt-7"), {"gen_ai.agent.version": "prompt-7"}),
}


@pytest.mark.parametrize("case", SAID)
def test_what_an_event_says_beyond_the_documented_fields(case: str) -> None:
    extras, wanted = SAID[case]
    assert plain(one_span(event(extras=extras)).attributes) == EVENT_ATTRIBUTES | wanted


def tools(*calls: ToolCall, **changes: Any) -> tuple[Span, list[Span]]:
    """An event's span and those of its calls of tools."""
    missing = changes.pop("missing", 0)
    record = event(extras=Extras(missing, tools=list(calls)), **changes)
    answer, *found = request(record).resource_spans[0].scope_spans[0].spans
    return answer, found


def test_a_call_of_a_tool_is_a_child_span_of_its_event() -> None:
    answer, (found, failed) = tools(ToolCall("buscar", 210.0), ToolCall("jenkins.log", 640.5, "timeout"))
    attributes = SESSION_ATTRIBUTES | {"gen_ai.operation.name": "execute_tool", "gpt.tool.start_unknown": True}
    assert (found.name, failed.name) == ("execute_tool buscar", "execute_tool jenkins.log")
    assert plain(found.attributes) == attributes | {"gen_ai.tool.name": "buscar"}
    assert plain(failed.attributes) == attributes | {"gen_ai.tool.name": "jenkins.log", "error.type": "timeout"}
    for number, span in enumerate((found, failed)):
        assert span.kind == Span.SPAN_KIND_INTERNAL
        assert (span.trace_id, span.parent_span_id) == (SESSION_ID, answer.span_id)
        assert span.span_id == tool_span_id(uid(7), number)
    assert found.status.code == Status.STATUS_CODE_UNSET and failed.status.code == Status.STATUS_CODE_ERROR
    assert len({answer.span_id, found.span_id, failed.span_id, session_span_id(SESSION_ID)}) == 4
    assert plain(answer.attributes) == EVENT_ATTRIBUTES
    assert all(len(UnknownFieldSet(span)) == 0 for span in (found, failed))


LAID: dict[str, tuple[list[float], float, int, list[tuple[float, float]]]] = {
    "one after another from the start": ([200, 300], 1500, 0, [(0, 200), (200, 500)]),
    "as long as the answer": ([1500], 1500, 0, [(0, 1500)]),
    "together longer than the answer": ([1000, 1000], 1500, 0, [(0, 1000), (500, 1500)]),
    "one longer than the answer": ([2000], 1500, 0, [(0, 2000)]),
    "of no length": ([0, 0], 1500, 0, [(0, 0), (0, 0)]),
    "without a latency they end with the answer": ([200, 300], 0, 1, [(-500, -300), (-300, 0)]),
}
"""Lengths, the answer's, what is unmeasured, and where they begin and end after the answer's start (ms)."""


@pytest.mark.parametrize("case", LAID)
def test_calls_of_tools_keep_their_lengths_and_their_order(case: str) -> None:
    lengths, latency, missing, wanted = LAID[case]
    answer, found = tools(*(ToolCall("t", ms) for ms in lengths), latency_ms=float(latency), missing=missing)
    start = answer.start_time_unix_nano
    assert [
        ((span.start_time_unix_nano - start) / 1e6, (span.end_time_unix_nano - start) / 1e6) for span in found
    ] == wanted


def test_calls_of_tools_in_a_later_part_are_in_its_trace() -> None:
    root, answer, call = request(
        event(part=2, opens=True, extras=Extras(tools=[ToolCall("buscar", 1.0)]))
    ).resource_spans[0].scope_spans[0].spans  # fmt: skip
    assert root.trace_id == answer.trace_id == call.trace_id == part_trace_id(SESSION_ID, 2)
    assert call.parent_span_id == answer.span_id and answer.parent_span_id == root.span_id


def test_an_error_marks_the_span_failed() -> None:
    assert one_span(event(error="timeout")).status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize("record", [session(link=bytes(range(24))), event(link=bytes(range(24)))])
def test_a_traceparent_is_a_link(record: Record) -> None:
    (link,) = one_span(record).links
    assert (link.trace_id, link.span_id) == (bytes(range(16)), bytes(range(16, 24)))


def test_the_sampled_flag_is_set_whatever_a_caller_said() -> None:
    assert one_span(session()).flags & 1 == 1
    assert one_span(event()).flags & 1 == 1


def test_a_latency_longer_than_time_itself_starts_at_the_epoch() -> None:
    span = one_span(event(end_us=1_000, latency_ms=5_000.0))
    assert (span.start_time_unix_nano, span.end_time_unix_nano) == (0, 1_000_000)


def test_a_latency_with_a_fraction_is_kept_to_the_nanosecond() -> None:
    span = one_span(event(latency_ms=0.000001))
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1


def test_a_gpt_without_a_model_has_no_model_attribute() -> None:
    span = one_span(event(), gpts={"devops-expert": replace(gpt(), model="unknown")})
    assert "gen_ai.request.model" not in plain(span.attributes)


def test_a_gpt_that_left_the_configuration_is_still_delivered() -> None:
    span = one_span(event(gpt="retirado"), gpts={})
    found = plain(span.attributes)
    assert (found["gen_ai.agent.id"], found["gen_ai.provider.name"]) == ("retirado", "unknown")


@pytest.mark.parametrize("part", [0, 2])
def test_a_rating_is_a_span_beside_its_events_linked_to_that(part: int) -> None:
    span = one_span(feedback(part=part, link=bytes(range(24))))
    trace = part_trace_id(SESSION_ID, part)
    assert (span.name, span.kind, span.flags) == ("valoracion", Span.SPAN_KIND_INTERNAL, 0x101)
    assert (span.trace_id, span.span_id, span.parent_span_id) == (
        trace,
        feedback_span_id(uid(9)),
        session_span_id(trace),
    )
    assert span.start_time_unix_nano == span.end_time_unix_nano == (START_US + 4_000_000) * 1000
    assert [(one.trace_id, one.span_id) for one in span.links] == [
        (trace, event_span_id(uid(7))),
        (bytes(range(16)), bytes(range(16, 24))),
    ]
    assert plain(span.attributes) == SESSION_ATTRIBUTES | {
        "gpt.event.id": "00000000-0000-0000-0000-000000000007",
        "gen_ai.evaluation.name": "user_feedback",
        "gen_ai.evaluation.score.value": -1.0,
        "gen_ai.evaluation.score.label": "bad",
        "gen_ai.evaluation.explanation": "No era eso.",
    }


def test_a_rating_without_a_comment_explains_nothing() -> None:
    assert "gen_ai.evaluation.explanation" not in plain(one_span(feedback(comment=None)).attributes)


@given(st.floats(-1, 1), st.text(max_size=300))
def test_any_rating_is_read_back_as_it_went_in(value: float, comment: str) -> None:
    attributes = plain(one_span(feedback(value=value, comment=comment)).attributes)
    assert attributes["gen_ai.evaluation.score.value"] == value
    assert attributes["gen_ai.evaluation.explanation"] == comment


def test_an_idle_session_is_no_span() -> None:
    assert request(idle()).resource_spans == []
    assert len(request(idle(), event()).resource_spans[0].scope_spans[0].spans) == 1


def test_the_gpt_is_the_service_and_the_scope_is_the_bridge() -> None:
    (resource_spans,) = request(event()).resource_spans
    assert plain(resource_spans.resource.attributes) == {"service.name": "devops-expert", "service.namespace": "gpt"}
    scope = resource_spans.scope_spans[0].scope
    assert (scope.name, scope.version) == ("otel_bridge", __version__)


def test_resource_and_scope_name_the_conventions_that_they_follow() -> None:
    gpts = {"devops-expert": gpt(), "ventas": Gpt("ventas", "Ventas")}
    for one in request(session(), event(), event(gpt="ventas"), gpts=gpts).resource_spans:
        assert one.schema_url == "https://opentelemetry.io/schemas/1.41.1"
        assert [of_scope.schema_url for of_scope in one.scope_spans] == [one.schema_url]


def test_configured_resource_attributes_are_added_but_never_name_the_service() -> None:
    configured = (("deployment.environment", "prod"), ("service.name", "mine"), ("service.namespace", "ia"))
    (resource_spans,) = request(event(), resource=configured).resource_spans
    assert plain(resource_spans.resource.attributes) == {
        "deployment.environment": "prod",
        "service.name": "devops-expert",
        "service.namespace": "ia",
    }
    assert resource_attributes("a", configured)["service.name"] == "a"


def test_records_of_several_gpts_share_a_request_each_under_its_own_resource() -> None:
    gpts = {"devops-expert": gpt(), "ventas": Gpt("ventas", "Ventas")}
    found = request(event(1), event(2, gpt="ventas"), event(3), gpts=gpts)
    names = {
        plain(one.resource.attributes)["service.name"]: [span.span_id for span in one.scope_spans[0].spans]
        for one in found.resource_spans
    }
    assert names == {
        "devops-expert": [event_span_id(uid(1)), event_span_id(uid(3))],
        "ventas": [event_span_id(uid(2))],
    }


def test_an_event_whose_id_is_its_sessions_is_not_its_own_parent() -> None:
    span = one_span(event(id=SESSION_ID))
    assert span.span_id != span.parent_span_id


def test_the_same_records_give_the_same_bytes() -> None:
    far = session(arrived_us=START_US + 515 * DAY_US)
    records: list[Record] = [
        session(),
        far,
        event(1),
        event(3, type="raro"),
        event(2, model="modelo-x", error="e", content="x"),
    ]
    gpts = {"devops-expert": gpt()}
    first = SpanProjection(gpts)
    assert first.request(records) == first.request(records) == SpanProjection(gpts).request(records)


def test_a_user_who_is_forgotten_between_two_requests_is_in_the_first_alone() -> None:
    projection = SpanProjection({"devops-expert": gpt()})
    hashes = []
    for user in (USER, ""):
        read = ExportTraceServiceRequest.FromString(projection.request([event(user=user)]))
        hashes.append(plain(read.resource_spans[0].scope_spans[0].spans[0].attributes).get("user.hash"))
    assert hashes == [USER, None]


def test_thousands_of_sessions_do_not_mix() -> None:
    """More than are remembered, each twice: in one request, and in two."""
    projection = SpanProjection({"devops-expert": gpt()})
    records: list[Record] = [event(n, session=uid(n), user=f"{n:016x}") for n in range(1, SESSIONS + 200)]
    for part in (records + records, records):
        spans = ExportTraceServiceRequest.FromString(projection.request(part)).resource_spans[0].scope_spans[0].spans
        for record, span in zip(part, spans, strict=True):
            assert isinstance(record, Event)
            assert (span.trace_id, span.parent_span_id) == (record.session, session_span_id(record.session))
            assert plain(span.attributes)["user.hash"] == record.user


@pytest.mark.parametrize("number", [0, 127, 128, REMEMBERED - 1, REMEMBERED, 16_383, 16_384, 10**9])
def test_numbers_are_read_back_also_when_they_come_again(number: int) -> None:
    """Small ones are remembered; a length takes another byte from 128 and from 16,384 on."""
    record = event(tokens_in=number, tokens_out=number, tokens_cached=number, content="x" * min(number, 20_000))
    spans = request(record, record).resource_spans[0].scope_spans[0].spans
    assert spans[0] == spans[1]
    found = plain(spans[0].attributes)
    assert found["gen_ai.usage.input_tokens"] == found["gen_ai.usage.output_tokens"] == number
    assert found["gen_ai.usage.cache_read.input_tokens"] == number
    assert json.loads(found["gen_ai.input.messages"])[0]["parts"][0]["content"] == record.content


def test_thousands_of_made_up_types_do_not_mix() -> None:
    projection = SpanProjection({"devops-expert": gpt()})
    for start in range(0, 10_000, 2_000):
        records: list[Record] = [event(n + 1, type=f"t{n}") for n in range(start, start + 2_000)]
        spans = ExportTraceServiceRequest.FromString(projection.request(records)).resource_spans[0].scope_spans[0].spans
        types = [plain(span.attributes)["gpt.event.type"] for span in spans]
        assert types == [f"t{n}" for n in range(start, start + 2_000)]
        assert {span.name for span in spans} == {"otro"}


def test_an_event_that_opens_a_part_brings_that_traces_root() -> None:
    """The root is as the first trace's, linked to it; the events of the part are its children."""
    part = part_trace_id(SESSION_ID, 2)
    root, opener, other = request(event(part=2, opens=True), event(8, part=2)).resource_spans[0].scope_spans[0].spans
    assert (root.trace_id, root.span_id, root.parent_span_id) == (part, session_span_id(part), b"")
    assert (root.name, root.kind) == ("session devops-expert", Span.SPAN_KIND_INTERNAL)
    assert root.start_time_unix_nano == root.end_time_unix_nano == opener.start_time_unix_nano
    assert plain(root.attributes) == SESSION_ATTRIBUTES | {"gpt.session.part": 2}
    assert [(link.trace_id, link.span_id) for link in root.links] == [(SESSION_ID, session_span_id(SESSION_ID))]
    for child, number in ((opener, 7), (other, 8)):
        assert (child.trace_id, child.span_id) == (part, event_span_id(uid(number)))
        assert child.parent_span_id == root.span_id
        assert plain(child.attributes) == EVENT_ATTRIBUTES


def test_parts_of_sessions_in_one_request_do_not_mix() -> None:
    records = [event(10 * who + part, session=uid(who), part=part) for who in (1, 2) for part in (0, 1, 2)]
    spans = request(*records).resource_spans[0].scope_spans[0].spans
    traces = [part_trace_id(record.session, record.part) for record in records]
    assert [span.trace_id for span in spans] == traces and len(set(traces)) == 6
    assert [span.parent_span_id for span in spans] == [session_span_id(trace) for trace in traces]
    for span, record in zip(spans, records, strict=True):
        assert plain(span.attributes)["session.id"].replace("-", "") == record.session.hex()


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=300)


@given(
    st.builds(
        event,
        type=texts.filter(bool),
        content=st.none() | texts | st.integers(100, 40_000).map(lambda size: "ñ" * size),
        latency_ms=st.floats(0, 7 * 86_400_000),
        tokens_in=st.integers(0, 10**9),
        tokens_out=st.integers(0, 10**9),
        tokens_cached=st.none() | st.integers(0, 10**9),
        end_us=st.integers(0, 7_258_118_400_000_000),
        model=st.none() | texts.filter(bool),
        error=st.none() | texts.filter(bool),
        link=st.none() | st.binary(min_size=24, max_size=24),
    )
)
def test_any_event_is_read_back_as_it_went_in(record: Event) -> None:
    """The bytes are joined by hand: whatever their lengths, the official classes must read them."""
    span = one_span(record)
    found = plain(span.attributes)
    assert found["gpt.event.type"] == record.type
    assert span.name == (record.type if record.type in gpt().event_types else "otro")
    assert found["gen_ai.usage.input_tokens"] == record.tokens_in
    assert found["gen_ai.usage.output_tokens"] == record.tokens_out
    assert found.get("gen_ai.usage.cache_read.input_tokens") == record.tokens_cached
    assert found.get("error.type") == record.error
    assert found["gen_ai.request.model"] == (record.model or "gpt-6.2-sol")
    assert span.end_time_unix_nano == record.end_us * 1000
    assert span.start_time_unix_nano == max(0, record.end_us * 1000 - round(record.latency_ms * 1e6))
    assert ("gen_ai.input.messages" in found) == (record.content is not None)
    if record.content is not None:
        assert json.loads(found["gen_ai.input.messages"])[0]["parts"][0]["content"] == record.content
    assert [link.trace_id + link.span_id for link in span.links] == ([record.link] if record.link else [])
    assert len(UnknownFieldSet(span)) == 0
