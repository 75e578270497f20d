"""`/mcp` over HTTP (streamable HTTP): who may ask, what is read, in which form it is answered.

    request ──▶ Origin, Host, credential, Accept ──▶ body ──▶ message ──▶ the `mcp` package ──▶ JSON, or a stream of one
                                │                     │          │                 │                           event
                                └───── a problem ─────┘          │                 └── a tool's 401 (gate.py)
                                                                 └── an error of JSON-RPC (messages.py)

What is wrong with the HTTP, or with a credential (gate.py), is answered as the API answers it. A web page must not
reach a bridge on its reader's machine: browsers say where a page is from (`Origin`), and only configured origins and
the bridge's own are let in; and by a name that the page points there it is not answered (`Host`, access/hosts.py).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.types import Message, Receive, Scope, Send

from otel_bridge import accept, errors, logs
from otel_bridge.access.caller import Access
from otel_bridge.access.hosts import Hosts
from otel_bridge.config import Config
from otel_bridge.errors import Problem
from otel_bridge.http.bodies import Bodies, Gone
from otel_bridge.http.cors import Cors, RawHeaders
from otel_bridge.http.headers import by_name
from otel_bridge.mcp import gate, messages
from otel_bridge.mcp.messages import Refused
from otel_bridge.mcp.session_ids import HEADER, SessionIds

log = logging.getLogger(__name__)

MAX_CALL_BYTES = 1 << 20
JSON, STREAM = "application/json", "text/event-stream"
_REWRITTEN = frozenset((b"content-encoding", b"content-length", b"content-type", b"accept"))
_HANDED_ON = [(b"content-type", JSON.encode()), (b"accept", f"{JSON}, {STREAM}".encode())]
"""What the package is told of the body that it gets, and of the answer: both are settled here."""


class Transport:
    """Serves `/mcp` while `running`. Keeps no state: each call is a request of its own, and the id of an MCP session
    tells by itself that it was given here (session_ids.py)."""

    def __init__(
        self,
        server: Server[Any],
        config: Config,
        access: Access,
        bodies: Bodies,
        ids: SessionIds,
        own_words: Sequence[str] = (),
    ) -> None:
        """`own_words`: what our tools say in errors of JSON-RPC."""
        self._access = access
        self._bodies = bodies
        self._ids = ids
        self._own_words = frozenset(own_words)
        self._hosts = Hosts(config, lambda now: now.host)
        self._manager = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=MAX_CALL_BYTES
        )
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._cors = Cors(config.cors_origins)
        self._hosts.configure(config)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Raises Problem."""
        headers = by_name(scope["headers"])
        self._check_origin(headers)
        await gate.check(self._access, scope)
        if scope["method"] != "POST":
            # Nothing is ever sent to a client unasked, and there is no session to end.
            raise Problem(errors.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        media = accept.best(",".join(_values(scope, b"accept")), (JSON, STREAM))
        if media is None:
            raise Problem(errors.NOT_ACCEPTABLE)
        try:
            body = await self._bodies.read(headers, receive)
        except Gone:
            return
        if len(body) > MAX_CALL_BYTES:
            raise Problem(errors.BODY_TOO_LARGE)
        headers_too: list[tuple[bytes, bytes]] = []
        try:
            message = messages.read(body)
            messages.check_version(message, _values(scope, b"mcp-protocol-version"))
        except Refused as refused:
            status, answer = 400, refused.document()
        else:
            watched = gate.watched(scope)
            asked = await self._ask(watched, receive, message.body)
            refused_by_tool = gate.refusal(watched)
            if refused_by_tool is not None:
                raise refused_by_tool
            status, answer = messages.answered(*asked, message.id, self._own_words)
            if message.method == "initialize" and status == 200 and messages.is_result(answer):
                headers_too = [(HEADER, self._ids.new())]
        await _answer(send, status, answer, media, headers_too)

    async def _ask(self, scope: Scope, receive: Receive, body: bytes) -> tuple[int, bytes]:
        """Status and body of the package's answer; an internal error where it fails."""
        sent = False
        status, pieces = 500, []

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def keep(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                pieces.append(message.get("body", b""))

        kept = [pair for pair in scope["headers"] if pair[0] not in _REWRITTEN]
        try:
            await self._manager.handle_request({**scope, "headers": kept + _HANDED_ON}, replay, keep)
        except Exception as error:
            # Its message may be what was sent, of whatever type it is: `logs.describe` would not know.
            fields = {"stack": logs.where(error.__traceback__)}
            log.error("the mcp package failed with %s", type(error).__name__, extra={"fields": fields})
            return 500, Refused(types.INTERNAL_ERROR).document()
        return status, b"".join(pieces)

    def _check_origin(self, headers: RawHeaders) -> None:
        host = headers.get(b"host")
        self._hosts.check(host)
        origin = headers.get(b"origin")
        if origin is None or self._cors.allows(origin):
            return
        if host is None or origin.lower().partition(b"://")[2] != host.lower():
            raise Problem(errors.ORIGIN_REFUSED)


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for found, value in scope["headers"] if found == name]


async def _answer(send: Send, status: int, body: bytes, media: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Writes an answer. A result goes out as a stream of one event to a client that takes nothing else."""
    if body:
        if media == STREAM and status == 200:
            body = b"event: message\r\ndata: %b\r\n\r\n" % body
            headers.append((b"x-accel-buffering", b"no"))
        else:
            media = JSON
        headers.append((b"content-type", media.encode()))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
