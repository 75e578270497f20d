"""What a served bridge answers is what `/openapi.json` says it may answer: asked by schemathesis, and kind by kind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from otel_bridge.access import keys
from otel_bridge.http import openapi
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.waiting import wait_for

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
schema = schemathesis.openapi.from_dict(openapi.document())


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    bridge = Bridge(tmp_path_factory.mktemp("openapi"))
    try:
        yield bridge.start()
        assert bridge.metric("otel_bridge_ledger_gap") == 0
        assert bridge.stop() == 0
    finally:
        bridge.close()


@schema.parametrize()
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_an_answer_is_one_that_the_document_has(case: schemathesis.Case, served: Bridge) -> None:
    case.call_and_validate(base_url=served.url, checks=CHECKS)


# --- every answer against its schema, formats and headers too ------------------------------------------------------

KEY = "otb_" + "d" * 43
LIMITED = f"""
trace_url = 'https://grafana.example/explore?left={{"queries":["{{trace_id}}"]}}'
[gpts.devops-expert]
rate_limit = "20/hour"
[gpts.cerrado]
api_key_hashes = ["{keys.hash_of(KEY.encode())}"]
"""
ID = "0199c0de-0000-7000-8000-00000000d0c5"
NO_SESSION = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
SOMETIMES = {"retry-after", "www-authenticate", "location"}
"""Headers that some answers have, with every `ratelimit-…`."""
DOCUMENT: dict[str, Any] = openapi.document()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, served: Bridge) -> Iterator[list[tuple[str, requests.Response]]]:
    """Answers of every kind, each with its path in the document."""
    limited = Bridge(tmp_path_factory.mktemp("limited"), LIMITED)
    full = Bridge(tmp_path_factory.mktemp("full"), OTEL_BRIDGE_DISK_MIN_FREE="1000TiB")
    try:
        full.start(wait=False)
        wait_for(lambda: full.http.get(f"{full.url}/healthz", timeout=2).status_code == 200, "a living bridge")
        yield [*answers_of(served), *answers_of(limited.start()), *refusals(limited), *answers_of_full(full)]
    finally:
        limited.close()
        full.close()


def answers_of(bridge: Bridge) -> Iterator[tuple[str, requests.Response]]:
    chosen = {**GUIDE_SESSION, "id": ID}
    for body in (GUIDE_SESSION, chosen, chosen, {**chosen, "usuario_id": "otro"}, {}, {**GUIDE_SESSION, "gpt_id": "x"}):
        yield "/api/sessions", bridge.post("/sessions", body)
    yield "/api/sessions/{id}", bridge.http.get(f"{bridge.api}/sessions/{ID}")
    # Of a model that reports on itself, and measures nothing.
    reported = {"gpt_id": "devops-expert", "tipo": "consulta", "contenido": "x"}
    unmeasured = bridge.post("/events", reported, headers={"openai-conversation-id": "chat-1"}).json()["sesion_id"]
    yield "/api/sessions/{id}", bridge.http.get(f"{bridge.api}/sessions/{unmeasured}")
    event = {
        **GUIDE_EVENT,
        "sesion_id": ID,
        "timestamp": "2026-01-02T03:04:05.678901Z",
        "modelo": "modelo-x",
        "error": "e",
    }
    event["tokens_cache"] = 20
    wrong = [{**event, "tipo": ""}, {**event, "sesion_id": NO_SESSION}, 5]
    for body in (event, event, {**event, "latency_ms": 1.5}, [event], [{**event, "tipo": "otra"}], [event, *wrong], 5):
        yield "/api/events", bridge.post("/events", body)
    yield (
        "/api/events",
        bridge.http.post(f"{bridge.api}/events", data="{", headers={"Content-Type": "application/json"}),
    )
    yield "/api/events", bridge.http.post(f"{bridge.api}/events", data="{}", headers={"Content-Type": "text/plain"})
    rated = bridge.post("/events", {**event, "contenido": "¿Y ahora?"}).json().get("id", NO_SESSION)
    for body in (
        {"valor": 1},
        {"valor": 1},
        {"valor": 0.5, "comentario": "bien", "id": ID},
        {"valor": -1, "id": ID},
        {},
    ):
        yield "/api/events/{id}/valoracion", bridge.post(f"/events/{rated}/valoracion", body)
    yield "/api/events/{id}/valoracion", bridge.post(f"/events/{NO_SESSION}/valoracion", {"valor": 1})
    for session, body in ((ID, {}), (ID, {}), (NO_SESSION, {}), (ID, [])):
        yield "/api/sessions/{id}/fin", bridge.post(f"/sessions/{session}/fin", body)
    for session in (ID, NO_SESSION):
        yield "/api/sessions/{id}", bridge.http.get(f"{bridge.api}/sessions/{session}")
    yield "/api/sessions/{id}", bridge.http.get(f"{bridge.api}/sessions/{ID}", headers={"Idempotency-Key": "a b"})
    for path in ("/healthz", "/readyz"):
        yield path, bridge.http.get(bridge.url + path)


def refusals(bridge: Bridge) -> Iterator[tuple[str, requests.Response]]:
    closed = {**GUIDE_SESSION, "gpt_id": "cerrado", "id": str(UUID(int=UUID(ID).int + 1))}
    for headers in ({}, {"X-API-Key": KEY}):
        yield "/api/sessions", bridge.post("/sessions", closed, headers=headers)
    yield "/api/sessions/{id}", bridge.http.get(f"{bridge.api}/sessions/{closed['id']}")
    yield "/api/sessions", bridge.post("/sessions", GUIDE_SESSION, headers={"X-API-Key": KEY})
    yield "/api/events", bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": ID}] * 30)
    for _ in range(20):
        last = bridge.http.get(f"{bridge.api}/sessions/{ID}")
    yield "/api/sessions/{id}", last


def answers_of_full(bridge: Bridge) -> Iterator[tuple[str, requests.Response]]:
    yield "/api/sessions", bridge.post("/sessions", GUIDE_SESSION)
    yield "/readyz", bridge.http.get(f"{bridge.url}/readyz")


def test_answers_of_every_kind_are_looked_at(told: list[tuple[str, requests.Response]]) -> None:
    seen = {(path, answer.status_code) for path, answer in told}
    assert {status for path, status in seen if path == "/api/sessions"} >= {200, 201, 401, 404, 409, 422, 503}
    assert {status for path, status in seen if path == "/api/events"} >= {200, 201, 207, 400, 415, 422, 429}
    assert {status for path, status in seen if path == "/api/sessions/{id}"} >= {200, 400, 401, 404, 429}
    assert {status for path, status in seen if path == "/api/events/{id}/valoracion"} >= {200, 201, 404, 409, 422}
    assert {status for path, status in seen if path == "/api/sessions/{id}/fin"} >= {200, 404, 422}
    assert ("/readyz", 200) in seen and ("/readyz", 503) in seen


def documented(path: str, answer: requests.Response) -> dict[str, Any]:
    method = str(answer.request.method).lower()
    response: dict[str, Any] = DOCUMENT["paths"][path][method]["responses"][str(answer.status_code)]
    return response


def holds(schema: dict[str, Any], value: Any) -> bool:
    whole = {**schema, "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True).is_valid(value)


def test_a_body_is_as_documented_formats_too(told: list[tuple[str, requests.Response]]) -> None:
    for path, answer in told:
        content = documented(path, answer)["content"]
        assert list(content) == [answer.headers["Content-Type"]]
        (media,) = content.values()
        assert holds(media["schema"], answer.json()), answer.text


def test_a_documented_header_is_there_and_no_other_is(told: list[tuple[str, requests.Response]]) -> None:
    for path, answer in told:
        headers = documented(path, answer).get("headers", {})
        for name in headers:
            header = DOCUMENT["components"]["headers"][name]
            assert header["required"]
            value = answer.headers[name]
            assert holds(header["schema"], int(value) if header["schema"]["type"] == "integer" else value)
        sent = {name.lower() for name in answer.headers}
        own = {name for name in sent if name in SOMETIMES or name.startswith("ratelimit-")}
        assert own == {name.lower() for name in headers}, answer.text


def objects(schema: dict[str, Any], value: Any) -> Iterator[tuple[str, set[str]]]:
    """The keys of every object in a body, each with the name of its type."""
    if "oneOf" in schema:
        (schema,) = (one for one in schema["oneOf"] if holds(one, value))
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield name, set(value)
        schema = DOCUMENT["components"]["schemas"][name]
    for key, field in schema.get("properties", {}).items():
        if key in value:
            yield from objects(field, value[key])
    for item in value if "items" in schema else ():
        yield from objects(schema["items"], item)


def test_what_is_required_is_always_there_and_the_rest_now_and_then(
    told: list[tuple[str, requests.Response]],
) -> None:
    seen: dict[str, list[set[str]]] = {}
    for path, answer in told:
        (media,) = documented(path, answer)["content"].values()
        for name, keys_of in objects(media["schema"], answer.json()):
            seen.setdefault(name, []).append(keys_of)
    assert set(seen) == {
        "SessionOut", "EventOut", "FeedbackOut", "BatchOut", "ItemOut", "SessionState", "SessionTrace", "ProblemOut",
        "FieldError", "Unmeasured",
    }  # fmt: skip
    for name, each in seen.items():
        schema = DOCUMENT["components"]["schemas"][name]
        assert set.intersection(*each) == set(schema["required"]), name
        # The reference of an error that nobody foresaw is the one thing that no test can ask for.
        assert set.union(*each) == set(schema["properties"]) - ({"id"} if name == "ProblemOut" else set()), name
