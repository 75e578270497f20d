"""HTTP/1.1 as uvicorn speaks it, with what it leaves unbounded bounded, and the posts taken to their exchange.

What this file uses of uvicorn without its documentation, all in `httptools_impl`; for it, pyproject.toml pins
the minor version:

- `HttpToolsProtocol` calls `on_message_begin`, `on_headers_complete`, `on_body`, `on_message_complete` as the parser
  does, and keeps `parser`, `url`, `headers`, `scope`, `client`, `transport`, `flow`, `loop`, `connections`,
  `server_state`, `expect_100_continue`;
- `cycle` is the newest exchange of a connection, `pipeline` has those that wait for their turn, the oldest last,
  each with its application; of a cycle it uses `response_complete`, `disconnected`, `keep_alive` and
  `message_event.set()`, `flow`, `transport`; `_start_asgi_task` begins one, and nothing else does;
- `on_response_complete` is called when an answer has left: it counts, starts the keep-alive time and begins the next;
- `_unset_keepalive_if_required` stops that time; `shutdown` is called when the server stops.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import urllib.parse
from collections import deque
from typing import Any

import httptools
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from otel_bridge import errors
from otel_bridge.access import hosts
from otel_bridge.config import Config, served_certificate
from otel_bridge.errors import Problem
from otel_bridge.http.app import App
from otel_bridge.http.cors import Pairs
from otel_bridge.http.exchange import Exchange, Post
from otel_bridge.http.responses import SECURITY, as_lines, on_the_wire, problem_body, problem_lines, problem_response
from otel_bridge.http.tls import Tls
from otel_bridge.http.unread import Unread

log = logging.getLogger(__name__)

HEAD_SECONDS = 10.0
"""Time a client has to send a request's line and headers, or body_timeout_seconds where that is less."""
HEAD_BYTES = 64 << 10
"""What a request's line and headers may take, as far as they have not come in one piece."""
LATE_BODY_SECONDS = 5.0
"""Time past the body's own, in which an ASGI application answers that it came late: then the connection ends."""
REFUSED_BODY_BYTES = 64 << 20
"""What is read and dropped of a body that has been refused, so that its sender gets to read the answer."""
UNREAD_SECONDS = 30.0
"""Time a client may read nothing of an answer, or body_timeout_seconds where that is less."""
PARSED_LATER_BYTES = 16 << 10
"""What a connection may hold until the end of the turn: more is parsed, and counted, as it comes."""
MAX_CONNECTIONS = 10_000
PARTING_SECONDS = 1.0
PARTING_AT_ONCE = 64
"""Connections beyond the cap that are open at once; each takes one of the spare file descriptors."""


class Bounds:
    """What the connections of one server share: their limits, and whether it stops."""

    def __init__(self, config: Config, max_connections: int = MAX_CONNECTIONS) -> None:
        self.max_connections = max_connections
        self.draining = False
        """The server stops: every answer from then on is its connection's last."""
        self.parting: set[Protocol] = set()
        """Connections past the cap that have been refused and get a moment to read so."""
        self.default_headers: Pairs = []
        """What uvicorn puts on every answer."""
        self.default_lines = b""
        self.unread = Unread(UNREAD_SECONDS)
        self.connections: set[Any] = set()
        """Those that are made: uvicorn's own set, as soon as there is one."""
        self.tls: ssl.SSLContext | None = None
        """What new connections greet with; None: they are plain."""
        self.greeting: set[Tls] = set()
        """Connections whose handshake is not done."""
        self.configure(config)

    @property
    def full(self) -> bool:
        """Whether another connection would take a file descriptor that others need. What is beyond the cap alone is for
        `Protocol` to refuse, with words."""
        return len(self.connections) + len(self.greeting) >= self.max_connections + PARTING_AT_ONCE

    def renew(self, default_headers: Pairs) -> None:
        """Takes on the headers of every answer. uvicorn makes a new list of them each second."""
        self.default_headers = default_headers
        self.default_lines = as_lines(default_headers)

    def configure(self, config: Config) -> None:
        self.body_seconds = config.body_timeout_seconds
        self.head_seconds = min(HEAD_SECONDS, config.body_timeout_seconds)
        self.unread.seconds = min(UNREAD_SECONDS, config.body_timeout_seconds)
        reloaded = self.tls is not None  # what is wrong at the start, the start says
        try:
            self.tls = served_certificate.context(config)
            if reloaded and (said := served_certificate.ending(config)) is not None:
                log.warning("%s", said)
        except ValueError as error:  # the files have changed since the configuration was read
            log.error("the certificate is wrong; the one before it stays in use: %s", error)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, and what it leaves unbounded: the time a request takes to arrive and an answer to be read,
    the size of headers, the number of connections. What it refuses itself has the shape of every other refusal.

    A whole request usually comes in one piece: then none of this costs more than a look at a flag.
    """

    cycle: Exchange | RequestResponseCycle | None  # type: ignore[assignment]
    pipeline: deque[tuple[Exchange | RequestResponseCycle, Any]]  # type: ignore[assignment]

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _in_message = False
    _completed = False
    """Whether a request ended within the read at hand."""
    _offers_upgrade = False
    """The request offers another protocol: this parse of it counts for nothing."""
    _deaf = False
    """What still comes is not read: the connection is about to end."""
    _good_host: bytes | None = None
    """The `Host` of the last request that had one as it should be."""
    _unparsed: bytes | None = None
    """What has been read in this turn of the event loop."""
    _idle_since = 0.0
    _head_bytes = 0
    _trailer_bytes = 0
    _dropped = 0

    def __init__(
        self,
        bounds: Bounds,
        application: App,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._application = application
        self.peer = ""
        self._answering: Exchange | None = None
        """The exchange whose turn it is; `cycle` is the newest."""
        self._refusal: Problem | None = None
        """What the connection ends with, when what came before it has been answered."""

    # --- the connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.peer = self.client[0] if self.client else ""
        bounds = self._bounds
        bounds.connections = self.connections
        bounds.unread.watch(self.loop, self.connections)
        if len(self.connections) - len(bounds.parting) > bounds.max_connections:
            self._end(Problem(errors.QUEUE_FULL, "Demasiadas conexiones abiertas.", headers={"Retry-After": "5"}), True)
            return
        self._deadline = self.loop.call_later(bounds.head_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        self._bounds.parting.discard(self)
        for cycle in (self._answering, *(cycle for cycle, _ in self.pipeline)):
            if isinstance(cycle, Exchange):
                cycle.lost()
        super().connection_lost(exc)
        # An exchange knows its connection: not both ways, else only the collector would free them.
        self.cycle = self._answering = None
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        if self._unparsed is None and len(data) <= PARSED_LATER_BYTES:
            self._unparsed = data
            self._application.turn.read(self)
        else:
            self.parse()
            if not (self._deaf or self.transport.is_closing()):
                self._parse(data)

    def parse(self) -> None:
        """Parses what has been read in this turn; `Turn` calls it. Also when the connection has broken since: what had
        come whole counts."""
        data, self._unparsed = self._unparsed, None
        if data is not None and not self._deaf:
            self._parse(data)

    def abort(self) -> None:
        self.transport.abort()

    def _parse(self, data: bytes) -> None:
        self._completed = False
        self._feed(data)
        if self._in_head:
            self._head_bytes += 0 if self._completed else len(data)  # a read that ends another request is not counted
            if self._head_bytes > HEAD_BYTES:
                self._end(Problem(errors.HEADER_INVALID, f"Las cabeceras superan {HEAD_BYTES >> 10} KiB: envía menos."))
        elif not self._in_message:
            if self.cycle is None or self.cycle.response_complete:
                # Line breaks before a request: they are allowed, and not for ever.
                self._deadline = self._deadline or self.loop.call_later(self._bounds.head_seconds, self._late)
            return
        if self._deadline is None and not self.transport.is_closing():
            seconds = self._bounds.head_seconds if self._in_head else self._bounds.body_seconds
            if not self._in_head and not isinstance(self.cycle, Exchange):
                seconds += LATE_BODY_SECONDS
            self._deadline = self.loop.call_later(seconds, self._late)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._offers_upgrade:
                self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            refusal = error.__context__  # what a callback of ours raised
            if isinstance(refusal, Problem):
                self._end(refusal)
            else:
                self.send_400_response("")

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """An offer to speak another protocol may be ignored (RFC 9110, section 7.8), and Java's HttpClient makes one
        with every request. The parser takes what follows for that protocol: so it reads the request anew."""
        headers = [(name, value) for name, value in self.headers if name not in (b"upgrade", b"http2-settings")]
        for i, (name, value) in enumerate(headers):
            if name == b"connection":
                options = [option.strip() for option in value.split(b",")]
                others = [option for option in options if option.lower() not in (b"upgrade", b"http2-settings")]
                headers[i] = (name, b", ".join(others))
        start = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self._offers_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(start + as_lines(headers) + b"\r\n" + rest)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that closes its half may still read: what it has sent whole is answered, and what it has not is
        refused, then the connection ends."""
        self.parse()
        if self._in_message and not self._deaf:
            self._end(Problem(errors.HEADER_INVALID, "La petición está incompleta: la conexión acabó antes que ella."))
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return False
        if self._refusal is None:
            cycle.keep_alive = False
        self._deaf = True
        return True

    def pause_writing(self) -> None:
        # A client that reads no answers sends no more requests, either.
        super().pause_writing()
        self.flow.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.flow.resume_reading()

    # --- a request, as the parser reads it ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        # Not uvicorn's: it makes an ASGI scope, which a post does without (0.7 µs).
        self.url = b""
        self.headers = []
        self._hosts: list[bytes] = []
        self._in_head = self._in_message = True
        self._head_bytes = self._trailer_bytes = self._dropped = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            name = name.lower()
            value = value.rstrip(b" \t")  # no part of it (RFC 9110, section 5.5); the parser skips those before it
            self.headers.append((name, value))
            if name == b"host":
                self._hosts.append(value)
            return
        # A trailer: nothing that it says counts (RFC 9110, section 6.5.1), and it is not without end.
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > HEAD_BYTES:
            self._end(Problem(errors.HEADER_INVALID, f"Los «trailers» superan {HEAD_BYTES >> 10} KiB: envía menos."))
            self._deaf = True

    def on_headers_complete(self) -> None:
        found = self._hosts
        if len(found) != 1 or found[0] != self._good_host:
            hosts.the_one(found, self.parser.get_http_version())  # a Problem ends the parse
            self._good_host = found[0] if found else None
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offers_upgrade = True
            return
        previous = self.cycle
        if isinstance(previous, Exchange) and not previous.response_complete:
            previous.take_in()  # where it is refused, it is this one's turn: a client that hangs up has sent both
        post = self._application.posts.get(self.url) or self._post_at_other_spelling()
        self._in_head = False
        if self._deadline is not None:
            self._set_deadline(None)
        if post is None or self.parser.get_method() != b"POST":
            self._begin_asgi()
        else:
            self._begin(post)

    def _post_at_other_spelling(self) -> Post | None:
        """The post whose path this URL has, with an id in it, a query or in percent-encoding. Raises Problem where it
        is no URL."""
        try:
            path = httptools.parse_url(self.url).path
        except httptools.HttpParserInvalidURLError:
            raise Problem(errors.HEADER_INVALID, "La petición no es HTTP/1.1 válido.") from None
        return self._application.post_at(urllib.parse.unquote_to_bytes(path)) if path else None

    def _begin_asgi(self) -> None:
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        if self._bounds.draining and self.cycle is not None:
            self.cycle.keep_alive = False

    def _begin(self, post: Post) -> None:
        parser, previous = self.parser, self.cycle
        its_turn = previous is None or previous.response_complete
        exchange = Exchange(self._application, self, post, self.headers, its_turn)
        if not parser.should_keep_alive() or parser.get_http_version() == "1.0" or self._bounds.draining:
            exchange.keep_alive = False
        self.cycle = exchange
        if its_turn:
            self._answering = exchange
            if exchange.problem is not None or exchange.expects_continue:
                exchange.begin()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((exchange, self.app))

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if isinstance(cycle, Exchange):
            cycle.receive(body)
        else:
            super().on_body(body)
        if cycle is None or cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > REFUSED_BODY_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        if self._offers_upgrade:
            return  # read anew in a moment
        self._in_message = False
        self._completed = True
        if self._deadline is not None:
            self._set_deadline(None)
        cycle = self.cycle
        if isinstance(cycle, Exchange):
            cycle.received()
        else:
            super().on_message_complete()

    # --- answers ------------------------------------------------------------------------------------------------------

    def send_continue(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def send(self, exchange: Exchange, status: int, lines: bytes, body: bytes) -> None:
        transport = self.transport
        if transport.is_closing():
            return
        if self.server_state.default_headers is not self._bounds.default_headers:
            self._bounds.renew(self.server_state.default_headers)
        transport.write(on_the_wire(status, self._bounds.default_lines, lines, body, exchange.keep_alive))
        if exchange.keep_alive:
            self.on_response_complete()
        else:
            self._deaf = True  # what comes behind the last answer was not asked for
            transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        async def answered(scope: Scope, receive: Receive, send: Send) -> None:
            async def until_it_ends(message: Message) -> None:
                # uvicorn tells the newest exchange alone that its client is gone, and uvloop takes no writes from then
                # on: an older one in the middle of its answer would fail.
                if cycle.flow.write_paused and not cycle.disconnected:
                    await cycle.flow.drain()
                if cycle.transport.is_closing():
                    cycle.disconnected = True
                    cycle.message_event.set()
                await send(message)

            await app(scope, receive, until_it_ends)

        super()._start_asgi_task(cycle, answered)  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        self._idle_since = self.loop.time()
        if not self.pipeline and not self.flow.read_paused and isinstance(self.cycle, Exchange):
            # The usual end. Not uvicorn's: it makes a timer an answer, and cancels it at the next request (1 µs).
            if self.timeout_keep_alive_task is None:
                self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self._idle)
        elif self.transport.is_closing():
            self._deaf = True
            return
        elif self.pipeline and isinstance(following := self.pipeline[-1][0], Exchange):
            self.pipeline.pop()
            self.flow.resume_reading()
            self._answering = following
            self.loop.call_soon(following.begin)  # not from here: a row of refusals would be as deep as it is long
        else:
            super().on_response_complete()
        if self.flow.write_paused:
            self.flow.pause_reading()
        if self._refusal is None and not self._in_message:
            return
        answered = self.cycle is None or self.cycle.response_complete
        asked = self.cycle.expects_continue if isinstance(self.cycle, Exchange) else self.expect_100_continue
        if self._refusal is not None and answered:
            self._end(self._refusal)
        elif asked and self._in_message and not self._in_head and answered:
            # Refused before it was asked for its body: whether the client sends that now nobody knows.
            self._deaf = True
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        self._idle()  # uvicorn's own does not ask whether a post has come since

    def _idle(self) -> None:
        """Ends a connection on which nothing has come since its last answer, or looks again when that may be so."""
        self.timeout_keep_alive_task = None
        if self.cycle is None or not self.cycle.response_complete or self._in_message or self._unparsed:
            return  # the next answer asks again
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self._idle)
        elif not self.transport.is_closing():
            self.transport.close()

    def shutdown(self) -> None:
        self.parse()
        if self._in_head:
            self._late()
        super().shutdown()

    def give_up(self) -> None:
        """The stop's time is over: what uvicorn has no task for is answered, what is queued behind it is not begun."""
        self.pipeline.clear()
        if self._answering is not None and not self._answering.response_complete:
            self._answering.give_up()

    def send_400_response(self, msg: str) -> None:
        self._end(Problem(errors.HEADER_INVALID, "La petición no es HTTP/1.1 válido."))

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _late(self) -> None:
        """The request has not come within its time."""
        waited = self._deadline
        self.parse()
        if self._deadline is not waited:
            return  # it has, in this turn of the event loop
        self._deadline = None
        cycle = self.cycle
        if isinstance(cycle, Exchange) and not cycle.response_complete and not self._in_head:
            cycle.keep_alive = False
            cycle.fail(Problem(errors.BODY_TIMEOUT))
        elif cycle is not None and not cycle.response_complete:
            if self._in_head:  # behind one that is still being answered
                self._deadline = self.loop.call_later(1.0, self._late)
                return
            self.transport.close()
        elif self._in_head:
            self._end(Problem(errors.BODY_TIMEOUT, "Las cabeceras no llegaron completas a tiempo. Reintenta."))
        elif not self.transport.is_closing():
            self.transport.close()

    def _fail(self, cycle: Exchange | RequestResponseCycle, problem: Problem) -> bool:
        """The body of a request cannot be read: it gets one answer, and the connection ends with it. True: none of its
        own will come."""
        cycle.keep_alive = False
        if cycle.response_complete:  # answered before its body had come
            self.transport.close()
        elif isinstance(cycle, Exchange):
            cycle.fail(problem)
        elif self.pipeline:  # it waits for its turn: then it is answered so
            refusal = problem_response(problem)
            refusal.raw_headers.extend(SECURITY)
            self.pipeline[0] = (cycle, refusal)
        elif not cycle.response_started:
            # Whoever waits for its body is told that none comes, as when the client hangs up.
            cycle.disconnected = True
            cycle.message_event.set()
            return True
        return False

    def _end(self, problem: Problem, unread: bool = False) -> None:
        """Answers outside of any request that could be read, when all before it has been answered, and ends the
        connection. `unread`: a request may be on its way."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        if cycle is not None and self._in_message and not self._in_head:
            self._deaf = True
            if not self._fail(cycle, problem):
                return
        elif cycle is not None and not cycle.response_complete:
            self._refusal = problem
            self._deaf = True
            return
        lines = problem_lines(problem) + as_lines([*SECURITY])
        self.transport.write(on_the_wire(problem.kind.status, b"", lines, problem_body(problem), keep_alive=False))
        if unread and len(self._bounds.parting) < PARTING_AT_ONCE:
            # A request on its way would be answered with a reset, and the sender might never read the refusal
            # (RFC 9112, section 9.6).
            self._deaf = True
            self._bounds.parting.add(self)
            self.transport.write_eof()
            self._deadline = self.loop.call_later(PARTING_SECONDS, self.transport.close)
        else:
            self.transport.close()
