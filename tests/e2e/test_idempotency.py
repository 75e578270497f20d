"""A retry is safe: what makes two posts one, and what does not; and gzip, which changes nothing of it."""

from __future__ import annotations

import gzip
import json
import uuid
from typing import Any

import pytest

from tests.e2e.conftest import Pair
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge

AT = "2025-06-29T20:00:05.000Z"


def events(bridge: Bridge, session: str) -> int:
    return int(bridge.http.get(f"{bridge.api}/sessions/{session}", timeout=10).json()["eventos"])


def duplicates(bridge: Bridge) -> float:
    return bridge.metric("otel_bridge_records_total", result="duplicate")


# --- sessions -----------------------------------------------------------------------------------------------------


def test_a_session_with_its_own_id_is_created_once(shared: Pair) -> None:
    chosen = str(uuid.uuid4())
    first = shared.bridge.post("/sessions", {**GUIDE_SESSION, "id": chosen})
    again = shared.bridge.post("/sessions", {**GUIDE_SESSION, "id": chosen})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() and first.json()["id"] == chosen
    assert len(shared.spans(chosen, 1)) == 1


def test_a_sessions_id_with_other_content_is_409(shared: Pair) -> None:
    chosen = str(uuid.uuid4())
    shared.bridge.post("/sessions", {**GUIDE_SESSION, "id": chosen})
    answer = shared.bridge.post("/sessions", {**GUIDE_SESSION, "id": chosen, "usuario_id": "otro"})
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:otel-bridge:id-en-conflicto"


def test_an_idempotency_key_works_like_an_id(shared: Pair) -> None:
    header = {"Idempotency-Key": uuid.uuid4().hex}
    answers = [shared.bridge.post("/sessions", GUIDE_SESSION, headers=header) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.json()["id"] for answer in answers}) == 1
    other = shared.bridge.post("/sessions", {**GUIDE_SESSION, "usuario_id": "otro"}, headers=header)
    assert other.status_code == 409


def test_a_session_without_either_is_always_a_new_one(shared: Pair) -> None:
    assert shared.bridge.session() != shared.bridge.session()


# --- events -------------------------------------------------------------------------------------------------------


def test_an_event_with_its_own_id_is_counted_once(shared: Pair) -> None:
    session, chosen = shared.bridge.session(), str(uuid.uuid4())
    first = shared.bridge.event(session, id=chosen)
    again = shared.bridge.event(session, id=chosen)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json() and first.json()["id"] == chosen
    assert events(shared.bridge, session) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"contenido": "otro"},
        {"tipo": "pipeline"},
        {"latency_ms": 1501},
        {"tokens_entrada": 26},
        {"tokens_salida": 151},
        {"tokens_cache": 0},
        {"timestamp": AT},
        {"modelo": "modelo-x"},
        {"error": "timeout"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_events_id_with_other_content_is_409(shared: Pair, change: dict[str, Any]) -> None:
    session, chosen = shared.bridge.session(), str(uuid.uuid4())
    shared.bridge.event(session, id=chosen)
    assert shared.bridge.event(session, id=chosen, **change).status_code == 409
    assert events(shared.bridge, session) == 1


def test_an_events_id_in_another_session_is_409(shared: Pair) -> None:
    one, two, chosen = shared.bridge.session(), shared.bridge.session(), str(uuid.uuid4())
    assert shared.bridge.event(one, id=chosen).status_code == 201
    assert shared.bridge.event(two, id=chosen).status_code == 409


def test_an_event_whose_id_is_its_sessions_has_a_span_of_its_own(shared: Pair) -> None:
    session = shared.bridge.session()
    assert shared.bridge.event(session, id=session).status_code == 201
    root, event = shared.spans(session, 2)
    assert root.span_id != event.span_id and event.span.parent_span_id == root.span.span_id


def test_the_same_body_with_a_timestamp_is_a_retry(shared: Pair) -> None:
    """The guide tells clients to retry and gives them no id."""
    session, before = shared.bridge.session(), duplicates(shared.bridge)
    answers = [shared.bridge.event(session, timestamp=AT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 200]
    assert len({answer.text for answer in answers}) == 1
    assert events(shared.bridge, session) == 1
    assert duplicates(shared.bridge) == before + 2


def test_the_same_moment_written_otherwise_is_the_same_event(shared: Pair) -> None:
    session = shared.bridge.session()
    times = (AT, "2025-06-29T15:00:05-05:00", "2025-06-29T20:00:05", "2025-06-29T20:00:05.000000Z")
    assert [shared.bridge.event(session, timestamp=time).status_code for time in times] == [201, 200, 200, 200]


@pytest.mark.parametrize(
    "change",
    [
        {"contenido": "otro"},
        {"tipo": "pipeline"},
        {"latency_ms": 1501},
        {"tokens_entrada": 26},
        {"tokens_salida": 151},
        {"tokens_cache": 0},
        {"timestamp": "2025-06-29T20:00:05.001Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_content_with_a_timestamp_is_another_event(shared: Pair, change: dict[str, Any]) -> None:
    session = shared.bridge.session()
    answers = [shared.bridge.event(session, **{"timestamp": AT, **more}) for more in ({}, change)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]


def test_the_same_body_in_two_sessions_is_two_events(shared: Pair) -> None:
    assert [shared.bridge.event(shared.bridge.session(), timestamp=AT).status_code for _ in range(2)] == [201, 201]


def test_without_a_timestamp_every_post_is_a_new_event(shared: Pair) -> None:
    session = shared.bridge.session()
    assert [shared.bridge.event(session).status_code for _ in range(3)] == [201] * 3
    assert events(shared.bridge, session) == 3


def test_an_idempotency_key_makes_posts_without_a_timestamp_one(shared: Pair) -> None:
    session, header = shared.bridge.session(), {"Idempotency-Key": uuid.uuid4().hex}
    body = {**GUIDE_EVENT, "sesion_id": session}
    answers = [shared.bridge.post("/events", body, headers=header) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    assert shared.bridge.post("/events", {**body, "tipo": "pipeline"}, headers=header).status_code == 409


def test_a_body_id_wins_over_the_header(shared: Pair) -> None:
    session, header = shared.bridge.session(), {"Idempotency-Key": uuid.uuid4().hex}
    for _ in range(2):
        body = {**GUIDE_EVENT, "sesion_id": session, "id": str(uuid.uuid4())}
        assert shared.bridge.post("/events", body, headers=header).status_code == 201


def test_a_retry_is_recognised_after_a_restart_and_after_kill_9(make_bridge: Any) -> None:
    bridge = make_bridge().start()
    session, key, chosen = bridge.session(), {"Idempotency-Key": "k1"}, str(uuid.uuid4())
    keyed = bridge.post("/events", {**GUIDE_EVENT, "sesion_id": session}, headers=key).json()
    timed, named = bridge.event(session, timestamp=AT).json(), bridge.event(session, id=chosen).json()
    for end in (bridge.stop, bridge.kill):
        end()
        bridge.start()
        answers = [
            bridge.post("/events", {**GUIDE_EVENT, "sesion_id": session}, headers=key),
            bridge.event(session, timestamp=AT),
            bridge.event(session, id=chosen),
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert [answer.json() for answer in answers] == [keyed, timed, named]
    assert events(bridge, session) == 3


# --- batches ------------------------------------------------------------------------------------------------------


def test_a_batch_that_is_all_good_is_201_with_a_result_an_item(shared: Pair) -> None:
    session = shared.bridge.session()
    answer = shared.bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": session, "latency_ms": n} for n in range(5)])
    body = answer.json()
    assert answer.status_code == 201
    assert (body["aceptados"], body["rechazados"]) == (5, 0)
    assert [item["indice"] for item in body["resultados"]] == [0, 1, 2, 3, 4]
    assert {item["estado"] for item in body["resultados"]} == {201}
    assert len({item["id"] for item in body["resultados"]}) == 5
    lasted = [round((s.span.end_time_unix_nano - s.span.start_time_unix_nano) / 1e6) for s in shared.spans(session, 6)]
    assert sorted(lasted) == [0, 0, 1, 2, 3, 4]


def test_a_batch_with_bad_items_is_207_and_its_good_ones_are_taken(shared: Pair) -> None:
    session, good = shared.bridge.session(), {**GUIDE_EVENT, "sesion_id": shared.bridge.session()}
    good["sesion_id"] = session
    items = [
        good,
        {**good, "latency_ms": "1500"},
        {**good, "sesion_id": str(uuid.uuid4())},
        "no es un objeto",
        {**good, "timestamp": "ayer"},
        {**good, "contenido": "a\0b"},
        good,
    ]
    answer = shared.bridge.post("/events", items)
    body = answer.json()
    assert answer.status_code == 207
    assert (body["aceptados"], body["rechazados"]) == (2, 5)
    assert [item["indice"] for item in body["resultados"]] == list(range(7))
    assert [item["estado"] for item in body["resultados"]] == [201, 422, 404, 422, 422, 422, 201]
    for item in body["resultados"]:
        assert ("id" in item) != ("error" in item)
        if "error" in item:
            assert item["error"]["status"] == item["estado"] and item["error"]["type"].startswith("urn:otel-bridge:")
    assert body["resultados"][1]["error"]["errors"][0]["campo"] == "latency_ms"
    assert events(shared.bridge, session) == 2


def test_a_batch_of_only_bad_items_is_207(shared: Pair) -> None:
    answer = shared.bridge.post("/events", [{}, 7])
    assert answer.status_code == 207 and answer.json()["aceptados"] == 0


def test_an_empty_batch_is_201_with_nothing(shared: Pair) -> None:
    answer = shared.bridge.post("/events", [])
    assert (answer.status_code, answer.json()) == (201, {"aceptados": 0, "rechazados": 0, "resultados": []})


def test_a_batch_of_one_is_a_batch(shared: Pair) -> None:
    answer = shared.bridge.post("/events", [{**GUIDE_EVENT, "sesion_id": shared.bridge.session()}])
    assert answer.status_code == 201 and answer.json()["aceptados"] == 1


def test_a_repeated_batch_is_counted_once(shared: Pair) -> None:
    session = shared.bridge.session()
    batch = [{**GUIDE_EVENT, "sesion_id": session, "timestamp": f"2025-06-29T20:00:{n:02}.000Z"} for n in range(10)]
    first, again = (shared.bridge.post("/events", batch) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert [item["estado"] for item in again.json()["resultados"]] == [200] * 10
    assert [i["id"] for i in first.json()["resultados"]] == [i["id"] for i in again.json()["resultados"]]
    assert again.json()["aceptados"] == 10
    assert events(shared.bridge, session) == 10


def test_a_repeat_within_one_batch_is_counted_once(shared: Pair) -> None:
    session = shared.bridge.session()
    item = {**GUIDE_EVENT, "sesion_id": session, "timestamp": AT}
    body = shared.bridge.post("/events", [item, item, {**item, "tipo": "pipeline"}]).json()
    assert [result["estado"] for result in body["resultados"]] == [201, 200, 201]
    assert body["resultados"][0]["id"] == body["resultados"][1]["id"]
    assert events(shared.bridge, session) == 2


def test_a_conflict_within_a_batch_is_that_items_alone(shared: Pair) -> None:
    session, chosen = shared.bridge.session(), str(uuid.uuid4())
    item = {**GUIDE_EVENT, "sesion_id": session, "id": chosen}
    answer = shared.bridge.post("/events", [item, {**item, "tipo": "pipeline"}, item])
    assert answer.status_code == 207
    assert [result["estado"] for result in answer.json()["resultados"]] == [201, 409, 200]


def test_a_batch_under_an_idempotency_key_is_one_batch(shared: Pair) -> None:
    session, header = shared.bridge.session(), {"Idempotency-Key": uuid.uuid4().hex}
    batch = [{**GUIDE_EVENT, "sesion_id": session} for _ in range(3)]
    first, again = (shared.bridge.post("/events", batch, headers=header) for _ in range(2))
    assert [item["estado"] for item in again.json()["resultados"]] == [200, 200, 200]
    assert [i["id"] for i in first.json()["resultados"]] == [i["id"] for i in again.json()["resultados"]]
    assert events(shared.bridge, session) == 3


def test_a_full_batch_is_taken(shared: Pair) -> None:
    session = shared.bridge.session()
    event = {**GUIDE_EVENT, "sesion_id": session}
    answer = shared.bridge.post("/events", [event] * 10_000)
    assert answer.status_code == 201 and answer.json()["aceptados"] == 10_000
    assert events(shared.bridge, session) == 10_000


# --- gzip -----------------------------------------------------------------------------------------------------------


def test_a_gzipped_body_is_taken(shared: Pair) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}

    def send(path: str, body: Any) -> Any:
        packed = gzip.compress(json.dumps(body).encode())
        return shared.bridge.http.post(f"{shared.bridge.api}{path}", data=packed, headers=headers, timeout=30)

    created = send("/sessions", GUIDE_SESSION)
    assert created.status_code == 201
    session = created.json()["id"]
    event = {**GUIDE_EVENT, "sesion_id": session, "timestamp": AT}
    assert send("/events", event).status_code == 201
    assert shared.bridge.post("/events", event).status_code == 200, "the same body, not zipped, is the same event"
    assert send("/events", [{**event, "tipo": f"t{n}"} for n in range(100)]).json()["aceptados"] == 100
