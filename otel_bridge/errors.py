"""Every error that a client can get: its permanent id, status, title and what the client can do.

An id is permanent. It is the `type` of the answer (RFC 9457), the `reason` label of
`otel_bridge_records_total` and the heading of its section in `docs/errores.md`; a test compares the
three. Texts are in Spanish, as the integration guide is, and never repeat what a user wrote.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the table of errors."""

    slug: str
    status: int
    title: str
    hint: str
    """What the client can do about it; the `detail` where there is no more exact one."""

    @property
    def type(self) -> str:
        return f"urn:otel-bridge:{self.slug}"


class FieldError(Struct, frozen=True):
    """What is wrong with one field, so that a person or a model can correct it."""

    campo: str
    mensaje: str
    tipo: str
    ejemplo: Any


class ProblemOut(Struct):
    """Every error: `application/problem+json` (RFC 9457)."""

    type: Annotated[str, Meta(extra_json_schema={"format": "uri"})]
    title: str
    status: int
    detail: str
    errors: list[FieldError] | UnsetType = UNSET
    id: str | UnsetType = UNSET


JSON_MALFORMED = ErrorKind(
    "json-malformado",
    400,
    "JSON malformado",
    "El cuerpo no es JSON válido en UTF-8. Revisa comillas, comas y llaves.",
)
ENCODING_MALFORMED = ErrorKind(
    "gzip-malformado", 400, "Compresión ilegible", "El cuerpo dice ser gzip y no se puede descomprimir."
)
HEADER_INVALID = ErrorKind("cabecera-invalida", 400, "Cabecera inválida", "Una cabecera no tiene la forma documentada.")
UNAUTHENTICATED = ErrorKind(
    "clave-ausente-o-incorrecta",
    401,
    "Clave ausente o incorrecta",
    "Este GPT exige una clave de API: envíala en «Authorization: Bearer …» o «X-API-Key».",
)
FORBIDDEN = ErrorKind(
    "clave-de-otro-gpt",
    403,
    "Clave de otro GPT",
    "La clave es válida, pero pertenece a otro GPT. Usa la suya.",
)
INSUFFICIENT_SCOPE = ErrorKind(
    "permiso-insuficiente",
    403,
    "Permiso insuficiente",
    "El token de acceso es válido, pero le falta algún permiso («scope»); «WWW-Authenticate» los nombra. Pide otro "
    "token con ellos.",
)
ORIGIN_REFUSED = ErrorKind(
    "origen-no-permitido",
    403,
    "Origen no permitido",
    "La petición viene de una página web cuyo origen no está en la configuración («cors_origins»).",
)
GPT_NOT_FOUND = ErrorKind(
    "gpt-no-encontrado",
    404,
    "GPT no encontrado",
    "Verifica que «gpt_id» sea exactamente el código registrado y que el GPT esté en la configuración.",
)
SESSION_NOT_FOUND = ErrorKind(
    "sesion-no-encontrada",
    404,
    "Sesión no encontrada",
    "La sesión no existe o superó el plazo de retención. Crea otra con POST /api/sessions y usa su «id».",
)
EVENT_NOT_FOUND = ErrorKind(
    "evento-no-encontrado",
    404,
    "Evento no encontrado",
    "El evento no existe o ya no está en el diario. Usa el «id» que devolvió POST /api/events.",
)
ROUTE_NOT_FOUND = ErrorKind(
    "ruta-no-encontrada",
    404,
    "Ruta no encontrada",
    "Las rutas son /api/sessions y /api/events; mira /openapi.json.",
)
METHOD_NOT_ALLOWED = ErrorKind(
    "metodo-no-permitido",
    405,
    "Método no permitido",
    "La ruta existe, pero no con este método; mira «Allow».",
)
NOT_ACCEPTABLE = ErrorKind(
    "respuesta-no-aceptable",
    406,
    "Respuesta no aceptable",
    "«Accept» o «Accept-Encoding» excluye todas las formas en que se puede responder.",
)
BODY_TIMEOUT = ErrorKind(
    "tiempo-de-envio-agotado",
    408,
    "Tiempo de envío agotado",
    "El cuerpo no llegó completo a tiempo. Reintenta.",
)
ID_CONFLICT = ErrorKind(
    "id-en-conflicto",
    409,
    "Identificador ya usado con otro contenido",
    "El mismo «id» o «Idempotency-Key» ya llegó con otro contenido. Usa uno nuevo por registro.",
)
BODY_TOO_LARGE = ErrorKind(
    "cuerpo-demasiado-grande", 413, "Cuerpo demasiado grande", "Divide el envío en lotes más pequeños."
)
UNSUPPORTED_MEDIA = ErrorKind(
    "tipo-no-admitido",
    415,
    "Tipo de contenido no admitido",
    "Envía «Content-Type: application/json»; si comprimes, solo «Content-Encoding: gzip».",
)
INVALID_DATA = ErrorKind(
    "datos-invalidos",
    422,
    "Datos inválidos",
    "Revisa el formato de los campos señalados en «errors» y que estén todos los requeridos.",
)
RATE_LIMITED = ErrorKind(
    "limite-excedido", 429, "Límite de peticiones excedido", "Espera lo que indica «Retry-After» y reintenta."
)
SERVER_ERROR = ErrorKind(
    "error-del-servidor",
    500,
    "Error del servidor",
    "Fallo interno. Reintenta; si persiste, da al administrador el «id» de este error, que está en los logs.",
)
MCP_NOT_INSTALLED = ErrorKind(
    "mcp-no-instalado",
    501,
    "MCP no instalado",
    "Este puente se instaló sin la puerta MCP. Usa la API (/openapi.json), o pide al administrador que la instale: "
    "pip install 'otel-bridge[mcp]', y que reinicie el puente.",
)
QUEUE_FULL = ErrorKind(
    "cola-llena",
    503,
    "No se puede aceptar ahora: cola llena",
    "No se tomó nada. Reintenta tras lo que indica «Retry-After».",
)
DISK_FULL = ErrorKind(
    "disco-lleno",
    503,
    "No se puede aceptar ahora: sin espacio",
    "No se tomó nada. Reintenta tras lo que indica «Retry-After».",
)
JOURNAL_UNAVAILABLE = ErrorKind(
    "diario-no-disponible",
    503,
    "No se puede aceptar ahora: diario no disponible",
    "No se tomó nada. Reintenta tras lo que indica «Retry-After».",
)
PROVIDER_AWAY = ErrorKind(
    "proveedor-no-disponible",
    503,
    "No se puede comprobar el token ahora",
    "No se tomó nada. El proveedor de identidad no responde y sin sus claves no se puede comprobar el token. Reintenta "
    "tras lo que indica «Retry-After».",
)
OUTCOME_UNKNOWN = ErrorKind(
    "resultado-desconocido",
    503,
    "No se sabe si se tomó",
    "El diario falló mientras guardaba: no se sabe si se tomó. Repite la misma petición: con el mismo «id», "
    "«Idempotency-Key» o «timestamp» se reconoce y no se cuenta dos veces; sin ellos podría contarse otra vez.",
)
SHUTTING_DOWN = ErrorKind(
    "servicio-deteniendose",
    503,
    "No se puede aceptar ahora: el servicio se está deteniendo",
    "No se tomó nada. Reintenta tras lo que indica «Retry-After».",
)

ERROR_KINDS: tuple[ErrorKind, ...] = (
    JSON_MALFORMED,
    ENCODING_MALFORMED,
    HEADER_INVALID,
    UNAUTHENTICATED,
    FORBIDDEN,
    INSUFFICIENT_SCOPE,
    ORIGIN_REFUSED,
    GPT_NOT_FOUND,
    SESSION_NOT_FOUND,
    EVENT_NOT_FOUND,
    ROUTE_NOT_FOUND,
    METHOD_NOT_ALLOWED,
    NOT_ACCEPTABLE,
    BODY_TIMEOUT,
    ID_CONFLICT,
    BODY_TOO_LARGE,
    UNSUPPORTED_MEDIA,
    INVALID_DATA,
    RATE_LIMITED,
    SERVER_ERROR,
    MCP_NOT_INSTALLED,
    QUEUE_FULL,
    DISK_FULL,
    JOURNAL_UNAVAILABLE,
    PROVIDER_AWAY,
    OUTCOME_UNKNOWN,
    SHUTTING_DOWN,
)


class Problem(Exception):
    """A refusal that the client is told. Raised anywhere below the API, rendered only there."""

    def __init__(
        self,
        kind: ErrorKind,
        detail: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        reference: str | None = None,
    ) -> None:
        super().__init__(kind.type)
        self.kind = kind
        self.detail = detail or kind.hint
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.reference = reference

    def document(self) -> ProblemOut:
        """The `application/problem+json` body (RFC 9457)."""
        return ProblemOut(
            self.kind.type,
            self.kind.title,
            self.kind.status,
            self.detail,
            list(self.errors) or UNSET,
            self.reference or UNSET,
        )


_SYSTEM = {
    errno.EADDRINUSE: "el puerto ya está en uso",
    errno.EACCES: "no hay permiso",
    errno.ENOENT: "no existe",
}


def of_system(error: OSError) -> str:
    """Why the system did not do it, as the end of an operator's sentence, with its colon or in parentheses."""
    words = _SYSTEM.get(error.errno or 0)
    return f": {words}" if words else f" ({error.strerror or type(error).__name__})"


class OperatorError(Exception):
    """Its message is for an operator, and repeats nothing that a client has sent: it may be logged."""

    def lines(self) -> list[str]:
        """What to tell the operator, a line a problem."""
        return [str(line) for line in self.args]


class StartRefused(OperatorError):
    """The process must not start. Each argument is a line that says what was found, expected and what to do."""

    def __str__(self) -> str:
        return "\n".join(self.args)
