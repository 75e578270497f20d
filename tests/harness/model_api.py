"""A stand-in for a model's HTTP API (OpenAI's Chat Completions and Responses, with streams): answers at once, with
known counts of tokens. What is asked decides: `FALLA` fails, `LENTO` takes a second, `SIN-USO` tells no counts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS_IN, TOKENS_CACHED, TOKENS_OUT, TOKENS_REASONING = 1000, 640, 77, 33
FIRST_SECONDS, STEP_SECONDS = 0.06, 0.03
"""Until the first token of a stream, and until each one behind it."""
TEXT = ("Empieza por ", "un Dockerfile.")


class ModelApi:
    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.asked.append((self.path, body))
                asked = json.dumps(body.get("messages") or body.get("input"), ensure_ascii=False)
                usage = "SIN-USO" not in asked
                time.sleep("LENTO" in asked)
                if "FALLA" in asked:
                    error = {"message": "no", "type": "invalid_request_error", "code": "model_not_found"}
                    self._answer(404, {"error": error})
                elif body.get("stream"):
                    told = usage and (self.path.endswith("responses") or _wants_usage(body))
                    self._stream(_chunks(body, told) if "messages" in body else _events(body, told))
                else:
                    self._answer(200, _completion(body, usage) if "messages" in body else _response(body, usage))

            def _answer(self, status: int, document: Any) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _stream(self, items: Iterator[bytes]) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                self.close_connection = True
                try:
                    for item in items:
                        self.wfile.write(item)
                        self.wfile.flush()
                except OSError:
                    pass  # it has heard enough

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environ(self) -> dict[str, str]:
        """What official clients read."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "sk-de-prueba"}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _wants_usage(body: dict[str, Any]) -> bool:
    return bool((body.get("stream_options") or {}).get("include_usage"))


def _usage(names: tuple[str, str]) -> dict[str, Any]:
    before, after = names
    return {
        f"{before}_tokens": TOKENS_IN,
        f"{before}_tokens_details": {"cached_tokens": TOKENS_CACHED},
        f"{after}_tokens": TOKENS_OUT,
        f"{after}_tokens_details": {"reasoning_tokens": TOKENS_REASONING},
        "total_tokens": TOKENS_IN + TOKENS_OUT,
    }


def _completion(body: dict[str, Any], usage: bool) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(TEXT)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
    }
    return {**answer, "usage": _usage(("prompt", "completion"))} if usage else answer


def _chunks(body: dict[str, Any], usage: bool) -> Iterator[bytes]:
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": body["model"]}

    def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
        return _data({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    time.sleep(FIRST_SECONDS)
    yield chunk({"role": "assistant", "content": ""})
    for piece in TEXT:
        yield chunk({"content": piece})
        time.sleep(STEP_SECONDS)
    yield chunk({}, "stop")
    if usage:
        yield _data({**base, "choices": [], "usage": _usage(("prompt", "completion"))})
    yield b"data: [DONE]\n\n"


def _response(body: dict[str, Any], usage: bool, status: str = "completed") -> dict[str, Any]:
    part = {"type": "output_text", "text": "".join(TEXT), "annotations": []}
    message = {"type": "message", "id": "msg-1", "role": "assistant", "status": "completed", "content": [part]}
    answer = {
        "id": "resp-1",
        "object": "response",
        "created_at": 1,
        "status": status,
        "model": body["model"],
        "output": [message] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
    }
    return {**answer, "usage": _usage(("input", "output"))} if usage else answer


def _events(body: dict[str, Any], usage: bool) -> Iterator[bytes]:
    number = 0

    def event(kind: str, **fields: Any) -> bytes:
        nonlocal number
        number += 1
        return f"event: {kind}\n".encode() + _data({"type": kind, "sequence_number": number, **fields})

    yield event("response.created", response=_response(body, False, "in_progress"))
    time.sleep(FIRST_SECONDS)
    for piece in TEXT:
        where = {"item_id": "msg-1", "output_index": 0, "content_index": 0}
        yield event("response.output_text.delta", **where, delta=piece, logprobs=[])
        time.sleep(STEP_SECONDS)
    yield event("response.completed", response=_response(body, usage))


def _data(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"
