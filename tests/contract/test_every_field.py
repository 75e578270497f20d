"""A field of an event is known wherever fields are listed, or left out there by name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from otel_bridge import config
from otel_bridge.contract import EventIn
from otel_bridge.http import openapi
from otel_bridge.http.actions_openapi import EVENT_FIELDS, properties
from tests.harness.bridge import GUIDE_EVENT
from tests.harness.desk import Desk

ROOT = Path(__file__).parents[2]
FIELDS = [field.name for field in msgspec.structs.fields(EventIn)]
ID = "0199c0de-0000-7000-8000-000000000001"
WHOLE: dict[str, Any] = {
    **GUIDE_EVENT,
    "id": ID,
    "timestamp": "2026-01-02T03:04:05Z",
    "modelo": "gpt-6.2-sol",
    "error": "timeout",
    "tokens_cache": 20,
    "ttft_ms": 420.5,
    "tokens_razonamiento": 80,
    "version": "prompt-7",
    "herramientas": [{"nombre": "buscar_documentos", "ms": 210}, {"nombre": "leer", "ms": 1, "error": "timeout"}],
}
OTHER: dict[str, Any] = {
    "tipo": "seguridad",
    "contenido": "otra pregunta",
    "latency_ms": 1501,
    "tokens_entrada": 26,
    "tokens_salida": 151,
    "timestamp": "2026-01-02T03:04:06Z",
    "modelo": "modelo-x",
    "error": "limite",
    "tokens_cache": 21,
    "ttft_ms": 421,
    "tokens_razonamiento": 81,
    "version": "prompt-8",
    "herramientas": [{"nombre": "buscar_documentos", "ms": 211}],
}
"""Another value of each field. The session's is made by the test; the id stands for the rest."""


def test_the_examples_have_every_field() -> None:
    assert set(FIELDS) == set(WHOLE) | {"sesion_id"} == set(OTHER) | {"sesion_id", "id"}


@pytest.mark.parametrize("field", [name for name in FIELDS if name != "id"])
def test_the_same_id_with_another_value_is_a_conflict(tmp_path: Path, field: str) -> None:
    async def scenario(desk: Desk) -> list[int]:
        session, other_session = await desk.new(), await desk.new()
        first = {**WHOLE, "sesion_id": session}
        other = {**first, field: other_session if field == "sesion_id" else OTHER[field]}
        bodies = [json.dumps(first), json.dumps(first), json.dumps([other])]
        return [(await desk.post(body.encode())).status for body in bodies]

    assert _at_desk(tmp_path, scenario) == [201, 200, 207]


@pytest.mark.parametrize("field", [name for name in FIELDS if name not in ("id", "modelo", "error")])
def test_without_an_id_what_the_contract_names_tells_events_apart(tmp_path: Path, field: str) -> None:
    """Left out of an event's identity by name: `modelo`, `error` (DESIGN, section 2)."""

    async def scenario(desk: Desk) -> list[int]:
        session, other_session = await desk.new(), await desk.new()
        first = {key: value for key, value in {**WHOLE, "sesion_id": session}.items() if key != "id"}
        other = {**first, field: other_session if field == "sesion_id" else OTHER[field]}
        return [(await desk.post(json.dumps(body).encode())).status for body in (first, first, other)]

    assert _at_desk(tmp_path, scenario) == [201, 200, 201]


LATER: dict[str, Any] = {
    "tokens_cache": 0,
    "ttft_ms": 0,
    "tokens_razonamiento": 0,
    "version": "None",
    "herramientas": [{"nombre": "None", "ms": 0}],
}
"""Fields that came after 0.1.0, with the value that could pass for none."""


@pytest.mark.parametrize("field", LATER)
@pytest.mark.parametrize("known_by", ["id", "content"])
def test_a_field_that_is_given_tells_an_event_from_one_without_it(tmp_path: Path, field: str, known_by: str) -> None:
    async def scenario(desk: Desk) -> list[int]:
        without = {**WHOLE, "sesion_id": await desk.new()}
        del without[field]
        if known_by == "content":
            del without["id"]
        bodies = ([without], [{**without, field: LATER[field]}], [{**without, field: None}])
        answers = [json.loads((await desk.post(json.dumps(body).encode())).body) for body in bodies]
        return [answer["resultados"][0]["estado"] for answer in answers]

    assert _at_desk(tmp_path, scenario) == [201, 409 if known_by == "id" else 201, 200]


def _at_desk(folder: Path, scenario: Any) -> list[int]:
    async def served() -> list[int]:
        desk = Desk(folder, config.load(None, {}))
        try:
            return list(await scenario(desk))
        finally:
            await desk.close()

    return asyncio.run(served())


def test_actions_ask_a_model_for_every_field_that_it_can_know() -> None:
    # A model repeats the example's id, has no clock, and sees nothing of what happens inside its answer.
    left_out = {"id", "timestamp", "ttft_ms", "tokens_cache", "tokens_razonamiento", "herramientas"}
    assert set(EVENT_FIELDS) | left_out == set(FIELDS) | {"gpt_id"}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_has_the_same_limits_for_a_model_as_in_the_api(field: str) -> None:
    """Actions and tools show it flat, and without null: a model leaves out what it does not know."""
    words = ("description", "examples")
    (flat,) = properties(EventIn, (field,), None).values()
    shown = dict(openapi.document()["components"]["schemas"]["EventIn"]["properties"][field])
    if "anyOf" in shown:
        value, null = shown.pop("anyOf")
        assert null == {"type": "null"}
        shown |= value
    if "items" in shown:  # of named types
        named = dict(openapi.document()["components"]["schemas"][shown["items"]["$ref"].rpartition("/")[2]])
        inner = flat["items"]["properties"]
        assert inner.keys() == named["properties"].keys() and flat["items"]["required"] == named["required"]
        assert all(not {"anyOf", "$ref"} & field.keys() and field["description"] for field in inner.values())
        shown["items"] = flat["items"]
    assert all(shown[word] for word in words) and flat["description"]
    assert {k: v for k, v in flat.items() if k not in words} == {k: v for k, v in shown.items() if k not in words}


@pytest.mark.parametrize("client", ["clients/python/otel_bridge_client/records.py", "clients/javascript/src/record.js"])
def test_a_client_sends_every_field(client: str) -> None:
    text = (ROOT / client).read_text(encoding="utf-8")
    written = {field for field in FIELDS if f'"{field}"' in text or f" {field}:" in text or f"event.{field} =" in text}
    shorthand = {"timestamp", "id"} if client.endswith(".js") else set()
    assert written | shorthand == set(FIELDS)
