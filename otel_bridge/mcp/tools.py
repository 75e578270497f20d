"""The API's posts as tools, at `/mcp` (the official `mcp` package; transport.py).

Arguments are checked by the same contract, let in by the same caller and taken by the same ingest, and come back as the
API's own answer or problem. Which session a call without one belongs to: conversation.py; a hint, as in
`intake/conversations.py`.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import mcp_types as types
import msgspec
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from starlette.types import Receive, Scope, Send

from otel_bridge import __version__, contract, errors
from otel_bridge.access.caller import Access, Caller
from otel_bridge.config import Config
from otel_bridge.contract import (
    EventIn,
    FeedbackIn,
    FeedbackOut,
    ReportedEventOut,
    SessionIn,
    SessionOut,
    SessionState,
)
from otel_bridge.errors import FieldError, Problem
from otel_bridge.http.actions_openapi import EVENT_FIELDS, EVENT_REQUIRED, SESSION_FIELDS, SESSION_REQUIRED
from otel_bridge.http.bodies import Bodies
from otel_bridge.http.responses import problem_body, unexpected
from otel_bridge.intake.conversations import Conversations
from otel_bridge.intake.endings import Endings
from otel_bridge.intake.ingest import Ingest, Taking
from otel_bridge.intake.ratings import Ratings
from otel_bridge.mcp import conversation, gate
from otel_bridge.mcp.session_ids import SessionIds
from otel_bridge.mcp.tool import ADD, CREATE, END, RATE, Tool
from otel_bridge.mcp.transport import Transport
from otel_bridge.metrics.own import SelfMetrics

_EVENT = f"se espera el «id» que devolvió {ADD}, un texto con un UUID"
EVENT_MISSING = FieldError("evento_id", f"falta este campo; {_EVENT}", "falta", f"el «id» de {ADD}")
EVENT_WRONG = FieldError("evento_id", _EVENT, "tipo", f"el «id» de {ADD}")
_FIRST = f"llama primero a {CREATE} y usa el «id» que devuelve"


class McpApp:
    """Serves `/mcp` while `running`."""

    def __init__(
        self,
        config: Config,
        access: Access,
        ingest: Ingest,
        conversations: Conversations,
        ratings: Ratings,
        endings: Endings,
        bodies: Bodies,
        metrics: SelfMetrics,
        key: bytes,
    ) -> None:
        """`key`: the journal's, for what must outlive the process."""
        self._access = access
        self._ingest = ingest
        self._conversations = conversations
        self._ratings = ratings
        self._endings = endings
        self._metrics = metrics
        self._ids = SessionIds(key)
        self._tools = {
            tool.name: tool
            for tool in (
                Tool(
                    CREATE,
                    "Crear sesión",
                    "Abre la sesión de esta conversación. Llámala una vez, al empezar, y guarda el «id» para cada "
                    f"{ADD}.",
                    kind="session",
                    takes=SessionIn,
                    fields=SESSION_FIELDS,
                    required=SESSION_REQUIRED,
                    gives=SessionOut,
                    handle=self._create,
                ),
                Tool(
                    ADD,
                    "Registrar evento",
                    "Registra una pregunta ya respondida, con el «id» de la sesión. Di solo lo que sabes: lo que no se "
                    "ha medido se omite. Si falla, corrige lo que nombra «errors» y repite una vez.",
                    kind="event",
                    takes=EventIn,
                    fields=EVENT_FIELDS,
                    required=EVENT_REQUIRED,
                    gives=ReportedEventOut,
                    handle=self._add,
                ),
                Tool(
                    RATE,
                    "Valorar evento",
                    "Registra la valoración que el usuario da de una respuesta ya registrada. Llámala solo si el "
                    "usuario la da: no la deduzcas.",
                    kind="feedback",
                    takes=FeedbackIn,
                    fields=("evento_id", "valor", "comentario"),
                    required=("evento_id", "valor"),
                    gives=FeedbackOut,
                    handle=self._rate,
                    repeatable=True,
                ),
                Tool(
                    END,
                    "Terminar sesión",
                    "Termina la sesión cuando el usuario se despide. No hace falta: una sesión sin actividad termina "
                    "sola.",
                    kind=None,
                    takes=EventIn,
                    fields=("gpt_id", "sesion_id"),
                    required=(),
                    gives=SessionState,
                    handle=self._end,
                    repeatable=True,
                ),
            )
        }
        self._unknown_tool = f"Esa herramienta no existe. Las que hay: {', '.join(self._tools)}."
        server: Server[Any] = Server(
            "otel-bridge",
            version=__version__,
            title="otel-bridge",
            instructions=(
                f"Registra el uso de un GPT. Llama a {CREATE} al empezar la conversación y a {ADD} después de "
                "responder cada pregunta, con el «id» de la sesión. No inventes ni estimes números: omite lo que no "
                "se ha medido."
            ),
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
        )
        self._transport = Transport(server, config, access, bodies, self._ids, [self._unknown_tool])
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._transport.configure(config)
        self._lists: dict[str | None, types.ListToolsResult] = {}
        """By the GPT that is meant: the package asks for the list at each call."""

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
        gpt = await gate.meant(self._access, context.request)
        gpt_id = None if gpt is None else gpt.id
        if gpt_id not in self._lists:
            schemes = gate.schemes(self._access)
            tools = [tool.listed(gpt, schemes) for tool in self._tools.values()]
            self._lists[gpt_id] = types.ListToolsResult(tools=tools)
        return self._lists[gpt_id]

    async def _call_tool(
        self, context: ServerRequestContext[Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = self._tools.get(params.name)
        if tool is None:
            self._metrics.rejected("event", errors.ROUTE_NOT_FOUND)
            raise MCPError(types.INVALID_PARAMS, self._unknown_tool)
        scope: Scope = context.request.scope if context.request is not None else {"headers": []}
        meta = context.meta or {}
        try:
            caller = await gate.caller_of(self._access, scope, conversation.of_chatgpt(meta))
            if caller.conversation is None:
                caller.conversation = conversation.of_others(meta, caller, self._ids)
            answer = await self._ingest.finish(tool.handle(tool.arguments(params.arguments), meta, caller))
        except Problem as problem:
            self._refused(tool, problem)
            gate.refuse(scope, problem)
            return _result(problem_body(_in_tools_words(problem)), failed=True)
        except Exception as error:
            unforeseen = unexpected(error)
            self._refused(tool, unforeseen)
            return _result(problem_body(unforeseen), failed=True)
        return _result(answer.body, failed=False)

    def _refused(self, tool: Tool, problem: Problem) -> None:
        if tool.kind is not None:
            self._metrics.rejected(tool.kind, problem.kind)

    # --- handlers -----------------------------------------------------------------------------------------------------

    def _create(self, fields: dict[str, Any], meta: Mapping[str, Any], caller: Caller) -> Taking:
        user = conversation.subject(meta)
        if user is not None:
            fields["usuario_id"] = user
        elif caller.conversation is None:
            # Nobody says whose it is. A model that is asked all the same makes up one user for all.
            fields.setdefault("usuario_id", f"mcp-session:{secrets.token_hex(16)}")
        return self._conversations.report_session(fields, caller)

    def _add(self, fields: dict[str, Any], meta: Mapping[str, Any], caller: Caller) -> Taking:
        return self._conversations.add_event(fields, caller)

    def _rate(self, fields: dict[str, Any], meta: Mapping[str, Any], caller: Caller) -> Taking:
        event_id = fields.pop("evento_id", None)
        if not isinstance(event_id, str):
            error = EVENT_MISSING if event_id is None else EVENT_WRONG
            raise Problem(errors.INVALID_DATA, "Revisa: «evento_id».", [error])
        return self._ratings.rate(event_id, contract.feedback_from(fields), caller)

    def _end(self, fields: dict[str, Any], meta: Mapping[str, Any], caller: Caller) -> Taking:
        return self._endings.end(self._conversations.session_named(fields, caller), caller)


def _in_tools_words(problem: Problem) -> Problem:
    """A problem as one who has tools is told: the API's paths are none."""
    detail = problem.detail
    if problem.kind is errors.SESSION_NOT_FOUND:
        detail = f"La sesión no existe o superó el plazo de retención. Llama a {CREATE} y usa el «id» que devuelve."
    elif problem.kind is errors.EVENT_NOT_FOUND:
        detail = f"El evento no existe o ya no está en el diario. Usa el «id» que devolvió {ADD}."
    told = [
        # A model repeats an example.
        msgspec.structs.replace(error, mensaje=f"{error.mensaje}; {_FIRST}", ejemplo=f"el «id» de {CREATE}")
        if error.campo == "sesion_id"
        else error
        for error in problem.errors
    ]
    return Problem(problem.kind, detail, told, problem.headers, problem.reference)


def _result(body: bytes, failed: bool) -> types.CallToolResult:
    return types.CallToolResult(
        content=[types.TextContent(text=body.decode())], structured_content=msgspec.json.decode(body), is_error=failed
    )
