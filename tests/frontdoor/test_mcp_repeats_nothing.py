"""`/mcp` repeats nothing that it was sent: no answer that is an error, and no line of the log, shows it.

A canary stands once at every place of every kind of message, as each type of value, as a name, and in the headers. What
the protocol wants back is an error's `id`; what the API's own answers tell (a session's user) is no error.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge

CANARY = "zq7canary"
UUID = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
MODERN = "2026-07-28"
VERSIONS = [None, "2025-03-26", "2025-11-25", MODERN, "2099-01-01"]
Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def one(serve: Serve) -> Bridge:
    return serve("[gpts.devops-expert]\n[gpts.otro]\n", OTEL_BRIDGE_LOG_LEVEL="debug")


def messages(version: str | None) -> Iterator[dict[str, Any]]:
    """One of each kind, whole."""
    meta: dict[str, Any] = {"progressToken": 1, "openai/session": "s", "openai/subject": "u"}
    if version is not None:
        meta |= {
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {"roots": {}},
            "io.modelcontextprotocol/clientInfo": {"name": "n", "version": "1"},
        }
    initialize = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "n", "version": "1"}}
    event = {**GUIDE_EVENT, "sesion_id": UUID}
    for method, params in (
        ("ping", {}),
        ("tools/list", {"cursor": "c"}),
        ("server/discover", {}),
        ("initialize", initialize),
        ("tools/call", {"name": "crear_sesion", "arguments": dict(GUIDE_SESSION)}),
        ("tools/call", {"name": "registrar_evento", "arguments": event}),
        ("resources/read", {"uri": "file:///x"}),
        ("prompts/get", {"name": "p", "arguments": {"a": "b"}}),
        ("logging/setLevel", {"level": "debug"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "a", "value": "b"}}),
        ("subscriptions/listen", {"notifications": {"toolsListChanged": True}}),
        ("tasks/get", {"taskId": "t"}),
    ):
        yield {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    yield {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1, "reason": "r"}}
    yield {"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 1, "progress": 0.5}}
    yield {"jsonrpc": "2.0", "id": 1, "result": {"a": "b"}}
    yield {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "m"}}


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*path, name))


INSTEAD: list[Any] = [CANARY, [CANARY], {CANARY: [CANARY]}, None, True, 1.5, CANARY * 500]


def changed(message: dict[str, Any], path: Path) -> Iterator[Any]:
    """The message with a canary at one place: instead of the value, beside it, or instead of its name."""
    for value in INSTEAD:
        if not path:
            yield value
            continue
        other = copy.deepcopy(message)
        holder = other
        for step in path[:-1]:
            holder = holder[step]  # type: ignore[index]
        kept = holder[path[-1]]  # type: ignore[index]
        holder[path[-1]] = value  # type: ignore[index]
        if not isinstance(value, str | list | dict):
            holder[CANARY] = CANARY
        yield other
        if value is INSTEAD[0]:
            other = copy.deepcopy(other)
            holder = other
            for step in path[:-1]:
                holder = holder[step]  # type: ignore[index]
            del holder[path[-1]]  # type: ignore[attr-defined]
            holder[CANARY] = kept
            yield other
    yield [message, {**message, CANARY: CANARY}]


def ask(bridge: Bridge, body: bytes, **headers: str) -> Any:
    every = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    every |= {name.replace("_", "-"): value for name, value in headers.items()}
    return bridge.http.post(f"{bridge.url}/mcp", data=body, headers=every, timeout=30)


def check(answer: Any, what: object) -> None:
    """A result, an error or a problem in our own words, that shows the canary only as the protocol or the API does."""
    text = answer.text
    assert "input_value" not in text and "validation error" not in text.lower() and "Traceback" not in text, (
        what,
        text,
    )
    assert CANARY not in str(answer.headers), what
    assert answer.status_code < 500, (what, text)
    if not text:
        assert answer.status_code == 202, what
        return
    told = answer.json()
    if answer.headers["Content-Type"] == "application/problem+json":
        assert CANARY not in text, what
        return
    assert told["jsonrpc"] == "2.0"
    if "error" in told:
        assert CANARY not in json.dumps(told["error"]), (what, text)
        assert set(told["error"]) <= {"code", "message", "data"}
        assert told["id"] in (None, 1, "x", CANARY, CANARY * 500)
    else:
        result = told["result"]
        assert CANARY not in json.dumps(result) or result.get("isError") is False, (what, text)


@pytest.mark.parametrize("version", [None, "2025-11-25", MODERN])
def test_no_answer_repeats_what_a_message_holds(one: Bridge, version: str | None) -> None:
    asked = 0
    for message in messages(version):
        headers = {} if version is None else {"MCP_Protocol_Version": version}
        if "method" in message:
            headers["Mcp_Method"] = message["method"]
        name = message.get("params", {}).get("name") or message.get("params", {}).get("uri")
        if isinstance(name, str):
            headers["Mcp_Name"] = name
        for path in places(message):
            for other in changed(message, path):
                check(ask(one, json.dumps(other).encode(), **headers), (path, other))
                asked += 1
    assert asked > 500
    assert CANARY not in one.output()


RAW = [
    CANARY.encode(), f'"{CANARY}"'.encode(), f'{{"{CANARY}'.encode(), f"[{CANARY}]".encode(),
    f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":NaN,"b":"{CANARY}"}}}}'.encode(),
    f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"a":{"9" * 5000},"b":"{CANARY}"}}}}'.encode(),
    f'{{"jsonrpc":"2.0","id":{"9" * 5000},"method":"{CANARY}"}}'.encode(),
    f'{{"jsonrpc":"2.0","id":1,"method":"\\ud800{CANARY}"}}'.encode(),
    f'{{"jsonrpc":"2.0","id":1,"method":"{CANARY}'.encode() + b'\xff"}',
    f'{{"jsonrpc":"2.0","id":1,"method":"{CANARY}"}}{CANARY}'.encode(),
    f'{{"jsonrpc":"2.0","id":1,"method":"{CANARY}"}}'.encode("utf-16"),
    f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"{CANARY}":'.encode() + b"[" * 900 + b"]" * 900 + b"}}",
    f'{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"{CANARY}":'.encode() + b"[" * 50_000 + b"]" * 50_000 + b"}}",
    f'{{"jsonrpc":"2.0","id":1.0,"method":"ping","params":{{"{CANARY}":'.encode() + b"[" * 950 + b"]" * 950 + b"}}",
    f'{{"jsonrpc":"2.0","id":1,"id":"x","method":"ping","method":"{CANARY}"}}'.encode(),
    b"\xef\xbb\xbf" + CANARY.encode(), f"{CANARY}=1&x={CANARY}".encode(),
]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("body", RAW, ids=range(len(RAW)))
def test_no_answer_repeats_a_body_that_is_no_message(one: Bridge, version: str | None, body: bytes) -> None:
    headers = {} if version is None else {"MCP_Protocol_Version": version, "Mcp_Method": "ping"}
    answer = ask(one, body, **headers)
    check(answer, body[:100])
    assert CANARY not in one.output()


@pytest.mark.parametrize(
    "name",
    ["MCP-Protocol-Version", "Mcp-Method", "Mcp-Name", "Mcp-Session-Id", "Mcp-Param-X", "Last-Event-ID", "Accept",
     "Content-Type", "Content-Encoding", "Origin", "Authorization", "X-API-Key", "traceparent", "Accept-Language"],
)  # fmt: skip
def test_no_answer_repeats_a_header(one: Bridge, name: str) -> None:
    for version in VERSIONS:
        for message in messages(version):
            headers = (
                {} if version is None else {"MCP-Protocol-Version": version, "Mcp-Method": str(message.get("method"))}
            )
            for value in (CANARY, f"{CANARY}/x", f"application/json; {CANARY}={CANARY}", f"=?base64?{CANARY}?="):
                answer = ask(one, json.dumps(message).encode(), **{**headers, name: value})
                check(answer, (name, value, message))
    assert CANARY not in one.output() and '"level": "error"' not in one.output()
