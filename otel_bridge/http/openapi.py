"""`/openapi.json`: OpenAPI 3.1 made from the types that validate and the table of errors."""

from __future__ import annotations

from typing import Any

from otel_bridge import __version__, contract, errors
from otel_bridge.errors import ErrorKind, ProblemOut
from otel_bridge.http import schemas

LICENSE = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
"""The `license` of a document's `info`, as pyproject.toml has it."""

_SHAPES = (
    contract.SessionIn,
    contract.EventIn,
    contract.SessionOut,
    contract.EventOut,
    contract.FeedbackIn,
    contract.FeedbackOut,
    contract.BatchOut,
    contract.SessionState,
    ProblemOut,
)
_REF = "#/components/schemas/{name}"

_RECORDS, _HEALTH = "registros", "salud"
_ALIVE: dict[str, Any] = {"estado": {"type": "string"}}
_READY: dict[str, Any] = {**_ALIVE, "problemas": {"type": "array", "items": {"type": "string"}}}

_HEADERS: dict[str, Any] = {
    "Location": {
        "description": "Ruta de la sesión.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    },
    "WWW-Authenticate": {"description": "Cómo presentar la clave.", "required": True, "schema": {"type": "string"}},
    "Retry-After": {
        "description": "Segundos que esperar antes de repetir.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit-Limit": {
        "description": "Registros que se admiten en un periodo.",
        "required": True,
        "schema": {"type": "integer"},
    },
    "RateLimit-Remaining": {
        "description": "Registros que quedan del periodo.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "RateLimit-Reset": {
        "description": "Segundos hasta que se admita la misma petición.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "RateLimit-Policy": {
        "description": "Límite y periodo en segundos, por ejemplo 6000;w=60.",
        "required": True,
        "schema": {"type": "string"},
    },
}
HEADERS_OF = {
    401: ("WWW-Authenticate",),
    429: ("Retry-After", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"),
    503: ("Retry-After",),
}
"""Headers that every problem of a status has, besides those of every answer."""

_WRITE_ERRORS = (
    errors.JSON_MALFORMED,
    errors.ENCODING_MALFORMED,
    errors.HEADER_INVALID,
    errors.UNAUTHENTICATED,
    errors.FORBIDDEN,
    errors.INSUFFICIENT_SCOPE,
    errors.BODY_TIMEOUT,
    errors.ID_CONFLICT,
    errors.BODY_TOO_LARGE,
    errors.UNSUPPORTED_MEDIA,
    errors.INVALID_DATA,
    errors.RATE_LIMITED,
    errors.SERVER_ERROR,
    errors.QUEUE_FULL,
    errors.DISK_FULL,
    errors.JOURNAL_UNAVAILABLE,
    errors.PROVIDER_AWAY,
    errors.OUTCOME_UNKNOWN,
    errors.SHUTTING_DOWN,
)


def document(server: str | None = None) -> dict[str, Any]:
    """The OpenAPI document of every public route."""
    components = schemas.of(_SHAPES, _REF)
    for shape in (contract.SessionIn, contract.EventIn, contract.FeedbackIn):
        components[shape.__name__]["examples"] = [contract.example(shape)]  # type: ignore[type-var]
    paths: dict[str, Any] = {
        "/api/sessions": {
            "post": {
                "operationId": "crearSesion",
                "summary": "Crea una sesión",
                "description": "Abre una sesión de un GPT registrado. Usa el «id» devuelto en cada evento.",
                "parameters": [_idempotency_key(), _history(), _traceparent()],
                "requestBody": _body({"$ref": _ref("SessionIn")}),
                "responses": {
                    "201": _created("SessionOut", "Creada."),
                    "200": _created("SessionOut", "Repetición de una sesión ya creada: la primera respuesta."),
                    **_problems((*_WRITE_ERRORS, errors.GPT_NOT_FOUND)),
                },
                "tags": [_RECORDS],
            }
        },
        "/api/sessions/{id}": {
            "get": {
                "operationId": "consultarSesion",
                "summary": "Estado de una sesión",
                "description": "Eventos, tokens, primer y último evento, e identificador de su traza.",
                "parameters": [_id("El «id» de la sesión.")],
                "responses": {
                    "200": _json("SessionState", "Su estado."),
                    **_problems(
                        (
                            errors.HEADER_INVALID,
                            errors.UNAUTHENTICATED,
                            errors.FORBIDDEN,
                            errors.INSUFFICIENT_SCOPE,
                            errors.SESSION_NOT_FOUND,
                            errors.GPT_NOT_FOUND,
                            errors.RATE_LIMITED,
                            errors.SERVER_ERROR,
                            errors.PROVIDER_AWAY,
                        )
                    ),
                },
                "tags": [_RECORDS],
            }
        },
        "/api/events": {
            "post": {
                "operationId": "agregarEventos",
                "summary": "Agrega un evento o un lote de eventos",
                "description": "Un objeto es un evento; un arreglo, un lote: se toman los buenos aunque otros fallen.",
                "parameters": [_idempotency_key(), _history(), _traceparent()],
                "requestBody": _body(
                    {
                        "oneOf": [
                            {"$ref": _ref("EventIn")},
                            {
                                "type": "array",
                                "items": {"$ref": _ref("EventIn")},
                                "maxItems": contract.MAX_BATCH_ITEMS,
                            },
                        ]
                    }
                ),
                "responses": {
                    "201": {
                        "description": "Tomado: en disco y contado.",
                        "content": {
                            "application/json": {
                                "schema": {"oneOf": [{"$ref": _ref("EventOut")}, {"$ref": _ref("BatchOut")}]}
                            }
                        },
                    },
                    "200": _json("EventOut", "Repetición de un evento ya tomado: la primera respuesta."),
                    "207": _json("BatchOut", "Lote tomado en parte; un resultado por elemento."),
                    **_problems((*_WRITE_ERRORS, errors.SESSION_NOT_FOUND, errors.GPT_NOT_FOUND)),
                },
                "tags": [_RECORDS],
            }
        },
        "/api/events/{id}/valoracion": {
            "post": {
                "operationId": "valorarEvento",
                "summary": "Valora la respuesta de un evento",
                "description": "Lo que opinó quien preguntó. Otra valoración del mismo evento cuenta también; la "
                "misma, repetida en 24 h, no.",
                "parameters": [_id("El «id» del evento."), _idempotency_key(), _history(), _traceparent()],
                "requestBody": _body({"$ref": _ref("FeedbackIn")}),
                "responses": {
                    "201": _json("FeedbackOut", "Tomada: en disco y contada."),
                    "200": _json("FeedbackOut", "Repetición de una valoración ya tomada: la primera respuesta."),
                    **_problems((*_WRITE_ERRORS, errors.EVENT_NOT_FOUND, errors.GPT_NOT_FOUND)),
                },
                "tags": [_RECORDS],
            }
        },
        "/api/sessions/{id}/fin": {
            "post": {
                "operationId": "terminarSesion",
                "summary": "Termina una sesión",
                "description": "Hace ya lo que haría la inactividad a los 30 minutos. Un evento posterior la reanuda.",
                "parameters": [_id("El «id» de la sesión.")],
                "responses": {
                    "200": _json("SessionState", "Terminada, o lo estaba ya: su estado."),
                    **_problems(
                        (
                            *(kind for kind in _WRITE_ERRORS if kind is not errors.ID_CONFLICT),
                            errors.SESSION_NOT_FOUND,
                            errors.GPT_NOT_FOUND,
                        )
                    ),
                },
                "tags": [_RECORDS],
            }
        },
        "/healthz": {"get": _health("vivo", "Vive.", _ALIVE)},
        "/readyz": {"get": _health("listo", "Puede aceptar registros.", _READY, "503")},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "otel-bridge",
            "version": __version__,
            "description": "Recibe sesiones y eventos de GPT y los convierte en trazas y métricas de OpenTelemetry.",
            "license": LICENSE,
        },
        "servers": [{"url": server or "/"}],
        "tags": [
            {"name": _RECORDS, "description": "Sesiones, eventos y valoraciones."},
            {"name": _HEALTH, "description": "Si el puente vive y puede aceptar registros."},
        ],
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": _HEADERS,
            "securitySchemes": {
                "clave": {"type": "http", "scheme": "bearer"},
                "claveEnCabecera": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
        # Without a key, where the GPT has none in the configuration.
        "security": [{}, {"clave": []}, {"claveEnCabecera": []}],
    }


def _ref(name: str) -> str:
    return _REF.format(name=name)


def _json(name: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": _ref(name)}}}}


def _created(name: str, description: str) -> dict[str, Any]:
    return {**_json(name, description), "headers": _headers("Location")}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def _problems(kinds: tuple[ErrorKind, ...]) -> dict[str, Any]:
    """Responses by status; statuses that several errors share list them all."""
    by_status: dict[int, list[ErrorKind]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind)
    responses: dict[str, Any] = {}
    for status, same in sorted(by_status.items()):
        responses[str(status)] = response = {
            "description": " · ".join(f"{kind.title} ({kind.type})" for kind in same),
            "content": {"application/problem+json": {"schema": {"$ref": _ref("ProblemOut")}}},
        }
        if status in HEADERS_OF:
            response["headers"] = _headers(*HEADERS_OF[status])
    return responses


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _health(operation: str, description: str, properties: dict[str, Any], failing: str | None = None) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": True}
    answer = {"description": description, "content": {"application/json": {"schema": schema}}}
    responses = {"200": answer}
    if failing:
        responses[failing] = {**answer, "description": "No puede aceptar registros; el cuerpo dice por qué."}
    return {
        "operationId": operation,
        "summary": description,
        "description": "Para quien vigila el servicio; no exige clave.",
        "responses": responses,
        "security": [],
        "tags": [_HEALTH],
    }


def _id(description: str) -> dict[str, Any]:
    return {
        "name": "id",
        "in": "path",
        "required": True,
        "description": description,
        "schema": {"type": "string", "format": "uuid"},
    }


def _idempotency_key() -> dict[str, Any]:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Hace segura una repetición donde el cuerpo no trae «id».",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]{1,255}$"},
    }


def _history() -> dict[str, Any]:
    return {
        "name": "Otel-Bridge-Historial",
        "in": "header",
        "required": False,
        "description": "«1»: lo enviado es historia. Queda en trazas, ventanas y contabilidad, y no mueve la latencia, "
        "los tokens ni el coste de hoy. Lo manda `otel-bridge import`.",
        "schema": {"type": "string", "enum": ["1"]},
    }


def _traceparent() -> dict[str, Any]:
    return {
        "name": "traceparent",
        "in": "header",
        "required": False,
        "description": "Contexto W3C del llamante; se guarda como enlace del span.",
        "schema": {"type": "string"},
    }
