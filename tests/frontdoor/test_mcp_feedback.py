"""Ratings and ended sessions over `/mcp`: as the API has them, for clients with and without a conversation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.frontdoor.conftest import Serve
from tests.frontdoor.test_mcp_sessions import KEYS, SEVERAL, Editor
from tests.harness.bridge import Bridge

SECRET = "zq9secret"


@pytest.fixture(scope="module")
def one(serve: Serve) -> Bridge:
    return serve("[gpts.devops-expert]\n")


@pytest.fixture(scope="module")
def several(serve: Serve) -> Bridge:
    return serve(SEVERAL)


def votes(bridge: Bridge, result: str) -> float:
    return bridge.metric("gpt_feedback_total", result=result)


def test_an_answer_is_rated_once_however_often_the_call_comes(one: Bridge) -> None:
    editor = Editor(one)
    event = editor.event()
    before = votes(one, "bad")
    rating = {"evento_id": event["id"], "valor": -1, "comentario": "me llamo ana@example.com"}
    first, again = editor.call("valorar_evento", rating), editor.call("valorar_evento", rating)
    assert first == again and first["evento_id"] == event["id"] and first["trace_id"] == event["trace_id"]
    assert votes(one, "bad") == before + 1


@pytest.mark.parametrize(
    ("arguments", "field", "kind"),
    [
        ({"valor": 1}, "evento_id", "falta"),
        ({"evento_id": 7, "valor": 1}, "evento_id", "tipo"),
        ({"evento_id": None, "valor": 1}, "evento_id", "falta"),
        ({"evento_id": "it", "valor": 2}, "valor", "valor"),
        ({"evento_id": "it", "valor": SECRET}, "valor", "tipo"),
        ({"evento_id": "it"}, "valor", "falta"),
        ({"evento_id": "it", "valor": 1, "comentario": 7}, "comentario", "tipo"),
    ],
)
def test_a_rating_that_is_none_names_the_field(one: Bridge, arguments: dict[str, Any], field: str, kind: str) -> None:
    before = one.metric("otel_bridge_records_total", kind="feedback", result="rejected")
    problem = Editor(one).call("valorar_evento", arguments)
    assert problem["status"] == 422 and [(error["campo"], error["tipo"]) for error in problem["errors"]] == [
        (field, kind)
    ]
    assert SECRET not in str(problem)
    assert one.metric("otel_bridge_records_total", kind="feedback", result="rejected") == before + 1


def test_an_event_that_there_is_not_is_told_in_the_tools_words(one: Bridge) -> None:
    for made_up in ("0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", SECRET, ""):
        problem = Editor(one).call("valorar_evento", {"evento_id": made_up, "valor": 1})
        assert problem["status"] == 404 and "registrar_evento" in problem["detail"] and SECRET not in str(problem)


def test_a_session_ends_by_its_id_or_as_that_of_the_conversation(one: Bridge) -> None:
    ended = one.metric("gpt_session_events_count")
    editor = Editor(one)
    session = editor.create()["id"]
    for arguments in ({}, {"sesion_id": session}, {"sesion_id": ""}):
        state = editor.call("terminar_sesion", arguments)
        assert state["id"] == session and state["activa"] is False
    assert one.metric("gpt_session_events_count") == ended + 1
    assert editor.event()["sesion_id"] == session  # and goes on where somebody asks again
    assert editor.call("terminar_sesion")["eventos"] == 1
    assert one.metric("gpt_session_events_count") == ended + 2


def test_a_session_that_there_is_not_cannot_end(one: Bridge) -> None:
    problem = Editor(one).call("terminar_sesion")
    assert problem["status"] == 404 and "crear_sesion" in problem["detail"]
    bare = Editor(one)
    del bare.headers["Mcp-Session-Id"]
    for arguments, kind in (({}, "falta"), ({"sesion_id": 7}, "tipo"), ({"sesion_id": [SECRET]}, "tipo")):
        problem = bare.call("terminar_sesion", arguments)
        (error,) = problem["errors"]
        assert problem["status"] == 422 and "llama primero a crear_sesion" in error["mensaje"]
        assert error["tipo"] == kind and "/api/" not in str(problem) and SECRET not in str(problem)


def test_nobody_rates_or_ends_what_is_of_another_key(several: Bridge) -> None:
    owner, stranger = Editor(several, KEYS[0]), Editor(several, KEYS[2])
    event = owner.event(gpt_id="cerrado")
    rating = {"evento_id": event["id"], "valor": 1}
    assert stranger.call("valorar_evento", rating)["status"] == 403
    assert stranger.call("terminar_sesion", {"sesion_id": event["sesion_id"]})["status"] == 403
    nobody = Editor(several)
    for tool, arguments in (("valorar_evento", rating), ("terminar_sesion", {"sesion_id": event["sesion_id"]})):
        assert nobody.ask("tools/call", {"name": tool, "arguments": arguments}).status_code == 401
    assert owner.call("valorar_evento", rating)["valor"] == 1
    assert owner.call("terminar_sesion", {"gpt_id": "cerrado"})["activa"] is False
