"""ChatGPT actions: the document that a GPT's builder imports, and calls that only say which conversation they are of.

A GPT that was told to create a session first will now and then not do so, or lose the id. Its calls carry
`openai-conversation-id`: an event without `sesion_id` then finds the session of that conversation, or opens it. The
header is a hint and never proof: it lets nobody in, it only names a session among those of a GPT that the caller may
post for. An MCP client's `_meta` says the same (`mcp_server`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Collection
from hashlib import blake2b
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from otel_bridge import __version__, contract, errors
from otel_bridge.config import Gpt
from otel_bridge.contract import EventIn, SessionIn, SessionOut
from otel_bridge.errors import FieldError, Problem
from otel_bridge.http.app import CONVERSATION
from otel_bridge.http.cors import RawHeaders
from otel_bridge.intake.ingest import OPEN_GATE, Answer, Gate, Hints, Ingest, stamp_uuid, uuid_text
from otel_bridge.metrics.own import SelfMetrics

_HINT = re.compile(r"[\x21-\x7e]{1,200}").fullmatch

GPT_MISSING = FieldError(
    "gpt_id",
    "falta este campo; se espera el código del GPT, porque el evento no trae «sesion_id»",
    "falta",
    "devops-expert",
)


class Caller(NamedTuple):
    """What a call says of where it comes from."""

    conversation: str
    user: str | None
    """Its user, as `usuario_id`."""
    gpt: str | None
    """The GPT whose key it carries."""


def hint(value: object) -> str | None:
    """A hint that is fit to be one; anything else is as if it were not there."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value if isinstance(value, str) and _HINT(value) else None


class _Paid:
    """A gate that has let this GPT's items in already."""

    def __init__(self, gate: Gate, paid: Collection[str]) -> None:
        self._gate = gate
        self._paid = paid

    @property
    def waits(self) -> bool:
        return self._gate.waits

    def check(self, gpt: Gpt, items: int) -> Awaitable[None] | None:
        return None if gpt.id in self._paid else self._gate.check(gpt, items)

    def stray(self, items: int) -> None:
        self._gate.stray(items)


class _Filled(NamedTuple):
    """A session that events without one go to."""

    session: bytes
    items: int
    started_us: int


class Conversations:
    """The two posts, for callers that name a conversation."""

    def __init__(
        self, ingest: Ingest, metrics: SelfMetrics, key: bytes, gpt_of_key: Callable[[RawHeaders], str | None]
    ) -> None:
        self._ingest = ingest
        self._metrics = metrics
        self._key = blake2b(key, digest_size=32, person=b"conversation-id").digest()
        self._gpt_of_key = gpt_of_key

    def session_of(self, gpt_id: str, conversation: str) -> bytes:
        """The id of a conversation's session: the same one always, and nobody without the key can tell which."""
        digest = blake2b(f"{gpt_id}\0{conversation}".encode(), digest_size=16, key=self._key).digest()
        return stamp_uuid(int.from_bytes(digest, "big"), 8)

    def caller(self, headers: RawHeaders) -> Caller | None:
        conversation = hint(headers.get(CONVERSATION))
        if conversation is None:
            return None
        user = hint(headers.get(b"openai-ephemeral-user-id"))
        return Caller(conversation, None if user is None else f"openai-user:{user}", self._gpt_of_key(headers))

    # --- the API's two posts ----------------------------------------------------------------------------------------

    async def post_session(self, body: bytes, gate: Gate, hints: Hints, headers: RawHeaders) -> Answer:
        return await self.create_session(body, gate, hints, self.caller(headers))

    async def post_events(self, body: bytes, gate: Gate, hints: Hints, headers: RawHeaders) -> Answer:
        return await self.add_events(body, gate, hints, self.caller(headers))

    async def create_session(self, body: bytes, gate: Gate, hints: Hints, caller: Caller | None) -> Answer:
        """A conversation has one session: creating it again answers with it."""
        session, started_us = contract.decode_session(body)
        if caller is None or session.id is not None or hints.idempotency_key is not None:
            return await self._ingest.open_session(session, started_us, gate, hints)
        gpt = self._ingest.gpts.get(session.gpt_id)
        if gpt is None:
            gate.stray(1)
            raise Problem(errors.GPT_NOT_FOUND)
        session_id = self.session_of(gpt.id, caller.conversation)
        pending = gate.check(gpt, 1)
        if pending is not None:
            await pending
        row = await self._ingest.session_row(session_id)
        if row is None:
            session.id = UUID(bytes=session_id)
            try:
                return await self._ingest.open_session(session, started_us, OPEN_GATE, hints)
            except Problem as problem:
                if problem.kind is not errors.ID_CONFLICT:
                    raise
                row = await self._ingest.session_row(session_id)  # another call of the conversation was first
                assert row is not None
        self._metrics.duplicate("session")
        text = uuid_text(session_id)
        started = contract.format_time(row.started_us)
        out = SessionOut(text, gpt.id, session.usuario_id, started, session_id.hex())
        return Answer(200, msgspec.json.encode(out), f"/api/sessions/{text}")

    async def add_events(self, body: bytes, gate: Gate, hints: Hints, caller: Caller | None) -> Answer:
        """Events of which some have no session: they go to their conversation's, which is opened where it must be.
        Nothing is opened for an event that is then refused."""
        sessions: dict[str, _Filled] = {}
        if caller is not None:
            try:
                body = self._fill(body, caller, sessions)
            except Problem as problem:
                if problem.kind is errors.GPT_NOT_FOUND:
                    gate.stray(1)
                raise
        for gpt_id, filled in sessions.items():
            gpt = self._ingest.gpts[gpt_id]
            new = await self._ingest.session_row(filled.session) is None
            pending = gate.check(gpt, filled.items + new)
            if pending is not None:
                await pending
            if new and caller is not None:
                await self._open(gpt_id, filled, hints, caller)
        return await self._ingest.add_events(body, _Paid(gate, sessions) if sessions else gate, hints)

    async def _open(self, gpt_id: str, filled: _Filled, hints: Hints, caller: Caller) -> None:
        user = caller.user or f"openai-conversation:{caller.conversation}"
        session = SessionIn(gpt_id, user, contract.format_time(filled.started_us), UUID(bytes=filled.session))
        try:
            await self._ingest.open_session(session, filled.started_us, OPEN_GATE, Hints(hints.link))
        except Problem as problem:
            if problem.kind is not errors.ID_CONFLICT:  # another call of the conversation was first
                raise

    # --- filling in -------------------------------------------------------------------------------------------------

    def _fill(self, body: bytes, caller: Caller, sessions: dict[str, _Filled]) -> bytes:
        """The body with `sesion_id` where it was missing. What cannot be read is left to those who say why."""
        try:
            if contract.is_batch(body):
                items = _raws(body)
                if len(items) > contract.MAX_BATCH_ITEMS:
                    return body
                return b"[" + b",".join([self._fill_batched(bytes(raw), caller, sessions) for raw in items]) + b"]"
            return self._fill_one(body, caller, sessions)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return body

    def _fill_batched(self, raw: bytes, caller: Caller, sessions: dict[str, _Filled]) -> bytes:
        try:
            return self._fill_one(raw, caller, sessions)
        except (Problem, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return raw

    def _fill_one(self, raw: bytes, caller: Caller, sessions: dict[str, _Filled]) -> bytes:
        fields = _fields(raw)
        given = fields.get("sesion_id")
        if given is not None and bytes(given) not in (b"null", b'""'):
            return raw
        gpt_id = self._gpt_of(fields, caller)
        session_id = self.session_of(gpt_id, caller.conversation)
        fields["sesion_id"] = msgspec.Raw(b'"' + uuid_text(session_id).encode() + b'"')
        filled = msgspec.json.encode(fields)
        try:
            event = contract.decode_event(filled)
            event_us = contract.event_time(event)
        except (Problem, ValueError, OverflowError):
            return filled  # refused where it is taken in, with every wrong field
        ended_us = time.time_ns() // 1000 if event_us is None else event_us
        started_us = max(contract.MIN_TIME_US, ended_us - round(event.latency_ms * 1000))
        before = sessions.get(gpt_id)
        if before is not None:
            sessions[gpt_id] = _Filled(session_id, before.items + 1, min(before.started_us, started_us))
        else:
            sessions[gpt_id] = _Filled(session_id, 1, started_us)
        return filled

    def _gpt_of(self, fields: dict[str, msgspec.Raw], caller: Caller) -> str:
        """The GPT of an event that has no session: named in its body, or by its key, or the only one there is."""
        named = fields.get("gpt_id")
        gpts = self._ingest.gpts
        if named is not None and bytes(named) != b"null":
            gpt_id = msgspec.json.decode(named)
            if not isinstance(gpt_id, str) or gpt_id not in gpts:
                raise Problem(errors.GPT_NOT_FOUND)
            return gpt_id
        if caller.gpt is not None and caller.gpt in gpts:
            return caller.gpt
        if len(gpts) == 1:
            return next(iter(gpts))
        raise Problem(errors.INVALID_DATA, "Revisa: «sesion_id», «gpt_id».", [GPT_MISSING])


_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


# --- the document a GPT's builder imports ---------------------------------------------------------------------------

SESSION_FIELDS = ("gpt_id", "usuario_id", "timestamp_inicio")
EVENT_FIELDS = (
    "gpt_id", "sesion_id", "tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida", "modelo", "error"
)  # fmt: skip
"""What a model can know. Not `id`: a model repeats the example's. Not `timestamp`: a model has no clock, and an event
without one happened when it arrives."""

_DESCRIPTIONS = {
    "usuario_id": "Identificador opaco y estable del usuario; nunca su nombre ni su correo. Solo sale como hash.",
    "timestamp_inicio": "Momento en que empezó la conversación, ISO 8601 en UTC, por ejemplo 2025-06-29T20:00:00.000Z.",
    "sesion_id": "El «id» que devolvió crearSesion en esta conversación. Omítelo si no lo tienes: no lo inventes.",
    "contenido": "La pregunta del usuario, sin datos personales.",
    "latency_ms": "Milisegundos que tardó la respuesta, sin comillas.",
    "tokens_entrada": "Tokens de la pregunta, un entero sin comillas. Estímalos: unos 4 caracteres por token.",
    "tokens_salida": "Tokens de la respuesta, un entero sin comillas. Estímalos: unos 4 caracteres por token.",
    "modelo": "Modelo que respondió, por ejemplo gpt-4o. Omítelo si no lo sabes.",
    "error": "Código corto si la respuesta falló, por ejemplo timeout. Omítelo si no falló.",
}


def properties(shape: type[Any], names: Collection[str], gpt: Gpt | None) -> dict[str, dict[str, Any]]:
    """JSON Schemas of these fields, flat, from the types that validate; narrowed to one GPT where one is given."""
    _, components = msgspec.json.schema_components((shape,), ref_template="{name}")
    of_contract = components[shape.__name__]["properties"]
    found = {}
    for name in names:
        schema = dict(of_contract.get(name) or {"type": "string"})
        for choice in schema.pop("anyOf", ()):
            if choice != {"type": "null"}:
                schema.update(choice)
        for key in ("default", "examples", "title"):
            schema.pop(key, None)
        schema["description"] = _DESCRIPTIONS.get(name, schema.get("description", ""))
        if name == "gpt_id":
            schema = {"type": "string", "description": "Código del GPT."}
            if gpt is not None:
                schema = {"type": "string", "enum": [gpt.id], "description": f"Código del GPT: siempre {gpt.id}."}
        if name == "tipo" and gpt is not None:
            schema["enum"] = list(gpt.event_types)
            schema["description"] = "Tipo de consulta: el que mejor describa la pregunta del usuario."
        found[name] = schema
    return found


def document(gpt: Gpt, server: str) -> dict[str, Any]:
    """OpenAPI 3.1 of one GPT's actions, ready to import: two operations that never ask the user for a confirmation."""
    session = {
        "type": "object",
        "properties": properties(SessionIn, SESSION_FIELDS, gpt),
        "required": list(SESSION_FIELDS),
    }
    event = {
        "type": "object",
        "properties": properties(EventIn, EVENT_FIELDS, gpt),
        "required": ["gpt_id", "tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida"],
    }
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"Métricas de {gpt.name}"[:100],
            "version": __version__,
            "description": "Registra sesiones y eventos del GPT.",
        },
        "servers": [{"url": server}],
        "paths": {
            "/api/sessions": _post(
                "crearSesion",
                "Crea la sesión",
                "Llámala una vez, al empezar la conversación. Guarda el «id» devuelto y envíalo en cada evento.",
                session,
                {"id": "Identificador de la sesión.", "trace_id": "Identificador de su traza."},
            ),
            "/api/events": _post(
                "agregarEvento",
                "Registra un evento",
                "Llámala después de responder cada pregunta del usuario. Si recibes 422, corrige los campos que nombra "
                "«errors» y repite una vez.",
                event,
                {"id": "Identificador del evento.", "sesion_id": "Sesión en la que quedó."},
            ),
        },
        "components": {"schemas": {}},
    }
    if gpt.api_key_hashes:
        found["components"]["securitySchemes"] = {"clave": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"clave": []}]
    return found


def _post(
    operation: str, summary: str, description: str, body: dict[str, Any], answer: dict[str, str]
) -> dict[str, Any]:
    out = {"type": "object", "properties": {k: {"type": "string", "description": v} for k, v in answer.items()}}
    return {
        "post": {
            "operationId": operation,
            "summary": summary,
            "description": description,
            "x-openai-isConsequential": False,
            "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
            "responses": {
                "201": {"description": "Registrado.", "content": {"application/json": {"schema": out}}},
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


def server_url(public_url: str | None, headers: RawHeaders, scheme: str) -> str:
    """Where clients reach the API: as configured, else as this request reached it."""
    if public_url is not None:
        return public_url
    host = headers.get(b"host", b"")
    if not _HOST(host):
        return "http://127.0.0.1:8000"
    forwarded = headers.get(b"x-forwarded-proto", b"").lower()
    return f"{'https' if forwarded == b'https' else scheme}://{host.decode()}"
