"""`instrument`: every `tools/call` of an MCP server becomes an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable, TypeVar

from otel_bridge_client.client import ANONYMOUS, BridgeClient
from otel_bridge_client.mcp_servers import UNKNOWN, Exchange, hook
from otel_bridge_client.measures import Measure
from otel_bridge_client.subjects import Option, Subject

S = TypeVar("S")
MAX_TYPE_CHARS = 64


class ToolCall:
    """One call, for the functions that a builder gives. `arguments` are the caller's data: nothing of them is sent
    unless `content` says so."""

    def __init__(self, exchange: Exchange) -> None:
        self.name = exchange.name
        self.arguments = exchange.arguments
        self.meta = exchange.meta
        self.request = exchange.request
        """The HTTP request, where there is one; None over stdio."""

    @property
    def conversation(self) -> str | None:
        """ChatGPT's `openai/session`."""
        return _text(self.meta.get("openai/session"))

    @property
    def subject(self) -> str | None:
        """ChatGPT's `openai/subject`, an anonymous id of the user, as the bridge's own `/mcp` names it: a user of both
        is one."""
        subject = _text(self.meta.get("openai/subject"))
        return None if subject is None else f"openai-subject:{subject}"


def instrument(
    server: S,
    client: BridgeClient,
    *,
    event_type: str | Mapping[str, str] | Callable[[ToolCall], str] | None = None,
    session: Callable[[ToolCall], str] | None = None,
    user: str | Callable[[ToolCall], str] | None = None,
    conversation: Callable[[ToolCall], str] | None = None,
    content: str | Callable[[ToolCall], str] | None = None,
    version: str | Callable[[ToolCall], str] | None = None,
) -> S:
    """Measures the tools of a server of the official `mcp` package, 1.x or 2.x, low-level, FastMCP or MCPServer; and
    returns it. Answers, errors, progress and cancellation pass through unchanged.

    `event_type`: by default the tool's name; a dictionary by name (others keep theirs), or a function.
    `conversation`, `user`: by default `_meta["openai/session"]` and `["openai/subject"]`. Without a conversation, an
    MCP session is a session; where the protocol has none (stateless HTTP), a user has one.
    `content`: nothing, unless you say what."""
    try:
        seen = _Tools(client, event_type, session, user, conversation, content, version)
        problem = hook(server, seen)
    except Exception as error:
        problem = f"could not be instrumented ({type(error).__name__})"
    if problem:
        client.note("instrument", f"{type(server).__name__} {problem}: its tools are not measured")
    return server


class _Tools:
    """Is told of each call's begin and end."""

    def __init__(
        self,
        client: BridgeClient,
        event_type: Any,
        session: Option,
        user: Option,
        conversation: Option,
        content: Option,
        version: Option,
    ) -> None:
        self._client = client
        self._subject = Subject(client, None, content=content, version=version)
        self._event_type = event_type
        self._session = session
        self._user = user
        self._conversation = conversation

    def begin(self, exchange: Exchange) -> Measure:
        try:
            call = ToolCall(exchange)
            return self._subject.measure(self._session_of(call, exchange), self._type_of(call), call)
        except Exception as error:
            self._client.note("internal", f"instrument: {type(error).__name__}")
            # A tool that asks for `current()` must find one, whatever an option gave.
            return Measure(self._client.session_for(), exchange.name[:MAX_TYPE_CHARS] or UNKNOWN)

    def end(self, measure: Measure, error: str | None) -> None:
        measure.error = measure.error or error
        self._client.record(measure)

    def _type_of(self, call: ToolCall) -> str:
        chosen = self._event_type
        if isinstance(chosen, Mapping):
            chosen = chosen.get(call.name)
        found = self._subject.value("event_type", chosen, call) or call.name or UNKNOWN
        return str(found)[:MAX_TYPE_CHARS]

    def _session_of(self, call: ToolCall, exchange: Exchange) -> str:
        value = self._subject.value
        session = value("session", self._session, call)
        if session:
            return str(session)
        user = value("user", self._user, call) or call.subject or ANONYMOUS
        conversation = value("conversation", self._conversation, call) or call.conversation
        found: str
        if conversation is None and exchange.owner is not None:
            found = self._client.session_of(exchange.owner, user)
        else:
            found = self._client.session_for(user, conversation)
        return found


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
