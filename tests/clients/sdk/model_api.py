"""A stand-in for the HTTP API of a model: Responses and Chat Completions, whole and as a stream. What it does is
said by the model's name:

    gpt-x         answers
    gpt-slow      thinks before its first token
    gpt-silent    does not say its tokens
    gpt-busy      429
    gpt-failing   answers that it failed
    gpt-breaking  breaks off in the middle of a stream
"""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

THINKS = 0.15
WORDS = ["Empieza ", "por ", "un ", "Dockerfile."]
USAGE = {
    "input_tokens": 120,
    "input_tokens_details": {"cached_tokens": 100},
    "output_tokens": 80,
    "output_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 200,
}
CHAT_USAGE = {
    "prompt_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 100},
    "completion_tokens": 80,
    "completion_tokens_details": {"reasoning_tokens": 64},
    "total_tokens": 200,
}


def response(model: str, status: str, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": model,
        "status": status,
        "error": {"code": "server_error", "message": "no"} if status == "failed" else None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "output": [message] if text else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": USAGE if status == "completed" and model != "gpt-silent" else None,
    }


def response_events(model: str) -> Any:
    """(name, data) of each event; None where the connection breaks."""
    events = [("response.created", {"response": response(model, "in_progress", "")})]
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    events.append(("response.output_item.added", {"output_index": 0, "item": item}))
    part = {"type": "output_text", "text": "", "annotations": []}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events.append(("response.content_part.added", {**at, "part": part}))
    events += [("response.output_text.delta", {**at, "delta": word, "logprobs": []}) for word in WORDS]
    if model == "gpt-breaking":
        return [*events[:5], None]
    if model == "gpt-failing":
        return [*events, ("response.failed", {"response": response(model, "failed", "")})]
    return [*events, ("response.completed", {"response": response(model, "completed", "".join(WORDS))})]


def chunk(model: str, **more: Any) -> dict[str, Any]:
    return {"id": "chat_1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [], **more}


def chat_chunks(model: str, with_usage: bool) -> Any:
    def choice(delta: dict[str, Any], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    chunks: list[Any] = [chunk(model, choices=choice({"role": "assistant", "content": ""}))]
    chunks += [chunk(model, choices=choice({"content": word})) for word in WORDS]
    if model == "gpt-breaking":
        return [*chunks[:3], None]
    chunks.append(chunk(model, choices=choice({}, "stop")))
    return [*chunks, chunk(model, usage=CHAT_USAGE)] if with_usage else chunks


class ModelApi:
    def __init__(self) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model, chat = asked["model"], self.path.endswith("/chat/completions")
                if model == "gpt-busy":
                    self.answer(429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}})
                elif not asked.get("stream"):
                    time.sleep(THINKS if model == "gpt-slow" else 0)
                    self.answer(200, self.whole(model, chat))
                else:
                    self.stream(model, chat, bool((asked.get("stream_options") or {}).get("include_usage")))

            def whole(self, model: str, chat: bool) -> dict[str, Any]:
                if not chat:
                    failed = model == "gpt-failing"
                    return response(model, "failed" if failed else "completed", "" if failed else "".join(WORDS))
                message = {"role": "assistant", "content": "".join(WORDS)}
                usage = {} if model == "gpt-silent" else {"usage": CHAT_USAGE}
                choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
                return {**chunk(model, choices=choices, object="chat.completion"), **usage}

            def answer(self, status: int, body: dict[str, Any]) -> None:
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def stream(self, model: str, chat: bool, with_usage: bool) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                events = chat_chunks(model, with_usage) if chat else response_events(model)
                for number, event in enumerate(events):
                    if event is None:
                        self.close_connection = True
                        return  # without the end that chunked bodies have
                    name, data = ("", event) if chat else event
                    if not chat:
                        data = {"type": name, "sequence_number": number, **data}
                    if number == (1 if chat else 3):
                        time.sleep(THINKS if model == "gpt-slow" else 0)
                    self.piece((f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n")
                if chat:
                    self.piece("data: [DONE]\n\n")
                self.wfile.write(b"0\r\n\r\n")

            def piece(self, text: str) -> None:
                data = text.encode()
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
