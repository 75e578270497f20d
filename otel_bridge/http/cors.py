"""What browsers of other origins are told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

RawHeaders = Mapping[bytes, bytes]
Pairs = list[tuple[bytes, bytes]]


class Cors:
    """What browsers of other origins are told. Nothing where no origin is configured."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: bytes) -> bool:
        return self._any or origin.lower() in self._origins

    def headers(self, headers: RawHeaders) -> Pairs:
        """Of every answer, errors too: a browser hides from its page what lacks them."""
        vary = (b"vary", b"Origin")
        origin = headers.get(b"origin")
        if origin is None or not self.allows(origin):
            return [vary]
        # No credentials are allowed, so `*` gives away nothing that an anonymous caller lacks.
        return [
            (b"access-control-allow-origin", b"*" if self._any else origin),
            (b"access-control-expose-headers", _EXPOSED),
            vary,
        ]

    def preflight(self, headers: RawHeaders) -> Pairs | None:
        """Headers of a preflight's answer; None where this is none, or its origin may not."""
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers or not self.allows(origin):
            return None
        return [
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", _ALLOWED),
            (b"access-control-max-age", b"600"),
        ]


_EXPOSED = (
    b"Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, "
    b"WWW-Authenticate, X-Request-Id, Mcp-Session-Id"
)
_ALLOWED = (
    b"Content-Type, Content-Encoding, Authorization, X-API-Key, Idempotency-Key, X-Request-Id, traceparent, "
    b"MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name"
)
