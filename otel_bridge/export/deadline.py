"""The time that one HTTP request has, from its first byte to its answer's last."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

log = logging.getLogger(__name__)


class Watch:
    """Calls what is late, in one thread for all requests: `threading.Timer` makes one for each, which waits for the
    interpreter's lock beside the encoder. A tenth of a drain."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: dict[object, tuple[float, Callable[[], None]]] = {}
        """Until when, and what is called then."""
        self._looks_at = math.inf
        """When the thread looks next, if nobody wakes it: the one who would be late before that does."""
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def within(self, seconds: float, late: Callable[[], None]) -> Iterator[None]:
        """Calls `late`, which must not wait for anything, where the block takes longer. Not after its end."""
        key, until = object(), time.monotonic() + seconds
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="otlp-deadline", daemon=True)
                self._thread.start()
            self._watched[key] = until, late
            if until < self._looks_at:
                self._looks_at = until
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._watched.pop(key, None)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for key in [key for key, (until, _) in self._watched.items() if until <= now]:
                    try:
                        self._watched.pop(key)[1]()
                    except Exception:  # the others' time goes on
                        log.exception("what is late cannot be ended")
                self._looks_at = min((until for until, _ in self._watched.values()), default=math.inf)
                self._changed.wait(None if self._looks_at == math.inf else self._looks_at - now)


watch = Watch()


class Deadline(threading.local):
    """urllib3 knows only the time between two bytes: an endpoint that sends one now and then would hold the delivery
    for ever."""

    sock: socket.socket | None = None
    dialled: socket.socket | None = None
    """A second handle on the connection that is being made: the first one is TLS's while it shakes hands."""
    connecting = False
    """Whether the connection is being made: no record is on its way yet."""
    passed = False
    """Whether the time was up: where an answer tells no length, its end then looks like any other."""

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        self.sock, self.dialled, self.connecting, self.passed = None, None, False, False
        seen = self.__dict__  # by this thread, the sending one
        with watch.within(seconds, lambda: self._cut(seen)):
            try:
                yield
            finally:
                self.dialling(None)

    def dialling(self, sock: socket.socket | None) -> None:
        """A connection is there; a proxy and TLS have their say before the request. None: there is no more to it."""
        if self.dialled is not None:
            self.dialled.close()
        self.dialled = None if sock is None else sock.dup()

    def answering(self, sock: Any) -> None:
        """The request is out on this connection. Where the time was up before, nobody else would end it: a connection
        that was kept is not dialled."""
        self.sock = sock
        if self.passed:  # `_cut` says so before it looks for a connection
            self._cut(self.__dict__)

    @staticmethod
    def _cut(sender: dict[str, Any]) -> None:
        """Ends the connection. Runs in the watching thread: `sender` is what the sending thread sees as this object."""
        sender["passed"] = True
        for sock in (sender.get("sock"), sender.get("dialled")):
            if sock is not None:
                # urllib3's TLS within a proxy's TLS has no `shutdown`; the connection below it has.
                sock = sock if hasattr(sock, "shutdown") else sock.socket
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)


deadline = Deadline()
