"""The documented JSON as types: bytes → value, or errors by field. No I/O.

A valid body takes one msgspec pass. Only a body that fails it is read a second time, slowly and leniently, to name
*every* wrong field in Spanish instead of the first. `/openapi.json` is made from the same types, so it cannot promise
what the decoder refuses.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from otel_bridge import clock, errors, times
from otel_bridge.errors import FieldError, Problem, ProblemOut
from otel_bridge.records import UNMEASURED_LATENCY, UNMEASURED_TOKENS_IN, UNMEASURED_TOKENS_OUT

MAX_BATCH_ITEMS = 10_000
DIAGNOSED_ITEMS = 200
"""How many wrong items of a batch are answered with their wrong fields."""
MAX_OBJECT_BYTES = 1 << 20
"""The limit of one object, alone or wrong in a batch: to name its wrong fields it is read again."""
MAX_SMALL_BYTES = 64 << 10
"""The limit of a rating, and of what comes with the end of a session."""
MAX_LATENCY_MS = 7 * 86_400_000
MAX_TOKENS = 1_000_000_000
MAX_TOOLS = 50
"""Calls of tools that one event can tell of."""
NIL_UUID = UUID(int=0)


def _meta(expected: str, example: object, description: str, **limits: Any) -> Meta:
    return Meta(
        description=f"{description} Se espera {expected}.",
        examples=[example],
        extra={"expected": expected, "example": example},
        **limits,
    )


_GPT_ID = _meta("un texto de 1 a 128 caracteres", "devops-expert", "Código del GPT.", min_length=1, max_length=128)
_USER = _meta(
    "un texto de 1 a 256 caracteres",
    "usuario123",
    "Identificador del usuario; solo sale como hash con clave.",
    min_length=1,
    max_length=256,
)
_TIME = _meta(
    "una fecha y hora ISO 8601 (RFC 3339), desde 2015 y no más de un día por delante; sin desfase se entiende UTC",
    "2025-06-29T20:00:00.000Z",
    "Momento del registro.",
    extra_json_schema={"format": "date-time"},
)
_UUID = _meta("un UUID", "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", "Identificador elegido por el cliente.")
_SESSION = _meta("un UUID", "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", "El «id» que devolvió POST /api/sessions.")
_TYPE = _meta("un texto de 1 a 64 caracteres", "consulta", "Tipo de evento.", min_length=1, max_length=64)
_CONTENT = _meta("un texto", "¿Cómo configuro un pipeline CI/CD con Docker?", "La pregunta del usuario.")
_LATENCY = _meta(
    f"un número de milisegundos entre 0 y {MAX_LATENCY_MS}, sin comillas",
    1500,
    "Tiempo que tardó la respuesta, en milisegundos.",
    ge=0,
    le=MAX_LATENCY_MS,
)
_TOKENS_IN = _meta(f"un entero entre 0 y {MAX_TOKENS}, sin comillas", 25, "Tokens de entrada.", ge=0, le=MAX_TOKENS)
_TOKENS_OUT = _meta(f"un entero entre 0 y {MAX_TOKENS}, sin comillas", 150, "Tokens de salida.", ge=0, le=MAX_TOKENS)
_TOKENS_CACHE = _meta(
    "un entero entre 0 y el de «tokens_entrada», sin comillas",
    20,
    "Parte de los tokens de entrada que sirvió la caché del proveedor.",
    ge=0,
    le=MAX_TOKENS,
)
_TTFT = _meta(
    "un número de milisegundos entre 0 y el de «latency_ms», sin comillas",
    320,
    "Tiempo hasta el primer token de la respuesta, en milisegundos.",
    ge=0,
    le=MAX_LATENCY_MS,
)
_TOKENS_REASONING = _meta(
    "un entero entre 0 y el de «tokens_salida», sin comillas",
    64,
    "Parte de los tokens de salida que el modelo gastó en razonar.",
    ge=0,
    le=MAX_TOKENS,
)
_VERSION = _meta(
    "un código corto: letras, cifras y «_ . : / + @ -», 64 como mucho",
    "prompt-7",
    "Versión del prompt o del agente, para comparar dos versiones.",
    pattern=r"^[A-Za-z0-9_.:/+@-]{1,64}\Z",
)
_TOOL_NAME = _meta(
    "un nombre corto: letras, cifras y «_ . : / -», 128 como mucho",
    "buscar_documentos",
    "Nombre de la herramienta.",
    pattern=r"^[A-Za-z0-9_.:/-]{1,128}\Z",
)
_TOOL_MS = _meta(
    f"un número de milisegundos entre 0 y {MAX_LATENCY_MS}, sin comillas",
    210,
    "Tiempo que tardó la llamada, en milisegundos.",
    ge=0,
    le=MAX_LATENCY_MS,
)
_TOOLS = _meta(
    f"una lista de {MAX_TOOLS} llamadas como mucho, cada una un objeto con «nombre», «ms» y, si falló, «error»",
    [{"nombre": "buscar_documentos", "ms": 210}],
    "Llamadas a herramientas dentro de la respuesta, en su orden.",
    max_length=MAX_TOOLS,
)
_MODEL = _meta("un texto de 1 a 128 caracteres", "gpt-6.2-sol", "Modelo que respondió.", min_length=1, max_length=128)
_ERROR = _meta(
    "un código corto: letras, cifras y «_ . : / -», 64 como mucho",
    "timeout",
    "Código de error; marca el evento como fallido.",
    # `\Z`, for Python's `$` lets a line break follow. Documents say `$` for it (http/schemas.py).
    pattern=r"^[A-Za-z0-9_.:/-]{1,64}\Z",
)

_SCORE = _meta("un número entre -1 y 1, sin comillas", 1, "Valoración: 1 buena, 0 neutra, -1 mala.", ge=-1, le=1)
_COMMENT = _meta("un texto", "Justo lo que necesitaba.", "Lo que dijo quien valora; se censura como el contenido.")

Uuid = Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
TraceId = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
SpanId = Annotated[str, Meta(pattern="^([0-9a-f]{16})?$")]
Url = Annotated[str, Meta(extra_json_schema={"format": "uri"})]
Total = Annotated[int, Meta(ge=0, extra_json_schema={"format": "int64"})]
"""A sum over any number of events: a client generated with 32 bits would overflow."""


class SessionIn(Struct, gc=False):
    """`POST /api/sessions`."""

    gpt_id: Annotated[str, _GPT_ID]
    usuario_id: Annotated[str, _USER]
    timestamp_inicio: Annotated[str, _TIME]
    id: Annotated[UUID, _UUID] | None = None


class ToolIn(Struct, gc=False):
    """One of an event's `herramientas`."""

    nombre: Annotated[str, _TOOL_NAME]
    ms: Annotated[float, _TOOL_MS]
    error: Annotated[str, _ERROR] | None = None


class EventIn(Struct, gc=False):
    """`POST /api/events`, one item."""

    sesion_id: Annotated[UUID, _SESSION]
    tipo: Annotated[str, _TYPE]
    contenido: Annotated[str, _CONTENT]
    latency_ms: Annotated[float, _LATENCY]
    tokens_entrada: Annotated[int, _TOKENS_IN]
    tokens_salida: Annotated[int, _TOKENS_OUT]
    timestamp: Annotated[str, _TIME] | None = None
    id: Annotated[UUID, _UUID] | None = None
    modelo: Annotated[str, _MODEL] | None = None
    error: Annotated[str, _ERROR] | None = None
    tokens_cache: Annotated[int, _TOKENS_CACHE] | None = None
    ttft_ms: Annotated[float, _TTFT] | None = None
    tokens_razonamiento: Annotated[int, _TOKENS_REASONING] | None = None
    version: Annotated[str, _VERSION] | None = None
    herramientas: Annotated[list[ToolIn], _TOOLS] | None = None


class FeedbackIn(Struct, gc=False):
    """`POST /api/events/{id}/valoracion`."""

    valor: Annotated[float, _SCORE]
    comentario: Annotated[str, _COMMENT] | None = None
    id: Annotated[UUID, _UUID] | None = None


class EndIn(Struct, gc=False):
    """`POST /api/sessions/{id}/fin`: an object without fields, or no body at all."""


class ReportedEventIn(EventIn, gc=False):
    """An event that a model reports of itself, over MCP or as an action: it has no clock and does not see its tokens,
    so that `latency_ms`, `tokens_entrada` and `tokens_salida` may be missing."""

    unmeasured: int = 0
    """Bits (`records.UNMEASURED_…`) of those that are. They are 0 here."""


class SessionOut(Struct):
    """201 (or 200 for a retry) of `POST /api/sessions`."""

    id: Uuid
    gpt_id: str
    usuario_id: str
    timestamp_inicio: Moment
    trace_id: TraceId


class EventOut(Struct):
    """201 (or 200 for a retry) of `POST /api/events` with one object."""

    id: Uuid
    sesion_id: Uuid
    tipo: str
    latency_ms: float
    tokens_entrada: int
    tokens_salida: int
    timestamp: Moment
    trace_id: TraceId
    span_id: SpanId


class ReportedEventOut(Struct, kw_only=True):
    """The same of an event that a model reported: without the numbers that nobody measured."""

    id: Uuid
    sesion_id: Uuid
    tipo: str
    latency_ms: float | UnsetType = UNSET
    tokens_entrada: int | UnsetType = UNSET
    tokens_salida: int | UnsetType = UNSET
    timestamp: Moment
    trace_id: TraceId
    span_id: SpanId


class FeedbackOut(Struct):
    """201 (or 200 for a retry) of `POST /api/events/{id}/valoracion`."""

    id: Uuid
    evento_id: Uuid
    sesion_id: Uuid
    valor: float
    timestamp: Moment
    trace_id: TraceId
    span_id: SpanId


class ItemOut(Struct):
    """Result of one item of a batch, at the item's position: its `id`, or why it is refused."""

    indice: int
    estado: int
    id: Uuid | UnsetType = UNSET
    error: ProblemOut | UnsetType = UNSET


class BatchOut(Struct):
    """201 or 207 of `POST /api/events` with an array. A repeated item counts as accepted."""

    aceptados: int
    rechazados: int
    resultados: list[ItemOut]


class SessionTrace(Struct):
    """One of a session's traces. `enlace_traza`: where `trace_url` is configured."""

    trace_id: TraceId
    enlace_traza: Url | UnsetType = UNSET


class Unmeasured(Struct):
    """Of how many of a session's events nobody measured the number, where a model reported on itself."""

    latency_ms: Total
    tokens_entrada: Total
    tokens_salida: Total


class SessionState(Struct, kw_only=True):
    """200 of `GET /api/sessions/{id}`. `trace_id` and `enlace_traza` are the first trace's. `trazas`: all of them, from
    the first to the newest; of a session of more than a hundred, the newest hundred. `tokens_…` are of the events that
    have them, and missing where none has; `eventos_sin_medir` is there where a number was not measured."""

    id: Uuid
    gpt_id: str
    usuario_hash: Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
    timestamp_inicio: Moment
    trace_id: TraceId
    eventos: Total
    eventos_con_error: Total
    tokens_entrada: Total | UnsetType = UNSET
    tokens_salida: Total | UnsetType = UNSET
    eventos_sin_medir: Unmeasured | UnsetType = UNSET
    activa: bool
    trazas: list[SessionTrace]
    primer_evento: Moment | UnsetType = UNSET
    ultimo_evento: Moment | UnsetType = UNSET
    enlace_traza: Url | UnsetType = UNSET


T = TypeVar("T", SessionIn, EventIn, ToolIn, FeedbackIn, EndIn)

_session_decoder = msgspec.json.Decoder(SessionIn)
_event_decoder = msgspec.json.Decoder(EventIn)
_feedback_decoder = msgspec.json.Decoder(FeedbackIn)
_end_decoder = msgspec.json.Decoder(EndIn)
_events_decoder = msgspec.json.Decoder(list[EventIn])
_raws_decoder = msgspec.json.Decoder(list[msgspec.Raw])

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a body or a value that it refuses."""


def decode_session(body: bytes) -> tuple[SessionIn, int]:
    """The session in a body and its start, in microseconds. Raises Problem (400, 422)."""
    now_us = clock.now_us()
    try:
        session = _session_decoder.decode(body)
        return session, _session_time(session, now_us)
    except (*BROKEN, ValueError):
        raise diagnose(body, SessionIn, now_us) from None


def is_batch(body: bytes) -> bool:
    """Whether a JSON body is an array (only white space may stand before its bracket)."""
    return body[:1] == b"[" or body.lstrip(b" \t\r\n")[:1] == b"["


def decode_event(body: bytes) -> EventIn:
    """The event in a body. Raises Problem (400, 422). `event_time` completes the check."""
    try:
        return _event_decoder.decode(body)
    except BROKEN:
        event = _read_again(body)
    if event is None:
        raise diagnose(body, EventIn)
    return event


def _read_again(body: bytes | msgspec.Raw) -> EventIn | None:
    """An event that was refused for integers written as 25.0 or 2.5e1: JSON Schema calls them integers, too (2020-12,
    section 4.2.3), and msgspec does not. None: that is not what is wrong. Raises Problem (422) for what else is."""
    try:
        value = decode_value(body)
    except BROKEN:
        return None
    whole = _with_integers(value, EventIn)
    return None if whole is value else event_from(whole)


def _with_integers(value: object, shape: type[Struct]) -> object:
    """A decoded value with integers where its fields want some and have a whole number; itself where there are none."""
    if not isinstance(value, dict):
        return value
    whole = {
        name: int(value[name])
        for name in _integer_fields(shape)
        if isinstance(value.get(name), float) and value[name].is_integer()
    }
    return {**value, **whole} if whole else value


@lru_cache
def _integer_fields(shape: type[Struct]) -> tuple[str, ...]:
    return tuple(field.name for field in _fields(shape) if _takes_integers(field.type))


def _takes_integers(annotation: object) -> bool:
    """Whether a field is an integer, or an optional one."""
    choices = (annotation, *getattr(annotation, "__args__", ()))
    return any(getattr(choice, "__origin__", None) is int for choice in choices)


def decode_value(body: bytes | msgspec.Raw) -> object:
    """Any JSON value. Raises msgspec's errors; `diagnose` tells the sender what is wrong."""
    return msgspec.json.decode(body)


def session_from(value: object) -> tuple[SessionIn, int]:
    """The session that a decoded value holds, and its start in microseconds. Raises Problem (422)."""
    now_us = clock.now_us()
    try:
        session = msgspec.convert(value, SessionIn)
        _check_text(session.gpt_id, session.usuario_id, session.timestamp_inicio)
        return session, _session_time(session, now_us)
    except (*BROKEN, ValueError):
        raise diagnose_value(value, SessionIn, now_us) from None


def _session_time(session: SessionIn, now_us: int) -> int:
    """Checks what the types cannot say and returns the session's start in microseconds. Raises ValueError."""
    if "\0" in session.gpt_id or "\0" in session.usuario_id or session.id == NIL_UUID:
        raise ValueError
    return times.parse_time(session.timestamp_inicio, now_us)


def event_from(value: object) -> EventIn:
    """The event that a decoded value holds. Raises Problem (422). `event_time` completes the check."""
    event = _event(value)
    if event is None:
        raise diagnose_value(value, EventIn)
    return event


def _event(value: object) -> EventIn | None:
    try:
        event = msgspec.convert(_with_integers(value, EventIn), EventIn)
        _check_text(event.tipo, event.contenido, event.timestamp, event.modelo, event.error)
    except (*BROKEN, ValueError, OverflowError):
        return None
    numbers = (event.latency_ms, event.ttft_ms or 0.0, *(tool.ms for tool in event.herramientas or ()))
    return event if all(map(math.isfinite, numbers)) else None


MEASURED = {
    "latency_ms": UNMEASURED_LATENCY,
    "tokens_entrada": UNMEASURED_TOKENS_IN,
    "tokens_salida": UNMEASURED_TOKENS_OUT,
}


def reported_event_from(value: object) -> EventIn:
    """The event that a decoded value holds, where a model reports on itself: a number that is missing or null is not
    measured. Raises Problem (422). `event_time` completes the check."""
    if not isinstance(value, dict):
        return event_from(value)
    missing = {name: bit for name, bit in MEASURED.items() if value.get(name) is None}
    event = _event(value | dict.fromkeys(missing, 0))
    if event is None:
        raise diagnose_value(value, ReportedEventIn)
    return ReportedEventIn(**msgspec.structs.asdict(event), unmeasured=sum(missing.values())) if missing else event


def decode_reported(body: bytes) -> EventIn:
    """The event in a body that may lack what nobody measured, as history does. Raises Problem (400, 422)."""
    try:
        return reported_event_from(decode_value(body))
    except BROKEN:
        raise diagnose(body, ReportedEventIn) from None


def decode_reported_batch(body: bytes) -> list[EventIn | Problem]:
    """`decode_mixed_batch` of events that may lack what nobody measured."""
    return decode_items(body, lambda raw: reported_event_from(decode_value(raw)))


def decode_feedback(body: bytes) -> FeedbackIn:
    """The rating in a body. Raises Problem (400, 413, 422)."""
    _check_small(body)
    try:
        return _checked_feedback(_feedback_decoder.decode(body))
    except (*BROKEN, ValueError):
        raise diagnose(body, FeedbackIn) from None


def feedback_from(value: object) -> FeedbackIn:
    """The rating that a decoded value holds. Raises Problem (422)."""
    try:
        feedback = _checked_feedback(msgspec.convert(value, FeedbackIn))
        if math.isfinite(feedback.valor):
            return feedback
    except (*BROKEN, ValueError, OverflowError):
        pass
    raise diagnose_value(value, FeedbackIn)


def _checked_feedback(feedback: FeedbackIn) -> FeedbackIn:
    """Checks what the types cannot say. Raises ValueError."""
    _check_text(feedback.comentario)
    if (feedback.comentario is not None and "\0" in feedback.comentario) or feedback.id == NIL_UUID:
        raise ValueError
    return feedback


def check_end(body: bytes) -> None:
    """The body that ends a session says nothing: it is empty, or an object. Raises Problem (400, 413, 422)."""
    _check_small(body)
    if body.strip():
        try:
            _end_decoder.decode(body)
        except BROKEN:
            raise diagnose(body, EndIn) from None


def _check_small(body: bytes) -> None:
    if len(body) > MAX_SMALL_BYTES:
        raise Problem(errors.BODY_TOO_LARGE, f"El límite es de {MAX_SMALL_BYTES >> 10} KiB, ya descomprimido.")


def _check_text(*texts: str | None) -> None:
    """Raises ValueError for what UTF-8 cannot carry: a lone surrogate, which a value that was no JSON may have."""
    for text in texts:
        if text is not None:
            text.encode()


def event_time(event: EventIn, now_us: int) -> int | None:
    """Checks what the types cannot say and returns the event's own time in microseconds, if it has one.

    `now_us`: its arrival. Raises ValueError; `diagnose_value` then says what is wrong.
    """
    if "\0" in event.contenido or "\0" in event.tipo or (event.id is not None and event.id == NIL_UUID):
        raise ValueError
    if event.modelo is not None and "\0" in event.modelo:
        raise ValueError
    cached, reasoning, ttft = event.tokens_cache, event.tokens_razonamiento, event.ttft_ms
    if cached is not None and cached > event.tokens_entrada and is_measured(event, "tokens_entrada"):
        raise ValueError
    if reasoning is not None and reasoning > event.tokens_salida and is_measured(event, "tokens_salida"):
        raise ValueError
    if ttft is not None and ttft > event.latency_ms and is_measured(event, "latency_ms"):
        raise ValueError
    return None if event.timestamp is None else times.parse_time(event.timestamp, now_us)


def is_measured(event: EventIn, name: str) -> bool:
    """Whether a number was measured. One that was not limits no part of itself."""
    return not (isinstance(event, ReportedEventIn) and event.unmeasured & MEASURED[name])


def decode_good_batch(body: bytes) -> list[EventIn | Problem] | None:
    """The events of a batch in which nothing is wrong, in order, else None: then `decode_mixed_batch` reads it, which
    may take ten times as long. Raises Problem for too many items (413)."""
    try:
        events: list[EventIn | Problem] = list(_events_decoder.decode(body))
    except BROKEN:
        return None
    if len(events) > MAX_BATCH_ITEMS:
        raise _too_many()
    return events


def decode_mixed_batch(body: bytes) -> list[EventIn | Problem]:
    """The items of a batch in which something is wrong, each an event or its problem, in order.

    Raises Problem for a body that is no JSON array (400) or has too many items (413).
    """
    return decode_items(body, _read_item)


def _read_item(raw: msgspec.Raw) -> EventIn:
    try:
        return _event_decoder.decode(raw)
    except BROKEN:
        event = _read_again(raw) if len(memoryview(raw)) <= MAX_OBJECT_BYTES else None
        if event is None:
            raise
        return event


def decode_items(body: bytes, read: Callable[[msgspec.Raw], EventIn]) -> list[EventIn | Problem]:
    """The items of a batch as `read` reads each. It may raise Problem, or msgspec's errors for what the contract has
    words for. Raises Problem for a body that is no JSON array (400) or has too many items (413)."""
    # An array of millions must not cost millions of objects to be refused. No honest batch has that many commas.
    if body.count(b",") > 64 * MAX_BATCH_ITEMS:
        raise _too_many()
    raws = _split(body)
    if len(raws) > MAX_BATCH_ITEMS:
        raise _too_many()
    _text(body)
    return _each(raws, read)


def _split(body: bytes) -> list[msgspec.Raw]:
    try:
        return _raws_decoder.decode(body)
    except BROKEN:
        _read_leniently(body)
    # Python reads it and msgspec does not: NaN, Infinity or a lone surrogate somewhere in the batch.
    raise Problem(
        errors.INVALID_DATA,
        "El lote contiene un número no finito (NaN, Infinity) o un carácter Unicode incompleto; JSON no los admite.",
    )


def _each(raws: list[msgspec.Raw], read: Callable[[msgspec.Raw], EventIn]) -> list[EventIn | Problem]:
    """Item by item. Naming every wrong field is dear, and nobody mends ten thousand items one by one: past
    DIAGNOSED_ITEMS a wrong item is only called wrong."""
    items: list[EventIn | Problem] = []
    wrong = 0
    for raw in raws:
        try:
            items.append(read(raw))
        except (*BROKEN, Problem) as error:
            wrong += 1
            if len(memoryview(raw)) > MAX_OBJECT_BYTES:
                items.append(_LARGE)
            elif wrong > DIAGNOSED_ITEMS:
                items.append(_WRONG_TOO)
            else:
                items.append(error if isinstance(error, Problem) else diagnose(bytes(raw), EventIn))
    return items


_LARGE = Problem(errors.BODY_TOO_LARGE, "El elemento es inválido y supera 1 MiB, el límite de un objeto.")
_WRONG_TOO = Problem(
    errors.INVALID_DATA, "También es inválido; corrige primero los elementos del lote cuyos errores se detallan."
)


def _too_many() -> Problem:
    return Problem(
        errors.BODY_TOO_LARGE,
        f"Un lote admite {MAX_BATCH_ITEMS} elementos como mucho; divídelo en varios envíos.",
    )


# --- the slow path: every error of a refused body ---------------------------------------------------


def _text(body: bytes) -> str:
    """Raises Problem (400)."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> Problem:
    return Problem(errors.JSON_MALFORMED, "El cuerpo no es texto UTF-8.")


def _read_leniently(body: bytes) -> object:
    """What Python reads, which is more than msgspec does: NaN, Infinity and lone surrogates. Raises Problem (400) where
    it is no JSON."""
    text = _text(body)
    if "\0" in text[:4]:  # UTF-16 or UTF-32 of plain letters
        raise _not_utf8()
    try:
        return json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except json.JSONDecodeError as error:
        where = f"línea {error.lineno}, columna {error.colno}"
        raise Problem(errors.JSON_MALFORMED, f"El cuerpo no es JSON válido: revisa {where}.") from None
    except ValueError:  # an integer of more digits than Python converts
        raise Problem(errors.JSON_MALFORMED, "El cuerpo tiene un número con demasiadas cifras.") from None


def _too_deep() -> Problem:
    return Problem(errors.JSON_MALFORMED, "El JSON anida demasiados niveles.")


def diagnose(body: bytes, shape: type[T], now_us: int | None = None) -> Problem:
    """Why `body` is no `shape`: 400 where it is not JSON, else 422 with every wrong field. `now_us`: its arrival, where
    that has been asked for already."""
    if not body.strip():
        return Problem(errors.JSON_MALFORMED, "El cuerpo está vacío; se esperaba un objeto JSON.")
    try:
        return diagnose_value(_read_leniently(body), shape, now_us)
    except Problem as problem:
        return problem
    except RecursionError:
        return _too_deep()


@lru_cache
def _fields(shape: type[Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(shape)  # msgspec evaluates every annotation anew: a millisecond


def diagnose_value(value: object, shape: type[T], now_us: int | None = None) -> Problem:
    """422 with every wrong field of a value that has been read leniently. `now_us` as `diagnose` has it."""
    if now_us is None:
        now_us = clock.now_us()
    if not isinstance(value, dict):
        no_object = FieldError("", "se esperaba un objeto JSON", "tipo", example(shape))
        return Problem(errors.INVALID_DATA, errors=[no_object])
    value = _with_integers(value, shape)
    assert isinstance(value, dict)
    unmeasured: set[str] = set()
    if shape is ReportedEventIn:
        shape = EventIn
        unmeasured = {name for name in MEASURED if value.get(name) is None}
    field_errors = []
    for field in _fields(shape):
        if field.name not in unmeasured:
            field_errors += _field_errors(field, value, now_us)
    if shape is EventIn:
        wrong = {error.campo for error in field_errors}
        for part, whole in PARTS.items():
            if whole not in unmeasured and not wrong & {part, whole}:
                field_errors += _part_errors(value, part, whole)
    if not field_errors:
        # Every field is right by itself: only a value outside the contract's fields can be wrong.
        return Problem(errors.JSON_MALFORMED, "El cuerpo contiene un valor que JSON no admite (NaN, Infinity).")
    names = ", ".join(f"«{error.campo}»" for error in field_errors)
    return Problem(errors.INVALID_DATA, f"Revisa: {names}.", field_errors)


def diagnose_event(event: EventIn, now_us: int) -> Problem:
    """Why an event is refused that its types let pass: 422 with every wrong field."""
    value = msgspec.to_builtins(event)
    if not isinstance(event, ReportedEventIn):
        return diagnose_value(value, EventIn, now_us)
    known = {name: given for name, given in value.items() if name not in MEASURED or is_measured(event, name)}
    return diagnose_value(known, ReportedEventIn, now_us)


PARTS = {"tokens_cache": "tokens_entrada", "tokens_razonamiento": "tokens_salida", "ttft_ms": "latency_ms"}
"""Fields that are a part of another one."""


def _part_errors(value: dict[str, object], part: str, whole: str) -> list[FieldError]:
    """What is wrong with a field beside the one that it is a part of, each being right by itself."""
    given, most = value.get(part), value[whole]
    assert isinstance(most, int | float)
    if not isinstance(given, int | float) or given <= most:
        return []
    meta = next(field_meta(field.type) for field in _fields(EventIn) if field.name == part)
    message = f"supera «{whole}»; se espera {meta['expected']}"
    return [FieldError(part, message, "valor", min(meta["example"], most))]


def _field_errors(field: msgspec.structs.FieldInfo, value: dict[str, object], now_us: int) -> list[FieldError]:
    """What is wrong with a field: of a list of objects, with each of theirs."""
    items = value.get(field.name)
    if field.name != "herramientas" or not isinstance(items, list) or len(items) > MAX_TOOLS:
        error = _field_error(field, value, now_us)
        return [] if error is None else [error]
    wrong = []
    for number, item in enumerate(items):
        place = f"{field.name}[{number}]"
        if not isinstance(item, dict):
            wrong.append(FieldError(place, "se espera un objeto con «nombre» y «ms»", "tipo", example(ToolIn)))
            continue
        for inner in _fields(ToolIn):
            error = _field_error(inner, item, now_us)
            if error is not None:
                wrong.append(FieldError(f"{place}.{error.campo}", error.mensaje, error.tipo, error.ejemplo))
    return wrong


def _field_error(field: msgspec.structs.FieldInfo, value: dict[str, object], now_us: int) -> FieldError | None:
    meta = field_meta(field.type)
    expected, sample = meta["expected"], meta["example"]
    if field.name not in value:
        if not field.required:
            return None
        return FieldError(field.name, f"falta este campo; se espera {expected}", "falta", sample)
    given = value[field.name]
    message = FieldError(field.name, f"se espera {expected}", "valor", sample)
    if isinstance(given, float) and not math.isfinite(given):
        return message
    try:
        msgspec.convert(given, field.type, strict=True)
        if isinstance(given, str):
            given.encode()
            if "\0" in given:
                raise ValueError
            if expected == _TIME.extra["expected"]:  # type: ignore[index]
                wrong = times.explain(given, now_us)
                if wrong is None:
                    return None
                return FieldError(field.name, f"{wrong.words}; se espera {expected}", "valor", wrong.instead or sample)
            if meta["expected"] == "un UUID" and UUID(given) == NIL_UUID:
                raise ValueError
    except msgspec.ValidationError as error:
        kind = "tipo" if str(error).startswith("Expected") and "got" in str(error) else "valor"
        return FieldError(field.name, f"se espera {expected}", kind, sample)
    except (ValueError, OverflowError):
        return message
    return None


def field_meta(annotation: object) -> dict[str, Any]:
    """The `expected` and `example` of one field, from the annotation that also validates it."""
    for argument in (annotation, *getattr(annotation, "__args__", ())):
        for meta in getattr(argument, "__metadata__", ()):
            if isinstance(meta, Meta) and meta.extra:
                return meta.extra
    raise TypeError(f"no Meta on {annotation!r}")


def example(shape: type[T]) -> dict[str, object]:
    """A documented object of that shape, required fields only."""
    return {field.name: field_meta(field.type)["example"] for field in _fields(shape) if field.required}
