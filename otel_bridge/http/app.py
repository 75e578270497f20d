"""The front door: routes, one shape of error, and the time each answer took.

`Door` is the outermost ASGI callable. The two posts that clients make all day go from it straight to their
endpoint; everything else passes through Starlette's router. (The router, its middlewares and the Request and
Response objects cost a post about as much as the journal does: benchmarks/RESULTS.md.) One event that needs nothing
to be waited for but its commit goes further still: our protocol hands it to `Door.at_once`, without a task.
docs/decisions/0005 has what each of these gains.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_bridge import errors, logs
from otel_bridge.errors import Problem
from otel_bridge.http.bodies import SMALL_BODY_BYTES, Bodies, Gone, check_type
from otel_bridge.http.cors import Cors, Pairs, RawHeaders
from otel_bridge.intake.ingest import NO_HINTS, OPEN_GATE, Answer, Begun, Gate, Hints, Ingest, read_hints
from otel_bridge.journal.store import Append
from otel_bridge.metrics.own import SelfMetrics

log = logging.getLogger(__name__)

WHOLE = "otel_bridge.whole"
"""ASGI extension of our server: writes head and body at once."""

_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)

Post = Callable[[bytes, Gate, Any], Awaitable[Answer]]
HintedPost = Callable[[bytes, Gate, Any, RawHeaders], Awaitable[Answer]]
GateOf = Callable[[Scope, RawHeaders], Gate]

CONVERSATION = b"openai-conversation-id"
"""Says which ChatGPT conversation an action is called from: a hint (`actions.Conversations`)."""


_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}").fullmatch
_request_ids = map(b"%b-%x".__mod__, zip(itertools.repeat(os.urandom(8).hex().encode()), itertools.count(1)))
"""Unlike any other process's, and cheaper than a UUID."""


def request_id(headers: RawHeaders) -> bytes:
    """The caller's own `X-Request-Id` where it is fit for a header and a log, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID(given):
        return given
    return next(_request_ids)


_UNKNOWN_OUTCOME = (
    "El servicio se detuvo antes de poder responder. Reintenta el mismo envío: lo que ya se hubiera tomado se reconoce."
)


class Reply(NamedTuple):
    """All of an answer."""

    status: int
    headers: Pairs
    body: bytes


Write = Callable[[int, bytes, bytes], None]
"""Takes a status, header lines and a body to the client, if it is still there."""


class OneEvent:
    """A single event on its way through the journal, with what its answer takes. Lands once."""

    __slots__ = ("_door", "_landed", "begun", "request_id", "started", "write")

    def __init__(self, door: Door, started: float, own_id: bytes, write: Write) -> None:
        self._door = door
        self._landed = False
        self.started = started
        self.request_id = own_id
        self.write = write
        self.begun: Begun | None = None

    def done(self) -> bool:
        return self._landed

    def set_result(self, append: Append) -> None:
        self._landed = True
        assert self.begun is not None
        self._door.land(self, self.begun)

    def set_exception(self, error: Exception) -> None:
        self._landed = True
        self._door.land_refused(self, error)

    def give_up(self) -> None:
        """The stop does not wait for it any longer."""
        if not self._landed:
            self.set_exception(_too_late())


class Door:
    """Times, answers and counts every request; renders every error in one shape."""

    def __init__(
        self,
        ingest: Ingest,
        metrics: SelfMetrics,
        bodies: Bodies,
        inner: ASGIApp,
        gate: GateOf,
        hinted: Mapping[str, HintedPost],
        cors_origins: Sequence[str],
    ) -> None:
        self._ingest = ingest
        self._metrics = metrics
        self.bodies = self._bodies = bodies
        self._inner = inner
        self._gate = gate
        self._hinted = hinted
        self.configure(cors_origins)
        self._posts: dict[str, tuple[str, Post]] = {
            "/api/events": ("event", ingest.add_events),
            "/api/sessions": ("session", ingest.create_session),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started = time.perf_counter()
        path, method = scope["path"], scope["method"]
        headers = dict(scope["headers"])
        own_id = request_id(headers)
        logs.request.set((own_id, headers.get(b"traceparent")))
        every: Pairs = [*SECURITY, (b"x-request-id", own_id)]
        if self._cors:
            every += self._cors.headers(headers)
        post = self._posts.get(path)
        if post is None or method != "POST":
            await self._other(scope, receive, send, started, headers, every)
            return
        kind, handle = post
        kept = 0
        try:
            body = await self._bodies.read(headers, receive)
            kept = self._bodies.keep(body)
            hints = _hints(headers)
            if CONVERSATION in headers and path in self._hinted:
                answer = await self._hinted[path](body, self._gate(scope, headers), hints, headers)
            else:
                answer = await handle(body, self._gate(scope, headers), hints)
            reply = _said(answer, every)
        except Gone:
            return
        except asyncio.CancelledError:
            reply = self._refused(kind, _too_late(), every)
        except Exception as error:
            reply = self._refused(kind, error, every)
        finally:
            self._bodies.release(kept)
        whole = scope.get("extensions", {}).get(WHOLE)
        if whole is None or not whole(send, *reply):
            await _send(send, reply)
        self._observe(path, method, reply.status, started, reply.body)

    def at_once(self, scope: Scope, body: bytes, write: Write) -> OneEvent | None:
        """Serves `POST /api/events` without a task, where nothing but a commit has to be waited for: `write` gets the
        reply, later and on the event loop. None: nothing has happened, and the ordinary way has to serve it."""
        started = time.perf_counter()
        headers = dict(scope["headers"])
        if len(body) > SMALL_BODY_BYTES or not _ORDINARY.isdisjoint(headers) or log.isEnabledFor(logging.DEBUG):
            return None
        one = OneEvent(self, started, request_id(headers), write)
        try:
            check_type(headers.get(b"content-type"))
            hints = _hints(headers)
            one.begun = self._ingest.begin_at_once(body, self._gate(scope, headers), hints)
            if one.begun is None:
                return None
            self._ingest.journal(one.begun, one)
        except Exception as error:
            asyncio.get_running_loop().call_soon(one.set_exception, error)
        return one

    def land(self, one: OneEvent, begun: Begun) -> None:
        """Answers what `at_once` took on, once it is committed."""
        try:
            answer = self._ingest.finish(begun)
        except Exception as conflict:
            self.land_refused(one, conflict)
            return
        length = len(answer.body)
        lines = b"%bcontent-length: %d\r\nx-request-id: %b\r\n" % (self._lines, length, one.request_id)
        one.write(answer.status, lines, answer.body)
        self._observe("/api/events", "POST", answer.status, one.started, b"")

    def land_refused(self, one: OneEvent, error: Exception) -> None:
        every: Pairs = [*SECURITY, (b"x-request-id", one.request_id), *self._cors_anyway]
        token = logs.request.set((one.request_id, None))
        reply = self._refused("event", error, every)
        logs.request.reset(token)
        one.write(reply.status, as_lines(reply.headers), reply.body)
        self._observe("/api/events", "POST", reply.status, one.started, b"")

    def _refused(self, kind: str, error: Exception, every: Pairs) -> Reply:
        problem = error if isinstance(error, Problem) else unexpected(error)
        self._metrics.rejected(kind, problem.kind)
        return _refusal(problem, every)

    def _observe(self, route: str, method: str, status: int, started: float, body: bytes) -> None:
        seconds = time.perf_counter() - started
        self._metrics.observe(route, method, status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            _log_request(route, method, status, seconds, body if status in (200, 201) else b"")

    def configure(self, cors_origins: Sequence[str]) -> None:
        self._cors = Cors(cors_origins)
        self._cors_anyway = self._cors.headers({}) if self._cors else []
        self._lines = as_lines([_JSON, *SECURITY, *self._cors_anyway])

    async def _other(
        self, scope: Scope, receive: Receive, send: Send, started: float, headers: RawHeaders, every: Pairs
    ) -> None:
        status = 0

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                found = message.setdefault("headers", [])
                names = {name for name, _ in found}
                found.extend(pair for pair in every if pair[0] not in names)
            await send(message)

        preflight = self._cors.preflight(headers) if scope["method"] == "OPTIONS" else None
        if preflight is not None:
            await watch({"type": "http.response.start", "status": 204, "headers": preflight})
            await watch({"type": "http.response.body", "body": b""})
        else:
            try:
                await self._inner(scope, receive, watch)
            except Gone:
                return
            except Exception as error:
                # Starlette has answered 500 and hands the error on; what answered nothing is answered here.
                if status == 0:
                    reply = _refusal(unexpected(error), every)
                    status = reply.status
                    await _send(send, reply)
        route = scope.get("route")
        # The template, never the path a client made up: a label must have few values.
        template = getattr(route, "path", "otra")
        method = scope["method"] if scope["method"] in _METHODS else "OTRO"
        self._observe(template, method, status, started, b"")


def _log_request(route: str, method: str, status: int, seconds: float, body: bytes) -> None:
    """A line a request, at debug level: the route's template, never the path; the trace that the answer tells."""
    fields: dict[str, object] = {"route": route, "method": method, "status": status, "ms": round(seconds * 1000, 2)}
    trace = _TRACE_ID(body)
    if trace is not None:
        fields["trace_id"] = trace[1].decode()
    log.debug("request", extra={"fields": fields})


_TRACE_ID = re.compile(rb'"trace_id":"([0-9a-f]{32})"').search
_ORDINARY = frozenset((b"origin", b"content-encoding", CONVERSATION))
"""Headers whose meaning `Door.at_once` leaves to the ordinary way."""
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))


def _hints(headers: Mapping[bytes, bytes]) -> Hints:
    parent, key = headers.get(b"traceparent"), headers.get(b"idempotency-key")
    if parent is None and key is None:
        return NO_HINTS
    return read_hints(*(None if value is None else value.decode("latin-1") for value in (parent, key)))


def unexpected(error: BaseException) -> Problem:
    """An error nobody foresaw, as a 500 with an id that the log has. The log gets where, and never what was sent:
    an exception's message may hold a user's text."""
    reference = uuid.uuid4().hex
    fields = {"error_id": reference, "stack": logs.where(error.__traceback__)}
    log.error("unexpected %s", logs.describe(error), extra={"fields": fields})
    return Problem(errors.SERVER_ERROR, reference=reference)


def _said(answer: Answer, every: Pairs) -> Reply:
    headers = [_JSON, (b"content-length", b"%d" % len(answer.body)), *every]
    if answer.location is not None:
        headers.append((b"location", answer.location.encode()))
    return Reply(answer.status, headers, answer.body)


def _refusal(problem: Problem, every: Pairs) -> Reply:
    body = msgspec.json.encode(problem.document())
    headers = [_PROBLEM, (b"content-length", b"%d" % len(body)), *every]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return Reply(problem.kind.status, headers, body)


def _too_late() -> Problem:
    """The stop's time is over. Whether the journal still takes it nobody can say: so nothing is claimed."""
    return Problem(errors.SHUTTING_DOWN, _UNKNOWN_OUTCOME, headers={"Retry-After": "5"})


async def _send(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def as_lines(pairs: Pairs) -> bytes:
    """Headers as they leave."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def problem_response(problem: Problem) -> Response:
    return Response(
        msgspec.json.encode(problem.document()),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


Readiness = Callable[[], tuple[bool, dict[str, object]]]


def build(
    ingest: Ingest,
    metrics: SelfMetrics,
    readiness: Readiness,
    openapi: Callable[[], bytes],
    body_timeout_seconds: float,
    gate: GateOf = lambda scope, headers: OPEN_GATE,
    routes: Sequence[BaseRoute] = (),
    hinted: Mapping[str, HintedPost] | None = None,
    cors_origins: Sequence[str] = (),
) -> Door:
    """The ASGI application."""

    async def session(request: Request) -> Response:
        gate_of_request = gate(request.scope, dict(request.scope["headers"]))
        answer = await ingest.session_state(request.path_params["id"], gate_of_request)
        return Response(answer.body, answer.status, media_type="application/json")

    async def healthz(request: Request) -> Response:
        return Response(b'{"estado":"vivo"}', media_type="application/json")

    async def readyz(request: Request) -> Response:
        ready, state = readiness()
        return Response(msgspec.json.encode(state), 200 if ready else 503, media_type="application/json")

    async def openapi_json(request: Request) -> Response:
        return Response(openapi(), media_type="application/json")

    class OnlyPost:
        """No function: Starlette would let GET alone reach one, and answer the rest with «Allow: GET»."""

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            raise Problem(errors.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})

    async def on_problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)
        return problem_response(error)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 405:
            return problem_response(Problem(errors.METHOD_NOT_ALLOWED, headers=dict(error.headers or {})))
        return problem_response(Problem(errors.ROUTE_NOT_FOUND))

    async def on_unexpected(request: Request, error: Exception) -> Response:
        return problem_response(unexpected(error))

    inner = Starlette(
        routes=[
            Route("/api/sessions", OnlyPost(), include_in_schema=False),
            Route("/api/events", OnlyPost(), include_in_schema=False),
            Route("/api/sessions/{id}", session),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/openapi.json", openapi_json),
            *routes,
        ],
        exception_handlers={Problem: on_problem, HTTPException: on_http, Exception: on_unexpected},
    )
    inner.router.redirect_slashes = False
    return Door(ingest, metrics, Bodies(body_timeout_seconds), inner, gate, hinted or {}, cors_origins)
