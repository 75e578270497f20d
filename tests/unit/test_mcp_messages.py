"""What the `mcp` package answers → what goes on: a result as it is, of an error the code, of anything else nothing."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from otel_bridge.mcp import messages

CANARY = "zq7canary"


def said(status: int, body: object) -> tuple[int, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told, text = messages.answered(status, raw, 7)
    assert CANARY.encode() not in text
    return told, json.loads(text) if text else None


@pytest.mark.parametrize("code", messages.WORDS)
def test_of_an_error_the_code_goes_on(code: int) -> None:
    body = {"jsonrpc": "2.0", "id": CANARY, "error": {"code": code, "message": CANARY, "data": {"requested": CANARY}}}
    status, told = said(404, body)
    assert status == 404 and told["id"] == 7
    assert (told["error"]["code"], told["error"]["message"]) == (code, messages.WORDS[code])
    assert "data" not in told["error"] or code == -32022


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, {"jsonrpc": "2.0", "id": 1, "error": {"code": 0, "message": CANARY}}),
        (400, {"jsonrpc": "2.0", "id": 1, "error": {"code": -32042, "message": CANARY}}),
        (400, {"jsonrpc": "2.0", "id": 1, "error": CANARY}),
        (400, {"jsonrpc": "2.0", "id": 1, "error": {"code": CANARY}}),
        (200, {"jsonrpc": "2.0", "id": 1, "error": {"code": 1}, "result": {}}),
        (200, [CANARY]),
        (200, {}),
        (406, b""),
        (415, f"Unsupported: {CANARY}".encode()),
        (500, b"event: message\r\n\r\n"),
    ],
    ids=str,
)
def test_of_anything_else_nothing_does(status: int, body: object, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        told = said(status, body)
    assert told[0] == 500 and told[1]["error"] == {"code": -32603, "message": messages.WORDS[-32603]}
    assert CANARY not in caplog.text and "the mcp package answered" in caplog.text


def test_words_of_our_own_tools_go_on_and_nothing_that_is_like_them() -> None:
    for message, shown in (("ours", "ours"), ("ours!", messages.WORDS[-32602]), (CANARY, messages.WORDS[-32602])):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": message}}).encode()
        _, text = messages.answered(200, body, 7, ["ours"])
        assert json.loads(text)["error"] == {"code": -32602, "message": shown} and not messages.is_result(text)


def test_a_result_goes_on_as_it_is() -> None:
    result = {"a": [1, 2.5, None, "ñ"], "b": {"c": 10**30}}
    assert said(200, {"jsonrpc": "2.0", "id": 1, "result": result}) == (
        200,
        {"jsonrpc": "2.0", "id": 7, "result": result},
    )
    assert said(202, b"") == (202, None)
