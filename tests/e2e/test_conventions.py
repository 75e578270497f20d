"""Every span, as a real receiver got it, against the semantic conventions whose version its schema URL names.

The tables are excerpts of https://github.com/open-telemetry/semantic-conventions/tree/v1.41.1:
`docs/registry/attributes` (names and types), `docs/gen-ai/gen-ai-agent-spans.md` and `docs/http/http-spans.md` (what a
span must have).
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import requests
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.semconv import _incubating
from opentelemetry.semconv import attributes as stable
from opentelemetry.semconv.schemas import Schemas

from otel_bridge import catalog
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver, Received
from tests.harness.waiting import wait_for

Kind = Span.SpanKind

TEXT, INT, DOUBLE, TEXTS, BOOL = "string_value", "int_value", "double_value", "array_value", "bool_value"
REGISTRY = {
    "error.type": TEXT,
    "gen_ai.agent.id": TEXT,
    "gen_ai.agent.name": TEXT,
    "gen_ai.agent.version": TEXT,
    "gen_ai.conversation.id": TEXT,
    "gen_ai.evaluation.explanation": TEXT,
    "gen_ai.evaluation.name": TEXT,
    "gen_ai.evaluation.score.label": TEXT,
    "gen_ai.evaluation.score.value": DOUBLE,
    "gen_ai.input.messages": TEXT,  # any; on spans «MAY be recorded as a JSON string»
    "gen_ai.operation.name": TEXT,
    "gen_ai.provider.name": TEXT,
    "gen_ai.request.model": TEXT,
    "gen_ai.response.time_to_first_chunk": DOUBLE,
    "gen_ai.tool.name": TEXT,
    "gen_ai.usage.cache_read.input_tokens": INT,
    "gen_ai.usage.input_tokens": INT,
    "gen_ai.usage.output_tokens": INT,
    "gen_ai.usage.reasoning.output_tokens": INT,
    "http.request.method": TEXT,
    "http.request.method_original": TEXT,
    "http.response.status_code": INT,
    "http.route": TEXT,
    "session.id": TEXT,
    "url.path": TEXT,
    "url.scheme": TEXT,
    "user.hash": TEXT,
}
"""Attribute → its type, as the field of an OTLP value."""

OWN = {
    "gpt.event.id": TEXT,
    "gpt.event.type": TEXT,
    "gpt.session.claimed_start": TEXT,
    "gpt.session.part": INT,
    "gpt.tool.start_unknown": BOOL,
    "gpt.unmeasured": TEXTS,
}
"""Ours, in a namespace that the conventions do not use."""

OPERATIONS = {"chat", "create_agent", "embeddings", "execute_tool", "generate_content", "invoke_agent"}
OPERATIONS |= {"invoke_workflow", "retrieval", "text_completion"}
METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE", "_OTHER"}

CALLS = [{"nombre": "buscar_documentos", "ms": 210}, {"nombre": "leer", "ms": 90, "error": "timeout"}]


@dataclass(frozen=True)
class Rule:
    """What the conventions, or our own decision beside them, ask of one sort of span."""

    kinds: set[int]
    required: set[str]
    when: dict[str, Callable[[Received], bool]]
    """Attribute → whether this span must have it; it must not have it otherwise."""
    absent: tuple[str, ...] = ()


def failed(one: Received) -> bool:
    return one.span.status.code == Status.STATUS_CODE_ERROR


AGENT = {"gen_ai.provider.name", "gen_ai.agent.id", "gen_ai.agent.name", "gen_ai.conversation.id"}
RULES = {
    # No convention has a span for a session: it must not pass for an operation, nor (by a model) for a generation.
    "session": Rule(
        {Kind.SPAN_KIND_INTERNAL},
        AGENT | {"session.id", "user.hash"},
        {"error.type": failed},
        absent=(r"gen_ai\.operation\.", r"gen_ai\.request\.", r"gen_ai\.usage\.", r"gen_ai\.input\."),
    ),
    # The conventions have an event for it, `gen_ai.evaluation.result`: its attributes (docs/decisions/0013-ratings.md).
    "evaluation": Rule(
        {Kind.SPAN_KIND_INTERNAL},
        AGENT | {"session.id", "user.hash", "gen_ai.evaluation.name", "gen_ai.evaluation.score.value", "gpt.event.id"},
        {"error.type": failed, "gen_ai.evaluation.score.label": lambda one: True},
        absent=(r"gen_ai\.operation\.", r"gen_ai\.request\.", r"gen_ai\.usage\.", r"gen_ai\.input\."),
    ),
    # «Invoke agent»: kind SHOULD be CLIENT or INTERNAL; why it is SERVER: docs/decisions/0007-spans.md.
    "invoke_agent": Rule(
        {Kind.SPAN_KIND_SERVER},
        AGENT | {"gen_ai.operation.name", "gen_ai.request.model"},
        {
            "error.type": failed,
            "gen_ai.usage.input_tokens": lambda one: "tokens_input" not in one.attributes.get("gpt.unmeasured", []),
            "gen_ai.usage.output_tokens": lambda one: "tokens_output" not in one.attributes.get("gpt.unmeasured", []),
        },
    ),
    # «Execute tool»: kind SHOULD be INTERNAL.
    "execute_tool": Rule(
        {Kind.SPAN_KIND_INTERNAL},
        AGENT | {"gen_ai.operation.name", "gen_ai.tool.name"},
        {"error.type": failed},
        absent=(r"gen_ai\.usage\.", r"gen_ai\.input\.", r"gpt\.event\."),
    ),
    "http.server": Rule(
        {Kind.SPAN_KIND_SERVER},
        {"http.request.method", "url.path", "url.scheme", "http.response.status_code"},
        {
            "error.type": failed,
            "http.request.method_original": lambda one: one.attributes["http.request.method"] == "_OTHER",
        },
        absent=(r"gen_ai\.", r"session\.", r"user\."),
    ),
}


def sort_of(one: Received) -> str:
    if "http.request.method" in one.attributes:
        return "http.server"
    if one.span.name == "valoracion":
        return "evaluation"
    return one.attributes.get("gen_ai.operation.name", "session")


def broken(one: Received) -> Iterator[str]:
    """What of a span is not as the conventions say."""
    rule = RULES[sort_of(one)]
    found = {pair.key: str(pair.value.WhichOneof("value")) for pair in one.span.attributes}
    for name, type_ in found.items():
        if {**REGISTRY, **OWN}.get(name) != type_:
            yield f"{name}: {type_}"
        if any(re.match(pattern, name) for pattern in rule.absent):
            yield f"{name} is here"
    for name in rule.required - found.keys():
        yield f"{name} is missing"
    for name, must in rule.when.items():
        if (name in found) != must(one):
            yield f"{name}: {name in found}, and should be {must(one)}"
    if one.span.kind not in rule.kinds:
        yield f"kind {one.span.kind}"
    if one.attributes.get("gen_ai.operation.name", "chat") not in OPERATIONS:
        yield "operation"
    if one.attributes.get("http.request.method", "GET") not in METHODS:
        yield "method"
    if one.schemas != ("https://opentelemetry.io/schemas/1.41.1",) * 2:
        yield f"schema URLs {one.schemas}"
    if not one.resource.get("service.name"):
        yield "service.name"
    if len(found) != len(one.span.attributes):
        yield "an attribute twice"
    for message in json.loads(one.attributes.get("gen_ai.input.messages", "[]")):
        if message["role"] != "user" or [set(part) for part in message["parts"]] != [{"type", "content"}]:
            yield "gen_ai.input.messages"


def test_the_table_names_what_the_conventions_name() -> None:
    known = set()
    for package in (stable, importlib.import_module(f"{_incubating.__name__}.attributes")):
        for module in pkgutil.iter_modules(package.__path__):
            names = vars(importlib.import_module(f"{package.__name__}.{module.name}"))
            known |= {value for key, value in names.items() if key.isupper() and isinstance(value, str)}
    assert REGISTRY.keys() <= known
    assert not any(name.startswith("gpt.") for name in known)
    assert REGISTRY.keys() | OWN.keys() == {*catalog.SPAN_ATTRIBUTES, *catalog.REQUEST_SPAN_ATTRIBUTES}
    assert Schemas.V1_41_1.value == catalog.SCHEMA_URL


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_every_span_follows_the_conventions(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, protocol: str
) -> None:
    environ = receiver.environ if protocol == "http" else receiver.grpc_environ
    bridge = make_bridge(
        **environ,
        OTEL_BRIDGE_REQUEST_SPANS="all",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_BRIDGE_CORS_ORIGINS="https://a.es",
    ).start()
    session = bridge.session()
    private = {"modelo": "modelo-x", "contenido": "ana@example.com"}
    more = {"ttft_ms": 420, "tokens_razonamiento": 80, "version": "prompt-7", "herramientas": CALLS}
    for fields in ({}, {"tipo": "mi tipo raro"}, {"error": "timeout", "tokens_cache": 20} | more, private):
        assert bridge.event(session, **fields).status_code == 201
    assert bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session}, {}]).status_code == 207
    reported = {"sesion_id": session, "tipo": "consulta", "contenido": "x"}
    assert bridge.post("/events", reported, headers={"openai-conversation-id": "chat-1"}).status_code == 201
    rated = bridge.event(session).json()["id"]
    assert (
        bridge.post(f"/events/{rated}/valoracion", {"valor": -0.5, "comentario": "ana@example.com"}).status_code == 201
    )
    state = f"/api/sessions/{session}"

    def request(method: str, path: str, status: int, **headers: str) -> None:
        answer = bridge.http.request(method, bridge.url + path, headers=headers, timeout=10)
        assert answer.status_code == status, (method, path, answer.text)

    request("GET", state, 200, **{"X-Forwarded-Proto": "https, http"})
    request("GET", "/api/sessions/ana@example.com", 404)
    request("GET", "/usuarios/ana@example.com?clave=sk-12345", 404)
    request("GET", "/otra", 404)
    request("GET", "/api/events", 405)
    request("PROPFIND", "/healthz", 405)
    request("ANA", "/healthz", 400)  # no method that the parser knows: no request, so no span has a client's word
    request("OPTIONS", "/api/events", 204, Origin="https://a.es", **{"Access-Control-Request-Method": "POST"})

    made = {
        ("POST /api/sessions", "/api/sessions", "http", 201): 1,
        ("POST /api/events", "/api/events", "http", 201): 6,
        ("POST /api/events/{id}/valoracion", "/api/events/{id}/valoracion", "http", 201): 1,
        ("POST /api/events", "/api/events", "http", 207): 1,
        ("GET /api/sessions/{id}", state, "https", 200): 1,
        ("GET /api/sessions/{id}", "/api/sessions/REDACTED", "http", 404): 1,
        ("GET", "/REDACTED", "http", 404): 2,
        ("GET /api/events", "/api/events", "http", 405): 1,
        ("HTTP /healthz", "/healthz", "http", 405): 1,
        ("OPTIONS", "/api/events", "http", 204): 1,
    }

    def requests_seen() -> dict[tuple[str, str, str, int], int]:
        seen: dict[tuple[str, str, str, int], int] = {}
        for one in list(receiver.spans):
            if sort_of(one) == "http.server" and not one.attributes["url.path"].startswith("/readyz"):
                key = tuple(one.attributes[name] for name in ("url.path", "url.scheme", "http.response.status_code"))
                seen[one.span.name, *key] = seen.get((one.span.name, *key), 0) + 1
        return seen

    trace = session.replace("-", "")
    wait_for(lambda: len(receiver.find(trace_id=trace)) == 11, "the session's spans")
    wait_for(lambda: sum(requests_seen().values()) == sum(made.values()), "as many request spans")
    assert requests_seen() == made
    spans = list(receiver.spans)
    assert {(one.span.name, *broken(one)) for one in spans if list(broken(one))} == set()
    assert {sort_of(one) for one in spans} == set(RULES)
    of_session = receiver.find(trace_id=trace)
    called = ["execute_tool buscar_documentos", "execute_tool leer"]
    assert sorted(one.span.name for one in of_session) == [
        *["consulta"] * 6, *called, "otro", "session devops-expert", "valoracion"
    ]  # fmt: skip
    assert [one.attributes["gpt.event.type"] for one in of_session if one.span.name == "otro"] == ["mi tipo raro"]
    assert sum(map(failed, spans)) == 2
    wait_for(lambda: bridge.metric("otel_bridge_exported_records_total") == 9, "a note of what was delivered")
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    routes = {one.attributes.get("http.route") for one in spans if one.span.name in ("GET", "OPTIONS")}
    assert routes == {None}
    (odd,) = (one for one in spans if one.span.name == "HTTP /healthz")
    assert odd.attributes["http.request.method_original"] == "PROPFIND"
    everything = repr([(one.span, one.resource) for one in spans])
    assert "ana@" not in everything and "sk-12345" not in everything and "usuarios" not in everything


def test_a_failed_answer_is_a_failed_request_span(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    """503 for want of disk space: `error.type` is the status, and the span's status says no more than that."""
    bridge = make_bridge(
        **receiver.environ,
        OTEL_BRIDGE_REQUEST_SPANS="problems",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_BRIDGE_DISK_MIN_FREE="1000TiB",
    ).start(wait=False)
    wait_for(lambda: _status(bridge) == 503, "a bridge that is not ready", 60)
    assert bridge.post("/sessions", {"gpt_id": "devops-expert", "usuario_id": "u"}).status_code == 422
    body = {"gpt_id": "devops-expert", "usuario_id": "u", "timestamp_inicio": "2025-06-29T20:00:00Z"}
    assert bridge.post("/sessions", body).status_code == 503
    found = wait_for(lambda: receiver.find(name="POST /api/sessions"), "the span of the refused post")
    (one,) = found
    assert list(broken(one)) == []
    assert one.attributes["error.type"] == "503" and one.attributes["http.response.status_code"] == 503
    assert one.span.status.code == Status.STATUS_CODE_ERROR and one.span.status.message == ""


def _status(bridge: Bridge) -> int:
    try:
        return bridge.http.get(f"{bridge.url}/readyz", timeout=2).status_code
    except requests.ConnectionError:
        return 0


def test_methods_that_the_environment_lists_are_known_ones(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """The conventions ask for this way to name others; its list replaces theirs."""
    bridge = make_bridge(
        **receiver.environ,
        OTEL_BRIDGE_REQUEST_SPANS="all",
        OTEL_BSP_SCHEDULE_DELAY="100",
        OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS="PROPFIND, GET",
    ).start()
    for method in ("PROPFIND", "PUT"):
        bridge.http.request(method, f"{bridge.url}/healthz", timeout=10)
    wait_for(lambda: receiver.find(name="PROPFIND /healthz"), "a span named after its method")
    (put,) = wait_for(lambda: receiver.find(name="HTTP /healthz"), "a span of a method that is not known")
    assert put.attributes["http.request.method_original"] == "PUT"
