"""Access tokens of an identity provider: how their settings are read, and what of them cannot work together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from otel_bridge.config import readers
from otel_bridge.config.diagnostics import Diagnostics, shown
from otel_bridge.config.proxies import read_proxy

if TYPE_CHECKING:
    from otel_bridge.config.settings import Config

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""All are asymmetric: a key that everybody can read (the issuer's) makes no signature."""
ANY = "*"
"""In `oauth_clients`: every client of the issuer, such as one that registers itself."""


def issuer(raw: object) -> str | None:
    """An issuer as its tokens name it, a last slash included; None where it is empty."""
    url = readers.optional_text(raw)
    if url is not None and (not readers.is_plain_url(url) or urlsplit(url).query):
        raise ValueError(
            "una URL como https://login.example.com, sin usuario, ? ni #, tal como los tokens la llevan en `iss`"
        )
    return url


def jwks_url(raw: object) -> str | None:
    """The URL of a set of keys; None where it is empty."""
    url = readers.optional_text(raw)
    if url is not None and not readers.is_plain_url(url):
        raise ValueError("una URL como https://login.example.com/jwks, sin usuario ni #")
    return url


def words(raw: object) -> tuple[str, ...]:
    """Texts of which none is empty."""
    found = readers.texts(raw)
    if not all(word.strip() for word in found):
        raise ValueError("una lista de textos, ninguno vacío")
    return found


def scopes(raw: object) -> tuple[str, ...]:
    """Scopes (RFC 6749, section 3.3): a header names them."""
    found = words(raw)
    if not all(word.isascii() and word.isprintable() and not set(word) & set(' "\\') for word in found):
        raise ValueError("una lista de permisos (scopes): ASCII sin espacios, comillas ni barras invertidas")
    return found


def algorithms(raw: object) -> tuple[str, ...]:
    found = readers.texts(raw)
    if not found or not set(found) <= set(ALGORITHMS):
        raise ValueError("una lista de " + ", ".join(ALGORITHMS))
    return found


def claims(raw: object) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Names of claims and the values that each may have: `{ roles = ["metrics"] }`."""
    if not isinstance(raw, dict) or not raw or not all(name.strip() for name in raw):
        raise ValueError('una tabla de datos (claims) y sus valores, como { roles = ["metrics"] }')
    found = []
    for name, values in raw.items():
        allowed = words([values] if isinstance(values, str) else values)
        if not allowed:
            raise ValueError("al menos un valor para cada dato (claim)")
        found.append((name, allowed))
    return tuple(found)


_NEEDS_ISSUER = ("oauth_jwks_url", "oauth_audiences", "oauth_scopes")


def check(config: Config, environ: Mapping[str, str], diagnostics: Diagnostics) -> None:
    """Adds what cannot work although each setting is good by itself, and warns of what is probably not meant."""
    takers = [gpt.id for gpt in config.gpts.values() if gpt.takes_tokens]
    if config.oauth_issuer is None:
        if "oauth_issuer" in diagnostics.uncertain:
            return
        for gpt_id in takers:
            diagnostics.add(
                f"{config.source}: gpts.{gpt_id}: acepta tokens de acceso (oauth_clients, oauth_claims) y nadie "
                "los emite; se esperaba oauth_issuer, la URL del proveedor de identidad"
            )
        idle = [key for key in _NEEDS_ISSUER if getattr(config, key)]
        if idle:
            diagnostics.warn(f"{config.source}: {', '.join(idle)}: no sirve de nada sin oauth_issuer")
        return
    if any(find_spec(package) is None for package in ("jwt", "cryptography")):
        diagnostics.add(
            f"{config.source}: oauth_issuer: comprobar tokens de acceso necesita PyJWT y cryptography, que no están "
            "instalados. Instálalos: pip install 'otel-bridge[oauth]'."
        )
    if config.public_url is None and "public_url" not in diagnostics.uncertain:
        diagnostics.add(
            f"{config.source}: oauth_issuer: se encontró {shown(config.oauth_issuer)} sin public_url; se "
            "esperaban los dos: los tokens se emiten para la URL con la que los clientes llegan al puente"
        )
    for url in (config.oauth_issuer, config.oauth_jwks_url):
        if url is not None:
            read_proxy(environ, url, "http/protobuf", diagnostics)
    if not takers and "gpts" not in diagnostics.uncertain:
        diagnostics.warn(
            f"{config.source}: oauth_issuer: ningún GPT acepta sus tokens; di cuáles lo abren con oauth_clients "
            "u oauth_claims en su tabla"
        )
    _doubt_plain_text(config, diagnostics)


def _doubt_plain_text(config: Config, diagnostics: Diagnostics) -> None:
    for key in ("oauth_issuer", "oauth_jwks_url", "public_url"):
        url = getattr(config, key)
        if url is not None and urlsplit(url).scheme == "http" and not readers.is_loopback(urlsplit(url).hostname or ""):
            risk = (
                "los tokens se pueden leer por el camino"
                if key == "public_url"
                else "quien esté en el camino puede emitir tokens"
            )
            diagnostics.warn(f"{config.source}: {key}: se encontró {shown(url)}: sin TLS, {risk}")


def resources(public_url: str) -> Collection[str]:
    """The identifiers under which a token may be asked for (RFC 8707): the bridge, and what is served under it."""
    return [f"{public_url}{path}{slash}" for path in ("", "/mcp", "/api") for slash in ("", "/")]
