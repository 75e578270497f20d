"""The whole way of a client that knows nothing but the address of `/mcp`: 401 → metadata → the provider's metadata →
registration → code with PKCE → token → call. By the official MCP client, at a real provider."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import httpx2
import jwt
import pytest
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from otel_bridge.access import keys
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.oauth.conftest import IdentityProvider

CALLBACK = "http://127.0.0.1:1/callback"
KEY = "otb_" + "k" * 43
CLOSED = f"""
[gpts.devops-expert]
api_key_hashes = ["{keys.hash_of(KEY.encode())}"]
oauth_clients = ["*"]
"""
MIXED = CLOSED + "[gpts.abierto]\n"


class Memory:
    """What the client keeps."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """Whoever sits before the browser: follows the redirects until the provider sends the code to the client."""

    def __init__(self) -> None:
        self.logged_in = 0

    async def open(self, url: str) -> None:
        self.logged_in += 1
        async with httpx2.AsyncClient() as browser:
            while not url.startswith(CALLBACK):
                answer = await browser.get(url)
                assert answer.status_code in (302, 303), answer.text
                url = str(httpx2.URL(url).join(answer.headers["location"]))
        self.query = parse_qs(urlsplit(url).query)

    async def code(self) -> object:
        assert "code" in self.query, self.query
        return AuthorizationCodeResult(
            code=self.query["code"][0], state=self.query["state"][0], iss=self.query.get("iss", [None])[0]
        )


@pytest.fixture(scope="module")
def provider(make_provider: Callable[[], IdentityProvider]) -> IdentityProvider:
    return make_provider().start()


def bridge_for(make_bridge: Callable[..., Bridge], provider: IdentityProvider, config: str) -> Bridge:
    bridge = make_bridge(config, OTEL_BRIDGE_OAUTH_ISSUER=provider.issuer, OTEL_BRIDGE_OAUTH_SCOPES="metricas")
    bridge.environ["OTEL_BRIDGE_PUBLIC_URL"] = bridge.url
    return bridge.start()


@pytest.mark.parametrize("config", [CLOSED, MIXED], ids=["all closed", "one open"])
def test_a_client_that_knows_only_the_address_gets_in(
    make_bridge: Callable[..., Bridge], provider: IdentityProvider, config: str
) -> None:
    bridge = bridge_for(make_bridge, provider, config)
    memory, person, seen = Memory(), Person(), []

    async def note(response: httpx2.Response) -> None:
        seen.append((response.request.method, response.request.url.path, response.status_code))

    async def run() -> object:
        auth = OAuthClientProvider(
            f"{bridge.url}/mcp",
            OAuthClientMetadata(client_name="prueba", redirect_uris=[CALLBACK], token_endpoint_auth_method="none"),
            memory,
            person.open,
            person.code,
        )
        async with (
            httpx2.AsyncClient(auth=auth, timeout=30, event_hooks={"response": [note]}) as http,
            Client(streamable_http_client(f"{bridge.url}/mcp", http_client=http)) as client,
        ):
            tools = await client.list_tools()
            made = await client.call_tool("crear_sesion", {"usuario_id": "u", "gpt_id": "devops-expert"})
            event = {**GUIDE_EVENT, "sesion_id": made.structured_content["id"]}
            return tools, made, await client.call_tool("registrar_evento", event)

    tools, made, event = asyncio.run(run())
    assert len(tools.tools) == 4 and not made.is_error and not event.is_error, seen
    assert person.logged_in == 1
    claims = jwt.decode(memory.tokens.access_token, options={"verify_signature": False})
    assert claims["aud"] == f"{bridge.url}/mcp" and claims["iss"] == provider.issuer and claims["sub"] == "ana"
    assert memory.client.client_id == claims["client_id"]
    # The same token opens the API.
    headers = {"Authorization": f"Bearer {memory.tokens.access_token}"}
    state = bridge.http.get(f"{bridge.api}/sessions/{made.structured_content['id']}", headers=headers)
    assert state.status_code == 200 and state.json()["eventos"] == 1
    said = {**GUIDE_EVENT, "sesion_id": state.json()["id"], "contenido": f"¿Por qué falla {headers['Authorization']}?"}
    assert bridge.post("/events", said, headers=headers).status_code == 201
    # And no text of it is anywhere.
    bridge.stop()
    journal = b"".join(path.read_bytes() for path in bridge.journal.parent.iterdir() if path.is_file())
    for part in memory.tokens.access_token.split("."):
        assert part not in bridge.output() and part.encode() not in journal
