"""The API's two posts as tools, at `/mcp` (the official `mcp` package; transport.py).

Arguments are checked by the same contract, let in by the same caller and taken by the same ingest, and come back as the
API's own answer or problem. Session and subject are taken from `_meta` where a client sends them (`openai/session`,
`openai/subject`): hints, as in `intake/conversations.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from starlette.types import Receive, Scope, Send

from otel_bridge import __version__, clock, contract, errors
from otel_bridge.access.caller import Access, Caller, Conversation, conversation_of, user_of
from otel_bridge.config import Config
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.errors import Problem
from otel_bridge.http.actions_openapi import EVENT_FIELDS, SESSION_FIELDS, object_of, properties
from otel_bridge.http.bodies import Bodies
from otel_bridge.http.responses import problem_body, unexpected
from otel_bridge.intake.conversations import Conversations
from otel_bridge.intake.ingest import Ingest, Taking
from otel_bridge.mcp import gate
from otel_bridge.mcp.transport import Transport
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.times import format_time

CREATE, ADD = "crear_sesion", "registrar_evento"
SUBJECT = "openai-subject"
"""Prefix of a `usuario_id` that a client's `_meta` tells."""

Handler = Callable[[dict[str, Any], Mapping[str, Any], Caller], Taking]
"""A tool: its arguments, the call's `_meta`, who calls."""


class McpApp:
    """Serves `/mcp` while `running`."""

    def __init__(
        self,
        config: Config,
        access: Access,
        ingest: Ingest,
        conversations: Conversations,
        bodies: Bodies,
        metrics: SelfMetrics,
    ) -> None:
        self._access = access
        self._ingest = ingest
        self._conversations = conversations
        self._metrics = metrics
        server: Server[Any] = Server(
            "otel-bridge",
            version=__version__,
            title="otel-bridge",
            instructions=(
                f"Registra el uso de un GPT. Llama a {CREATE} al empezar la conversación y a {ADD} después de "
                "responder cada pregunta, con el «id» de la sesión si lo tienes."
            ),
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        self._transport = Transport(server, config, access, bodies)
        self._tools: dict[str, tuple[str, Handler]] = {CREATE: ("session", self._create), ADD: ("event", self._add)}
        self._gpts = config.gpts

    def configure(self, config: Config) -> None:
        self._gpts = config.gpts
        self._transport.configure(config)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._transport.running():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._transport(scope, receive, send)

    # --- tools --------------------------------------------------------------------------------------------------------

    async def _list_tools(
        self, context: ServerRequestContext[Any], params: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        gpts = list(self._gpts.values())
        only = await gate.only_gpt(self._access, context.request, gpts)
        session = properties(SessionIn, SESSION_FIELDS, only)
        event = properties(EventIn, (*EVENT_FIELDS, "timestamp", "id"), only)
        wanted = [] if only else ["gpt_id"]
        schemes = gate.schemes(self._access)
        note = types.ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
        return types.ListToolsResult(
            tools=[
                types.Tool(
                    name=CREATE,
                    title="Crear sesión",
                    description="Abre la sesión de esta conversación. Llámala una vez, al empezar, y guarda el «id».",
                    input_schema=object_of(session, wanted),
                    annotations=note,
                    _meta=schemes,
                ),
                types.Tool(
                    name=ADD,
                    title="Registrar evento",
                    description="Registra una pregunta ya respondida. Si falla, corrige lo que nombra «errors».",
                    input_schema=object_of(
                        event, ("tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida")
                    ),
                    annotations=note,
                    _meta=schemes,
                ),
            ]
        )

    async def _call_tool(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        found = self._tools.get(params.name)
        if found is None:
            problem = Problem(errors.ROUTE_NOT_FOUND, f"Las herramientas son {CREATE} y {ADD}.")
            return _result(problem_body(problem), failed=True)
        kind, handle = found
        scope: Scope = context.request.scope if context.request is not None else {"headers": []}
        meta = context.meta or {}
        arguments = {name: value for name, value in (params.arguments or {}).items() if value is not None}
        try:
            caller = await gate.caller_of(self._access, scope, _conversation(meta))
            answer = await self._ingest.finish(handle(arguments, meta, caller))
        except Problem as problem:
            self._metrics.rejected(kind, problem.kind)
            gate.refuse(scope, problem)
            return _result(problem_body(problem), failed=True)
        except Exception as error:
            unforeseen = unexpected(error)
            self._metrics.rejected(kind, unforeseen.kind)
            return _result(problem_body(unforeseen), failed=True)
        return _result(answer.body, failed=False)

    def _create(self, fields: dict[str, Any], meta: Mapping[str, Any], caller: Caller) -> Taking:
        user = user_of(meta.get("openai/subject"), SUBJECT)
        if user is not None:
            fields["usuario_id"] = user
        elif "usuario_id" not in fields and caller.conversation is not None:
            fields["usuario_id"] = f"openai-conversation:{caller.conversation.id}"
        gpt = caller.gpt_of_key()
        if "gpt_id" not in fields and (gpt or len(self._gpts) == 1):
            fields["gpt_id"] = gpt or next(iter(self._gpts))
        fields.setdefault("timestamp_inicio", format_time(clock.now_us()))
        return self._conversations.create_session(*contract.session_from(fields), caller)

    def _add(self, fields: dict[str, Any], meta: Mapping[str, Any], caller: Caller) -> Taking:
        return self._conversations.add_event(fields, caller)


def _conversation(meta: Mapping[str, Any]) -> Conversation | None:
    return conversation_of(meta.get("openai/session"), meta.get("openai/subject"), SUBJECT)


def _result(body: bytes, failed: bool) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(text=body.decode())], structured_content=msgspec.json.decode(body), is_error=failed
    )
