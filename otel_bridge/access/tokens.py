"""Access tokens: JWTs of the configured issuer, for this bridge (RFC 9068, RFC 8725), and the GPTs that they open.

    token ──▶ verified before? ──▶ its header: algorithm, kind, key ──▶ signature, times, issuer, audience (PyJWT)
                    │                            └── the key is not known: looked up (jwks.py)        │
                    └────────────────────────────── principal ◀── scopes, client and claims ◀─────────┘

PyJWT does the cryptography and the registered claims. A verified token is remembered by its hash until it expires, or
the issuer's keys or the configuration change. No token is logged, kept, or repeated in an answer.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, NamedTuple

import jwt

from otel_bridge import errors
from otel_bridge.access import challenge
from otel_bridge.access.challenge import Challenge, Fault
from otel_bridge.access.jwks import IssuerKeys
from otel_bridge.access.keyset import KeySet
from otel_bridge.config import Config, Gpt
from otel_bridge.config.oauth import ANY, resources
from otel_bridge.errors import Problem

log = logging.getLogger(__name__)

MAX_TOKEN_BYTES = 8 << 10
REMEMBERED = 10_000
"""Verified tokens, 3 MB at the most; the oldest goes when there are more."""
_FAR = 1 << 52
_JOSE_TYPES = ("jwt", "at+jwt", "application/at+jwt", "application/jwt")
_OTHER_USES = {"typ": ("id", "refresh", "offline", "logout"), "token_use": ("id",)}
"""Claims by which providers tell tokens apart that are none for access (Keycloak, Cognito)."""
_SCOPE_CLAIMS = ("scope", "scp")
_CLIENT_CLAIMS = ("client_id", "azp", "appid", "cid")
"""Who asked for a token: RFC 9068; OpenID Connect; Entra's v1 tokens; Okta."""

_FAULTS: tuple[tuple[type[Exception], Fault], ...] = (
    (jwt.ExpiredSignatureError, challenge.EXPIRED),
    (jwt.ImmatureSignatureError, challenge.EARLY),
    (jwt.InvalidAudienceError, challenge.AUDIENCE),
    (jwt.InvalidIssuerError, challenge.ISSUER),
    (jwt.InvalidSignatureError, challenge.SIGNATURE),
    (jwt.InvalidKeyError, challenge.SIGNATURE),
    (jwt.InvalidAlgorithmError, challenge.ALGORITHM),
    (jwt.MissingRequiredClaimError, challenge.CLAIMS),
)
_UNREADABLE = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
"""What is raised of text that is no token."""


class Principal(NamedTuple):
    """Who a verified token speaks for."""

    gpts: tuple[str, ...]
    """Those that it opens."""
    who: str
    """What its requests are counted by: one client and subject. A hash."""
    has_scopes: bool


class Tokens:
    """Verifies tokens, for one configuration. Used from one event loop."""

    def __init__(self, config: Config, keys: IssuerKeys, refusals: Challenge) -> None:
        assert config.oauth_issuer is not None
        self._keys = keys
        self._refusals = refusals
        issuer = config.oauth_issuer.rstrip("/")
        self._issuers = (issuer, f"{issuer}/")
        self._audiences = {*config.oauth_audiences, *resources(config.public_url or "")}
        self._algorithms = config.oauth_algorithms
        self._leeway = config.oauth_leeway_seconds
        self._scopes = frozenset(config.oauth_scopes)
        self._gpts = tuple(gpt for gpt in config.gpts.values() if gpt.takes_tokens)
        self._remembered: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._remembered_by: KeySet | None = None

    def __len__(self) -> int:
        return len(self._remembered)

    async def verify(self, token: bytes, door: str) -> Principal:
        """Raises Problem: 401 for a token that is not good, 503 where that cannot be told now."""
        known = self._keys.known
        if known is not self._remembered_by:
            self._remembered.clear()
            self._remembered_by = known
        digest = hashlib.sha256(token).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None and time.time() < remembered[0]:
            return remembered[1]
        if len(token) > MAX_TOKEN_BYTES:
            raise self._refusals.bad(challenge.TOO_LONG, door)
        try:
            unverified = jwt.decode_complete(token, options={"verify_signature": False})
        except _UNREADABLE:
            raise self._refusals.bad(challenge.MALFORMED, door) from None
        header, claims = unverified["header"], unverified["payload"]
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise self._refusals.bad(challenge.ALGORITHM, door)
        if str(header.get("typ", "jwt")).lower() not in _JOSE_TYPES:
            raise self._refusals.bad(challenge.OTHER_USE, door)
        if claims.get("iss") not in self._issuers:  # looking for its key would be in vain
            raise self._refusals.bad(challenge.ISSUER, door)
        verified = self._check(token, await self._candidates(kid, algorithm, door), algorithm, door)
        principal = self._principal(verified)
        # Keys may have been looked up meanwhile: what one of them has verified is remembered with the others.
        if self._keys.known is self._remembered_by:
            if len(self._remembered) >= REMEMBERED:
                self._remembered.popitem(last=False)
            self._remembered[digest] = (min(int(verified["exp"]), _FAR) + self._leeway, principal)
        return principal

    async def _candidates(self, kid: str | None, algorithm: str, door: str) -> tuple[jwt.PyJWK, ...]:
        """The keys that may have signed a token. Raises Problem where there is none."""
        for looked_up in (False, True):
            known = self._keys.known
            found = () if known is None else known.find(kid, algorithm)
            if found:
                return found
            if not looked_up:
                pending = self._keys.look_up()
                if pending is not None:
                    await pending
        if self._keys.known is None or self._keys.failing or self._keys.unsettled:
            raise Problem(errors.PROVIDER_AWAY, headers={"Retry-After": str(self._keys.retry_after())})
        raise self._refusals.bad(challenge.KEY, door)

    def _check(self, token: bytes, keys: tuple[jwt.PyJWK, ...], algorithm: str, door: str) -> Mapping[str, Any]:
        """The claims of a good token. Raises Problem."""
        fault = challenge.SIGNATURE
        for key in keys:
            try:
                claims = jwt.decode(
                    token,
                    key.key,
                    algorithms=[algorithm],
                    audience=self._audiences,
                    issuer=self._issuers,
                    leeway=self._leeway,
                    options={"require": ["iss", "aud", "exp"], "enforce_minimum_key_length": True},
                )
            except _UNREADABLE as error:
                fault = next((found for kind, found in _FAULTS if isinstance(error, kind)), challenge.CLAIMS)
                if fault is challenge.SIGNATURE:
                    continue  # without a key id, another may have signed it
                break
            if any(str(claims.get(name)).lower() in uses for name, uses in _OTHER_USES.items()):
                fault = challenge.OTHER_USE
                break
            if claims.get("cnf") is not None:
                fault = challenge.BOUND
                break
            return claims
        raise self._refusals.bad(fault, door)

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        client = next((claims[name] for name in _CLIENT_CLAIMS if isinstance(claims.get(name), str)), "")
        scopes = set().union(*(_words(claims.get(name)) for name in _SCOPE_CLAIMS))
        gpts = tuple(gpt.id for gpt in self._gpts if _opens(claims, client, gpt))
        who = hashlib.sha256(f"{client}\0{claims.get('sub', '')}".encode("utf-8", "replace")).hexdigest()[:32]
        return Principal(gpts, f"oauth-{who}", self._scopes <= scopes)


def _opens(claims: Mapping[str, Any], client: str, gpt: Gpt) -> bool:
    """Whether all that a GPT asks of a token is so."""
    if gpt.oauth_clients and ANY not in gpt.oauth_clients and client not in gpt.oauth_clients:
        return False
    return all(_values(claims, name) & set(values) for name, values in gpt.oauth_claims)


def _values(claims: Mapping[str, Any], name: str) -> set[str]:
    """What a claim says: only that of scopes is several words. Of a name or a department a word is another one, that
    its bearer may even have chosen."""
    value = _claim(claims, name)
    return {value} if isinstance(value, str) and name not in _SCOPE_CLAIMS else _words(value)


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """A claim by its whole name, else by its way through objects: Keycloak's `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _words(value: object) -> set[str]:
    """The texts of a list, or the words of a text as `scope` has them, between spaces."""
    if isinstance(value, str):
        return {value, *value.split(" ")}
    if isinstance(value, list):
        return {word for word in value if isinstance(word, str)}
    return set()
