"""The listener of `/metrics`: its own threads, OpenMetrics and gzip where the client accepts them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client.exposition import choose_encoder

from otel_bridge.errors import StartRefused

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Render = Callable[[bool], bytes]
"""The whole page; the argument says whether the client accepts OpenMetrics."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that disconnects is no error."""


class _Handler(WSGIRequestHandler):
    timeout = 30  # an idle connection is closed

    def log_message(self, format: str, *args: Any) -> None:
        pass


class MetricsListener:
    """`run` is a supervised worker's body. Raises StartRefused where the port is taken."""

    def __init__(self, render: Render, host: str, port: int, stopping: threading.Event) -> None:
        self._render = render
        self._host = host
        self._stopping = stopping
        self.port = port
        self._server, self._thread = self._listen()
        self.port = self._server.server_port

    def _listen(self) -> tuple[WSGIServer, threading.Thread]:
        try:
            server = make_server(self._host, self.port, self._answer, _Server, handler_class=_Handler)
        except OSError as error:
            raise StartRefused(
                f"/metrics cannot listen on {self._host}:{self.port}: {error.strerror}. "
                "Choose another with --metrics-port."
            ) from None
        thread = threading.Thread(target=server.serve_forever, name="metrics-accept", daemon=True)
        thread.start()
        return server, thread

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] not in ("/metrics", "/"):
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"metrics are at /metrics\n"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD"), ("Content-Type", "text/plain")])
            return [b""]
        _, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        body = self._render("openmetrics" in content_type)
        headers = [("Content-Type", content_type)]
        if "gzip" in environ.get("HTTP_ACCEPT_ENCODING", ""):
            body = gzip.compress(body, compresslevel=1, mtime=0)
            headers.append(("Content-Encoding", "gzip"))
        headers.append(("Content-Length", str(len(body))))
        start_response("200 OK", headers)
        return [body if environ["REQUEST_METHOD"] == "GET" else b""]

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
