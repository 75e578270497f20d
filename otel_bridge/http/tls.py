"""TLS on the API's port: between a connection and the protocol that would read it in the clear.

    accepted ──too many, or the stop has begun──▶ reset
        └──greets──handshake whole──▶ the protocol's connection is made: from here on all is as without TLS
              └──wrong, or not in its time──▶ ended, nothing logged

Of our own and not the event loop's: there a connection that has not ended its handshake is nobody's, so neither its
time nor their number is bounded, a half that is closed ends the whole before its answer, and the certificate is that
of the start.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from otel_bridge.http.unread import abort

if TYPE_CHECKING:
    from otel_bridge.http.protocol import Bounds, Protocol

READ_BYTES = 64 << 10


class Tls(asyncio.Protocol):
    """One connection. `inner` speaks HTTP over it, through a transport that encrypts."""

    def __init__(self, context: ssl.SSLContext, bounds: Bounds, inner: Protocol) -> None:
        self._context = context
        self._bounds = bounds
        self._inner = inner
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._deadline: asyncio.TimerHandle | None = None
        self._greeted = self._over = self._paused = self._ended = False
        """The handshake is done; the client has said that no more comes; the inner one reads nothing for now; the
        connection has brought all that it will."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        if self._bounds.full or self._bounds.draining:  # before the handshake nothing can be told
            abort(transport)
            return
        self._bounds.greeting.add(self)
        self._deadline = asyncio.get_running_loop().call_later(self._bounds.head_seconds, abort, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_greeting()
        if self._greeted:
            self._inner.connection_lost(exc)

    def _end_greeting(self) -> None:
        self._bounds.greeting.discard(self)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # --- what comes ---------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._over or self.transport.is_closing():
            return
        self._incoming.write(data)
        if not self._greeted and not self._greet():
            return
        self._read()

    def _greet(self) -> bool:
        """Goes on with the handshake; whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self.flush()
            return False
        except ssl.SSLError:
            self.flush()  # an alert says why
            self.transport.close()
            return False
        self._greeted = True
        self._end_greeting()
        self.flush()
        self._inner.connection_made(Secured(self, self._context))
        return True

    def _read(self) -> None:
        while not (self._paused or self._over or self.transport.is_closing()):
            try:
                data = self._tls.read(READ_BYTES)
            except ssl.SSLWantReadError:
                if self._ended and not self._end():
                    self.transport.close()
                break
            except ssl.SSLError:
                abort(self.transport)
                return
            if data:
                self._inner.data_received(data)
            elif not self._end():
                self.transport.close()
        self.flush()

    def eof_received(self) -> bool:
        """A client that closes its half may still read, as without TLS."""
        self._ended = True
        if self._greeted:
            self._read()  # what has come and is still encrypted is before its end
        return self._greeted

    def _end(self) -> bool:
        """Nothing more comes; whether an answer is still due."""
        self._over = True
        return self._inner.eof_received()

    # --- what the inner one does --------------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        self._paused = True
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._paused:
            return
        self._paused = False
        self.transport.resume_reading()
        asyncio.get_running_loop().call_soon(self._read)  # what came with the last piece

    def write(self, data: bytes) -> None:
        if data and not self.transport.is_closing():
            self._tls.write(data)
            self.flush()

    def say_goodbye(self) -> None:
        """Tells the client that no more comes (close_notify), and waits for no answer."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # it has not told the same, or is gone
            pass
        self.flush()

    def flush(self) -> None:
        if self._outgoing.pending and not self.transport.is_closing():
            self.transport.write(self._outgoing.read())

    def pause_writing(self) -> None:
        if self._greeted:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._greeted:
            self._inner.resume_writing()


class Secured(asyncio.Transport):
    """The transport that the inner protocol has: what it writes is encrypted, the rest is the connection's own."""

    def __init__(self, tls: Tls, context: ssl.SSLContext) -> None:
        super().__init__({"sslcontext": context})
        self._tls = tls
        self._raw = tls.transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return super().get_extra_info(name) or self._raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._tls.write(bytes(data))

    def write_eof(self) -> None:
        self._tls.say_goodbye()
        self._raw.write_eof()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        if not self._raw.is_closing():
            self._tls.say_goodbye()
            self._raw.close()

    def abort(self) -> None:
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        self._tls.pause_reading()

    def resume_reading(self) -> None:
        self._tls.resume_reading()

    def get_write_buffer_size(self) -> int:
        return self._raw.get_write_buffer_size()


def factory(make: Callable[..., Protocol], bounds: Bounds) -> Callable[..., asyncio.Protocol]:
    """What uvicorn makes a connection's protocol with: `make`, behind TLS where there is a certificate."""

    def made(**arguments: Any) -> asyncio.Protocol:
        inner = make(**arguments)
        return inner if bounds.tls is None else Tls(bounds.tls, bounds, inner)

    return made
