"""The line between a worker and the process that started it (`serve --workers`): a pair of sockets.

    that process ──STOP, RELOAD──▶ worker ──READY──▶ that process        the line's end: the other one is gone

Not signals: a terminal and a service manager send theirs to both, and a worker takes a second one for «at once».
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import NamedTuple

STOP, RELOAD, READY = b"s", b"h", b"r"


class Orders:
    """The worker's end. Used from its event loop."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line

    def follow(self, stop: Callable[[], None], reload: Callable[[], None]) -> None:
        """Acts on what has come and what comes. A worker does not outlive who started it."""
        loop = asyncio.get_running_loop()

        def read() -> None:
            try:
                said = self._line.recv(64)
            except BlockingIOError:
                return
            except OSError:
                said = b""
            if not said:
                loop.remove_reader(self._line)
            if not said or STOP in said:
                stop()
            elif RELOAD in said:
                reload()

        loop.add_reader(self._line, read)

    def say_ready(self) -> None:
        with contextlib.suppress(OSError):  # nobody is there to hear it: `follow` sees that
            self._line.send(READY)


class Worker(NamedTuple):
    """What a worker is given."""

    number: int
    """From 1 on."""
    orders: Orders
    announces: bool
    """Whether it says for all what they serve."""
