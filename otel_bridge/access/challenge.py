"""What a caller is told whose credential is missing or not good: in words, and for its client in `WWW-Authenticate`
(RFC 6750, section 3; RFC 9728, section 5.1).

Nothing of a token is repeated. Descriptions in the header are ASCII, as RFC 6750 has them.
"""

from __future__ import annotations

from typing import NamedTuple

from otel_bridge import errors
from otel_bridge.config import Config
from otel_bridge.errors import ErrorKind, Problem

WELL_KNOWN = "/.well-known/oauth-protected-resource"


class Fault(NamedTuple):
    """Why a token is not good."""

    detail: str
    description: str
    """The same in ASCII, for the header."""


MALFORMED = Fault("El token de acceso no es un JWT que se pueda leer.", "no es un JWT legible")
TOO_LONG = Fault("El token de acceso es demasiado largo.", "demasiado largo")
ALGORITHM = Fault("El token está firmado con un algoritmo que no se admite.", "algoritmo no admitido")
ISSUER = Fault("El emisor del token no es el configurado.", "otro emisor")
KEY = Fault("El token está firmado con una clave que su emisor no publica.", "clave de firma desconocida")
SIGNATURE = Fault("La firma del token no es de su emisor.", "firma incorrecta")
EXPIRED = Fault("El token ha caducado: pide otro.", "caducado")
EARLY = Fault("El token aún no vale: su fecha está en el futuro.", "su fecha es futura")
AUDIENCE = Fault(
    "El token es para otra audiencia: pide uno para la URL pública del puente («resource»).", "otra audiencia"
)
CLAIMS = Fault(
    "Al token le falta «iss», «aud» o «exp», o alguno de sus datos no es correcto.",
    "falta iss, aud o exp, o no es valido",
)
OTHER_USE = Fault("El token no es de acceso: es de identidad o de otro uso.", "no es un token de acceso")
BOUND = Fault("El token va ligado a una clave de su cliente («cnf»), y eso no se comprueba aquí.", "ligado a una clave")
OPAQUE = Fault(
    "Lo que se envía no es una clave conocida ni un token que se pueda comprobar: si es de un proveedor de identidad, "
    "pide un JWT para la URL pública del puente.",
    "ni clave conocida ni JWT",
)


class Challenge:
    """Makes refusals, for one configuration."""

    def __init__(self, config: Config) -> None:
        self._public = config.public_url if config.oauth_issuer is not None else None
        self._scope = " ".join(config.oauth_scopes)

    def missing(self, door: str) -> Problem:
        """No credential. `door`: the path of what is asked for, as in the metadata's own address."""
        if self._public is None:
            return self._problem(errors.UNAUTHENTICATED, None, door)
        detail = (
            "Se exige una clave de API o un token de acceso: envíalo en «Authorization: Bearer …» (la clave, también "
            "en «X-API-Key»)."
        )
        return self._problem(errors.UNAUTHENTICATED, detail, door)

    def bad(self, fault: Fault, door: str) -> Problem:
        """A token that is not good, or a key of nobody."""
        if self._public is None:
            return self.missing(door)
        return self._problem(errors.UNAUTHENTICATED, fault.detail, door, "invalid_token", fault.description)

    def insufficient(self, door: str) -> Problem:
        """A good token without the scopes."""
        return self._problem(errors.INSUFFICIENT_SCOPE, None, door, "insufficient_scope")

    def stranger(self) -> Problem:
        """A good token whose client may not do this."""
        return Problem(errors.FORBIDDEN, "El token es válido, pero ni su cliente ni sus datos dan acceso a este GPT.")

    def _problem(
        self, kind: ErrorKind, detail: str | None, door: str, error: str = "", description: str = ""
    ) -> Problem:
        fields = {"realm": "otel-bridge", "error": error, "error_description": description}
        if self._public is not None:
            fields |= {"scope": self._scope, "resource_metadata": metadata_url(self._public, door)}
        written = ", ".join(f'{name}="{value}"' for name, value in fields.items() if value)
        return Problem(kind, detail, headers={"WWW-Authenticate": f"Bearer {written}"})


def metadata_url(public_url: str, door: str) -> str:
    """Where the metadata of what is served at `door` is: its path goes behind the well-known one (RFC 9728, section
    3.1)."""
    scheme, _, rest = public_url.partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host}{WELL_KNOWN}{slash}{path}{door}"
