"""The OpenAPI document that a GPT's builder imports as its actions, and what a tool's schema has in common with it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from otel_bridge import __version__, errors
from otel_bridge.config import Gpt
from otel_bridge.contract import EventIn, EventOut, SessionIn, SessionOut
from otel_bridge.errors import Problem
from otel_bridge.http import schemas
from otel_bridge.http.openapi import LICENSE
from otel_bridge.http.scheme import client_scheme

SESSION_FIELDS = ("gpt_id", "usuario_id")
EVENT_FIELDS = (
    "gpt_id", "sesion_id", "tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida", "modelo", "version",
    "error"
)  # fmt: skip
"""What a model can know, or what measures for it. Not `id`: a model repeats the example's. Not `timestamp` or
`timestamp_inicio`: a model has no clock, and what comes without happened when it arrives. Nothing of what happened
inside an answer (`ttft_ms`, `tokens_cache`, `tokens_razonamiento`, `herramientas`): a model sees none of it. Whoever
does may send them all."""
SESSION_REQUIRED = ("gpt_id",)
EVENT_REQUIRED = ("tipo", "contenido")

CREATE, ADD = "crearSesion", "agregarEvento"
"""The operations, as a model calls them."""
_UNMEASURED = "Omítelo si no lo has medido; no lo estimes."
_DESCRIPTIONS = {
    "usuario_id": (
        "Identificador opaco y estable del usuario, si lo conoces; nunca su nombre ni su correo. Solo sale como hash. "
        "Omítelo si no lo conoces: no lo inventes; la sesión cuenta entonces como un usuario aparte."
    ),
    "sesion_id": "El «id» que devolvió {create} en esta conversación. Omítelo si no lo tienes: no lo inventes.",
    "contenido": "La pregunta del usuario, sin datos personales.",
    "latency_ms": f"Milisegundos que tardó la respuesta, sin comillas. {_UNMEASURED}",
    "tokens_entrada": f"Tokens de la pregunta, un entero sin comillas. {_UNMEASURED}",
    "tokens_salida": f"Tokens de la respuesta, un entero sin comillas. {_UNMEASURED}",
    "modelo": "Modelo que respondió, por ejemplo gpt-6.2-sol. Omítelo si no lo sabes.",
    "version": "Versión del prompt o del agente, si tus instrucciones la dicen. Omítela si no: no la inventes.",
    "evento_id": "El «id» que devolvió el registro de la respuesta. No lo inventes.",
    "valor": "De -1 (mala) a 1 (buena), sin comillas: 1 por un pulgar arriba, -1 por uno abajo.",
    "comentario": "Lo que el usuario dijo de la respuesta, sin datos personales. Omítelo si no dijo nada.",
    "error": "Código corto si la respuesta falló, por ejemplo timeout. Omítelo si no falló.",
}


@lru_cache
def _of_contract(shape: type[Struct]) -> dict[str, dict[str, Any]]:
    """A type's fields as JSON Schemas. Read only: a type has the same ones for ever."""
    found = schemas.of((shape,))
    fields: dict[str, dict[str, Any]] = found[shape.__name__]["properties"]
    return {name: _flat(field, found) for name, field in fields.items()}


def _flat(schema: dict[str, Any], named: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A schema without references and without null: a model leaves out what it does not know."""
    flat = dict(schema)
    for choice in flat.pop("anyOf", ()):
        if choice != {"type": "null"}:
            flat.update(choice)
    items = flat.get("items", {})
    if "$ref" in items:
        shape = named[items["$ref"]]
        fields = {name: _flat(field, named) for name, field in shape["properties"].items()}
        for field in fields.values():
            field.pop("examples", None)
        flat["items"] = object_of(fields, shape["required"])
    return flat


def properties(
    shape: type[Struct], names: Collection[str], gpt: Gpt | None, create: str = CREATE
) -> dict[str, dict[str, Any]]:
    """JSON Schemas of these fields, flat, from the types that validate; narrowed to one GPT where one is given.
    `create`: what a model calls to open a session."""
    found = {}
    for name in names:
        schema = dict(_of_contract(shape).get(name) or {"type": "string"})
        schema.pop("examples", None)
        words = _DESCRIPTIONS.get(name)
        if words is not None:
            schema["description"] = words.replace("{create}", create)
        if name == "gpt_id":
            schema = {"type": "string", "description": "Código del GPT."}
            if gpt is not None:
                schema = {"type": "string", "enum": [gpt.id], "description": f"Código del GPT: siempre {gpt.id}."}
        if name == "tipo" and gpt is not None:
            schema["enum"] = list(gpt.event_types)
            schema["description"] = "Tipo de consulta: el que mejor describa la pregunta del usuario."
        found[name] = schema
    return found


def object_of(fields: dict[str, dict[str, Any]], required: Collection[str] = ()) -> dict[str, Any]:
    """The JSON Schema of an object with these fields."""
    schema: dict[str, Any] = {"type": "object", "properties": fields}
    if required:  # before draft 6 an empty list is an error
        schema["required"] = list(required)
    return schema


def servers(url: str) -> list[dict[str, str]]:
    return [{"url": url}]


def document(gpt: Gpt, server: str) -> dict[str, Any]:
    """OpenAPI 3.1 of one GPT's actions, ready to import: two operations that never ask the user for a confirmation."""
    # `gpt_id` is asked for in both: an event may come without a session, and a key need not say which GPT is meant.
    session = object_of(properties(SessionIn, SESSION_FIELDS, gpt), SESSION_REQUIRED)
    event = object_of(properties(EventIn, EVENT_FIELDS, gpt), ("gpt_id", *EVENT_REQUIRED))
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Métricas de {gpt.name}"[:100],
            "version": __version__,
            "description": "Registra sesiones y eventos del GPT.",
            "license": LICENSE,
        },
        "servers": servers(server),
        "paths": {
            "/api/sessions": _post(
                CREATE,
                "Crea la sesión",
                "Llámala una vez, al empezar la conversación. Guarda el «id» devuelto y envíalo en cada evento.",
                session,
                _answer(SessionOut, {"id": "Identificador de la sesión.", "trace_id": "Identificador de su traza."}),
            ),
            "/api/events": _post(
                ADD,
                "Registra un evento",
                "Llámala después de responder cada pregunta del usuario. Si recibes 422, corrige los campos que nombra "
                "«errors» y repite una vez.",
                event,
                _answer(EventOut, {"id": "Identificador del evento.", "sesion_id": "Sesión en la que quedó."}),
            ),
        },
        "components": {"schemas": {}},
    }
    if gpt.closed:
        found["components"]["securitySchemes"] = {"clave": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"clave": []}]
    else:
        for path in found["paths"].values():
            path["post"]["security"] = []  # said, since linters take nothing said for forgotten
    return found


def _answer(shape: type[Struct], words: Mapping[str, str]) -> dict[str, Any]:
    """The schema of an answer: those of its fields that a model has a use for."""
    return object_of({name: {**_of_contract(shape)[name], "description": word} for name, word in words.items()}, words)


def _post(
    operation: str, summary: str, description: str, body: dict[str, Any], answer: dict[str, Any]
) -> dict[str, Any]:
    content = {"application/json": {"schema": answer}}
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "description": description,
            "x-openai-isConsequential": False,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "200": {"description": "Ya estaba registrado: la primera respuesta.", "content": content},
                "201": {"description": "Registrado.", "content": content},
                "422": {"description": "Datos inválidos: «errors» nombra cada campo y lo que se espera de él."},
            },
        }
    }


def choose(gpts: Collection[Gpt], wanted: str | None) -> Gpt:
    """The GPT a document is asked for. Raises Problem."""
    if wanted is None and len(gpts) == 1:
        return next(iter(gpts))
    if wanted is None:
        raise Problem(errors.GPT_NOT_FOUND, "Hay varios GPT registrados: di cuál con «?gpt=».")
    for gpt in gpts:
        if gpt.id == wanted:
            return gpt
    raise Problem(errors.GPT_NOT_FOUND)


_HOST = re.compile(rb"[A-Za-z0-9.-]{1,253}(:\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:\d{1,5})?").fullmatch


def server_url(public_url: str | None, headers: Mapping[bytes, bytes], scheme: str) -> str:
    """Where clients reach the API: as configured, else as this request reached it."""
    if public_url is not None:
        return public_url
    host = headers.get(b"host", b"")
    if not _HOST(host):
        return "http://127.0.0.1:8000"
    return f"{client_scheme(headers, scheme)}://{host.decode()}"
