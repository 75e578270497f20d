"""Answers that nobody reads: a client that takes nothing of them for a while loses its connection.

    nothing waits ──written──▶ waits ──less of it at the next look──▶ waits, its time begins anew
                                 └──not less for its time──▶ aborted

A transport holds what the kernel does not take, and closes only after that has left: so a client that reads nothing
would hold its connection for good. The kernel takes more only when a third of its megabytes is free, so what it holds
itself is looked at, too: else who reads slowly would seem to read nothing. All connections are looked at together, a
few times within that time: it costs a post nothing.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Collection
from typing import Protocol

LOOKS = 4
"""Within the time."""
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: what the kernel still holds goes at once, too, instead of being offered to the client for minutes."""


class Connection(Protocol):
    transport: asyncio.Transport


class Unread:
    """The looks at one server's connections."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: the time that a client may take nothing of what waits for it."""
        self.seconds = seconds
        self._waiting: dict[asyncio.Transport, tuple[int, int, float]] = {}
        """What waits: bytes here, bytes in the kernel, and since when neither has become less."""
        self._next: asyncio.TimerHandle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop, connections: Collection[Connection]) -> None:
        """Looks at these, and whichever will be among them, until there are none. Called for each new one."""
        if self._next is None:
            self._next = loop.call_later(self.seconds / LOOKS, self._look, loop, connections)

    def _look(self, loop: asyncio.AbstractEventLoop, connections: Collection[Connection]) -> None:
        self._next = None
        before, self._waiting = self._waiting, {}
        now = loop.time()
        for transport in [connection.transport for connection in connections]:
            size = transport.get_write_buffer_size()
            if not size:
                continue
            sent = _unacknowledged(transport)
            had, had_sent, since = before.get(transport, (size, sent, now))
            if size < had or sent < had_sent:
                since = now
            if now - since < self.seconds:
                self._waiting[transport] = size, sent, since
            else:
                abort(transport)
        if connections:
            self.watch(loop, connections)


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Bytes that the kernel holds for a client, which has not acknowledged them (SIOCOUTQ of tcp(7))."""
    raw, found = transport.get_extra_info("socket"), array.array("i", [0])
    try:
        fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, found)
    except (AttributeError, OSError):  # no socket, or none any more
        return 0
    return found[0]


def abort(transport: asyncio.Transport) -> None:
    """Ends a connection without what waits on it."""
    raw = transport.get_extra_info("socket")
    if raw is not None:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()
