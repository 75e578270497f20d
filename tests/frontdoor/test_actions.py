"""ChatGPT actions: the document a GPT's builder imports, and events that only say which conversation they are of."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import pytest

from otel_bridge import config, contract
from otel_bridge.access import keys
from otel_bridge.http import actions_openapi as actions
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

KEY = "otb_" + "k" * 43
ONLY = "[gpts.devops-expert]\nname = 'DevOps Expert'\n"
SEVERAL = f"""
public_url = "https://koomtai.com/api"
[gpts.abierto]
event_types = ["consulta", "otra"]
[gpts.cerrado]
api_key_hashes = ["{keys.hash_of(KEY.encode())}"]
"""


@pytest.fixture(scope="module")
def one(serve: Serve, module_receiver: OtlpReceiver) -> Bridge:
    return serve(ONLY, **module_receiver.environ)


@pytest.fixture(scope="module")
def module_receiver() -> Iterator[OtlpReceiver]:
    started = OtlpReceiver().start()
    yield started
    started.close()


@pytest.fixture(scope="module")
def several(serve: Serve) -> Bridge:
    return serve(SEVERAL, OTEL_BRIDGE_RATE_LIMIT="20/hour")


def hinted(conversation: str, **more: str) -> dict[str, str]:
    return {"openai-conversation-id": conversation, **more}


def state(bridge: Bridge, session: str, **headers: str) -> Any:
    answer = bridge.http.get(f"{bridge.api}/sessions/{session}", headers=headers)
    return answer.json() if answer.status_code == 200 else answer.status_code


# --- events without a session ---------------------------------------------------------------------------------------


def test_a_lost_first_call_costs_nothing(one: Bridge, module_receiver: OtlpReceiver) -> None:
    headers = hinted("conv-1", **{"openai-ephemeral-user-id": "user-1"})
    first = one.post("/events", GUIDE_EVENT, headers=headers)
    assert first.status_code == 201, first.text
    session = first.json()["sesion_id"]
    again = one.post("/events", {**GUIDE_EVENT, "sesion_id": None}, headers=headers)
    empty = one.post("/events", {**GUIDE_EVENT, "sesion_id": ""}, headers=headers)
    assert again.json()["sesion_id"] == empty.json()["sesion_id"] == session
    found = state(one, session)
    assert found["eventos"] == 3 and found["gpt_id"] == "devops-expert"
    assert "user-1" not in json.dumps(found) and "conv-1" not in json.dumps(found)
    trace = session.replace("-", "")
    wait_for(lambda: len(module_receiver.find(trace_id=trace)) == 4, "root and three events")
    root = module_receiver.find(trace_id=trace, name="session devops-expert")[0].span
    assert all(
        one.span.start_time_unix_nano >= root.start_time_unix_nano for one in module_receiver.find(trace_id=trace)
    )


def test_a_session_created_in_a_conversation_is_the_one_its_events_find(one: Bridge) -> None:
    made = one.post("/sessions", GUIDE_SESSION, headers=hinted("conv-2"))
    assert made.status_code == 201
    event = one.post("/events", GUIDE_EVENT, headers=hinted("conv-2"))
    assert event.json()["sesion_id"] == made.json()["id"]
    repeated = one.post(
        "/sessions", {**GUIDE_SESSION, "timestamp_inicio": "2025-07-01T00:00:00Z"}, headers=hinted("conv-2")
    )
    assert repeated.status_code == 200 and repeated.json()["id"] == made.json()["id"]
    assert repeated.json()["timestamp_inicio"] == made.json()["timestamp_inicio"]


def test_what_a_model_cannot_know_may_be_left_out_of_a_conversations_session(one: Bridge) -> None:
    said = {"openai-ephemeral-user-id": "user-9"}
    made = one.post("/sessions", {"usuario_id": None}, headers=hinted("conv-bare", **said))
    assert made.status_code == 201, made.text
    assert made.json()["gpt_id"] == "devops-expert" and made.json()["usuario_id"] == "openai-user:user-9"
    event = one.post("/events", {"tipo": "consulta", "contenido": "¿?"}, headers=hinted("conv-bare", **said))
    assert event.status_code == 201 and event.json()["sesion_id"] == made.json()["id"]
    named = one.post("/sessions", {"usuario_id": "ana"}, headers=hinted("conv-named", **said))
    assert named.json()["usuario_id"] == "ana"
    for body, status, campo in (
        ({"usuario_id": 7}, 422, "usuario_id"),
        ({"timestamp_inicio": "ayer"}, 422, "timestamp_inicio"),
    ):
        answer = one.post("/sessions", body, headers=hinted("conv-wrong"))
        assert answer.status_code == status and [e["campo"] for e in answer.json()["errors"]] == [campo]
    for raw, status in ((b"{", 400), (b"[]", 422), (b"null", 422), (b'{"usuario_id":NaN}', 422), (b"\xff", 400)):
        answer = one.http.post(
            f"{one.api}/sessions", data=raw, headers={**hinted("conv-wrong"), "Content-Type": "application/json"}
        )
        assert answer.status_code == status, (raw, answer.text)


def test_without_hints_the_documented_fields_are_required_as_ever(one: Bridge) -> None:
    answer = one.post("/sessions", {"gpt_id": "devops-expert"})
    assert {e["campo"] for e in answer.json()["errors"]} == {"usuario_id", "timestamp_inicio"}
    event = {"tipo": "consulta", "contenido": "¿?", "sesion_id": one.session()}
    answer = one.post("/events", event)
    assert {e["campo"] for e in answer.json()["errors"]} == {"latency_ms", "tokens_entrada", "tokens_salida"}


def test_a_session_that_is_named_is_the_one_meant_whatever_the_header_says(one: Bridge) -> None:
    mine = one.session()
    assert one.post("/events", {**GUIDE_EVENT, "sesion_id": mine}, headers=hinted("conv-3")).json()["sesion_id"] == mine
    unknown = {**GUIDE_EVENT, "sesion_id": "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"}
    assert one.post("/events", unknown, headers=hinted("conv-3")).status_code == 404
    chosen = {**GUIDE_SESSION, "id": "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e2f"}
    assert one.post("/sessions", chosen, headers=hinted("conv-3")).json()["id"] == chosen["id"]


def test_conversations_and_gpts_do_not_share_sessions(several: Bridge) -> None:
    def session(gpt: str, conversation: str, **headers: str) -> str:
        headers = {**hinted(conversation), "Authorization": f"Bearer {KEY}"}
        return str(several.post("/events", {**GUIDE_EVENT, "gpt_id": gpt}, headers=headers).json()["sesion_id"])

    assert len({session(gpt, c) for gpt in ("abierto", "cerrado") for c in ("a", "b")}) == 4


def test_without_a_usable_hint_a_missing_session_is_a_missing_field(one: Bridge) -> None:
    for headers in ({}, hinted(""), hinted("x" * 300), hinted("a b")):
        answer = one.post("/events", GUIDE_EVENT, headers=headers)
        assert answer.status_code == 422
        assert [error["campo"] for error in answer.json()["errors"]] == ["sesion_id"]


def test_an_event_that_is_refused_opens_no_session(one: Bridge) -> None:
    before = one.metric("otel_bridge_records_total", result="accepted")
    bad = one.post("/events", {**GUIDE_EVENT, "latency_ms": "1500"}, headers=hinted("conv-bad"))
    assert bad.status_code == 422 and [e["campo"] for e in bad.json()["errors"]] == ["latency_ms"]
    assert one.post("/events", {**GUIDE_EVENT, "timestamp": "ayer"}, headers=hinted("conv-bad")).status_code == 422
    assert one.post("/events", {**GUIDE_EVENT, "gpt_id": "no-such"}, headers=hinted("conv-bad")).status_code == 404
    assert one.post("/events", {**GUIDE_EVENT, "gpt_id": 7}, headers=hinted("conv-bad")).status_code == 404
    batch = [{**GUIDE_EVENT, "tipo": ""}, {"gpt_id": "no-such"}, 5]
    assert one.post("/events", batch, headers=hinted("conv-bad")).status_code == 207
    assert one.metric("otel_bridge_records_total", result="accepted") == before


def test_a_batch_may_mix_events_with_and_without_a_session(one: Bridge) -> None:
    mine = one.session()
    batch = [GUIDE_EVENT, {**GUIDE_EVENT, "sesion_id": mine}, {**GUIDE_EVENT, "tipo": ""}, GUIDE_EVENT]
    answer = one.post("/events", batch, headers=hinted("conv-batch")).json()
    assert [item["estado"] for item in answer["resultados"]] == [201, 201, 422, 201]
    assert state(one, mine)["eventos"] == 1
    found = one.post("/events", GUIDE_EVENT, headers=hinted("conv-batch")).json()["sesion_id"]
    assert state(one, found)["eventos"] == 3


def test_first_calls_at_once_open_one_session(one: Bridge) -> None:
    before = one.metric("gpt_sessions_total")

    def post(i: int) -> str:
        with one.http.__class__() as http:
            path = "sessions" if i % 4 == 0 else "events"
            body = {**GUIDE_SESSION, "usuario_id": f"u{i}"} if path == "sessions" else GUIDE_EVENT
            answer = http.post(f"{one.api}/{path}", json=body, headers=hinted("conv-race"), timeout=30)
            assert answer.status_code in (200, 201), answer.text
            return str(answer.json()["id" if path == "sessions" else "sesion_id"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(post, range(24)))) == 1
    assert one.metric("gpt_sessions_total") == before + 1


def test_which_gpt_is_told_by_the_body_or_the_key(several: Bridge) -> None:
    neither = several.post("/events", GUIDE_EVENT, headers=hinted("conv-4"))
    assert neither.status_code == 422 and neither.json()["errors"][0]["campo"] == "gpt_id"
    by_key = several.post("/events", GUIDE_EVENT, headers=hinted("conv-4", Authorization=f"Bearer {KEY}"))
    assert by_key.status_code == 201
    session = by_key.json()["sesion_id"]
    assert state(several, session, Authorization=f"Bearer {KEY}")["gpt_id"] == "cerrado"
    # A hint is no proof: whoever knows the conversation gets nowhere without the key.
    assert state(several, session) == 401
    named = {**GUIDE_EVENT, "gpt_id": "cerrado"}
    assert several.post("/events", named, headers=hinted("conv-4")).status_code == 401
    assert several.post("/events", named, headers=hinted("conv-new")).status_code == 401
    assert several.post("/events", {**named, "sesion_id": session}, headers=hinted("conv-4")).status_code == 401


def test_an_opened_session_counts_toward_the_limit_as_a_created_one_does(several: Bridge) -> None:
    headers = hinted("conv-5", **{"X-Forwarded-For": "198.51.100.50"})
    body = {**GUIDE_EVENT, "gpt_id": "abierto"}
    assert several.post("/events", [body] * 20, headers=headers).status_code == 429  # 20 and their session
    assert several.post("/events", [body] * 19, headers=headers).status_code == 201
    assert several.post("/events", body, headers=headers).status_code == 429


# --- the document ---------------------------------------------------------------------------------------------------


def walk(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, node
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in children:
        yield from walk(value, f"{path}/{key}")


def check_importable(document: dict[str, Any], server: str) -> None:
    """What ChatGPT's importer asks of a document (FACTS.md)."""
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": server}]
    assert len(json.dumps(document)) < 100_000
    operations = [o for item in document["paths"].values() for o in item.values()]
    assert len({o["operationId"] for o in operations}) == len(operations) == 2
    for operation in operations:
        assert len(operation["description"]) <= 300 and len(operation["summary"]) <= 300
        assert operation["x-openai-isConsequential"] is False
        assert not operation.get("parameters")  # a GPT sends no headers of its own
    for path, node in walk(document):
        if isinstance(node, dict) and node.get("type") == "object":
            assert node["properties"], path
        if isinstance(node, dict) and isinstance(node.get("description"), str):
            assert 0 < len(node["description"]) <= 700, path
        assert path.endswith("/$ref") is False  # everything is in place: nothing to resolve


def test_the_document_is_ready_to_import(one: Bridge, several: Bridge) -> None:
    check_importable(one.http.get(f"{one.url}/openapi-gpt.json").json(), one.url)
    open_one = several.http.get(f"{several.url}/openapi-gpt.json?gpt=abierto").json()
    check_importable(open_one, "https://koomtai.com")
    assert "security" not in open_one
    closed = several.http.get(f"{several.url}/openapi-gpt.json?gpt=cerrado").json()
    check_importable(closed, "https://koomtai.com")
    assert closed["components"]["securitySchemes"]["clave"] == {"type": "http", "scheme": "bearer"}
    assert closed["security"] == [{"clave": []}]


def test_the_document_knows_its_gpt(several: Bridge) -> None:
    document = several.http.get(f"{several.url}/openapi-gpt.json?gpt=abierto").json()
    event = document["paths"]["/api/events"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert event["properties"]["tipo"]["enum"] == ["consulta", "otra"]
    assert event["properties"]["gpt_id"]["enum"] == ["abierto"]
    assert event["required"] == ["gpt_id", "tipo", "contenido"]
    for name in ("latency_ms", "tokens_entrada", "tokens_salida"):
        assert event["properties"][name]["description"].endswith("Omítelo si no lo has medido; no lo estimes.")
    assert "crearSesion" in event["properties"]["sesion_id"]["description"]
    session = document["paths"]["/api/sessions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert session["required"] == ["gpt_id"] and set(session["properties"]) == {"gpt_id", "usuario_id"}
    assert document["paths"]["/api/sessions"]["post"]["operationId"] == "crearSesion"
    assert not any(word in json.dumps(document, ensure_ascii=False) for word in ("crear_sesion", "stímal", "timestamp"))


@pytest.mark.parametrize("query", ["", "?gpt=no-such", "?gpt="])
def test_which_gpt_must_be_said_where_there_are_several(several: Bridge, query: str) -> None:
    answer = several.http.get(f"{several.url}/openapi-gpt.json{query}")
    assert answer.status_code == 404 and answer.json()["type"] == "urn:otel-bridge:gpt-no-encontrado"


def test_a_host_header_cannot_write_into_the_document(one: Bridge) -> None:
    answer = one.http.get(f"{one.url}/openapi-gpt.json", headers={"Host": 'evil"}<script>'})
    assert answer.status_code != 200 or answer.json()["servers"] == [{"url": "http://127.0.0.1:8000"}]


def test_what_the_document_describes_is_taken(one: Bridge) -> None:
    document = one.http.get(f"{one.url}/openapi-gpt.json").json()
    samples = {"gpt_id": "devops-expert", **contract.example(contract.SessionIn), **contract.example(contract.EventIn)}
    for path in ("/api/sessions", "/api/events"):
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        body = {name: samples[name] for name in schema["required"]}
        assert one.http.post(one.url + path, json=body, headers=hinted("conv-doc")).status_code == 201


def test_the_command_prints_the_same_document(one: Bridge) -> None:
    done = one.run("openapi", "--gpt", "devops-expert")
    assert done.returncode == 0, done.stderr
    check_importable(json.loads(done.stdout), "http://127.0.0.1:8000")
    assert "https" in done.stderr
    assert one.run("openapi", "--gpt", "no-such").returncode == 2


def test_every_field_of_the_document_is_one_of_the_contracts(tmp_path: Any) -> None:
    (tmp_path / "c.toml").write_text(ONLY)
    gpt = config.load(str(tmp_path / "c.toml"), {}).gpts["devops-expert"]
    for shape, names in ((contract.SessionIn, actions.SESSION_FIELDS), (contract.EventIn, actions.EVENT_FIELDS)):
        assert set(names) - {"gpt_id"} <= set(shape.__struct_fields__)
        for name, schema in actions.properties(shape, names, gpt).items():
            assert schema["type"] and schema["description"], name


def test_what_a_model_does_not_measure_is_left_out_and_said_to_be(serve: Serve) -> None:
    one = serve(ONLY)
    opened = one.post("/events", {"tipo": "consulta", "contenido": "¿Qué es un runner?"}, headers=hinted("chat-9"))
    assert opened.status_code == 201, opened.text
    assert not {"latency_ms", "tokens_entrada", "tokens_salida"} & opened.json().keys()
    session = opened.json()["sesion_id"]
    state = one.http.get(f"{one.api}/sessions/{session}", timeout=10).json()
    assert state["eventos_sin_medir"] == {"latency_ms": 1, "tokens_entrada": 1, "tokens_salida": 1}
    assert state["eventos"] == 1 and not {"tokens_entrada", "tokens_salida"} & state.keys()
    batch = [
        {"tipo": "consulta", "contenido": "a", "latency_ms": None, "tokens_entrada": 5},
        {"tipo": "consulta", "contenido": "b", "latency_ms": 900, "tokens_entrada": 7, "tokens_salida": 11},
        {"tipo": "consulta", "contenido": "c", "latency_ms": "900"},
    ]
    answer = one.post("/events", batch, headers=hinted("chat-9"))
    assert [result["estado"] for result in answer.json()["resultados"]] == [201, 201, 422]
    state = one.http.get(f"{one.api}/sessions/{session}", timeout=10).json()
    assert state["eventos_sin_medir"] == {"latency_ms": 2, "tokens_entrada": 1, "tokens_salida": 2}
    assert (state["eventos"], state["tokens_entrada"], state["tokens_salida"]) == (3, 12, 11)
    assert one.metric("gen_ai_client_operation_duration_seconds_count") == 1
    for what, count in (("latency", 2), ("tokens_input", 1), ("tokens_output", 2)):
        assert one.metric("gpt_unmeasured_events_total", what=what, event_type="consulta") == count
    one.kill()
    one.start()
    assert one.http.get(f"{one.api}/sessions/{session}", timeout=10).json() == state
    assert one.metric("gpt_unmeasured_events_total", what="latency") == 2
    assert one.metric("otel_bridge_ledger_gap") == 0


def test_a_whole_number_is_answered_as_one_where_others_are_missing(one: Bridge) -> None:
    event = {"tipo": "consulta", "contenido": "a", "latency_ms": 900}
    assert '"latency_ms":900,' in one.post("/events", event, headers=hinted("chat-10")).text


def test_without_a_conversation_a_number_that_is_missing_is_asked_for(one: Bridge) -> None:
    answer = one.post("/events", {"sesion_id": one.session(), "tipo": "consulta", "contenido": "x"})
    assert answer.status_code == 422
    assert [e["campo"] for e in answer.json()["errors"]] == ["latency_ms", "tokens_entrada", "tokens_salida"]
