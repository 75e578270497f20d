"""A bridge at a real identity provider that changes its keys and goes away; and tokens that are none of ours."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jwt
import pytest
import requests

from otel_bridge.access import keys
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.waiting import wait_for
from tests.oauth.conftest import IdentityProvider

KEY = "otb_" + "k" * 43
CONFIG = f"""
[gpts.devops-expert]
oauth_clients = ["app-uno"]
api_key_hashes = ["{keys.hash_of(KEY.encode())}"]
[gpts.ventas]
oauth_claims = {{ equipo = "ventas" }}
[gpts.abierto]
"""
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


class Place(NamedTuple):
    provider: IdentityProvider
    bridge: Bridge

    def token(self, client: str = "app-uno", door: str = "/mcp") -> str:
        return self.provider.token(client, self.bridge.url + door)

    def session(self, token: str, gpt: str = "devops-expert") -> requests.Response:
        return self.bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": gpt}, headers=bearer(token))

    def mcp(self, message: Any, token: str | None = None) -> requests.Response:
        headers = {} if token is None else bearer(token)
        return self.bridge.http.post(f"{self.bridge.url}/mcp", json=message, headers=headers, timeout=30)

    def call(self, gpt: str, token: str | None = None) -> requests.Response:
        arguments = {"gpt_id": gpt, "usuario_id": "u"}
        return self.mcp(
            {**LIST, "method": "tools/call", "params": {"name": "crear_sesion", "arguments": arguments}}, token
        )


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def place(make_provider: Callable[[], IdentityProvider], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    provider = make_provider()
    provider.clients, provider.claims = ["app-uno", "app-dos"], {"app-dos": {"equipo": "ventas"}}
    bridge = Bridge(tmp_path_factory.mktemp("bridge"), CONFIG, OTEL_BRIDGE_LOG_LEVEL="debug")
    bridge.environ["OTEL_BRIDGE_PUBLIC_URL"] = bridge.url
    bridge.environ["OTEL_BRIDGE_CORS_ORIGINS"] = "https://page.example"
    bridge.environ["OTEL_BRIDGE_OAUTH_ISSUER"] = provider.issuer
    # It starts before its provider does.
    yield Place(provider, bridge.start())
    bridge.close()


def identity(place: Place) -> str:
    return str(place.bridge.http.get(f"{place.bridge.url}/readyz").json()["identidad"]["estado"])


def test_without_a_provider_tokens_wait_and_keys_do_not(place: Place) -> None:
    token = ".".join(("eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ", f"{_part(place)}", "AAAA"))
    for answer in (place.session(token), place.mcp(LIST, token)):
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
        assert answer.json()["type"] == "urn:otel-bridge:proveedor-no-disponible"
    assert place.session(KEY).status_code == 201
    assert place.bridge.http.get(f"{place.bridge.url}/readyz").status_code == 200
    assert identity(place).startswith("aún no se conocen")
    assert "the issuer's keys cannot be looked up" in place.bridge.output()
    place.provider.start()
    wait_for(lambda: identity(place) == "ok", "the provider's keys")


def _part(place: Place) -> str:
    return jwt.encode({"iss": place.provider.issuer}, "s" * 32, "HS256").split(".")[1]


@pytest.mark.parametrize("door", ["", "/", "/mcp", "/mcp/", "/api"])
def test_a_token_for_any_of_our_names_opens_both_doors(place: Place, door: str) -> None:
    token = place.token(door=door)
    made = place.session(token)
    assert made.status_code == 201
    event = {**GUIDE_EVENT, "sesion_id": made.json()["id"]}
    assert place.bridge.post("/events", event, headers=bearer(token)).status_code == 201
    assert place.bridge.post("/events", [event, event], headers=bearer(token)).status_code == 201
    called = place.call("devops-expert", token).json()
    assert called["result"]["structuredContent"]["gpt_id"] == "devops-expert"


def test_the_token_of_another_gpts_client_opens_its_own_alone(place: Place) -> None:
    own, other = place.token(), place.token("app-dos")
    session = place.session(own).json()["id"]
    assert [place.session(token, "ventas").status_code for token in (own, other)] == [403, 201]
    event = {**GUIDE_EVENT, "sesion_id": session}
    assert place.bridge.post("/events", event, headers=bearer(other)).status_code == 403
    assert place.bridge.http.get(f"{place.bridge.api}/sessions/{session}", headers=bearer(other)).status_code == 403
    assert place.bridge.http.get(f"{place.bridge.api}/sessions/{session}").status_code == 401
    problem = place.call("devops-expert", other).json()["result"]
    assert problem["isError"] and problem["structuredContent"]["status"] == 403
    # Which GPT is meant the token says, where the call does not.
    params = {"name": "crear_sesion", "arguments": {"usuario_id": "u"}}
    made = place.mcp({**LIST, "method": "tools/call", "params": params}, other).json()["result"]
    assert made["structuredContent"]["gpt_id"] == "ventas"
    tools = place.mcp(LIST, other).json()["result"]["tools"]
    assert tools[0]["inputSchema"]["properties"]["gpt_id"]["enum"] == ["ventas"]
    schemes = [{"type": "noauth"}, {"type": "oauth2", "scopes": []}]
    assert [tool["_meta"]["securitySchemes"] for tool in tools] == [schemes] * 4


def test_where_a_gpt_is_open_a_client_is_asked_for_a_token_by_the_call_that_needs_one(place: Place) -> None:
    assert place.mcp(LIST).status_code == 200
    assert place.call("abierto").json()["result"]["structuredContent"]["gpt_id"] == "abierto"
    refused = place.call("devops-expert")
    assert refused.status_code == 401 and "error=" not in refused.headers["WWW-Authenticate"]
    shown = refused.headers["WWW-Authenticate"].partition('resource_metadata="')[2].rstrip('"')
    found = requests.get(shown, headers={"Origin": "https://page.example"}, timeout=5)
    assert found.json() == {
        "resource": f"{place.bridge.url}/mcp",
        "authorization_servers": [place.provider.issuer],
        "bearer_methods_supported": ["header"],
        "resource_name": "otel-bridge",
    }
    assert (
        found.headers["Cache-Control"] == "public, max-age=300" and "nosniff" in found.headers["X-Content-Type-Options"]
    )
    assert found.headers["Access-Control-Allow-Origin"] == "https://page.example"
    root = place.bridge.http.get(f"{place.bridge.url}/.well-known/oauth-protected-resource").json()
    assert root["resource"] == place.bridge.url
    refused = place.bridge.post("/sessions", GUIDE_SESSION)
    assert refused.headers["WWW-Authenticate"].endswith('/.well-known/oauth-protected-resource"')
    assert place.bridge.http.get(f"{place.bridge.url}/.well-known/oauth-protected-resource/x").status_code == 404


@pytest.mark.parametrize(
    ("claims", "description"),
    [
        ({"exp": 1}, "caducado"),
        ({"aud": "https://other.example"}, "otra audiencia"),
        ({"iss": "https://evil.example"}, "otro emisor"),
        ({"nbf": 9_999_999_999}, "su fecha es futura"),
    ],
    ids=str,
)
def test_what_the_provider_signed_for_others_is_401_at_every_door(
    place: Place, claims: dict[str, Any], description: str
) -> None:
    token = place.provider.forged(place.token(), **claims)
    for answer in (place.session(token), place.mcp(LIST, token), place.call("abierto", token)):
        assert answer.status_code == 401
        assert f'error="invalid_token", error_description="{description}"' in answer.headers["WWW-Authenticate"]
    assert place.session(token, "abierto").status_code == 201  # an open GPT asks for none


def test_junk_is_401_and_costs_nobody_else_anything(place: Place) -> None:
    good, draw = place.token(), random.Random(7)
    head, body, mac = good.split(".")
    junk = [
        "a.b.c",
        "..",
        "x" * 7000 + ".a.b",
        f"{head}.{body}.",
        f"{head}..{mac}",
        f".{body}.{mac}",
        f"{good}=",
        f"{good}.x",
    ]
    for _ in range(60):
        place_of = draw.randrange(len(good))
        letter = draw.choice("ABCxyz019-_.")
        if letter != good[place_of]:
            junk.append(good[:place_of] + letter + good[place_of + 1 :])

    def send(token: str) -> tuple[int, str]:
        answer = requests.post(f"{place.bridge.api}/sessions", json=GUIDE_SESSION, headers=bearer(token), timeout=30)
        return answer.status_code, answer.text

    with ThreadPoolExecutor(4) as pool:
        # The last letter of a signature has bits that mean nothing: PyJWT refuses another spelling, too.
        for token, (status, text) in zip(junk, pool.map(send, junk), strict=True):
            assert status == 401, (token, status, text)
    assert place.session(good).status_code == 201


def test_new_keys_of_the_provider_are_found_and_old_tokens_end_with_theirs(place: Place) -> None:
    before = place.token()
    assert place.session(before).status_code == 201
    place.provider.stop()
    # Away: what is known of it goes on, also for tokens that were not seen before.
    unseen = place.provider.forged(before, jti="unseen")
    assert place.session(unseen).status_code == 201
    place.provider.new_key("segunda")
    place.provider.start()
    after = place.token()
    wait_for(lambda: place.session(after).status_code == 201, "the new key", pause=0.3)
    for token in (before, unseen):
        assert place.session(token).status_code == 401, "the old key is withdrawn, and what it verified forgotten"


def test_a_token_of_an_unknown_key_waits_for_the_provider_and_holds_up_nobody(place: Place) -> None:
    good = place.token()
    place.provider.stop()
    kid, place.provider.kid = place.provider.kid, "tercera"
    unknown = place.provider.forged(good)
    place.provider.kid = kid
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(requests.get, f"{place.bridge.url}/api/sessions/x", headers=bearer(unknown), timeout=30)
                   for _ in range(20)]  # fmt: skip
        began = time.monotonic()
        assert place.bridge.http.get(f"{place.bridge.url}/healthz", timeout=5).status_code == 200
        assert place.session(KEY).status_code == 201 and time.monotonic() - began < 2
        assert {answer.result().status_code for answer in waiting} == {404}  # of no GPT: nobody asks who it is
    # Just looked for in vain: the answer is 503 while the provider is away.
    wait_for(lambda: place.session(unknown).status_code == 503, "a look-up that failed", pause=0.3)
    assert int(place.session(unknown).headers["Retry-After"]) >= 1
    assert place.session(good).status_code == 201
    place.provider.start()
    wait_for(lambda: place.session(unknown).status_code == 401, "the provider's word on it", pause=0.3)


def test_settings_are_taken_on_while_it_runs(place: Place) -> None:
    token = place.token()
    file = place.bridge.config
    text = file.read_text(encoding="utf-8")
    file.write_text('oauth_scopes = ["otro"]\n' + text.replace('"app-uno"', '"app-tres"'), encoding="utf-8")
    wait_for(lambda: place.session(token).json()["type"].endswith("permiso-insuficiente"), "the scope asked for")
    refused = place.mcp(LIST, token)
    assert refused.status_code == 403 and 'scope="otro"' in refused.headers["WWW-Authenticate"]
    metadata = place.bridge.http.get(f"{place.bridge.url}/.well-known/oauth-protected-resource").json()
    assert metadata["scopes_supported"] == ["otro"]
    file.write_text(text.replace('"app-uno"', '"*"'), encoding="utf-8")
    wait_for(lambda: place.session(token).status_code == 201, "the client let in")
    file.write_text(text, encoding="utf-8")


def test_no_token_is_in_the_log_and_refusals_are_counted(place: Place) -> None:
    token = place.token()
    assert place.session(token).status_code == 201
    reason = "urn:otel-bridge:clave-ausente-o-incorrecta"
    before = place.bridge.metric("otel_bridge_records_total", kind="session", result="rejected", reason=reason)
    place.session(place.provider.forged(token, exp=1))
    place.call("devops-expert")
    after = place.bridge.metric("otel_bridge_records_total", kind="session", result="rejected", reason=reason)
    assert after == before + 2
    assert place.bridge.stop() == 0
    assert not any(part in place.bridge.output() for part in token.split("."))
    assert "Traceback" not in place.bridge.output() and '"level": "error"' not in place.bridge.output()
