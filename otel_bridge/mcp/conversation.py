"""Which conversation a call belongs to, as its client tells: in `_meta`, else by the MCP session that it is made in.

| client | says |
|---|---|
| ChatGPT | `openai/session`, and its user as `openai/subject` |
| VS Code | `vscode.conversationId` |
| Codex | `threadId` |
| OpenCode | `ai.opencode/sessionID` |
| Antigravity | `antigravity.google/conversation_id` |
| others up to protocol 2025-11-25 (Claude, the Inspector, SDKs) | nothing: the MCP session is all there is |
| others from 2026-07-28 on | nothing at all: there are no MCP sessions any more |

What differs from call to call (`progressToken`, `vscode.requestId`, `claudecode/toolUseId`) is no conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from otel_bridge.access.caller import Caller, Conversation, conversation_of, user_of
from otel_bridge.mcp.session_ids import HEADER, SessionIds

SUBJECT = "openai-subject"
"""Prefix of a `usuario_id` that ChatGPT's `_meta` tells."""
CLIENTS = ("vscode.conversationId", "threadId", "ai.opencode/sessionID", "antigravity.google/conversation_id")
"""Keys of `_meta` that hold a conversation's id, of clients that name no user."""


def of_chatgpt(meta: Mapping[str, Any]) -> Conversation | None:
    return conversation_of(meta.get("openai/session"), meta.get("openai/subject"), SUBJECT)


def subject(meta: Mapping[str, Any]) -> str | None:
    """The `usuario_id` that ChatGPT tells."""
    return user_of(meta.get("openai/subject"), SUBJECT)


def of_others(meta: Mapping[str, Any], caller: Caller, ids: SessionIds) -> Conversation | None:
    """Of a call that ChatGPT's hints say nothing about.

    An MCP session is its client's, and who uses that is not told: it may be one person, or a program that serves many.
    """
    for key in CLIENTS:
        found = conversation_of(meta.get(key), None, "")
        if found is not None:
            return _conversation(caller, f"{key}\0{found.id}", shared=False)
    given = caller.headers.get(HEADER)
    session = None if given is None else ids.name_of(given)
    if session is None:
        return None
    return _conversation(caller, f"session\0{session}", shared=True)


def _conversation(caller: Caller, told: str, shared: bool) -> Conversation:
    """What a client tells, as a conversation, and as the one user of it that there is while nobody names another. With
    a registered key, or a token, nobody but its holder gets to it; and none that a client makes up is one of
    ChatGPT's."""
    holder = caller.holder if caller.gpts_of_key() else ""
    name = "mcp-session:" + blake2b(f"{holder}\0{told}".encode(), digest_size=16).hexdigest()
    return Conversation(name, name, shared)
