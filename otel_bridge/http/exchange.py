"""One post on a connection: from its head to its answer.

    head ──▶ body ──▶ its turn ──▶ taken in: a draft ──▶ journaled ──▶ answered
      │        │         │          │  ▲ waits: a session,    │            ▲
      │        │         │          └──┘ Redis, a thread      │            │
      └────────┴─────────┴──────────┴──────── refused ────────┴────────────┘

The intake is a coroutine, and no task runs it: `_step` does, each time that the future it waits for is there. For an
event of a remembered session it waits for nothing, and gives what to journal at the first step.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from otel_bridge import errors, logs
from otel_bridge.access.caller import Caller
from otel_bridge.errors import Problem
from otel_bridge.http.bodies import Body
from otel_bridge.http.headers import by_name
from otel_bridge.http.responses import JSON_LINE, problem_body, problem_lines, request_id, unexpected
from otel_bridge.http.scheme import client_scheme
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.draft import Draft
from otel_bridge.intake.ingest import Taking

if TYPE_CHECKING:
    from otel_bridge.http.app import App


class Post(NamedTuple):
    """A route that takes records in."""

    route: str
    kind: str | None
    """What it takes, as the label `kind` of refusals says: `session`, `event`, `feedback`. None: it takes no record."""
    handle: Callable[[bytes, Caller], Taking]


class Connection(Protocol):
    """What an exchange needs of the connection that it is on."""

    peer: str
    """The address at its other end; empty where there is none."""

    def send_continue(self) -> None:
        """Tells the client to send the body that it announced (RFC 9110, section 10.1.1)."""

    def send(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
        """Writes the whole answer; the next exchange of the connection gets its turn. `lines`: headers."""


class _NobodyWaits:
    def set(self) -> None:
        """uvicorn wakes with it what waits for more of a request: nothing waits for an exchange's."""


class Exchange:
    """One post. Knows nothing of the connection but how to answer on it."""

    message_event = _NobodyWaits()
    keep_alive = True
    disconnected = False
    response_complete = False
    expects_continue = False

    _its_turn = False
    _is_whole = False
    problem: Problem | None = None
    """Why it is refused, until it is its turn to be answered."""
    _body: Body | None = None
    _taking: Taking | None = None

    def __init__(
        self,
        app: App,
        connection: Connection,
        post: Post,
        raw: Sequence[tuple[bytes, bytes]],
        its_turn: bool,
    ) -> None:
        """`raw`: the request's headers, their names in lower case. `its_turn`: no answer before it is still to leave.
        `begin` is called where that is not so, where it has a `problem` already, or it `expects_continue`."""
        self._started = time.perf_counter()
        self._app = app
        self._connection = connection
        self._post = post
        self._raw = raw
        headers = self._headers = by_name(raw)
        self._request_id = request_id(headers)
        self._its_turn = its_turn
        try:
            self._body = Body(app.bodies, headers)
        except Problem as problem:
            self.problem = problem
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self.expects_continue = True

    # --- what the connection tells ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """It is its turn: every answer before it has left."""
        self._its_turn = True
        if self.disconnected:
            return
        if self.problem is not None:
            self._refuse(self.problem)
        elif self._is_whole:
            self.take_in()
        elif self.expects_continue:
            self._connection.send_continue()

    def receive(self, piece: bytes) -> None:
        """The next piece of its body."""
        if self._body is None or self.problem is not None:
            return
        try:
            self._body.add(piece)
        except Problem as problem:
            self.fail(problem)

    def received(self) -> None:
        """All of its body has come."""
        self._is_whole = True
        if self._its_turn and not self.response_complete:
            self._app.turn.whole(self)

    def fail(self, problem: Problem) -> None:
        """It cannot be received: it is refused as soon as it is its turn."""
        self.problem = self.problem or problem
        if self._its_turn and not self.response_complete:
            self._refuse(self.problem)

    def lost(self) -> None:
        """The client is gone. What has come whole in its turn goes on, and nobody is told."""
        self.disconnected = True
        if self._body is not None and not (self._is_whole and self._its_turn):
            self._body.release()
            self._body = None

    def give_up(self) -> None:
        """The stop does not wait for it any longer. Whether the journal still takes what it has nobody can say."""
        self.keep_alive = False
        kind = errors.SHUTTING_DOWN if self._taking is None else errors.OUTCOME_UNKNOWN
        self._refuse(Problem(kind, headers={"Retry-After": "5"}))

    # --- taking it in -------------------------------------------------------------------------------------------------

    def take_in(self) -> None:
        """What has come whole goes on its way, in its turn; `Turn` calls it. Asked again, it does nothing."""
        if self.response_complete or self._taking is not None or not (self._is_whole and self._its_turn):
            return  # given up by the stop, or taken in since another request has come behind it
        assert self._body is not None
        try:
            body = self._body.whole()
            caller = Caller(self._app.access, self._raw, self._headers, self._connection.peer)
            if self._app.access.tokens is not None and caller.token:
                self._taking = _identified(self._post.handle, body, caller)
            else:
                self._taking = self._post.handle(body, caller)
        except Exception as error:
            self._refuse(error)
        else:
            self._step()

    def _step(self, _: object = None) -> None:
        """Goes on until there is a draft or an answer, or it has to wait."""
        assert self._taking is not None
        try:
            future = self._taking.send(None)
        except StopIteration as end:
            outcome = end.value
            if isinstance(outcome, Answer):
                self._answer(outcome)
            else:
                self._journal(outcome)
        except (Exception, asyncio.CancelledError) as error:
            self._refuse(error)
        else:
            if future is None:  # asyncio.sleep(0): others have their turn
                asyncio.get_running_loop().call_soon(self._step)
            else:
                future._asyncio_future_blocking = False  # as a task does with a future that it awaits
                future.add_done_callback(self._step)

    def _journal(self, draft: Draft) -> None:
        if not draft.records:  # all of it is refused
            self._committed(draft)
            return
        try:
            self._app.journal.append(draft, self._committed)
        except Exception as error:
            self._refuse(error)

    def _committed(self, draft: Draft) -> None:
        """The draft has settled: it is committed, or the journal says why it is not."""
        try:
            answer = draft.answer()
        except Exception as error:
            self._refuse(error)
        else:
            self._answer(answer)

    # --- answering ----------------------------------------------------------------------------------------------------

    def _answer(self, answer: Answer) -> None:
        lines = JSON_LINE + self._app.common_lines(self._headers, self._request_id)
        if answer.location is not None:
            lines += b"location: %b\r\n" % answer.location.encode()
        self._finish(answer.status, lines, answer.body)

    def _refuse(self, error: BaseException) -> None:
        if self.response_complete:
            return
        token = logs.request.set((self._request_id, self._headers.get(b"traceparent")))
        problem = error if isinstance(error, Problem) else unexpected(error)
        logs.request.reset(token)
        error.__traceback__ = None  # its frames hold the error, and this exchange: a cycle for the collector
        if self._post.kind is not None:
            self._app.metrics.rejected(self._post.kind, problem.kind)
        lines = problem_lines(problem) + self._app.common_lines(self._headers, self._request_id)
        self._finish(problem.kind.status, lines, problem_body(problem))

    def _finish(self, status: int, lines: bytes, body: bytes) -> None:
        if self.response_complete:
            return
        self.response_complete = True
        if self._body is not None and self._body.counted:
            self._body.release()
        if not self.disconnected:
            self._connection.send(self, status, lines, body)
        seconds = time.perf_counter() - self._started
        self._app.metrics.observe(self._post.route, "POST", status, seconds)
        if self._app.request_spans is not None:
            route = self._post.route
            self._app.request_spans("POST", route, route, client_scheme(self._headers, "http"), status, seconds)
        if self._app.logs_requests:
            token = logs.request.set((self._request_id, self._headers.get(b"traceparent")))
            self._app.log_request(self._post.route, "POST", status, seconds, body if status in (200, 201) else b"")
            logs.request.reset(token)


async def _identified(handle: Callable[[bytes, Caller], Taking], body: bytes, caller: Caller) -> Draft | Answer:
    """What `handle` makes of a request, once it is known who its access token speaks for."""
    await caller.identify()
    return await handle(body, caller)
