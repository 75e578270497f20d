"""Real HTTP servers that misbehave: one that answers what a test says, one that loses the bridge's answers."""

from __future__ import annotations

import gzip
import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes
    at: float = field(default_factory=time.monotonic)


@dataclass
class Reply:
    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


def taken(request: Request) -> Reply:
    """What the bridge answers when all is well."""
    if request.path.endswith("/sessions"):
        return Reply(201, {**request.body, "trace_id": request.body["id"].replace("-", "")})
    results = [{"indice": i, "estado": 201, "id": one["id"]} for i, one in enumerate(request.body)]
    return Reply(201, {"aceptados": len(results), "rechazados": 0, "resultados": results})


class Scripted:
    """`behave` is asked for each answer; None closes the connection without one."""

    def __init__(self, behave: Callable[[Request], Reply | None] = taken) -> None:
        self.behave = behave
        self.requests: list[Request] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                plain = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = Request(self.path, headers, json.loads(plain), raw)
                owner.requests.append(request)
                reply = owner.behave(request)
                if reply is None:
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/api"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


def losing_answers(port: int, lose: Callable[[int], bool]) -> Callable[[Request], Reply | None]:
    """Passes requests to the bridge at `port`; the answers whose number `lose` picks never arrive."""
    count = 0

    def behave(request: Request) -> Reply | None:
        nonlocal count
        count += 1
        mine = count
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", request.path, request.raw, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return None if lose(mine) else Reply(answer.status, body)

    return behave
