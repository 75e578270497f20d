"""The issuer's public keys, as PyJWT takes them: which of them may have signed a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from otel_bridge.access.place import ProviderError

MAX_KEYS = 100

_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class KeySet:
    """Public keys. Read only."""

    def __init__(self, documents: Sequence[Any]) -> None:
        """`documents`: as the issuer writes them. What makes no signature that is taken here is left out. Raises
        ProviderError where nothing is left."""
        self.documents = documents
        self._usable = [document for document in documents[:MAX_KEYS] if _is_usable(document)]
        self._made: dict[tuple[str | None, str], tuple[jwt.PyJWK, ...]] = {}
        if not self._usable:
            raise ProviderError("there is no key in the set (JWKS) that signs tokens with an asymmetric algorithm")

    def __len__(self) -> int:
        return len(self._usable)

    def find(self, kid: str | None, algorithm: str) -> tuple[jwt.PyJWK, ...]:
        """The keys that may have signed a token: by their id; of a token that names none, all for its algorithm."""
        if kid is not None and all(document.get("kid") != kid for document in self._usable):
            return ()  # before anything is kept: ids that tokens make up are without end
        found = self._made.get((kid, algorithm))
        if found is None:
            fitting = [document for document in self._usable if _fits(document, kid, algorithm)]
            found = self._made[kid, algorithm] = tuple(jwt.PyJWK(document, algorithm) for document in fitting)
        return found


def _is_usable(document: Any) -> bool:
    """Whether a key can be read, and is one that checks signatures which only its owner makes."""
    if not isinstance(document, dict) or document.get("kty") not in _KINDS.values():
        return False
    if document.get("use") not in (None, "sig"):
        return False
    operations = document.get("key_ops")  # some providers publish those of the private key
    if isinstance(operations, list) and "verify" not in operations and "sign" not in operations:
        return False
    try:
        jwt.PyJWK(document)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return False
    return True


def _fits(document: Mapping[str, Any], kid: str | None, algorithm: str) -> bool:
    if kid is not None and document.get("kid") != kid:
        return False
    curve = _CURVES.get(algorithm)
    return (
        document.get("kty") == _KINDS[algorithm[:2]]
        and document.get("alg") in (None, algorithm)
        and (curve is None or document.get("crv") == curve)
    )
