"""The listener of `/metrics`: its own threads, OpenMetrics and gzip where the client accepts them.

It shows counts and codes that are nobody else's business: so it looks at `Host` as `/mcp` does (access/hosts.py).
"""

from __future__ import annotations

import gzip
import io
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec

from otel_bridge import accept, errors
from otel_bridge.errors import Problem, StartRefused
from otel_bridge.metrics import formats

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from typing_extensions import Buffer

Render = Callable[[bool], bytes]
"""The whole page; the argument says whether in OpenMetrics."""
Admit = Callable[[Sequence[bytes], str], None]
"""Takes the values of `Host` that a request has, and its version of HTTP. Raises Problem for one that gets no page."""

HOSTS = "otel_bridge.hosts"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that disconnects is no error."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 30
    """Seconds that a scraper has to send its request, and to read the page."""

    def setup(self) -> None:
        super().setup()
        self.wfile = _Page(self.connection)

    def get_environ(self) -> WSGIEnvironment:
        hosts = [value.encode("latin-1") for value in self.headers.get_all("host", [])]
        return {**super().get_environ(), HOSTS: hosts}  # wsgiref writes several as one

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """To what is no request; the library's own words repeat it."""
        super().send_error(code, HTTPStatus(code).phrase, "")

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Page(io.BufferedIOBase):
    """What is written to a scraper. One that has not read it within its time is gone: to wsgiref, and to the kernel,
    which would offer it the page for minutes."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        try:
            self._connection.sendall(data)
        except TimeoutError:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            raise BrokenPipeError from None
        return memoryview(data).nbytes


class MetricsListener:
    """`run` is a supervised worker's body. Raises StartRefused where the port is taken."""

    def __init__(self, render: Render, admit: Admit, host: str, port: int, stopping: threading.Event) -> None:
        self._render = render
        self._admit = admit
        self._host = host
        self._stopping = stopping
        self.port = port
        self._server, self._thread = self._listen()
        self.port = self._server.server_port

    def _listen(self) -> tuple[WSGIServer, threading.Thread]:
        kind = _ServerV6 if ":" in self._host else _Server
        try:
            server = make_server(self._host, self.port, self._answer, kind, handler_class=_Handler)
        except OSError as error:
            raise StartRefused(
                f"/metrics cannot listen on {self._host}:{self.port}: {error.strerror}. "
                "Choose another with --metrics-port."
            ) from None
        thread = threading.Thread(target=server.serve_forever, name="metrics-accept", daemon=True)
        thread.start()
        return server, thread

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, headers, body = self._page(environ)
        except Problem as problem:
            status = problem.kind.status
            headers = [("Content-Type", "application/problem+json"), *problem.headers.items()]
            body = msgspec.json.encode(problem.document())
        start_response(f"{status} {HTTPStatus(status).phrase}", [*headers, ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _page(self, environ: WSGIEnvironment) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers and body. Raises Problem (400, 403, 406)."""
        self._admit(environ[HOSTS], environ["SERVER_PROTOCOL"].removeprefix("HTTP/"))
        if environ["PATH_INFO"] not in ("/metrics", "/"):
            return 404, [("Content-Type", "text/plain")], b"metrics are at /metrics\n"
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return 405, [("Allow", "GET, HEAD"), ("Content-Type", "text/plain")], b""
        content_type = formats.choose(environ.get("HTTP_ACCEPT", ""))
        coding = accept.coding(environ.get("HTTP_ACCEPT_ENCODING", ""))
        vary = ("Vary", "Accept, Accept-Encoding")
        if content_type is None or coding is None:
            raise Problem(errors.NOT_ACCEPTABLE, headers=dict([vary]))
        body = self._render(content_type == formats.OPENMETRICS)
        headers = [("Content-Type", content_type), vary]
        if coding == "gzip":
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", coding))
        return 200, headers, body

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
