"""The listener of `/metrics`: its own threads, OpenMetrics and gzip where the client accepts them.

It shows counts and codes that are nobody else's business: so it looks at `Host` as `/mcp` does (access/hosts.py).
A connection stays open between pages, as Prometheus keeps it: it tells one scraper from another (scrapers.py).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import select
import socket
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Sequence
from hashlib import blake2b
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import msgspec

from otel_bridge import __version__, accept, errors
from otel_bridge.errors import Problem, StartRefused, of_system
from otel_bridge.metrics import formats
from otel_bridge.metrics.scrapers import Scraper, Scrapers

log = logging.getLogger(__name__)

Render = Callable[[bool, Scraper, bool], list[bytes]]
"""The whole page for one scraper, in parts. First: whether in OpenMetrics; last: whether in gzip."""
Admit = Callable[[Sequence[bytes], str], None]
"""Takes the values of `Host` that a request has, and its version of HTTP. Raises Problem for one that gets no page."""

IDLE_SECONDS = 330
"""That a connection may wait for its next request: Prometheus closes one after five minutes."""
LINGER_SECONDS = 2
"""That a connection which ends with its page waits for the other end to close: it may be a reset."""
ACKNOWLEDGED_SECONDS = 0.5
"""That the end of a connection waits for the page before it to be acknowledged, or for a reset in answer to it."""
MAX_KEPT = 64
"""Connections that are kept open between pages; one more is closed after its page."""
_OF_PROMETHEUS = "X-Prometheus-Scrape-Timeout-Seconds"
"""A header that Prometheus, and what scrapes by its code, sends (https://github.com/prometheus/prometheus, scrape)."""

_TELLING = ("User-Agent", "Host", _OF_PROMETHEUS)
"""Headers that tell a scraper from others."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 5

    def __init__(
        self, address: tuple[str, int], render: Render, admit: Admit, scrapers: Scrapers, told_by: Sequence[str]
    ) -> None:
        self.told_by = told_by
        self.render = render
        self.admit = admit
        self.scrapers = scrapers
        self.open: set[_Handler] = set()
        self.leaving = threading.RLock()
        """Held while the scraper of a connection is looked at or taken from it by another thread."""
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # The library's own looks the host's name up, which may take as long as its DNS.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_port = self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that disconnects is no error; anything else would be a missing page without a reason."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.error("a request for /metrics failed", exc_info=True)

    def close_all(self) -> None:
        """Ends what is still connected."""
        for handler in list(self.open):
            with contextlib.suppress(OSError):
                handler.connection.shutdown(socket.SHUT_RDWR)

    def meet(self, name: str, is_prometheus: bool) -> Scraper:
        """The scraper of a new connection. One that opens a connection a page goes on from its last, whose thread may
        not have seen yet that it is closed."""
        with self.leaving:
            for handler in list(self.open):
                if handler.scraper is not None and handler.scraper.name == name and handler.is_closed():
                    handler.leave()
        return self.scrapers.meet(name, is_prometheus)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = f"otel-bridge/{__version__}", ""
    timeout = 30
    """Seconds that a scraper has to send its request, and to read the page."""
    disable_nagle_algorithm: ClassVar[bool] = True

    def setup(self) -> None:
        super().setup()
        self.scraper: Scraper | None = None
        self.written = False
        """Whether a page was written whole of which it is not known yet that it arrived. The kernel takes a page of a
        scraper that is gone, too: it has arrived when the next request comes, or when the connection ends in order. A
        page too few is a 0 too many; a page too many would be a value without its 0."""
        self.writing = False
        """Whether a page is being written: its scraper may have read it before this thread knows that it was."""
        self.server.open.add(self)

    def finish(self) -> None:
        self.leave()
        self.server.open.discard(self)
        super().finish()

    def leave(self) -> None:
        """Its scraper has gone. Called from any thread."""
        with self.server.leaving:
            scraper, self.scraper = self.scraper, None
            if scraper is not None:
                if self.written:
                    scraper.received()
                self.server.scrapers.leave(scraper)

    def is_closed(self) -> bool:
        """Whether the other end has closed it. Called from any thread."""
        try:
            poll = select.poll()  # select() knows no descriptor above 1023
            poll.register(self.connection, select.POLLIN)
            ended = bool(poll.poll(0)) and not self.connection.recv(1, socket.MSG_PEEK)
        except (OSError, ValueError):
            self.written = False
            return True
        if ended:
            self._look_for_reset()
        return ended

    def _look_for_reset(self) -> None:
        """At the connection's end. One that had closed before the page reached it answers the page with a reset, which
        is told once, and not by what reads. It may be on its way still: the page is not acknowledged then."""
        until = time.monotonic() + ACKNOWLEDGED_SECONDS
        is_lost = False
        while self.writing or self.written:
            waits = self.writing or _unacknowledged(self.connection) > 0
            is_late = waits and time.monotonic() > until
            is_lost = is_lost or self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
            if is_late or (is_lost and not self.writing):
                self.written = False
                break
            if not waits:
                break
            time.sleep(0.001)

    def handle_one_request(self) -> None:
        if self.scraper is not None:
            self._wait(IDLE_SECONDS, lambda: self.rfile.peek(1))  # type: ignore[attr-defined]
            self.connection.settimeout(self.timeout)
        super().handle_one_request()

    def _wait(self, seconds: float, read: Callable[[], bytes]) -> None:
        """Until something comes on the connection, or its end."""
        self.connection.settimeout(seconds)
        try:
            scraper = self.scraper
            if not read():
                self._look_for_reset()
            elif self.written and scraper is not None:
                scraper.received()
                self.written = False
        except TimeoutError:
            if _unacknowledged(self.connection):
                self.written = False
        except OSError:
            self.written = False

    def do_GET(self) -> None:
        try:
            status, headers, body = self._page()
        except Problem as problem:
            status = problem.kind.status
            headers = [("Content-Type", "application/problem+json"), *problem.headers.items()]
            body = [msgspec.json.encode(problem.document())]
        if status != 200 or len(self.server.open) > MAX_KEPT or self._has_body():
            self.close_connection = True
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(sum(map(len, body))))
        if self.close_connection:
            self.send_header("Connection", "close")
        is_page = self.writing = status == 200 and self.command == "GET" and not self.is_closed()
        try:
            self.end_headers()
            if self.command != "HEAD":
                until = time.monotonic() + self.timeout
                for part in body:
                    self.connection.settimeout(max(0.001, until - time.monotonic()))
                    self.wfile.write(part)
            self.written = is_page
        except TimeoutError:
            # One that has not read it within its time is gone; the kernel would offer it the page for minutes.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        finally:
            self.writing = False
        if is_page and self.close_connection:
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
            self._wait(LINGER_SECONDS, lambda: self.connection.recv(1))

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_GET

    def _has_body(self) -> bool:
        """What nobody reads."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    def _page(self) -> tuple[int, list[tuple[str, str]], list[bytes]]:
        """Status, headers and the body in parts. Raises Problem (400, 403, 406)."""
        hosts = [value.encode("latin-1") for value in self.headers.get_all("host", [])]
        self.server.admit(hosts, self.request_version.removeprefix("HTTP/"))
        if self.path.partition("?")[0] not in ("/metrics", "/"):
            return 404, [("Content-Type", "text/plain")], [b"metrics are at /metrics\n"]
        if self.command not in ("GET", "HEAD"):
            return 405, [("Allow", "GET, HEAD"), ("Content-Type", "text/plain")], []
        content_type = formats.choose(self.headers.get("accept", ""))
        coding = accept.coding(self.headers.get("accept-encoding", ""))
        vary = ("Vary", "Accept, Accept-Encoding")
        if content_type is None or coding is None:
            raise Problem(errors.NOT_ACCEPTABLE, headers=dict([vary]))
        scraper = self.scraper
        if scraper is None:
            scraper = self.scraper = self.server.meet(self._name(), _OF_PROMETHEUS in self.headers)
        packed = coding == "gzip"
        body = self.server.render(content_type == formats.OPENMETRICS, scraper, packed)
        headers = [("Content-Type", content_type), vary]
        if packed:
            headers.append(("Content-Encoding", "gzip"))
        return 200, headers, body

    def _name(self) -> str:
        """Tells this scraper from others as far as its requests do. Hashed: it stands in the journal."""
        told = [self.headers.get(header, "") for header in self.server.told_by]
        return blake2b("\0".join([self.client_address[0], self.path, *told]).encode(), digest_size=8).hexdigest()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """To what is no request; the library's own words repeat it."""
        super().send_error(code, HTTPStatus(code).phrase, "")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _unacknowledged(connection: socket.socket) -> int:
    """Bytes that were sent and that the other end's kernel has not taken yet; 0 where the system does not tell
    (Linux: SIOCOUTQ, tcp(7))."""
    with contextlib.suppress(OSError, ValueError):
        return int(struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0])
    return 0


class MetricsListener:
    """`run` is a supervised worker's body. Raises StartRefused where the port is taken."""

    def __init__(
        self,
        render: Render,
        scrapers: Scrapers,
        admit: Admit,
        host: str,
        port: int,
        stopping: threading.Event,
        one_of_many: bool = False,
    ) -> None:
        """`one_of_many`: whoever scrapes this replica scrapes the others, by other names: it is to be the same scraper
        when another is the steward."""
        self._told_by = [name for name in _TELLING if name != "Host" or not one_of_many]
        self._render = render
        self._scrapers = scrapers
        self._admit = admit
        self._host = host
        self._stopping = stopping
        self.port = port
        self._server, self._thread = self._listen()
        self.port = self._server.server_port

    def _listen(self) -> tuple[_Server, threading.Thread]:
        try:
            server = _Server((self._host, self.port), self._render, self._admit, self._scrapers, self._told_by)
        except OSError as error:
            raise StartRefused(
                f"/metrics no puede escuchar en {self._host}:{self.port}{of_system(error)}. "
                "Elige otro con --metrics-port."
            ) from None
        thread = threading.Thread(target=server.serve_forever, name="metrics-accept", daemon=True)
        thread.start()
        return server, thread

    def run(self) -> None:
        if not self._thread.is_alive():
            self._server.server_close()
            self._server, self._thread = self._listen()
        while not self._stopping.wait(0.5):
            if not self._thread.is_alive():
                raise RuntimeError("the listener of /metrics ended")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._server.close_all()
