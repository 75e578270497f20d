"""A real HTTP proxy: CONNECT, and requests in absolute form. Whatever host is asked for, one receiver is dialled."""

from __future__ import annotations

import base64
import contextlib
import http.client
import select
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.harness.otlp import OtlpReceiver
from tests.harness.ports import free_port


class Proxy:
    """Leads every name to `receiver`: to its gRPC port by CONNECT, to its HTTP port by a request in absolute form.
    `login`: `user:password` that it asks for."""

    def __init__(
        self, receiver: OtlpReceiver, login: str | None = None, tunnel_port: int | None = None, port: int = 0
    ) -> None:
        self.asked: list[tuple[str, str]] = []
        """(method, target) of every request that came with the right login."""
        self.trouble: int | None = None
        """The status that it answers everything with; 0: it never answers."""
        self._open: set[socket.socket] = set()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                proxy._open.add(self.connection)

            def finish(self) -> None:
                proxy._open.discard(self.connection)
                super().finish()

            def welcome(self) -> bool:
                if proxy.trouble is not None:
                    self.close_connection = True
                    if proxy.trouble:
                        self.send_response(proxy.trouble)
                        self.send_header("Content-Length", "0")
                        self.end_headers()
                    else:
                        self.connection.recv(1)  # until the other side gives up
                    return False
                wanted = None if login is None else "Basic " + base64.b64encode(login.encode()).decode()
                if wanted is not None and self.headers.get("Proxy-Authorization") != wanted:
                    self.send_response(407)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return False
                proxy.asked.append((self.command, self.path))
                return True

            def do_CONNECT(self) -> None:
                if not self.welcome():
                    return
                with socket.create_connection(("127.0.0.1", tunnel_port or receiver.grpc_port)) as there:
                    self.send_response(200)
                    self.end_headers()
                    ends = {self.connection: there, there: self.connection}
                    while True:
                        for ready in select.select(list(ends), [], [])[0]:
                            data = ready.recv(65536)
                            if not data:
                                self.close_connection = True
                                return
                            ends[ready].sendall(data)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not self.welcome():
                    return
                there = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=10)
                headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
                there.request("POST", "/" + self.path.split("/", 3)[3], body, headers)
                answer = there.getresponse()
                text = answer.read()
                there.close()
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that went away

        self._server = Server(("127.0.0.1", port or free_port()), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def break_off(self) -> None:
        """Ends what is open: tunnels, and connections that are kept."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.break_off()
        self._server.shutdown()
        self._server.server_close()
