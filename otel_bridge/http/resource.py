"""What an OAuth client is told of this resource server (RFC 9728): whose tokens it takes, and for what.

`/.well-known/oauth-protected-resource` describes the API; with the path of what is asked for behind it (`/mcp`, `/api`,
each with the path of `public_url` before it) that. There is none where no issuer is configured.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from otel_bridge import errors
from otel_bridge.access.challenge import WELL_KNOWN
from otel_bridge.config import Config
from otel_bridge.errors import Problem

DOORS = ("", "/mcp", "/api")
CACHE_SECONDS = 300


class ResourceMetadata:
    """The documents, of one configuration at a time."""

    def __init__(self, config: Config) -> None:
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._documents: dict[str, bytes] = {}
        """By what follows the well-known path."""
        if config.oauth_issuer is None or config.public_url is None:
            return
        _, _, prefix = config.public_url.partition("://")[2].partition("/")
        for door in DOORS:
            body = msgspec.json.encode(document(config, config.public_url + door))
            # A proxy that serves the bridge under a path may or may not take that path away.
            for path in {door, f"/{prefix}{door}" if prefix else door}:
                self._documents[path] = body

    @property
    def routes(self) -> list[BaseRoute]:
        return [Route(WELL_KNOWN, self._get), Route(WELL_KNOWN + "/{path:path}", self._get)]

    async def _get(self, request: Request) -> Response:
        path = request.path_params.get("path", "").rstrip("/")
        body = self._documents.get(f"/{path}" if path else "")
        if body is None:
            raise Problem(errors.ROUTE_NOT_FOUND)
        headers = {"Cache-Control": f"public, max-age={CACHE_SECONDS}"}
        return Response(body, media_type="application/json", headers=headers)


def document(config: Config, resource: str) -> dict[str, Any]:
    """Of one resource: an identifier that tokens may be asked for."""
    found: dict[str, Any] = {
        "resource": resource,
        "authorization_servers": [config.oauth_issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "otel-bridge",
    }
    if config.oauth_scopes:
        found["scopes_supported"] = list(config.oauth_scopes)
    return found
