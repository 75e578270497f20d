"""Ratings of answers: what they are answered with, what is counted of them, and the span that tells of them."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from otel_bridge import catalog
from otel_bridge.records import event_span_id
from tests.e2e.conftest import Pair
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

METRIC = catalog.FEEDBACK.name
KEY = {"Idempotency-Key": "una"}


def rate(pair: Pair, event_id: str, body: Any, **options: Any) -> requests.Response:
    return pair.bridge.post(f"/events/{event_id}/valoracion", body, **options)


def now(**ago: float) -> str:
    return (datetime.now(UTC) - timedelta(**ago)).isoformat()


def counted(pair: Pair, result: str) -> float:
    return pair.bridge.metric(METRIC, result=result, gen_ai_agent_id="devops-expert")


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, {}),
        ({"timestamp": "ahora"}, {}),
        ({"timestamp": "2025-06-29T20:00:00.000Z"}, {}),
        ({"id": "uno"}, {}),
        ({"id": "uno", "timestamp": "ahora"}, {}),
        ({}, KEY),
    ],
    ids=["the bridge's own", "of its content", "of its content, long ago", "chosen", "chosen, with a time", "of a key"],
)
def test_an_event_that_was_just_answered_is_rated_by_the_id_of_its_answer(
    shared: Pair, fields: dict[str, str], headers: dict[str, str]
) -> None:
    session = shared.bridge.session()
    made = {"id": str(uuid.uuid4()), "timestamp": now()}
    chosen = {name: made[name] if value in ("uno", "ahora") else value for name, value in fields.items()}
    event = shared.bridge.post("/events", {"sesion_id": session, **_EVENT, **chosen}, headers=headers).json()
    answer = rate(shared, event["id"], {"valor": -1, "comentario": "No era eso; escribe a ana@example.com"})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["evento_id"], told["sesion_id"], told["valor"]) == (event["id"], session, -1)
    assert told["trace_id"] == event["trace_id"] and told["span_id"] != event["span_id"]
    assert abs(datetime.fromisoformat(told["timestamp"]) - datetime.now(UTC)) < timedelta(seconds=10)
    span = next(one for one in shared.spans(session, 3) if one.span_id == told["span_id"])
    assert span.span.name == "valoracion" and span.span.kind == 1
    assert [(link.trace_id.hex(), link.span_id.hex()) for link in span.span.links] == [
        (event["trace_id"], event["span_id"])
    ]
    attributes = span.attributes
    assert attributes[catalog.EVENT_ID] == event["id"] and attributes[catalog.SESSION_ID] == session
    assert attributes[catalog.GEN_AI_EVALUATION_SCORE_VALUE] == -1.0
    assert attributes[catalog.GEN_AI_EVALUATION_SCORE_LABEL] == "bad"
    assert attributes[catalog.GEN_AI_EVALUATION_EXPLANATION] == "No era eso; escribe a [correo]"
    assert catalog.GEN_AI_OPERATION_NAME not in attributes, "a backend would count it as a call"


_EVENT = {
    "tipo": "consulta", "contenido": "¿Cómo?", "latency_ms": 1500, "tokens_entrada": 25, "tokens_salida": 150,
}  # fmt: skip


@pytest.fixture
def event(shared: Pair) -> dict[str, Any]:
    found: dict[str, Any] = shared.bridge.event(shared.bridge.session()).json()
    return found


@pytest.mark.parametrize(
    ("value", "result"), [(1, "good"), (0.01, "good"), (0, "neutral"), (-0.0, "neutral"), (-0.5, "bad")]
)
def test_each_rating_is_counted_once_by_its_sign(
    shared: Pair, event: dict[str, Any], value: float, result: str
) -> None:
    before = counted(shared, result)
    first = rate(shared, event["id"], {"valor": value})
    again = [rate(shared, event["id"], {"valor": value}) for _ in range(3)]
    assert [first.status_code, *(one.status_code for one in again)] == [201, 200, 200, 200]
    assert all(one.json() == first.json() for one in again)
    wait_for(lambda: counted(shared, result) == before + 1, "the rating")


def test_who_thinks_better_of_it_is_counted_again(shared: Pair, event: dict[str, Any]) -> None:
    before = [counted(shared, result) for result in ("good", "bad")]
    answers = [rate(shared, event["id"], {"valor": value}) for value in (1, -1, 1)]
    assert [answer.status_code for answer in answers] == [201, 201, 200]
    assert rate(shared, event["id"], {"valor": 1, "comentario": "sí"}).status_code == 201
    assert [counted(shared, result) for result in ("good", "bad")] == [before[0] + 2, before[1] + 1]


@pytest.mark.parametrize("named", ["id", "header"])
def test_an_id_or_a_key_makes_a_retry_safe_and_other_content_a_conflict(
    shared: Pair, event: dict[str, Any], named: str
) -> None:
    chosen = str(uuid.uuid4())
    body: dict[str, Any] = {"valor": 1, **({"id": chosen} if named == "id" else {})}
    headers = {"Idempotency-Key": chosen} if named == "header" else {}
    first = rate(shared, event["id"], body, headers=headers)
    again = rate(shared, event["id"], body, headers=headers)
    other = rate(shared, event["id"], {**body, "valor": -1}, headers=headers)
    assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
    assert again.json() == first.json() and (named == "header" or first.json()["id"] == chosen)
    assert other.json()["type"] == "urn:otel-bridge:id-en-conflicto"


def test_a_rating_may_have_its_events_id(shared: Pair, event: dict[str, Any]) -> None:
    answer = rate(shared, event["id"], {"valor": 1, "id": event["id"]})
    assert answer.status_code == 201 and answer.json()["span_id"] != event["span_id"]


def test_many_ratings_of_one_event_at_once_are_each_counted_once(shared: Pair, event: dict[str, Any]) -> None:
    before = counted(shared, "good")
    bodies = [{"valor": (1 + i % 50) / 100} for i in range(400)]

    def post(body: dict[str, float]) -> tuple[int, str]:
        answer = requests.post(f"{shared.bridge.api}/events/{event['id']}/valoracion", json=body, timeout=30)
        return answer.status_code, answer.json()["id"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, bodies))
    assert sorted(status for status, _ in answers) == [200] * 350 + [201] * 50
    assert len({id_ for _, id_ in answers}) == 50
    assert counted(shared, "good") == before + 50


@pytest.mark.parametrize(
    "event_id",
    [
        "6ba7b810-9dad-41d1-80b4-00c04fd430c8",
        "00000000-0000-0000-0000-000000000000",
        "no-es-un-uuid",
        "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f",
        "0197bd2e-6c00-8d9a-8f3e-2a4b6c8d0e1f",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        "%ff%fe",
        "ñ",
    ],
)
def test_an_id_that_no_event_has_is_404(shared: Pair, event_id: str) -> None:
    answer = rate(shared, event_id, {"valor": 1})
    assert answer.status_code == 404, answer.text
    assert answer.json()["type"] == "urn:otel-bridge:evento-no-encontrado"
    assert event_id not in answer.text


def test_ids_of_sessions_and_of_ratings_are_no_events(shared: Pair, event: dict[str, Any]) -> None:
    rating = rate(shared, event["id"], {"valor": 1}).json()
    for other in (event["sesion_id"], rating["id"], shared.bridge.session(id=str(uuid.uuid4()))):
        assert rate(shared, other, {"valor": 1}).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ('{"valor": true}', 422, "valor"),
        ('{"valor": "1"}', 422, "valor"),
        ('{"valor": 1.01}', 422, "valor"),
        ('{"valor": -2}', 422, "valor"),
        ('{"valor": NaN}', 422, "valor"),
        ('{"valor": 1e400}', 422, "valor"),
        ('{"valor": null}', 422, "valor"),
        ("{}", 422, "valor"),
        ('{"valor": 1, "comentario": 7}', 422, "comentario"),
        ('{"valor": 1, "comentario": "a\\u0000b"}', 422, "comentario"),
        ('{"valor": 1, "comentario": "\\ud800"}', 422, "comentario"),
        ('{"valor": 1, "id": "00000000-0000-0000-0000-000000000000"}', 422, "id"),
        ('[{"valor": 1}]', 422, ""),
        ("7", 422, ""),
        ("", 400, None),
        ('{"valor": 1', 400, None),
        (json.dumps({"valor": 1, "comentario": "a" * 70_000}), 413, None),
    ],
)
def test_what_is_no_rating_is_refused_by_its_field_and_changes_nothing(
    shared: Pair, event: dict[str, Any], body: str, status: int, field: str | None
) -> None:
    taken = shared.bridge.metric("otel_bridge_records_total", kind="feedback", result="accepted")
    answer = shared.bridge.http.post(
        f"{shared.bridge.api}/events/{event['id']}/valoracion",
        data=body, headers={"Content-Type": "application/json"}, timeout=30,
    )  # fmt: skip
    assert answer.status_code == status, answer.text
    assert [one["campo"] for one in answer.json().get("errors", [])] == ([] if field is None else [field])
    assert shared.bridge.metric("otel_bridge_records_total", kind="feedback", result="accepted") == taken


def test_a_long_comment_is_cut_as_a_content_is(shared: Pair, event: dict[str, Any]) -> None:
    told = rate(shared, event["id"], {"valor": 1, "comentario": "a" * 60_000}).json()
    span = next(one for one in shared.spans(event["sesion_id"], 3) if one.span_id == told["span_id"])
    comment = span.attributes[catalog.GEN_AI_EVALUATION_EXPLANATION]
    assert comment.endswith("…[recortado]") and len(comment) < 30_000


def test_an_event_of_a_later_part_is_rated_in_the_trace_of_its_part(shared: Pair) -> None:
    session = shared.bridge.session()
    events = [{"sesion_id": session, **_EVENT, "contenido": f"pregunta {i}"} for i in range(1_300)]
    ids = [one["id"] for one in shared.bridge.post("/events", events).json()["resultados"]]
    traces = shared.bridge.http.get(f"{shared.bridge.api}/sessions/{session}", timeout=30).json()["trazas"]
    told = [rate(shared, ids[i], {"valor": 1}).json() for i in (0, 1_299)]
    assert [one["trace_id"] for one in told] == [one["trace_id"] for one in traces] and len(traces) == 2
    wait_for(lambda: shared.receiver.find(span_id=told[1]["span_id"]), "the later rating")
    span = shared.receiver.find(span_id=told[1]["span_id"])[0]
    assert span.trace_id == traces[1]["trace_id"]
    (link,) = span.span.links
    assert link.span_id == event_span_id(uuid.UUID(ids[1_299]).bytes) and link.trace_id.hex() == span.trace_id


def test_other_methods_are_refused_as_at_the_other_posts(shared: Pair, event: dict[str, Any]) -> None:
    for path in (f"/events/{event['id']}/valoracion", f"/sessions/{event['sesion_id']}/fin"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            answer = shared.bridge.http.request(method, shared.bridge.api + path, timeout=30)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_the_ledger_counts_ratings_as_records(shared: Pair, event: dict[str, Any]) -> None:
    assert rate(shared, event["id"], {"valor": 1}).status_code == 201
    settle(shared.bridge)
    assert shared.bridge.metric("otel_bridge_ledger_gap") == 0
    assert shared.bridge.metric("otel_bridge_records_total", kind="feedback", result="accepted") > 0
