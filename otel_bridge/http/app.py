"""The HTTP application: its routes, one shape of error, and the time each answer took.

The two posts go from the connection straight to their exchange (protocol.py, exchange.py); everything else passes
through Starlette. Its router, its middlewares and its Request and Response objects cost a post about as much as the
journal does (benchmarks/RESULTS.md, docs/decisions/0005-hot-path.md).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_bridge import errors, logs
from otel_bridge.access.caller import Access
from otel_bridge.config import Config
from otel_bridge.errors import Problem
from otel_bridge.http.bodies import Bodies, Gone
from otel_bridge.http.cors import Cors, Pairs
from otel_bridge.http.documents import Documents
from otel_bridge.http.exchange import Post
from otel_bridge.http.headers import by_name
from otel_bridge.http.request_spans import RequestSpans, shown_path
from otel_bridge.http.responses import (
    PROBLEM,
    SECURITY,
    as_lines,
    problem_body,
    problem_response,
    request_id,
    unexpected,
)
from otel_bridge.http.scheme import client_scheme
from otel_bridge.http.turn import Turn
from otel_bridge.intake.conversations import Conversations
from otel_bridge.intake.endings import Endings
from otel_bridge.intake.ingest import Ingest
from otel_bridge.intake.ratings import Ratings
from otel_bridge.journal import Journal
from otel_bridge.metrics.own import SelfMetrics

log = logging.getLogger(__name__)

Readiness = Callable[[], tuple[bool, dict[str, object]]]
"""Whether records can be accepted safely, and what `/readyz` shows."""

_TRACE_ID = re.compile(rb'"trace_id":"([0-9a-f]{32})"').search
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))


SESSIONS, EVENTS = "/api/sessions", "/api/events"
FEEDBACK, END = "/api/events/{id}/valoracion", "/api/sessions/{id}/fin"
"""The routes that take records in."""

_OF_AN_ID = re.compile(rb"/api/(events|sessions)/([^/]+)/(valoracion|fin)").fullmatch


class App:
    """Everything that is served. An ASGI application, but for the posts, which a connection takes from `posts`."""

    def __init__(
        self,
        config: Config,
        access: Access,
        journal: Journal,
        ingest: Ingest,
        conversations: Conversations,
        ratings: Ratings,
        endings: Endings,
        bodies: Bodies,
        metrics: SelfMetrics,
        readiness: Readiness,
        routes: Sequence[BaseRoute] = (),
        request_spans: RequestSpans | None = None,
    ) -> None:
        self.access = access
        self.journal = journal
        self.bodies = bodies
        self.turn = Turn()
        self.metrics = metrics
        self.posts = {
            SESSIONS.encode(): Post(SESSIONS, "session", conversations.post_session),
            EVENTS.encode(): Post(EVENTS, "event", conversations.post_events),
        }
        """By path."""
        self._posts_of_an_id = {
            (b"events", b"valoracion"): (FEEDBACK, "feedback", ratings.post),
            (b"sessions", b"fin"): (END, None, endings.post),
        }
        self.request_spans = request_spans
        self._ingest = ingest
        self._readiness = readiness
        self.configure(config)
        self._others = self._starlette(routes)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; requests under way finish with the one they began with."""
        self._documents = Documents(config)
        self.logs_requests = log.isEnabledFor(logging.DEBUG)
        """Whether each request gets a line in the log. Asked here, for to ask the logger costs a post 0.1 µs."""
        self._cors = Cors(config.cors_origins)
        vary = self._cors.headers({}) if self._cors else []
        self._common_lines = as_lines([*SECURITY, *vary])

    def post_at(self, path: bytes) -> Post | None:
        """The post at a path; None where there is none."""
        of_an_id = _OF_AN_ID(path)
        found = self._posts_of_an_id.get((of_an_id[1], of_an_id[3])) if of_an_id else None
        if of_an_id is None or found is None:
            return self.posts.get(path)
        route, kind, handle = found
        return Post(route, kind, partial(handle, of_an_id[2].decode(errors="replace")))

    # --- the headers of every answer --------------------------------------------------------------------------------

    def common_headers(self, headers: Mapping[bytes, bytes], own_id: bytes) -> Pairs:
        """Headers that all answers have, to a request with these headers."""
        cors = self._cors.headers(headers) if self._cors else []
        return [*SECURITY, *cors, (b"x-request-id", own_id)]

    def common_lines(self, headers: Mapping[bytes, bytes], own_id: bytes) -> bytes:
        """`common_headers` as they leave; of a request from no browser all but the id is ready."""
        if b"origin" in headers and self._cors:
            return as_lines(self.common_headers(headers, own_id))
        return b"%bx-request-id: %b\r\n" % (self._common_lines, own_id)

    # --- everything else ----------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._others(scope, receive, send)
            return
        started = time.perf_counter()
        headers = by_name(scope["headers"])
        own_id = request_id(headers)
        logs.request.set((own_id, headers.get(b"traceparent")))
        common = self.common_headers(headers, own_id)
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = message.setdefault("headers", [])
                names = {name for name, _ in sent}
                sent.extend(pair for pair in common if pair[0] not in names)
            await send(message)

        preflight = self._cors.preflight(headers) if scope["method"] == "OPTIONS" else None
        if preflight is not None:
            await _send(watch, 204, preflight, b"")
        else:
            try:
                await self._others(scope, receive, watch)
            except Gone:
                return
            except Exception as error:
                # Starlette has answered 500 and hands the error on; what answered nothing is answered here.
                if status == 0:
                    problem = unexpected(error)
                    body = problem_body(problem)
                    length = (b"content-length", b"%d" % len(body))
                    await _send(watch, problem.kind.status, [PROBLEM, length], body)
        route = scope.get("route")
        # The template, never the path a client made up: a label must have few values.
        template = getattr(route, "path", "otra")
        method = scope["method"] if scope["method"] in _METHODS else "OTRO"
        seconds = time.perf_counter() - started
        self.metrics.observe(template, method, status, seconds)
        if self.request_spans is not None:
            matched = getattr(route, "path", None)
            path = shown_path(scope["path"], matched, status, self._paths)
            scheme = client_scheme(headers, scope["scheme"])
            self.request_spans(scope["method"], matched, path, scheme, status, seconds)
        if self.logs_requests:
            self.log_request(template, method, status, seconds, b"")

    def log_request(self, route: str, method: str, status: int, seconds: float, body: bytes) -> None:
        """A line a request, at debug level: the route's template, never the path; the trace that the answer tells."""
        fields: dict[str, object] = {"route": route, "method": method, "status": status, "ms": round(seconds * 1000, 2)}
        trace = _TRACE_ID(body)
        if trace is not None:
            fields["trace_id"] = trace[1].decode()
        log.debug("request", extra={"fields": fields})

    def _starlette(self, routes: Sequence[BaseRoute]) -> ASGIApp:
        starlette = Starlette(
            routes=[
                *(Route(route, _OnlyPost(), include_in_schema=False) for route in (SESSIONS, EVENTS, FEEDBACK, END)),
                Route("/api/sessions/{id}", self._session),
                Route("/healthz", self._healthz),
                Route("/readyz", self._readyz),
                Route("/openapi.json", self._openapi),
                Route("/openapi-gpt.json", self._openapi_gpt),
                *routes,
            ],
            exception_handlers={Problem: _on_problem, HTTPException: _on_http, Exception: _on_unexpected},
        )
        starlette.router.redirect_slashes = False
        self._paths = frozenset(route.path for route in starlette.routes if isinstance(route, Route))
        return starlette

    async def _session(self, request: Request) -> Response:
        caller = self.access.caller(request.scope["headers"], peer_of(request.scope))
        await caller.identify()
        answer = await self._ingest.session_state(request.path_params["id"], caller)
        return Response(answer.body, answer.status, media_type="application/json")

    async def _healthz(self, request: Request) -> Response:
        return Response(b'{"estado":"vivo"}', media_type="application/json")

    async def _readyz(self, request: Request) -> Response:
        ready, state = self._readiness()
        return Response(msgspec.json.encode(state), 200 if ready else 503, media_type="application/json")

    async def _openapi(self, request: Request) -> Response:
        return Response(self._documents.openapi, media_type="application/json")

    async def _openapi_gpt(self, request: Request) -> Response:
        scope = request.scope
        body = self._documents.actions(request.query_params.get("gpt"), by_name(scope["headers"]), scope["scheme"])
        return Response(body, media_type="application/json")


def peer_of(scope: Scope) -> str:
    """The address at the other end of a request's connection; empty where there is none."""
    client = scope.get("client")
    return client[0] if client else ""


class _OnlyPost:
    """No function: Starlette would let GET alone reach one, and answer the rest with «Allow: GET»."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise Problem(errors.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return problem_response(error)


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        return problem_response(Problem(errors.METHOD_NOT_ALLOWED, headers=dict(error.headers or {})))
    return problem_response(Problem(errors.ROUTE_NOT_FOUND))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    return problem_response(unexpected(error))


async def _send(send: Send, status: int, headers: Pairs, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
