"""JSON-RPC messages as MCP has them: read here, and answered in our own words.

The `mcp` package gets what is a message at all. Of its answers the results go on, which our own tools made or which
name what it serves. Of its errors only the code does: whatever it, or what it is built on, writes into them may be
what was sent.

An `id` is a text or an integer (MCP, «Requests»); 1.0 is the integer 1, as JSON Schema 2020-12 has it and as an event's
fields are read. null, true and 1.5 are none, and whoever sends one waits for an answer: it is an error, not a
notification. The codes are JSON-RPC's and those of MCP 2026-07-28, «Error Codes».
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import mcp_types as types
import msgspec
from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

from otel_bridge import contract

log = logging.getLogger(__name__)

Id = str | int

VERSIONS = tuple(reversed(KNOWN_PROTOCOL_VERSIONS))
"""Of the protocol, that are served; the newest first."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_SOME = "desconocida"
"""Instead of a version that may be any text."""

WORDS: Mapping[int, str] = {
    types.PARSE_ERROR: "El cuerpo no es JSON válido en UTF-8, o anida demasiados niveles.",
    types.INVALID_REQUEST: (
        "No es un mensaje de JSON-RPC 2.0: un solo objeto con «jsonrpc»: \"2.0\", «method» y, si espera respuesta, "
        "«id» (un texto o un entero)."
    ),
    types.METHOD_NOT_FOUND: "Ese método no existe aquí. Para registrar: tools/list y tools/call.",
    types.INVALID_PARAMS: (
        "«params» no es como lo pide el método: un objeto con sus campos, y «_meta» donde la versión lo exige."
    ),
    types.INTERNAL_ERROR: "Fallo interno. Reintenta; si persiste, avisa al administrador: está en los logs.",
    types.HEADER_MISMATCH: (
        "«MCP-Protocol-Version», «Mcp-Method» o «Mcp-Name» falta, se repite o no dice lo mismo que el cuerpo."
    ),
    types.MISSING_REQUIRED_CLIENT_CAPABILITY: "El método pide una capacidad que el cliente no declara.",
    types.UNSUPPORTED_PROTOCOL_VERSION: "Esa versión del protocolo no se sirve; «supported» dice cuáles sí.",
}  # fmt: skip
"""Every code that is answered, and what is said with it."""


class Refused(Exception):
    """A message that gets an error. Holds nothing of the message but its id."""

    def __init__(
        self, code: int, own_id: Id | None = None, data: Mapping[str, Any] | None = None, words: str | None = None
    ) -> None:
        super().__init__(code)
        self.code = code
        self.id = own_id
        self.data = data
        self.words = words or WORDS[code]

    def document(self) -> bytes:
        """The answer. `id` is null where the message's own cannot be told."""
        error: dict[str, Any] = {"code": self.code, "message": self.words}
        if self.data is not None:
            error["data"] = self.data
        return msgspec.json.encode({"jsonrpc": types.JSONRPC_VERSION, "id": self.id, "error": error})


def answered(status: int, body: bytes, own_id: Id | None, own_words: Collection[str] = ()) -> tuple[int, bytes]:
    """The package's answer to a message as ours: status and body. Nothing of an error goes on but its code, and its
    words where they are `own_words`, that our tools say."""
    if 200 <= status < 300 and not body:
        return status, b""  # to a notification
    try:
        told = msgspec.json.decode(body, type=_Answer)
    except contract.BROKEN:
        told = _Answer()
    if told.result is not msgspec.UNSET and told.error is None:
        return status, msgspec.json.encode({"jsonrpc": types.JSONRPC_VERSION, "id": own_id, "result": told.result})
    code = told.error.code if told.error is not None else 0
    if code not in WORDS:
        log.error("the mcp package answered with status %d and the error %d", status, code)
        status, code = 500, types.INTERNAL_ERROR
    data = {"supported": VERSIONS, "requested": _SOME} if code == types.UNSUPPORTED_PROTOCOL_VERSION else None
    words = told.error.message if told.error is not None and told.error.message in own_words else None
    return status, Refused(code, own_id, data, words).document()


def is_result(document: bytes) -> bool:
    """Whether an answer, as `answered` gives it, is no error."""
    return msgspec.json.decode(document, type=_Answer).error is None


class _Error(msgspec.Struct):
    code: int
    message: str = ""


class _Answer(msgspec.Struct):
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: _Error | None = None


class Message(NamedTuple):
    """One message whose envelope is right."""

    id: Id | None
    """None: nobody waits for an answer."""
    method: str | None
    params: Mapping[str, Any]
    body: bytes


def read(body: bytes) -> Message:
    """Raises Refused."""
    try:
        value = contract.decode_value(body)
    except contract.BROKEN:
        raise Refused(types.PARSE_ERROR) from None
    if not isinstance(value, dict) or value.get("jsonrpc") != types.JSONRPC_VERSION:
        raise Refused(types.INVALID_REQUEST)
    own_id = None
    if "id" in value:
        own_id = _id(value["id"])
        if own_id is not value["id"]:
            body = json.dumps({**value, "id": own_id}).encode()
    if not isinstance(value.get("method", ""), str) or ("method" not in value and not _is_response(value)):
        raise Refused(types.INVALID_REQUEST)
    params = value.get("params")
    if params is not None and not isinstance(params, dict):
        raise Refused(types.INVALID_PARAMS, own_id)
    return Message(own_id, value.get("method"), params or {}, body)


def _id(value: object) -> Id:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise Refused(types.INVALID_REQUEST)


def _is_response(value: Mapping[str, Any]) -> bool:
    """Nothing is ever asked of a client; versions up to 2025-11-25 let it answer all the same."""
    return "id" in value and ("result" in value) != ("error" in value)


def check_version(message: Message, headers: Sequence[str]) -> None:
    """Raises Refused where a message is of a version that is not served, by its header (`MCP-Protocol-Version`) or its
    `_meta`. What `initialize` proposes is no such thing: its answer names a version that is (2025-11-25, «Lifecycle»).
    """
    meta = message.params.get("_meta")
    named = meta.get(types.PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
    if len(set(headers)) > 1:
        raise Refused(types.HEADER_MISMATCH, message.id)
    requested = headers[0] if headers else named
    if not isinstance(requested, str) or requested in VERSIONS:
        return
    if isinstance(named, str) and named != requested:
        raise Refused(types.HEADER_MISMATCH, message.id)
    # The schema wants the version back. A date is no text of anybody's.
    shown = requested if _DATE(requested) else _SOME
    raise Refused(types.UNSUPPORTED_PROTOCOL_VERSION, message.id, {"supported": VERSIONS, "requested": shown})
