"""Clients that send no hints: which session a call without one belongs to, and who gets to it."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from typing import Any

import httpx2
import pytest
import requests
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client

from otel_bridge.access import keys
from otel_bridge.contract import MEASURED
from otel_bridge.mcp.messages import VERSIONS
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.waiting import wait_for

KEYS = ["otb_" + letter * 43 for letter in "abc"]
HASHES = [keys.hash_of(key.encode()) for key in KEYS]
SEVERAL = f"""
[gpts.abierto]
[gpts.cerrado]
api_key_hashes = ["{HASHES[0]}", "{HASHES[1]}"]
[gpts.ajeno]
api_key_hashes = ["{HASHES[2]}"]
"""
WITH_SESSIONS = [version for version in VERSIONS if version <= "2025-11-25"]


@pytest.fixture(scope="module")
def one(serve: Serve) -> Bridge:
    return serve("[gpts.devops-expert]\n", OTEL_BRIDGE_LOG_LEVEL="debug")


@pytest.fixture(scope="module")
def several(serve: Serve) -> Bridge:
    return serve(SEVERAL)


class Editor:
    """A client of an earlier version, written out: it initializes, and keeps the session id that it is given."""

    def __init__(self, bridge: Bridge, key: str | None = None, version: str = "2025-11-25") -> None:
        self.url = f"{bridge.url}/mcp"
        self.headers = {"Accept": "application/json, text/event-stream"}
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"
        info = {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "editor", "version": "1"}}
        answer = self.ask("initialize", info)
        assert answer.json()["result"]["protocolVersion"] == version
        self.id = answer.headers["Mcp-Session-Id"]
        self.headers |= {"Mcp-Session-Id": self.id, "MCP-Protocol-Version": version}

    def ask(self, method: str, params: Any = None) -> requests.Response:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
        return requests.post(self.url, json=message, headers=self.headers, timeout=30)

    def call(self, tool: str, arguments: Any = None, meta: Any = None) -> Any:
        """The document that a call gives: an answer or a problem."""
        params = {"name": tool, "arguments": arguments or {}, "_meta": {"progressToken": 1, **(meta or {})}}
        result = self.ask("tools/call", params).json()["result"]
        assert result["isError"] is ("status" in result["structuredContent"])
        return result["structuredContent"]

    def event(self, **fields: Any) -> Any:
        return self.call("registrar_evento", {**GUIDE_EVENT, **fields})

    def create(self, **fields: Any) -> Any:
        return self.call("crear_sesion", fields)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_is_served_from_the_greeting_to_an_event(one: Bridge, version: str) -> None:
    """The official client, which checks what a tool gives against its output schema."""

    async def run() -> tuple[str, Any, Any, Any]:
        async with httpx2.AsyncClient(timeout=30) as http:
            transport = streamable_http_client(f"{one.url}/mcp", http_client=http)
            async with Client(transport, mode=version if version == VERSIONS[0] else "legacy") as client:  # type: ignore[arg-type]
                tools = (await client.list_tools()).tools
                made = await client.call_tool("crear_sesion", {})
                event = {**GUIDE_EVENT, "sesion_id": made.structured_content["id"]}
                bare = {name: event[name] for name in ("sesion_id", "tipo", "contenido")}
                for fields in ({}, {"latency_ms": 1500}, {"tokens_entrada": 25}):  # what nobody measured is missing
                    partly = await client.call_tool("registrar_evento", bare | fields)
                    assert not partly.is_error and set(fields) == set(MEASURED) & set(partly.structured_content)
                    rating = {"evento_id": partly.structured_content["id"], "valor": 1}
                    assert not (await client.call_tool("valorar_evento", rating)).is_error
                ended = await client.call_tool("terminar_sesion", {"sesion_id": event["sesion_id"]})
                assert not ended.is_error and ended.structured_content["eventos"] == 3
                wrong = await client.call_tool("registrar_evento", {"sesion_id": "x"})
                assert wrong.is_error and wrong.structured_content["status"] == 422
                return client.protocol_version, tools, made, await client.call_tool("registrar_evento", event)

    if version in WITH_SESSIONS:
        editor = Editor(one, version=version)
        assert editor.ask("tools/list").json()["result"]["tools"][0]["name"] == "crear_sesion"
        assert editor.event()["sesion_id"] == editor.create()["id"]
    spoken, tools, made, event = asyncio.run(run())
    assert spoken == (version if version == VERSIONS[0] else WITH_SESSIONS[0])
    assert all(tool.output_schema for tool in tools)
    assert not made.is_error and not event.is_error


def test_a_call_without_a_session_opens_or_finds_that_of_its_mcp_session(one: Bridge) -> None:
    before = one.metric("gpt_sessions_total")
    editor, other = Editor(one), Editor(one)
    first = editor.event()
    assert editor.event(sesion_id="")["sesion_id"] == editor.event(sesion_id=None)["sesion_id"] == first["sesion_id"]
    assert editor.create()["id"] == first["sesion_id"]
    made = other.create(usuario_id="ana")
    assert made["id"] != first["sesion_id"] and made["usuario_id"] == "ana"
    assert other.event()["sesion_id"] == other.create()["id"] == other.create(usuario_id="ana")["id"] == made["id"]
    assert one.metric("gpt_sessions_total") == before + 2


def test_a_session_that_is_named_is_the_one_meant(one: Bridge) -> None:
    editor, mine = Editor(one), one.session()
    assert editor.event(sesion_id=mine)["sesion_id"] == mine
    assert editor.event(sesion_id="0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f")["status"] == 404


def test_users_that_share_a_connection_do_not_share_a_session(one: Bridge) -> None:
    editor = Editor(one)
    ana, luis = editor.create(usuario_id="ana"), editor.create(usuario_id="luis")
    assert ana["id"] != luis["id"] and luis["usuario_id"] == "luis"
    assert editor.create(usuario_id="luis")["id"] not in (ana["id"], luis["id"])  # as for a client without hints
    assert editor.create(usuario_id="ana")["id"] == ana["id"]
    assert editor.event(sesion_id=luis["id"])["sesion_id"] == luis["id"]


def test_first_calls_at_once_open_one_session(one: Bridge) -> None:
    before = one.metric("gpt_sessions_total")
    editor = Editor(one)

    def go(i: int) -> str:
        return str(editor.create()["id"] if i % 3 == 0 else editor.event()["sesion_id"])

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(go, range(24)))) == 1
    assert one.metric("gpt_sessions_total") == before + 1


@pytest.mark.parametrize("key", [None, KEYS[0]])
def test_two_users_at_once_get_a_session_each(several: Bridge, key: str | None) -> None:
    editor, gpt = Editor(several, key), "abierto" if key is None else "cerrado"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: editor.create(usuario_id=f"u{i % 2}", gpt_id=gpt), range(16)))
    by_user = [{made[i]["id"] for i in range(16) if i % 2 == user} for user in (0, 1)]
    assert not by_user[0] & by_user[1]


def test_initializing_again_begins_another_session(one: Bridge) -> None:
    editor = Editor(one)
    first = editor.event()["sesion_id"]
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "editor", "version": "1"}}
    again = editor.ask("initialize", info)  # with the id that it has
    assert again.headers["Mcp-Session-Id"] != editor.id
    assert editor.event()["sesion_id"] == first
    editor.headers["Mcp-Session-Id"] = again.headers["Mcp-Session-Id"]
    assert editor.event()["sesion_id"] != first


def test_only_an_initialize_that_goes_well_begins_one(one: Bridge) -> None:
    editor = Editor(one)
    for method in ("initialize", "ping", "tools/list", "server/discover"):
        assert "Mcp-Session-Id" not in editor.ask(method).headers, method
    info = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "editor", "version": "1"}}
    editor.headers |= {"Accept": "text/event-stream", "MCP-Protocol-Version": "2026-07-28"}
    assert "Mcp-Session-Id" not in editor.ask("initialize", info).headers  # that version has none
    del editor.headers["MCP-Protocol-Version"]
    streamed = editor.ask("initialize", info)
    assert streamed.headers["Content-Type"] == "text/event-stream" and streamed.headers["Mcp-Session-Id"]


def test_the_session_outlives_the_bridge(serve: Serve) -> None:
    bridge = serve("[gpts.devops-expert]\n")
    editor = Editor(bridge)
    first = editor.event()["sesion_id"]
    bridge.kill()
    bridge.start()
    assert editor.event()["sesion_id"] == first
    assert bridge.http.get(f"{bridge.api}/sessions/{first}").json()["eventos"] == 2
    assert bridge.stop() == 0


def test_a_reload_changes_what_is_listed(serve: Serve) -> None:
    bridge = serve("[gpts.devops-expert]\n")
    editor = Editor(bridge)

    def enum(tool: int, field: str) -> Any:
        return editor.ask("tools/list").json()["result"]["tools"][tool]["inputSchema"]["properties"][field].get("enum")

    assert enum(0, "gpt_id") == ["devops-expert"]
    bridge.config.write_text("[gpts.devops-expert]\nevent_types = ['otra']\n")
    wait_for(lambda: enum(1, "tipo") == ["otra"], "the new types")
    bridge.config.write_text("[gpts.otro]\n[gpts.mas]\n")
    wait_for(lambda: enum(0, "gpt_id") is None, "the list of two")
    assert editor.event(gpt_id="mas")["sesion_id"] != editor.event(gpt_id="otro")["sesion_id"]
    assert bridge.stop() == 0


def test_an_id_that_the_bridge_did_not_give_is_as_none(one: Bridge, several: Bridge) -> None:
    editor, other = Editor(one), Editor(several)
    given = editor.id
    flipped = given[:-2] + ("A" if given[-2] != "A" else "B") + given[-1]
    for forged in (
        "x",
        "0" * 43,
        flipped,
        given[:-1],
        given + "A",
        given[::-1],
        other.id,
        "ñ".encode().decode("latin-1"),
    ):
        editor.headers["Mcp-Session-Id"] = forged
        assert editor.ask("tools/list").status_code == 200  # a client that has outlived a bridge's key goes on
        problem = editor.event()
        (error,) = problem["errors"]
        assert problem["status"] == 422 and error["campo"] == "sesion_id", forged
        assert "llama primero a crear_sesion" in error["mensaje"] and "-" not in error["ejemplo"]


def test_without_a_session_of_any_kind_the_error_says_what_to_call_and_that_works(one: Bridge) -> None:
    editor = Editor(one)
    del editor.headers["Mcp-Session-Id"]
    for meta in ({}, {"claudecode/toolUseId": "toolu_1", "vscode.requestId": "r"}, {"vscode.conversationId": 7}):
        problem = editor.call("registrar_evento", GUIDE_EVENT, meta)
        assert "llama primero a crear_sesion" in problem["errors"][0]["mensaje"]
    made = [editor.create()["id"] for _ in range(2)]
    assert len(set(made)) == 2
    assert editor.event(sesion_id=made[0])["sesion_id"] == made[0]
    users = {one.http.get(f"{one.api}/sessions/{session}").json()["usuario_hash"] for session in made}
    assert len(users) == 2


@pytest.mark.parametrize(
    "key", ["vscode.conversationId", "threadId", "ai.opencode/sessionID", "antigravity.google/conversation_id"]
)
def test_a_conversation_that_a_client_tells_comes_before_its_mcp_session(one: Bridge, key: str) -> None:
    editor, other = Editor(one), Editor(one)
    first = editor.call("registrar_evento", GUIDE_EVENT, {key: "chat-1"})["sesion_id"]
    assert other.call("crear_sesion", {}, {key: "chat-1"})["id"] == first
    assert editor.call("registrar_evento", GUIDE_EVENT, {key: "chat-2"})["sesion_id"] != first
    assert editor.event()["sesion_id"] != first
    # Nor does it reach ChatGPT's conversation of that name, over either door.
    chatgpt = editor.call("registrar_evento", GUIDE_EVENT, {"openai/session": "chat-1", key: "chat-1"})["sesion_id"]
    assert chatgpt != first


def test_an_id_gives_nobody_another_callers_session(several: Bridge) -> None:
    holder = Editor(several, KEYS[0])
    mine = holder.event(gpt_id="cerrado")["sesion_id"]
    assert holder.event()["sesion_id"] == mine  # the key says which GPT
    thief = Editor(several)
    thief.headers["Mcp-Session-Id"] = holder.id
    for tool, arguments in (("registrar_evento", GUIDE_EVENT), ("crear_sesion", {})):
        params = {"name": tool, "arguments": {**arguments, "gpt_id": "cerrado"}}
        for key in (None, "otb_wrong"):
            thief.headers |= {} if key is None else {"Authorization": f"Bearer {key}"}
            assert thief.ask("tools/call", params).status_code == 401
        del thief.headers["Authorization"]
    thief.headers["Authorization"] = f"Bearer {KEYS[2]}"
    assert thief.event(gpt_id="cerrado")["status"] == 403
    # Another key of the same GPT opens its own.
    thief.headers["Authorization"] = f"Bearer {KEYS[1]}"
    assert thief.event()["sesion_id"] != mine and thief.create()["id"] != mine
    chat = {"vscode.conversationId": "chat"}
    told = [editor.call("registrar_evento", GUIDE_EVENT, chat)["sesion_id"] for editor in (holder, thief)]
    assert told[0] != told[1]


def test_where_several_gpts_could_be_meant_the_call_must_say(several: Bridge) -> None:
    editor = Editor(several)
    problem = editor.event()
    assert problem["status"] == 422 and problem["errors"][0]["campo"] == "gpt_id"
    assert editor.create()["errors"][0]["campo"] == "gpt_id"
    mine = editor.create(gpt_id="abierto")["id"]
    assert editor.event(gpt_id="abierto")["sesion_id"] == mine
    assert editor.event(gpt_id="no-such")["status"] == 404
    closed = Editor(several, KEYS[0])
    closed.headers["Mcp-Session-Id"] = editor.id
    assert closed.event(gpt_id="abierto")["sesion_id"] != mine


ODD: list[Any] = [
    None, True, 0, -1, 1.5, 10**30, "", " ", "x" * 300, "\0", [], ["x"], {}, {"a": {"b": [None]}}, [[[[]]]]
]  # fmt: skip


def test_no_argument_of_any_type_makes_a_fault_or_a_record_that_is_not_answered(one: Bridge) -> None:
    editor = Editor(one)
    session = one.session()
    whole: dict[str, dict[str, Any]] = {
        "crear_sesion": {"gpt_id": "devops-expert", "usuario_id": "u", "timestamp_inicio": None, "id": None},
        "registrar_evento": {
            **GUIDE_EVENT, "sesion_id": session, "gpt_id": "devops-expert", "modelo": "m", "version": "1",
            "error": None,
            "timestamp": None, "id": None, "tokens_cache": 0, "ttft_ms": 0, "tokens_razonamiento": 0,
            "herramientas": [],
        },
    }  # fmt: skip
    before = one.metric("otel_bridge_records_total", result="accepted")
    taken = 0
    for tool, fields in whole.items():
        for name in [*fields, "otro"]:
            for value in ODD:
                told = editor.call(tool, {**fields, name: value})
                assert told.get("status", 201) in (201, 404, 409, 422), (tool, name, value, told)
                assert told.get("status") != 422 or {e["campo"].partition("[")[0] for e in told["errors"]} >= {name}, (
                    name,
                    value,
                    told,
                )
                taken += "status" not in told and tool == "registrar_evento"
    for params in (
        {"name": "crear_sesion", "arguments": []},
        {"name": ["x"]},
        {"name": "crear_sesion", "arguments": 7},
    ):
        assert editor.ask("tools/call", params).json()["error"]["code"] == -32602
    events = one.metric("otel_bridge_records_total", kind="event", result="accepted")
    assert one.metric("otel_bridge_records_total", result="accepted") >= before + taken and events >= taken
    assert json.dumps(one.output()).count('\\"level\\": \\"error\\"') == 0
