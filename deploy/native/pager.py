"""A real receiver for Alertmanager's webhook, as prometheus/alertmanager/examples/webhook.yml addresses it."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Pager:
    """Collects what Alertmanager posts; refuses what does not bear the token."""

    def __init__(self, token: str, port: int = 0) -> None:
        self.messages: list[tuple[float, str, dict[str, Any]]] = []
        """(when, path, the webhook's document)"""
        self.refused = 0
        pager = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Authorization") != f"Bearer {token}":
                    pager.refused += 1
                    self.send_error(401)
                    return
                pager.messages.append((time.time(), self.path, json.loads(body)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, name="pager", daemon=True).start()

    def alerts(self, name: str, status: str, path: str | None = None) -> list[dict[str, Any]]:
        """Alerts received of this name and status (firing, resolved)."""
        return [
            alert
            for _, where, message in list(self.messages)
            for alert in message["alerts"]
            if alert["labels"]["alertname"] == name and alert["status"] == status and path in (None, where)
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
