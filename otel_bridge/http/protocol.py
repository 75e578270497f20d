"""HTTP/1.1 as uvicorn speaks it, with what it leaves unbounded bounded, and two shorter ways for the posts."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Callable
from typing import Any, ClassVar

import httptools
import msgspec
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from otel_bridge import errors
from otel_bridge.errors import Problem
from otel_bridge.http import app as api
from otel_bridge.http.cors import Pairs

HEAD_SECONDS = 10.0
"""Time a client has to send a request's line and headers, or body_timeout_seconds where that is less."""
HEAD_BYTES = 64 << 10
"""What a request's line and headers may take, as far as they have not come in one piece."""
LATE_BODY_SECONDS = 5.0
"""Time past the body's own, in which the bridge answers that it came late: then the connection ends."""
REFUSED_BODY_BYTES = 64 << 20
"""What is read and dropped of a body that has been refused, so that its sender gets to read the answer."""
MAX_CONNECTIONS = 10_000
PARTING_SECONDS = 1.0
PARTING_AT_ONCE = 64
"""Connections beyond the cap that are open at once; each takes one of the spare file descriptors."""
EVENTS = b"/api/events"


def write_whole(send: Any, status: int, headers: Pairs, body: bytes) -> bool:
    """Writes an answer, head and body, with one system call. False: it cannot here, `send` has to.

    uvicorn writes each ASGI message by itself (two writes an answer, by strace), and its `send` is where a bare post
    spends 43 % of its samples (py-spy, on the machine of benchmarks/RESULTS.md). Does what `send` does to the
    cycle's state; names and values of `headers` must be fit for a header, which ours are.
    """
    cycle = getattr(send, "__self__", None)
    if (
        not isinstance(cycle, RequestResponseCycle)
        or cycle.response_started
        or cycle.disconnected
        or cycle.flow.write_paused
    ):
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.transport.write(_whole(status, cycle.default_headers, api.as_lines(headers), cycle.keep_alive, body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


def _whole(status: int, defaults: Pairs, lines: bytes, keep_alive: bool, body: bytes) -> bytes:
    """An answer as it goes over the wire. `lines`: headers that are lines already."""
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"".join((STATUS_LINE[status], api.as_lines(defaults), lines, end, body))


_EXTENSIONS = {api.WHOLE: write_whole}

AtOnce = Callable[[Scope, bytes, api.Write], api.OneEvent | None]


class _NoOneWaits:
    def set(self) -> None:
        """uvicorn wakes with it who waits for more of a request: this one is complete."""


class OneCycle:
    """What uvicorn knows a request by while it is answered, for one that is served at once."""

    __slots__ = ("_protocol", "disconnected", "event", "keep_alive", "response_complete")
    message_event = _NoOneWaits()

    def __init__(self, protocol: Protocol) -> None:
        self._protocol: Protocol | None = protocol
        self.event: api.OneEvent | None = None
        self.disconnected = self.response_complete = False
        self.keep_alive = True

    def write(self, status: int, lines: bytes, body: bytes) -> None:
        protocol, self._protocol = self._protocol, None  # the protocol knows its last cycle: not both ways
        if protocol is None:
            return
        self.response_complete = True
        protocol.one = self.event = None
        transport = protocol.transport
        if transport.is_closing():
            return
        transport.write(_whole(status, protocol.server_state.default_headers, lines, self.keep_alive, body))
        if not self.keep_alive:
            transport.close()
        protocol.on_response_complete()


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, and what it leaves unbounded: the time a request takes to arrive, the size of its headers,
    the number of connections. What it refuses itself has the shape of every other refusal.

    A whole request usually comes in one piece: then none of this costs more than a look at a flag. And if it is one
    event that came so, it is offered to `at_once`: no task is made for it, no ASGI messages pass.
    """

    max_connections = MAX_CONNECTIONS
    head_seconds = HEAD_SECONDS
    body_seconds = 20.0
    draining = False
    """Set on the class when the server stops: every answer from then on is its connection's last."""
    parting: ClassVar[set[Protocol]] = set()
    """Connections past the cap that have been refused and get a moment to read so."""
    at_once: AtOnce | None = None
    one: OneCycle | None = None
    """What is being served at once."""
    _held: bytes | None = None
    """The body of a request that may be served at once, while it is read."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = False
    _in_message = False
    _completed = False
    """Whether a request ended within the read at hand."""
    _offers_upgrade = False
    """The request offers another protocol: this parse of it counts for nothing."""
    _head_bytes = 0
    _dropped = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) - len(self.parting) > self.max_connections:
            self._refuse(
                Problem(errors.QUEUE_FULL, "Demasiadas conexiones abiertas.", headers={"Retry-After": "5"}), True
            )
            return
        self._deadline = self.loop.call_later(self.head_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        self.parting.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing() or self in self.parting:
            return
        self._completed = False
        self._unset_keepalive_if_required()
        self._feed(data)
        if self._held is not None and not self.transport.is_closing():
            self._go_the_ordinary_way()  # the rest of the body is still to come
        if self._in_head:
            self._head_bytes += 0 if self._completed else len(data)  # a read that ends another request is not counted
            if self._head_bytes > HEAD_BYTES:
                self._refuse(
                    Problem(errors.HEADER_INVALID, f"Las cabeceras superan {HEAD_BYTES >> 10} KiB: envía menos.")
                )
        elif not self._in_message:
            if self.cycle is None or self.cycle.response_complete:
                # Line breaks before a request: they are allowed, and not for ever.
                self._deadline = self._deadline or self.loop.call_later(self.head_seconds, self._late)
            return
        if self._deadline is None and not self.transport.is_closing():
            seconds = self.head_seconds if self._in_head else self.body_seconds + LATE_BODY_SECONDS
            self._deadline = self.loop.call_later(seconds, self._late)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._offers_upgrade:
                self._feed_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")

    def _feed_without_upgrade(self, rest: bytes) -> None:
        """An offer to speak another protocol may be ignored (RFC 9110, section 7.8), and Java's HttpClient makes one
        with every request. The parser takes what follows for that protocol: so it reads the request anew."""
        kept = [(name, value) for name, value in self.headers if name not in (b"upgrade", b"http2-settings")]
        for i, (name, value) in enumerate(kept):
            if name == b"connection":
                options = [one.strip() for one in value.split(b",")]
                kept[i] = (
                    name,
                    b", ".join(one for one in options if one.lower() not in (b"upgrade", b"http2-settings")),
                )
        start = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self._offers_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(start + api.as_lines(kept) + b"\r\n" + rest)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = _EXTENSIONS  # type: ignore[typeddict-item]
        self._in_head = self._in_message = True
        self._head_bytes = self._dropped = 0

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT":
            self._offers_upgrade = True
            return
        self._in_head = False
        self._set_deadline(None)
        if self.url == EVENTS and self._is_plain():
            self._held = b""
        else:
            self._start()

    def _is_plain(self) -> bool:
        parser = self.parser
        return (
            self.at_once is not None
            and parser.get_method() == b"POST"
            and (self.cycle is None or self.cycle.response_complete)
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not self.expect_100_continue
            and not self.flow.write_paused
            and not self.draining
        )

    def _start(self) -> None:
        super().on_headers_complete()
        if self.draining:
            self.cycle.keep_alive = False

    def _is_served_at_once(self) -> bool:
        held = self._held
        if held is None or self.at_once is None:
            return False
        cycle = OneCycle(self)
        cycle.event = self.at_once(self.scope, held, cycle.write)  # type: ignore[arg-type]
        if cycle.event is None:
            self._go_the_ordinary_way()
            return False
        self._held = None
        self.one = cycle
        self.cycle = cycle  # type: ignore[assignment]
        return True

    def give_up(self) -> None:
        """The stop's time is over: what uvicorn has no task for is answered, what is queued behind it is not begun."""
        self.pipeline.clear()
        cycle = self.one
        if cycle is not None and cycle.event is not None:
            cycle.keep_alive = False
            cycle.event.give_up()

    def _go_the_ordinary_way(self) -> None:
        held, self._held = self._held, None
        self._start()
        if held:
            self.on_body(held)

    def on_body(self, body: bytes) -> None:
        if self._held is not None:
            if not self._held:
                self._held = body
                return
            self._go_the_ordinary_way()  # in pieces
        super().on_body(body)
        if self.cycle.response_complete:
            self._dropped += len(body)
            if self._dropped > REFUSED_BODY_BYTES:
                self.transport.close()

    def on_message_complete(self) -> None:
        if self._offers_upgrade:
            return  # read anew in a moment
        if not self._is_served_at_once():
            super().on_message_complete()
        self._in_message = False
        self._completed = True
        self._set_deadline(None)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.expect_100_continue and self._in_message and self.cycle.response_complete:
            # Refused before it was asked for its body: whether the client sends that now nobody knows.
            self.transport.close()

    def shutdown(self) -> None:
        if self._in_head:
            self._late()
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        self._refuse(Problem(errors.HEADER_INVALID, "La petición no es HTTP/1.1 válido."))

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _late(self) -> None:
        """The request has not come within its time."""
        self._deadline = None
        if self.cycle is not None and not self.cycle.response_complete:
            if self._in_head:  # behind one that is still being answered
                self._deadline = self.loop.call_later(1.0, self._late)
                return
            self.transport.close()
        elif self._in_head:
            self._refuse(Problem(errors.BODY_TIMEOUT, "Las cabeceras no llegaron completas a tiempo. Reintenta."))
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self, problem: Problem, unread: bool = False) -> None:
        """Answers outside of any request that could be read, and ends the connection."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = msgspec.json.encode(problem.document())
            head = [
                f"HTTP/1.1 {problem.kind.status} {http.HTTPStatus(problem.kind.status).phrase}",
                "content-type: application/problem+json",
                f"content-length: {len(body)}",
                "connection: close",
                *(f"{name.decode()}: {value.decode()}" for name, value in api.SECURITY),
                *(f"{name.lower()}: {value}" for name, value in problem.headers.items()),
            ]
            self.transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        if unread and len(self.parting) < PARTING_AT_ONCE:
            # A request on its way would be answered with a reset, and the sender might never read the refusal
            # (RFC 9112, section 9.6).
            self.parting.add(self)
            self.transport.write_eof()
            self._deadline = self.loop.call_later(PARTING_SECONDS, self.transport.close)
        else:
            self.transport.close()
