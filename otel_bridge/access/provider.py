"""The identity provider's documents: its metadata (RFC 8414, OpenID Connect Discovery) and its keys (RFC 7517).

Read in one thread (jwks.py), each within its time and size, over TLS as the system trusts it and through the proxy that
the usual variables name. Redirects are not followed: what the operator named is what answers.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec
import urllib3

from otel_bridge import __version__, contract
from otel_bridge.access.place import Place, ProviderError
from otel_bridge.config import Diagnostics
from otel_bridge.config.proxies import read_proxy
from otel_bridge.export.deadline import deadline
from otel_bridge.export.http_connection import connections

SECONDS = 5.0
"""For one document, from the first byte to the last."""
MAX_BYTES = 512 << 10
OAUTH, OPENID = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"


def read_keys(place: Place) -> list[Any]:
    """The keys that an issuer publishes, as they are written. Raises ProviderError."""
    url = place.jwks_url or _jwks_url(place)
    found = _read(url, place)
    keys = found.get("keys")
    if not isinstance(keys, list):
        raise ProviderError(f"{_shown(url)}: this is no set of keys (JWKS)")
    return keys


def metadata_urls(issuer: str) -> list[str]:
    """Where an issuer's metadata may be, in the order in which MCP clients look for it."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    if not path:
        return [origin + OAUTH, origin + OPENID]
    return [f"{origin}{OAUTH}{path}", f"{origin}{OPENID}{path}", f"{origin}{path}{OPENID}"]


def _jwks_url(place: Place) -> str:
    """What the issuer's metadata says. Raises ProviderError with what each address answered."""
    said = []
    for url in metadata_urls(place.issuer):
        try:
            metadata = _read(url, place)
        except ProviderError as error:
            said.append(str(error))
            continue
        named = metadata.get("issuer")
        if not isinstance(named, str) or named.rstrip("/") != place.issuer.rstrip("/"):
            said.append(f"{_shown(url)}: this is the metadata of another issuer than oauth_issuer")
            continue
        found = metadata.get("jwks_uri")
        if not isinstance(found, str) or urlsplit(found).scheme not in ("https", urlsplit(place.issuer).scheme):
            said.append(f"{_shown(url)}: no jwks_uri in it that can be asked")
            continue
        return found
    raise ProviderError("; ".join(said))


def _read(url: str, place: Place) -> dict[str, Any]:
    """A JSON object. Raises ProviderError."""
    try:
        with _pool(url, place) as pool, deadline.within(SECONDS):
            response = pool.request(
                "GET",
                url,
                headers={"Accept": "application/json", "User-Agent": f"otel-bridge/{__version__}"},
                redirect=False,
                preload_content=False,
            )
            try:
                body = response.read(MAX_BYTES + 1)
                if deadline.passed:
                    raise ProviderError(f"{_shown(url)}: no whole answer within {SECONDS:g} s")
            finally:
                response.close()
    except urllib3.exceptions.HTTPError as error:
        raise ProviderError(f"{_shown(url)}: {_why(error)}") from None
    except (OSError, ValueError) as error:
        raise ProviderError(f"{_shown(url)}: {type(error).__name__}") from None
    if response.status != 200:
        redirect = ": redirects are not followed" if 300 <= response.status < 400 else ""
        raise ProviderError(f"{_shown(url)}: HTTP {response.status}{redirect}")
    if len(body) > MAX_BYTES:
        raise ProviderError(f"{_shown(url)}: more than {MAX_BYTES >> 10} KiB")
    try:
        found = msgspec.json.decode(body)
    except contract.BROKEN:
        found = None
    if not isinstance(found, dict):
        raise ProviderError(f"{_shown(url)}: HTTP 200, and no JSON object")
    return found


def _pool(url: str, place: Place) -> urllib3.PoolManager:
    options: dict[str, Any] = {"retries": False, "timeout": urllib3.Timeout(total=SECONDS), "maxsize": 1}
    proxy = read_proxy(dict(place.proxies), url, "http/protobuf", Diagnostics())
    return connections(proxy, options)


def _why(error: urllib3.exceptions.HTTPError) -> str:
    """Without the library's own repetition of objects and addresses."""
    cause = error.args[-1] if error.args else error
    return f"{type(error).__name__}: {cause}"[:200]


def _shown(url: str) -> str:
    """Without a query: it may hold what is nobody's business."""
    return url.partition("?")[0]
