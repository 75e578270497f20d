"""`/mcp`, asked by the official client: the same posts, validation, keys and limits."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from otel_bridge.access import keys
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge

KEY = "otb_" + "m" * 43
SEVERAL = f"""
[gpts.abierto]
[gpts.cerrado]
api_key_hashes = ["{keys.hash_of(KEY.encode())}"]
"""
T = TypeVar("T")
SECRET = "zq9secret"


@pytest.fixture(scope="module")
def one(serve: Serve) -> Bridge:
    return serve("[gpts.devops-expert]\n", OTEL_BRIDGE_LOG_LEVEL="debug")


@pytest.fixture(scope="module")
def closed(serve: Serve) -> Bridge:
    return serve(f'[gpts.cerrado]\napi_key_hashes = ["{keys.hash_of(KEY.encode())}"]\n')


@pytest.fixture(scope="module")
def several(serve: Serve) -> Bridge:
    return serve(SEVERAL, OTEL_BRIDGE_RATE_LIMIT="12/hour")


def talk(bridge: Bridge, ask: Callable[[Client], Awaitable[T]], mode: str = "auto", **headers: str) -> T:
    async def run() -> T:
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(f"{bridge.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:  # type: ignore[arg-type]
                return await ask(client)

    return asyncio.run(run())


def call(bridge: Bridge, tool: str, arguments: Any, meta: Any = None, **headers: str) -> Any:
    """(failed, document) of one tool call."""

    async def ask(client: Client) -> Any:
        return await client.call_tool(tool, arguments, meta=meta)

    result = talk(bridge, ask, **headers)
    assert json.loads(result.content[0].text) == result.structured_content
    return result.is_error, result.structured_content


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_posts_are_tools(one: Bridge, mode: str) -> None:
    async def ask(client: Client) -> Any:
        return await client.list_tools()

    tools = {tool.name: tool for tool in talk(one, ask, mode).tools}
    assert set(tools) == {"crear_sesion", "registrar_evento", "valorar_evento", "terminar_sesion"}
    event = tools["registrar_evento"].input_schema
    assert set(GUIDE_EVENT) | {"sesion_id"} <= set(event["properties"])
    assert event["required"] == ["tipo", "contenido"] and "required" not in tools["crear_sesion"].input_schema
    assert event["properties"]["gpt_id"]["enum"] == ["devops-expert"]
    assert all(field["description"] for tool in tools.values() for field in tool.input_schema["properties"].values())


def test_a_model_is_asked_for_nothing_that_it_would_have_to_make_up(one: Bridge) -> None:
    async def ask(client: Client) -> Any:
        return await client.list_tools()

    listed = talk(one, ask)
    fields = {name: field for tool in listed.tools for name, field in tool.input_schema["properties"].items()}
    for name in ("latency_ms", "tokens_entrada", "tokens_salida"):
        assert fields[name]["description"].endswith("Omítelo si no lo has medido; no lo estimes.")
    assert not {"timestamp", "timestamp_inicio", "id", "ttft_ms", "tokens_cache", "tokens_razonamiento"} & set(fields)
    said = json.dumps(listed.model_dump(), ensure_ascii=False)
    assert "crear_sesion" in fields["sesion_id"]["description"]
    assert not any(word in said for word in ("crearSesion", "agregarEvento", "POST /api", "stímal", "(?", r"\Z"))


def test_several_gpts_are_told_apart_by_the_call_unless_the_key_does(several: Bridge) -> None:
    async def ask(client: Client) -> Any:
        return {tool.name: tool.input_schema for tool in (await client.list_tools()).tools}

    open_to_all = talk(several, ask)
    assert open_to_all["crear_sesion"]["required"] == ["gpt_id"]
    assert open_to_all["registrar_evento"]["required"] == ["tipo", "contenido"]
    with_key = talk(several, ask, **{"X-API-Key": KEY})
    assert with_key["crear_sesion"]["properties"]["gpt_id"]["enum"] == ["cerrado"]
    assert "required" not in with_key["crear_sesion"]
    assert talk(several, ask, **{"Idempotency-Key": "a b"}) == open_to_all  # nothing that a list has a use for
    failed, problem = call(several, "crear_sesion", {})
    assert failed and [error["campo"] for error in problem["errors"]] == ["gpt_id"]


def test_what_is_not_measured_may_be_left_out(one: Bridge) -> None:
    words = {name: value for name, value in GUIDE_EVENT.items() if isinstance(value, str)}
    session = one.session()
    for left_out in ({}, {"latency_ms": None, "tokens_entrada": None}, {"modelo": "", "error": "", "gpt_id": ""}):
        failed, event = call(one, "registrar_evento", {**words, **left_out, "sesion_id": session})
        assert not failed, event
    assert call(one, "registrar_evento", {**words, "sesion_id": session, "tipo": ""})[1]["status"] == 422


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_session_and_its_event_are_journaled_as_by_the_api(one: Bridge, mode: str) -> None:
    async def ask(client: Client) -> Any:
        made = await client.call_tool("crear_sesion", GUIDE_SESSION)
        event = {**GUIDE_EVENT, "sesion_id": made.structured_content["id"]}
        return made, await client.call_tool("registrar_evento", event)

    made, event = talk(one, ask, mode)
    assert not made.is_error and not event.is_error
    assert made.structured_content["gpt_id"] == "devops-expert"
    state = one.http.get(f"{one.api}/sessions/{made.structured_content['id']}").json()
    assert state["eventos"] == 1 and event.structured_content["sesion_id"] == state["id"]


def test_session_and_subject_come_from_meta_where_the_client_sends_them(one: Bridge) -> None:
    meta = {"openai/session": "chat-1", "openai/subject": "subject-1"}
    users = one.metric("gpt_sessions_total")
    failed, event = call(one, "registrar_evento", GUIDE_EVENT, meta)
    assert not failed
    failed, made = call(one, "crear_sesion", {}, meta)
    assert not failed and made["id"] == event["sesion_id"]
    failed, again = call(one, "registrar_evento", {**GUIDE_EVENT, "sesion_id": None}, meta)
    assert not failed and again["sesion_id"] == event["sesion_id"]
    assert one.metric("gpt_sessions_total") == users + 1
    other = call(one, "registrar_evento", GUIDE_EVENT, {**meta, "openai/session": "chat-2"})[1]["sesion_id"]
    assert other != event["sesion_id"]

    def user(session: str) -> str:
        return str(one.http.get(f"{one.api}/sessions/{session}").json()["usuario_hash"])

    assert user(other) == user(event["sesion_id"])  # one subject in two chats is one user
    apart = call(one, "crear_sesion", {"usuario_id": "x"}, {"openai/subject": "subject-2"})[1]["id"]
    assert user(apart) != user(other)


def test_a_wrong_call_is_a_tool_error_that_a_model_can_repair(one: Bridge) -> None:
    before = one.metric("otel_bridge_records_total", result="accepted")
    failed, problem = call(one, "registrar_evento", {"tipo": SECRET * 20, "latency_ms": "1500"})
    assert failed and problem["status"] == 422
    assert {e["campo"] for e in problem["errors"]} == {"sesion_id", "tipo", "contenido", "latency_ms"}
    assert SECRET not in json.dumps(problem)
    problem = call(one, "registrar_evento", {**GUIDE_EVENT, "sesion_id": one.session(), "tokens_cache": 26})[1]
    assert [(e["campo"], e["ejemplo"]) for e in problem["errors"]] == [("tokens_cache", 20)]
    before += 1  # the session
    assert call(one, "crear_sesion", {**GUIDE_SESSION, "gpt_id": "no-such"})[1]["status"] == 404
    assert call(one, "crear_sesion", {"usuario_id": 7})[1]["errors"][0]["campo"] == "usuario_id"
    unknown = {**GUIDE_EVENT, "sesion_id": "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"}
    failed, problem = call(one, "registrar_evento", unknown)
    assert problem["status"] == 404 and "crear_sesion" in problem["detail"] and "/api" not in problem["detail"]
    assert call(one, "registrar_evento", GUIDE_EVENT, {"openai/session": 7, "openai/subject": ["x"]})[0]
    assert call(one, "registrar_evento", {**GUIDE_EVENT, "latency_ms": "x"}, {"openai/session": "never-opened"})[0]
    assert one.metric("otel_bridge_records_total", result="accepted") == before
    assert one.metric("otel_bridge_records_total", kind="event", result="rejected") >= 4


def test_a_tool_that_there_is_not_is_an_error_of_the_protocol(one: Bridge) -> None:
    before = one.metric("otel_bridge_records_total", result="rejected", reason="urn:otel-bridge:ruta-no-encontrada")
    names = ["crearSesion", SECRET, "", "crear_sesion ", "Crear_Sesion", "tools/call"]
    for name in names:
        for version in ("2025-06-18", "2026-07-28"):
            meta = {VERSION_KEY: version, CAPABILITIES_KEY: {}}
            message = {"name": name, "arguments": {"a": SECRET}, "_meta": meta}
            headers = {"MCP_Protocol_Version": version, "Mcp_Method": "tools/call", "Mcp_Name": encoded(name)}
            answer = send(one, {**PING, "method": "tools/call", "params": message}, **headers)
            assert code(answer) == -32602 and SECRET not in answer.text, answer.text
            assert (
                "crear_sesion, registrar_evento, valorar_evento, terminar_sesion" in answer.json()["error"]["message"]
            )
    reason = "urn:otel-bridge:ruta-no-encontrada"
    assert one.metric("otel_bridge_records_total", result="rejected", reason=reason) == before + 2 * len(names)

    async def ask(client: Client) -> None:
        with pytest.raises(MCPError, match="crear_sesion, registrar_evento, valorar_evento, terminar_sesion"):
            await client.call_tool("crearSesion", {})

    talk(one, ask)


def refusal(bridge: Bridge, tool: str, arguments: Any, meta: Any = None, **headers: str) -> Any:
    """The answer to a tool call that HTTP itself refuses."""
    params = {"name": tool, "arguments": arguments, **({} if meta is None else {"_meta": meta})}
    answer = send(bridge, {**PING, "method": "tools/call", "params": params}, **headers)
    assert answer.headers["Content-Type"] == "application/problem+json", answer.text
    return answer


def test_keys_hold_at_this_door_too(several: Bridge) -> None:
    session = {**GUIDE_SESSION, "gpt_id": "cerrado"}
    for answer in (
        refusal(several, "crear_sesion", session),
        refusal(several, "crear_sesion", session, Authorization="Bearer otb_wrong"),
        refusal(several, "crear_sesion", session, {"openai/session": "chat"}),
    ):
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == 'Bearer realm="otel-bridge"'
    failed, made = call(several, "crear_sesion", session, Authorization=f"Bearer {KEY}")
    assert not failed
    event = {**GUIDE_EVENT, "sesion_id": made["id"]}
    assert refusal(several, "registrar_evento", event).status_code == 401
    assert not call(several, "registrar_evento", event, **{"X-API-Key": KEY})[0]
    # A key says which GPT is meant, where the call does not.
    failed, by_key = call(several, "crear_sesion", {"usuario_id": "u"}, Authorization=f"Bearer {KEY}")
    assert not failed and by_key["gpt_id"] == "cerrado"


@pytest.mark.parametrize("method", ["initialize", "tools/list", "ping", "server/discover"])
def test_where_every_gpt_has_keys_nothing_is_answered_without_one(closed: Bridge, method: str) -> None:
    message = {**PING, "method": method, "params": INITIALIZE if method == "initialize" else {}}
    for headers in ({}, {"Authorization": "Bearer otb_wrong"}, {"X_API_Key": "otb_wrong"}):
        answer = send(closed, message, **headers)
        assert answer.status_code == 401 and answer.headers["WWW-Authenticate"] == 'Bearer realm="otel-bridge"'
    assert closed.http.get(f"{closed.url}/mcp", headers=ACCEPT).status_code == 401
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"X_API_Key": KEY}):
        assert send(closed, message, **headers).status_code == 200
    assert closed.http.get(f"{closed.url}/.well-known/oauth-protected-resource").status_code == 404


def test_the_tools_of_a_key_are_those_of_its_gpt(several: Bridge) -> None:
    async def ask(client: Client) -> Any:
        return await client.list_tools()

    for headers, gpt in (({"X-API-Key": KEY}, {"enum": ["cerrado"]}), ({}, {})):
        tools = {tool.name: tool for tool in talk(several, ask, **headers).tools}
        field = tools["crear_sesion"].input_schema["properties"]["gpt_id"]
        assert gpt.items() <= field.items() and ("enum" in field) is bool(gpt)


def test_limits_hold_at_this_door_too(several: Bridge) -> None:
    session = {**GUIDE_SESSION, "gpt_id": "abierto"}
    headers = {"X-Forwarded-For": "198.51.100.77"}
    statuses = [call(several, "crear_sesion", session, **headers)[1].get("status", 201) for _ in range(14)]
    assert statuses == [201] * 12 + [429] * 2
    assert several.post("/sessions", session, headers=headers).status_code == 429  # one count for both doors


# --- the HTTP under it ----------------------------------------------------------------------------------------------

INITIALIZE = {
    "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "prueba", "version": "1"}
}  # fmt: skip
VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def send(bridge: Bridge, message: Any, path: str = "/mcp", **headers: str) -> Any:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    every = {**ACCEPT, "Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return bridge.http.post(f"{bridge.url}{path}", data=body, headers=every, timeout=30, allow_redirects=False)


def encoded(name: str) -> str:
    """A tool's name as 2026-07-28 wants it in a header: what a header would not keep is encoded."""
    return name if name == name.strip() and name else f"=?base64?{base64.b64encode(name.encode()).decode()}?="


def code(answer: Any) -> int:
    """Of an answer that is an error of JSON-RPC in the right shape."""
    told = answer.json()
    assert set(told) == {"jsonrpc", "id", "error"} and told["error"]["message"], told
    return int(told["error"]["code"])


def test_a_slash_at_the_end_serves_alike(one: Bridge) -> None:
    for path in ("/mcp", "/mcp/"):
        answer = send(one, PING, path)
        assert answer.status_code == 200 and answer.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
    assert one.http.get(f"{one.url}/mcp/").status_code == 405
    assert one.metric("otel_bridge_request_duration_seconds_count", route="/mcp/") == 0


@pytest.mark.parametrize("version", [None, "2025-06-18"])
@pytest.mark.parametrize(
    ("written", "meant"),
    [("1", 1), ("0", 0), ("-7", -7), ("1.0", 1), ("1e2", 100), ("-0.0", 0), (str(10**30), 10**30),
     ('"a"', "a"), ('""', ""), ('"1.5"', "1.5")],
)  # fmt: skip
def test_an_id_is_a_text_or_an_integer(one: Bridge, version: str | None, written: str, meant: object) -> None:
    headers = {} if version is None else {"MCP_Protocol_Version": version}
    answer = send(one, b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % written.encode(), **headers)
    assert answer.status_code == 200 and answer.json() == {"jsonrpc": "2.0", "id": meant, "result": {}}


@pytest.mark.parametrize("version", [None, "2025-11-25", "2026-07-28"])
@pytest.mark.parametrize(
    "written", ["1.5", "null", "true", "{}", "[1]", "1e400", "1" * 5000, "NaN"], ids=lambda text: text[:9]
)
def test_another_id_is_an_error_and_not_silence(one: Bridge, version: str | None, written: str) -> None:
    headers = {} if version is None else {"MCP_Protocol_Version": version}
    answer = send(one, b'{"jsonrpc":"2.0","id":%b,"method":"ping"}' % written.encode(), **headers)
    assert answer.status_code == 400 and answer.json()["id"] is None
    assert code(answer) == (-32700 if written in ("1e400", "1" * 5000, "NaN") else -32600)


def test_what_waits_for_no_answer_gets_none(one: Bridge) -> None:
    for message in ({"jsonrpc": "2.0", "method": "notifications/initialized"}, {**PING, "result": {}, "method": None}):
        message = {name: value for name, value in message.items() if value is not None}
        answer = send(one, message)
        assert answer.status_code == 202 and answer.content == b""


@pytest.mark.parametrize(
    "version", ["2099-01-01", "1900-01-01", "2", "zq9secret", "2025-06-18, 2025-06-18", "2026-07-28x"]
)
@pytest.mark.parametrize("method", ["ping", "tools/list", "initialize", "server/discover"])
def test_a_version_that_is_not_served_is_named_as_such(one: Bridge, version: str, method: str) -> None:
    message = {**PING, "method": method, "params": INITIALIZE if method == "initialize" else {}}
    answers = [send(one, message, MCP_Protocol_Version=version)]
    meta = {"_meta": {VERSION_KEY: version, CAPABILITIES_KEY: {}}}
    answers.append(send(one, {**message, "params": meta}))
    answers.append(send(one, {**message, "params": meta}, MCP_Protocol_Version=version))
    for answer in answers:
        assert answer.status_code == 400 and code(answer) == -32022 and answer.json()["id"] == 1
        data = answer.json()["error"]["data"]
        assert data["supported"][:2] == ["2026-07-28", "2025-11-25"] and isinstance(data["requested"], str)
        assert SECRET not in answer.text
    if version == "2099-01-01":
        assert data["requested"] == version


def test_a_version_that_is_served_in_the_header_and_another_in_the_message_do_not_match(one: Bridge) -> None:
    meta = {"_meta": {VERSION_KEY: "2099-01-01", CAPABILITIES_KEY: {}}}
    for version in ("2026-07-28", "2098-01-01"):
        answer = send(one, {**PING, "params": meta}, MCP_Protocol_Version=version, Mcp_Method="ping")
        assert answer.status_code == 400 and code(answer) == -32020


@pytest.mark.parametrize(
    ("proposed", "agreed"),
    [("2025-06-18", "2025-06-18"), ("2024-11-05", "2024-11-05"), ("2099-01-01", "2025-11-25"), ("x", "2025-11-25")],
)
def test_initialize_is_answered_with_a_version_that_is_served(one: Bridge, proposed: str, agreed: str) -> None:
    answer = send(one, {**PING, "method": "initialize", "params": {**INITIALIZE, "protocolVersion": proposed}})
    assert answer.status_code == 200 and answer.json()["result"]["protocolVersion"] == agreed


@pytest.mark.parametrize(
    ("accepted", "kind"),
    [
        ("application/json, text/event-stream", "application/json"),
        ("*/*", "application/json"),
        ("application/*", "application/json"),
        ("", "application/json"),
        ("text/event-stream", "text/event-stream"),
        ("text/*", "text/event-stream"),
        ("application/json;q=0, text/event-stream", "text/event-stream"),
        ("application/json ; Q=0.0, */*", "text/event-stream"),
        ("text/html", None),
        ("application/json;q=0", None),
        ("application/json;q=0, text/event-stream;q=0", None),
        ("*/*;q=0", None),
    ],
)
@pytest.mark.parametrize("version", [None, "2025-06-18", "2026-07-28"])
def test_it_is_answered_in_a_form_that_the_client_accepts_or_told_that_there_is_none(
    one: Bridge, accepted: str, kind: str | None, version: str | None
) -> None:
    headers = {"Accept": accepted}
    message: dict[str, Any] = {**PING, "method": "tools/list"}
    if version is not None:
        headers |= {"MCP_Protocol_Version": version, "Mcp_Method": "tools/list"}
        message["params"] = {"_meta": {VERSION_KEY: version, CAPABILITIES_KEY: {}}}
    answer = send(one, message, **headers)
    if kind is None:
        assert answer.status_code == 406 and answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:otel-bridge:respuesta-no-aceptable"
        return
    assert answer.status_code == 200 and answer.headers["Content-Type"] == kind, answer.text
    text = answer.content.decode()
    if kind == "text/event-stream":
        assert text.startswith("event: message\r\ndata: ") and text.endswith("\r\n\r\n") and text.count("data:") == 1
        text = text.partition("data: ")[2]
    told = json.loads(text)
    assert told["id"] == 1 and len(told["result"]["tools"]) == 4


def test_a_byte_order_mark_before_a_message_is_skipped(one: Bridge) -> None:
    assert send(one, b"\xef\xbb\xbf" + json.dumps(PING).encode()).status_code == 200


def test_a_body_without_a_type_is_taken_for_json_as_the_api_does(one: Bridge) -> None:
    for kind in (None, "application/vnd.mcp+json"):
        answer = one.http.post(f"{one.url}/mcp", data=json.dumps(PING), headers={"Content-Type": kind})
        assert answer.status_code == 200 and answer.json()["result"] == {}


@pytest.mark.parametrize(
    "headers, status",
    [
        ({}, 200),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 403),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),  # DNS rebinding
    ],
    ids=str,
)
def test_a_web_page_elsewhere_cannot_reach_it(one: Bridge, headers: dict[str, str], status: int) -> None:
    answer = one.http.post(f"{one.url}/mcp", json=PING, headers={**ACCEPT, **headers})
    assert answer.status_code == status, answer.text
    if status == 403:
        assert answer.json()["type"] == "urn:otel-bridge:origen-no-permitido"


def test_a_configured_origin_and_public_name_reach_it(serve: Serve) -> None:
    bridge = serve(OTEL_BRIDGE_CORS_ORIGINS="https://app.example", OTEL_BRIDGE_PUBLIC_URL="https://koomtai.com/api")
    headers = {"Host": "koomtai.com", "Origin": "https://app.example"}
    assert bridge.http.post(f"{bridge.url}/mcp", json=PING, headers={**ACCEPT, **headers}).status_code == 200
    assert bridge.stop() == 0


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_no_stream_to_hold_open_and_no_session_to_end(one: Bridge, method: str) -> None:
    answer = one.http.request(method, f"{one.url}/mcp", headers=ACCEPT)
    assert answer.status_code == 405 and answer.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
     b'{"jsonrpc":"2.0","id":1,"method":"zq9secret"}', b'{"jsonrpc":"2.0","id":"zq9secret","method":"tools/call",'
     b'"params":{"name":"registrar_evento","arguments":"zq9secret"}}', b'{"jsonrpc":"1.0"}',
     b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crear_sesion","arguments":{"gpt_id":"\\ud800"}}}',
     b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"crear_sesion","arguments":{"gpt_id":NaN}}}',
     b"\xff\xfe", b'{"a":"' + b"x" * (2 << 20) + b'"}'],
    ids=lambda body: body[:40].decode("latin-1"),
)  # fmt: skip
@pytest.mark.parametrize("version", [None, "2025-06-18", "2026-07-28", "nonsense"])
def test_no_body_makes_a_5xx_or_reaches_the_journal(one: Bridge, body: bytes, version: str | None) -> None:
    before = one.metric("otel_bridge_records_total", result="accepted")
    headers = {**ACCEPT, "Content-Type": "application/json"}
    if version is not None:
        headers["MCP-Protocol-Version"] = version
    answer = one.http.post(f"{one.url}/mcp", data=body, headers=headers)
    assert answer.status_code < 500, answer.text
    assert "Traceback" not in answer.text
    assert one.metric("otel_bridge_records_total", result="accepted") == before


def test_nothing_of_a_call_is_logged_and_it_stops_in_order(one: Bridge) -> None:
    call(one, "crear_sesion", {**GUIDE_SESSION, "usuario_id": SECRET}, {"openai/session": SECRET})
    assert SECRET not in one.output()
    assert '"level": "error"' not in one.output() and "Traceback" not in one.output()
    assert one.metric("otel_bridge_ledger_gap") == 0
    assert one.stop() == 0
