"""Where calls of tools are seen in servers of the official `mcp` package, without importing it.

1.x: the low-level server keeps a handler for each type of request, and answers a tool's exception with a text; the
handler is replaced, and the exception looked at where the text is made. 2.x: the server has a list of middleware; the
exception is looked at in `MCPServer.call_tool`. What a version does not have is not looked at: then an error has no
class, and is called an error.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from otel_bridge_client.measures import Measure
from otel_bridge_client.usage import get

FAILED = "error_herramienta"
"""The tool's result says that it is an error, and no exception told more."""
UNKNOWN = "herramienta_desconocida"

_WRAPPERS = ("ToolError", "UnexpectedToolError", "ResourceError", "UnexpectedResourceError")
"""Exceptions that the SDK puts around a tool's own."""
_MARK = "_otel_bridge_instrumented"


class Exchange:
    """A call of a tool, and whose it is. `owner`: what lives as long as its MCP session; None where there is none."""

    def __init__(self, name: Any, arguments: Any, meta: Any, request: Any, owner: Any) -> None:
        self.name = name if isinstance(name, str) else ""
        self.arguments: Mapping[str, Any] = arguments if isinstance(arguments, Mapping) else {}
        self.meta: Mapping[str, Any] = meta if isinstance(meta, Mapping) else {}
        self.request = request
        self.owner = None if request is not None and not _has_session(request) else owner


class Seen(Protocol):
    """Is told of each call; must not raise."""

    def begin(self, exchange: Exchange) -> Measure | None: ...

    def end(self, measure: Measure, error: str | None) -> None: ...


class _Call:
    """The call that runs now: its exception is left here on its way to becoming a text."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None


_running: ContextVar[_Call | None] = ContextVar("otel_bridge_client_tool_call", default=None)


def hook(server: Any, seen: Seen) -> str | None:
    """Has `seen` told of every call. What is wrong, where it cannot."""
    low = getattr(server, "_mcp_server", None) or getattr(server, "_lowlevel_server", None) or server
    if getattr(low, _MARK, False):
        return "is instrumented already"
    if isinstance(getattr(low, "middleware", None), list) and hasattr(low, "get_request_handler"):
        low.middleware.append(_middleware(server, seen))
        if server is not low and hasattr(server, "call_tool"):
            server.call_tool = _noticing(server.call_tool)
    elif isinstance(getattr(low, "request_handlers", None), dict) and hasattr(low, "call_tool"):
        _hook_handlers(server, low, seen)
    else:
        return "is no server of the mcp package that this client knows"
    setattr(low, _MARK, True)
    return None


# --- 2.x -----------------------------------------------------------------------------------------------------------


def _middleware(server: Any, seen: Seen) -> Any:
    async def measured(context: Any, call_next: Any) -> Any:
        if context.method != "tools/call" or context.request_id is None:
            return await call_next(context)
        return await _measured(server, seen, lambda: _exchange_2(context), call_next, context)

    return measured


def _exchange_2(context: Any) -> Exchange:
    params = context.params
    connection = get(context.session, "_connection")
    owner = connection.outbound if get(connection, "has_standalone_channel") else None
    return Exchange(get(params, "name"), get(params, "arguments"), get(params, "_meta"), context.request, owner)


def _noticing(call_tool: Any) -> Any:
    @functools.wraps(call_tool)
    async def noticed(*arguments: Any, **options: Any) -> Any:
        try:
            return await call_tool(*arguments, **options)
        except BaseException as error:
            _notice(error)
            raise

    return noticed


# --- 1.x -----------------------------------------------------------------------------------------------------------


def _hook_handlers(server: Any, low: Any, seen: Seen) -> None:
    def wrap() -> None:
        for kind, handler in list(low.request_handlers.items()):
            if getattr(kind, "__name__", "") == "CallToolRequest" and not getattr(handler, _MARK, False):
                low.request_handlers[kind] = measured_handler(handler)

    def measured_handler(handler: Any) -> Any:
        async def measured(request: Any) -> Any:
            return await _measured(server, seen, lambda: _exchange_1(low, request), handler, request)

        setattr(measured, _MARK, True)
        return measured

    register = low.call_tool

    @functools.wraps(register)
    def call_tool(*arguments: Any, **options: Any) -> Any:
        decorate = register(*arguments, **options)

        def decorator(function: Any) -> Any:
            registered = decorate(function)
            wrap()
            return registered

        return decorator

    low.call_tool = call_tool  # for the handlers that are still to come
    wrap()
    make = getattr(low, "_make_error_result", None)
    if make is not None:

        def make_error_result(*arguments: Any, **options: Any) -> Any:
            _notice(sys.exc_info()[1])
            return make(*arguments, **options)

        low._make_error_result = make_error_result


def _exchange_1(low: Any, request: Any) -> Exchange:
    params = request.params
    meta = params.meta.model_dump(by_alias=True) if get(params, "meta") is not None else None
    try:
        context = low.request_context
    except LookupError:
        context = None
    return Exchange(params.name, params.arguments, meta, get(context, "request"), get(context, "session"))


# --- both ----------------------------------------------------------------------------------------------------------


async def _measured(server: Any, seen: Seen, exchange: Any, handler: Any, given: Any) -> Any:
    try:
        told = exchange()
        measure = seen.begin(told)
    except Exception:
        measure = None
    if measure is None:
        return await handler(given)
    call = _Call()
    token = _running.set(call)
    try:
        with measure.entered():
            result = await handler(given)
    except BaseException as error:
        seen.end(measure, _class_of(error, server, told.name))
        raise
    finally:
        _running.reset(token)
    seen.end(measure, _error_of(result, call, server, told.name))
    return result


def _notice(error: BaseException | None) -> None:
    call = _running.get()
    if call is not None:
        call.error = error


def _error_of(result: Any, call: _Call, server: Any, name: str) -> str | None:
    """What a result says of itself: 1.x wraps it, 2.x has it as it goes to the wire."""
    result = get(result, "root") or result
    if get(result, "isError") is not True and get(result, "is_error") is not True:
        return None
    return FAILED if call.error is None and not _unknown(server, name) else _class_of(call.error, server, name)


def _class_of(error: BaseException | None, server: Any, name: str) -> str:
    if _unknown(server, name) or str(error).lower().startswith("unknown tool"):
        return UNKNOWN
    while type(error).__name__ in _WRAPPERS and error is not None and error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


def _unknown(server: Any, name: str) -> bool:
    """Whether FastMCP or MCPServer has no tool of that name. A low-level server does not tell."""
    find = get(server, "_tool_manager", "get_tool")
    try:
        return find is not None and find(name) is None
    except Exception:
        return False


def _has_session(request: Any) -> bool:
    """Whether an HTTP request is of an MCP session: streamable HTTP names it in a header, SSE in the address."""
    # Not `get`: Starlette's request is a mapping, too, and of other things.
    headers, query = getattr(request, "headers", None), getattr(request, "query_params", None)
    return bool(get(headers, "mcp-session-id") or get(query, "session_id"))
