"""The front door: routes, limits of a body, one shape of error, and the time each answer took.

`Door` is the outermost ASGI callable. The two posts that clients make all day go from it straight to their
endpoint; everything else passes through Starlette's router. (The router, its middlewares and the Request and
Response objects cost a post about as much as the journal does: benchmarks/RESULTS.md.)
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import re
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from otel_bridge import contract, errors, logs
from otel_bridge.errors import Problem
from otel_bridge.ingest import Answer, Gate, Ingest, OpenGate, read_hints
from otel_bridge.selfmetrics import SelfMetrics

log = logging.getLogger(__name__)

MAX_OBJECT_BYTES = 1 << 20
MAX_BATCH_BYTES = 8 << 20
MAX_BODIES_BYTES = 256 << 20
"""All bodies that are being received, together: what slow senders can make the process hold."""

SWEEP_SECONDS = 1.0
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

RawHeaders = Mapping[bytes, bytes]
Pairs = list[tuple[bytes, bytes]]
Post = Callable[[bytes, Gate, Any], Awaitable[Answer]]
HintedPost = Callable[[bytes, Gate, Any, RawHeaders], Awaitable[Answer]]
GateOf = Callable[[Scope, RawHeaders], Gate]

CONVERSATION = b"openai-conversation-id"
"""Says which ChatGPT conversation an action is called from: a hint (`actions.Conversations`)."""


class Bodies:
    """Receives bodies within their limits: of one, of all together, and of time."""

    def __init__(self, timeout_seconds: float) -> None:
        self.timeout_seconds = timeout_seconds
        self._held = 0
        # Who waits for the first piece of a body, and since when. One sweep a second ends those that wait too long:
        # a timer a request costs more than decoding the request does, and nearly no request needs its own.
        self._waiting: dict[asyncio.Task[Any], float] = {}
        self._sweeping = False

    async def read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, inflated. Raises Problem (400, 408, 413, 415, 503)."""
        kind = headers.get(b"content-type")
        if kind is None and b"origin" in headers:
            # A page of any origin can make a browser post without a type and without asking first (CORS).
            raise Problem(errors.UNSUPPORTED_MEDIA)
        _check_type(kind)
        encoding = headers.get(b"content-encoding", b"").strip().lower()
        if encoding not in (b"", b"identity", b"gzip"):
            raise Problem(errors.UNSUPPORTED_MEDIA, "«Content-Encoding» solo puede ser gzip.")
        declared = headers.get(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > MAX_BATCH_BYTES:
            raise _too_large(MAX_BATCH_BYTES)
        message = await self._first(receive)
        if not message.get("more_body", False):
            raw = message.get("body", b"")
        else:
            raw = await self._rest(message, receive)
        body = _inflate(raw) if encoding == b"gzip" else raw
        if len(body) > MAX_OBJECT_BYTES and not contract.is_batch(body):
            raise _too_large(MAX_OBJECT_BYTES)
        return body

    async def _first(self, receive: Receive) -> Message:
        """The first piece of the body, which is nearly always all of it."""
        if not getattr(getattr(receive, "__self__", None), "more_body", True):
            return _connected(await receive())  # uvicorn has all of it already: nothing to watch
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = time.monotonic()
        if not self._sweeping:
            self._sweeping = True
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)
        try:
            return _connected(await receive())
        except asyncio.CancelledError:
            if task in self._waiting:
                raise  # not our sweep: the server stops
            raise Problem(errors.BODY_TIMEOUT) from None
        finally:
            self._waiting.pop(task, None)

    def _sweep(self) -> None:
        overdue = time.monotonic() - self.timeout_seconds
        for task in [task for task, since in self._waiting.items() if since < overdue]:
            del self._waiting[task]
            task.cancel()
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    async def _rest(self, message: Message, receive: Receive) -> bytes:
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self.timeout_seconds):
                while True:
                    chunk = message.get("body", b"")
                    size += len(chunk)
                    self._held += len(chunk)
                    if size > MAX_BATCH_BYTES:
                        raise _too_large(MAX_BATCH_BYTES)
                    if self._held > MAX_BODIES_BYTES:
                        raise Problem(errors.QUEUE_FULL, headers={"Retry-After": "1"})
                    chunks.append(chunk)
                    if not message.get("more_body", False):
                        return b"".join(chunks)
                    message = _connected(await receive())
        except TimeoutError:
            raise Problem(errors.BODY_TIMEOUT) from None
        finally:
            self._held -= size


class Gone(Exception):
    """The client closed the connection before its body was complete: nobody is there to answer."""


def _connected(message: Message) -> Message:
    if message["type"] == "http.disconnect":
        raise Gone
    return message


def _check_type(value: bytes | None) -> None:
    if value is None or value == b"application/json":
        return
    kind, _, parameters = value.partition(b";")
    kind = kind.strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Problem(errors.UNSUPPORTED_MEDIA)
    charset = parameters.strip().lower().replace(b'"', b"").replace(b" ", b"")
    if charset.startswith(b"charset=") and charset not in (b"charset=utf-8", b"charset=utf8"):
        raise Problem(errors.UNSUPPORTED_MEDIA, "El cuerpo debe estar en UTF-8.")


def _inflate(raw: bytes) -> bytes:
    """gzip → bytes, stopping at the limit: a bomb costs no more than an honest batch."""
    inflater = zlib.decompressobj(wbits=31)
    try:
        body = inflater.decompress(raw, MAX_BATCH_BYTES + 1)
    except zlib.error:
        raise Problem(errors.ENCODING_MALFORMED) from None
    if len(body) > MAX_BATCH_BYTES:
        raise _too_large(MAX_BATCH_BYTES)
    if not inflater.eof or inflater.unused_data:
        raise Problem(errors.ENCODING_MALFORMED)
    return body


def _too_large(limit: int) -> Problem:
    what = "un lote" if limit == MAX_BATCH_BYTES else "un objeto"
    return Problem(
        errors.BODY_TOO_LARGE,
        f"El límite de {what} es de {limit >> 20} MiB, ya descomprimido. Divide el envío en lotes más pequeños.",
    )


class Cors:
    """What browsers of other origins are told. Nothing where no origin is configured."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def __bool__(self) -> bool:
        return bool(self._origins)

    def allows(self, origin: bytes) -> bool:
        return self._any or origin.lower() in self._origins

    def headers(self, headers: RawHeaders) -> Pairs:
        """Of every answer, errors too: a browser hides from its page what lacks them."""
        vary = (b"vary", b"Origin")
        origin = headers.get(b"origin")
        if origin is None or not self.allows(origin):
            return [vary]
        # No credentials are allowed, so `*` gives away nothing that an anonymous caller lacks.
        return [
            (b"access-control-allow-origin", b"*" if self._any else origin),
            (b"access-control-expose-headers", _EXPOSED),
            vary,
        ]

    def preflight(self, headers: RawHeaders) -> Pairs | None:
        """Headers of a preflight's answer; None where this is none, or its origin may not."""
        origin = headers.get(b"origin")
        if origin is None or b"access-control-request-method" not in headers or not self.allows(origin):
            return None
        return [
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", _ALLOWED),
            (b"access-control-max-age", b"600"),
        ]


_EXPOSED = (
    b"Location, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, RateLimit-Policy, "
    b"WWW-Authenticate, X-Request-Id"
)
_ALLOWED = (
    b"Content-Type, Content-Encoding, Authorization, X-API-Key, Idempotency-Key, X-Request-Id, traceparent, "
    b"MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name"
)

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
        body = b""
        try:
            body = await self._bodies.read(headers, receive)
            hints = read_hints(_header(headers, b"traceparent"), _header(headers, b"idempotency-key"))
            if CONVERSATION in headers and path in self._hinted:
                answer = await self._hinted[path](body, self._gate(scope, headers), hints, headers)
            else:
                answer = await handle(body, self._gate(scope, headers), hints)
        except Problem as problem:
            self._metrics.rejected(kind, problem.kind)
            status = await _refuse(send, problem, every)
        except Gone:
            return
        except asyncio.CancelledError:
            # The stop's time is over. Whether the journal still takes it nobody can say: so nothing is claimed.
            late = Problem(errors.SHUTTING_DOWN, _UNKNOWN_OUTCOME, headers={"Retry-After": "5"})
            self._metrics.rejected(kind, late.kind)
            status = await _refuse(send, late, every)
        except Exception as error:
            unforeseen = unexpected(error)
            self._metrics.rejected(kind, unforeseen.kind)
            status = await _refuse(send, unforeseen, every)
        else:
            status, body = answer.status, answer.body
            out = [_JSON, (b"content-length", b"%d" % len(body)), *every]
            if answer.location is not None:
                out.append((b"location", answer.location.encode()))
            whole = scope.get("extensions", {}).get(WHOLE)
            if whole is None or not whole(send, status, out, body):
                await send({"type": "http.response.start", "status": status, "headers": out})
                await send({"type": "http.response.body", "body": body})
        seconds = time.perf_counter() - started
        self._metrics.observe(path, method, status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            _log_request(path, method, status, seconds, body if status in (200, 201) else b"")

    def configure(self, cors_origins: Sequence[str]) -> None:
        self._cors = Cors(cors_origins)

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
                    status = await _refuse(send, unexpected(error), every)
        route = scope.get("route")
        # The template, never the path a client made up: a label must have few values.
        template = getattr(route, "path", "otra")
        method = scope["method"] if scope["method"] in _METHODS else "OTRO"
        seconds = time.perf_counter() - started
        self._metrics.observe(template, method, status, seconds)
        if log.isEnabledFor(logging.DEBUG):
            _log_request(template, method, status, seconds, b"")


def _log_request(route: str, method: str, status: int, seconds: float, body: bytes) -> None:
    """A line a request, at debug level: the route's template, never the path; the trace that the answer tells."""
    fields: dict[str, object] = {"route": route, "method": method, "status": status, "ms": round(seconds * 1000, 2)}
    trace = _TRACE_ID(body)
    if trace is not None:
        fields["trace_id"] = trace[1].decode()
    log.debug("request", extra={"fields": fields})


_TRACE_ID = re.compile(rb'"trace_id":"([0-9a-f]{32})"').search
_OPEN = OpenGate()
_METHODS = frozenset(("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"))


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("latin-1")


def unexpected(error: BaseException) -> Problem:
    """An error nobody foresaw, as a 500 with an id that the log has. The log gets where, and never what was sent:
    an exception's message may hold a user's text."""
    reference = uuid.uuid4().hex
    fields = {"error_id": reference, "stack": logs.where(error.__traceback__)}
    log.error("unexpected %s", logs.describe(error), extra={"fields": fields})
    return Problem(errors.SERVER_ERROR, reference=reference)


async def _refuse(send: Send, problem: Problem, every: Pairs) -> int:
    body = msgspec.json.encode(problem.document())
    headers = [_PROBLEM, (b"content-length", b"%d" % len(body)), *every]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await send({"type": "http.response.start", "status": problem.kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return problem.kind.status


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
    gate: GateOf = lambda scope, headers: _OPEN,
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
