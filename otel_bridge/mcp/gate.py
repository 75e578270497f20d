"""Who may ask at `/mcp`, decided where a client can act on it: in HTTP, by 401, 403 or 503 and `WWW-Authenticate`.

A token that is not good is refused before its message is read, and so is everybody without a credential where every GPT
needs one. Where some do and others do not, anybody may look at the tools; whether a call needs a credential its tool
finds out, and its refusal then takes the place of the package's answer.
"""

from __future__ import annotations

import contextlib

from starlette.requests import Request
from starlette.types import Scope

from otel_bridge import errors
from otel_bridge.access.caller import Access, Caller, Conversation
from otel_bridge.config import Gpt
from otel_bridge.errors import Problem
from otel_bridge.http.app import peer_of
from otel_bridge.mcp.mount import PATH

_OF_HTTP = (errors.UNAUTHENTICATED, errors.INSUFFICIENT_SCOPE, errors.PROVIDER_AWAY)
"""What a client can do something about, and a model cannot."""
_REFUSAL = "otel_bridge.refusal"


async def caller_of(access: Access, scope: Scope, conversation: Conversation | None = None) -> Caller:
    """The caller of a request, identified. Raises Problem (400)."""
    caller = access.caller(scope["headers"], peer_of(scope), conversation, PATH)
    await caller.identify()
    return caller


async def check(access: Access, scope: Scope) -> None:
    """Raises Problem where a request goes no further."""
    if access.all_closed or access.tokens is not None:
        (await caller_of(access, scope)).check_in()


async def meant(access: Access, request: Request | None) -> Gpt | None:
    """The GPT that a request means without naming one: the one that its credential opens, or the only one there is."""
    own = None
    if request is not None:
        with contextlib.suppress(Problem):  # a header that only a post has a use for
            own = (await caller_of(access, request.scope)).gpt_of_key()
    only = access.gpts[0] if len(access.gpts) == 1 else None
    return next((gpt for gpt in access.gpts if gpt.id == own), only)


def schemes(access: Access) -> dict[str, object] | None:
    """What a tool's `_meta` says of credentials, for ChatGPT, which offers to log in by it. None where no access token
    is taken."""
    if access.tokens is None:
        return None
    login: dict[str, object] = {"type": "oauth2", "scopes": list(access.scopes)}
    return {"securitySchemes": [login] if access.all_closed else [{"type": "noauth"}, login]}


def watched(scope: Scope) -> Scope:
    """A request's scope in which a tool's refusal can be left."""
    return {**scope, _REFUSAL: []}


def refuse(scope: Scope, problem: Problem) -> None:
    """Leaves a tool's refusal where it is the client that has to do something."""
    if problem.kind in _OF_HTTP:
        scope.get(_REFUSAL, []).append(problem)


def refusal(scope: Scope) -> Problem | None:
    """What a tool has left."""
    left = scope[_REFUSAL]
    return left[0] if left else None
