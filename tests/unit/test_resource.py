"""What is served at `/.well-known/oauth-protected-resource`, and where a challenge says that it is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from otel_bridge import config, errors
from otel_bridge.access.challenge import metadata_url
from otel_bridge.config.oauth import resources
from otel_bridge.errors import Problem
from otel_bridge.http.resource import ResourceMetadata


def loaded(folder: Path, text: str) -> config.Config:
    file = folder / "otel-bridge.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(str(file), {})


def ask(metadata: ResourceMetadata, path: str) -> dict[str, Any]:
    scope = {"type": "http", "headers": [], "path_params": {"path": path} if path else {}}
    return dict(json.loads(asyncio.run(metadata._get(Request(scope))).body))


@pytest.mark.parametrize(
    ("public", "served"),
    [
        ("https://b.example", {"": "", "mcp": "/mcp", "mcp/": "/mcp", "api": "/api"}),
        ("https://b.example:8443", {"": "", "mcp": "/mcp", "api": "/api"}),
        (
            "https://b.example/gpt/uno",
            {"": "", "gpt/uno": "", "gpt/uno/": "", "mcp": "/mcp", "gpt/uno/mcp": "/mcp", "gpt/uno/api": "/api"},
        ),
    ],
)
def test_each_resource_has_its_document_where_its_path_leads(
    tmp_path: Path, public: str, served: dict[str, str]
) -> None:
    settings = f'public_url = "{public}"\noauth_issuer = "https://login.example/"\n[gpts.a]\noauth_clients = ["*"]\n'
    metadata = ResourceMetadata(loaded(tmp_path, settings))
    for path, door in served.items():
        found = ask(metadata, path)
        assert found["resource"] == public + door and found["authorization_servers"] == ["https://login.example/"]
        assert "scopes_supported" not in found
        assert found["resource"] in resources(public), "a token for it is taken"
    for path in ("x", "mcp/x", "gpt", "gpt/uno/x"):
        with pytest.raises(Problem) as caught:
            ask(metadata, path)
        assert caught.value.kind is errors.ROUTE_NOT_FOUND
    for door in ("", "/mcp"):
        path = metadata_url(public, door).partition("/.well-known/oauth-protected-resource")[2].strip("/")
        assert ask(metadata, path)["resource"] == public + door, "a challenge leads there"
    metadata.configure(loaded(tmp_path, f'public_url = "{public}"\n[gpts.a]\n'))
    for path in served:
        with pytest.raises(Problem):
            ask(metadata, path)
