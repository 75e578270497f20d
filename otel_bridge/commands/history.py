"""Lines of a history file, which `export` writes and `import` takes: the documented JSON, one object a line.

    a session   {"gpt_id": …, "usuario_id": …, "timestamp_inicio": …, "id": …}   as `POST /api/sessions` takes it
    an event    {"sesion_id": …, "tipo": …, "timestamp": …, …}                   as `POST /api/events`
    a rating    {"evento_id": …, "valor": …, "comentario": …, "id": …}           as `POST /api/events/{id}/valoracion`

What has a `sesion_id` is an event, what has an `evento_id` a rating, and anything else is taken for a session. A user
that is known by its hash alone is written `hash:…`, and is that user again where it is imported; who was forgotten is
`hash:`, and nobody there, too.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from otel_bridge.ids import uuid_text
from otel_bridge.intake.ingest import HASHED
from otel_bridge.records import (
    UNMEASURED_LATENCY,
    UNMEASURED_TOKENS_IN,
    UNMEASURED_TOKENS_OUT,
    Event,
    Feedback,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def exact_time(micros: int) -> str:
    """Microseconds since the Unix epoch → RFC 3339 in UTC, none of them lost."""
    return (_EPOCH + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def session_line(session: bytes, gpt: str, user: str, started_us: int) -> dict[str, Any]:
    return {
        "gpt_id": gpt,
        "usuario_id": HASHED + user,
        "timestamp_inicio": exact_time(started_us),
        "id": uuid_text(session),
    }


def event_line(event: Event) -> dict[str, Any]:
    """What nobody measured, and what was not told, is missing."""
    extras = event.extras
    unmeasured = 0 if extras is None else extras.unmeasured
    line: dict[str, Any] = {
        "sesion_id": uuid_text(event.session),
        "id": uuid_text(event.id),
        "tipo": event.type,
        "contenido": event.content or "",
        "timestamp": exact_time(event.end_us),
    }
    if not unmeasured & UNMEASURED_LATENCY:
        line["latency_ms"] = event.latency_ms
    if not unmeasured & UNMEASURED_TOKENS_IN:
        line["tokens_entrada"] = event.tokens_in
    if not unmeasured & UNMEASURED_TOKENS_OUT:
        line["tokens_salida"] = event.tokens_out
    told: dict[str, Any] = {"modelo": event.model, "error": event.error, "tokens_cache": event.tokens_cached}
    if extras is not None:
        told |= {
            "ttft_ms": extras.ttft_ms,
            "tokens_razonamiento": extras.tokens_reasoning,
            "version": extras.version,
            "herramientas": [
                {"nombre": call.name, "ms": call.ms} | ({} if call.error is None else {"error": call.error})
                for call in extras.tools
            ]
            or None,
        }
    return line | {name: value for name, value in told.items() if value is not None}


def rating_line(rating: Feedback) -> dict[str, Any]:
    line = {"evento_id": uuid_text(rating.event), "id": uuid_text(rating.id), "valor": rating.value}
    return line if rating.comment is None else {**line, "comentario": rating.comment}
