"""A stand-in for a program that cannot be had here (Grafana, Tempo): answers what it is told to, and remembers."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.harness.ports import free_port

Answer = tuple[int, Any]
"""Status, and a document; bytes are sent as they are."""

UNEXPECTED = {
    "html": b"<!doctype html><title>hola</title>",
    "list": b"[1]",
    "text": b'"x"',
    "null": b"null",
    "object": b"{}",
    "nested": b"[" * 200_000 + b"]" * 200_000,
    "no UTF-8": b"\xff\xfe{",
    "lists within": b'{"id": [], "trace_id": 1, "data": [], "exportacion": []}',
    "half a pair": b'{"problemas": ["\\ud800"], "title": "\\ud800", "id": 1, "data": {"result": [[]]}}',
}
"""What answers that is none of the programs asked for."""


class StandIn:
    def __init__(self, answer: Callable[[str, dict[str, str]], Answer], content_type: str = "application/json") -> None:
        """`answer`: (path with query, headers by lower-case name) → what to say."""
        self.asked: list[tuple[str, dict[str, str]]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                stand_in.asked.append((self.path, headers))
                status, document = answer(self.path, headers)
                body = document if isinstance(document, bytes) else json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.address}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
