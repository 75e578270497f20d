"""What is sent: sessions, events, ratings and ends, each encoded when it is queued. No I/O."""

from __future__ import annotations

import json
import math
import re
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

from otel_bridge_client.ids import utc_now

MAX_CONTENT_CHARS = 65_537
"""Characters of content that are sent: one more than the bridge looks at, so that it sees that there was more."""
MAX_TOOLS = 50
"""Calls of tools that the bridge takes with one event; those past it are not sent."""

SESSION, EVENT, RATING, END = "session", "event", "rating", "end"


class Record:
    """One record, encoded: what the caller does with its objects later changes nothing."""

    __slots__ = ("body", "first_try", "id", "kind", "queued", "session", "shared")

    def __init__(self, kind: str, record_id: str, session: str, body: bytes = b"", shared: bool = False) -> None:
        self.kind = kind
        self.id = record_id
        self.session = session
        self.body = body
        self.shared = shared
        """A session that another process may have opened before: then it is there, and that is all we want."""
        self.queued = time.monotonic()
        self.first_try: float | None = None

    @property
    def path(self) -> str:
        """Where it is posted, alone; events go together. An id may be any text that a builder's own client sent."""
        quoted = urllib.parse.quote(str(_clean(self.id)), safe="")
        return {
            SESSION: "/sessions",
            EVENT: "/events",
            RATING: f"/events/{quoted}/valoracion",
            END: f"/sessions/{quoted}/fin",
        }[self.kind]


class Invalid(ValueError):
    """A number that is none, or a text that cannot be written."""


def encode(fields: Mapping[str, object]) -> bytes:
    """Raises Invalid."""
    try:
        clean = {name: _clean(value) for name, value in fields.items() if value is not None}
        return json.dumps(clean, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, OverflowError) as error:
        raise Invalid from error


def session_fields(session: str, gpt_id: str, user_id: object, timestamp: object) -> dict[str, object]:
    return {
        "id": session,
        "gpt_id": gpt_id,
        "usuario_id": str(user_id),
        "timestamp_inicio": timestamp or utc_now(),
    }


def event_fields(
    record_id: str,
    session: str,
    event_type: object,
    content: object,
    latency_ms: object,
    tokens_in: object,
    tokens_out: object,
    *,
    model: object = None,
    error: object = None,
    timestamp: object = None,
    tokens_cached: object = None,
    tokens_reasoning: object = None,
    ttft_ms: object = None,
    tools: Iterable[Mapping[str, Any]] | None = None,
    version: object = None,
) -> dict[str, object]:
    """Raises Invalid."""
    try:
        latency = round(_number(latency_ms), 3)
        event: dict[str, object] = {
            "id": record_id,
            "sesion_id": session,
            "tipo": str(event_type),
            "contenido": str(content)[:MAX_CONTENT_CHARS],
            "latency_ms": latency,
            "tokens_entrada": _integer(tokens_in),
            "tokens_salida": _integer(tokens_out),
            "timestamp": timestamp or utc_now(),
        }
        if tokens_cached is not None:
            event["tokens_cache"] = _integer(tokens_cached)
        if tokens_reasoning is not None:
            event["tokens_razonamiento"] = _integer(tokens_reasoning)
        if ttft_ms is not None:
            event["ttft_ms"] = min(round(_number(ttft_ms), 3), latency)
        if tools:
            event["herramientas"] = [_tool(call) for call in list(tools)[:MAX_TOOLS]]
    except (TypeError, ValueError, OverflowError) as problem:
        raise Invalid from problem
    if model:
        event["modelo"] = str(model)
    if error:
        event["error"] = code(error)
    if version:
        event["version"] = code(version, "+@")
    return event


def rating_fields(value: object, comment: object) -> dict[str, object]:
    """Raises Invalid."""
    fields: dict[str, object] = {"valor": _number(value)}
    if comment is not None:
        fields["comentario"] = str(comment)[:MAX_CONTENT_CHARS]
    return fields


def _tool(call: Mapping[str, Any]) -> dict[str, object]:
    tool: dict[str, object] = {"nombre": code(call["name"], limit=128) or "_", "ms": round(_number(call["ms"]), 3)}
    if call.get("error"):
        tool["error"] = code(call["error"])
    return tool


def _number(value: Any) -> float:
    """Raises Invalid for what is no number; True and False are none."""
    try:
        if not isinstance(value, bool) and math.isfinite(float(value)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise Invalid


def _integer(value: Any) -> int:
    return int(value)


def _clean(value: object) -> object:
    """Text that JSON and the bridge take: no NUL, no half of a surrogate pair."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return value


def code(text: object, more: str = "", limit: int = 64) -> str:
    """Letters, digits and `_ . : / -`, as short codes have them."""
    return re.sub(rf"[^A-Za-z0-9_.:/{re.escape(more)}-]", "_", str(text))[:limit]
