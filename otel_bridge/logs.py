"""Logs: text for people, or one JSON object in each line for machines. Never content, keys or user ids.

Two rules keep them clean. The callers log their own text, never a client's; and the message of an exception is written
only where its type cannot contain a client's text (`_SPEAKING`). A text that gets into a line all the same cannot start
another line: everything unprintable is escaped.

A line that is written while a request is served has that request's id, and its caller's trace id if it sent one
(`request`).
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from otel_bridge.errors import OperatorError

request: ContextVar[tuple[bytes, bytes | None] | None] = ContextVar("request", default=None)
"""The request that is being served: its checked id, and its `traceparent` as received."""
_TRACE_ID = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-")

_worker: dict[str, int] = {}
"""What each line says of the worker that writes it, where there are several."""

_SPEAKING = (OSError, RuntimeError, OperatorError)
"""Exceptions whose message is the system's or ours. A KeyError's or ValueError's may be what a client wrote."""
_SILENT = (RecursionError, NotImplementedError)

_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def one_line(text: str) -> str:
    """Escapes a text that someone else chose: it cannot start a line, nor move the cursor of a terminal."""
    return _UNPRINTABLE.sub(_escape, text.replace("\n", "\\n").replace("\t", "\\t"))


def describe(error: BaseException) -> str:
    """An exception, without a message that may contain a client's text."""
    name = type(error).__name__
    if isinstance(error, _SPEAKING) and not isinstance(error, _SILENT):
        return f"{name}: {one_line(str(error))[:500]}"
    return name


def where(trace: TracebackType | None) -> str:
    """File, line and function of each frame: the program's own text, no values."""
    return "".join(traceback.format_tb(trace)).rstrip("\n")


def _exception(record: logging.LogRecord) -> str | None:
    if not record.exc_info or record.exc_info[1] is None:
        return None
    parts: list[str] = []
    error: BaseException | None = record.exc_info[1]
    while error is not None and len(parts) < 5:
        frames = where(error.__traceback__)
        parts.append(f"{frames}\n{describe(error)}" if frames else describe(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\ncaused by:\n".join(parts)


def _marks(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record, and those of the request that was being served."""
    fields = {**_worker, **getattr(record, "fields", {})}
    mark = request.get()
    if mark is not None:
        fields.setdefault("request_id", mark[0].decode("ascii"))
        trace = _TRACE_ID.match(mark[1]) if mark[1] is not None else None
        if trace is not None:
            fields.setdefault("trace_id", trace[1].decode("ascii"))
    return fields


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        fields = _marks(record)
        stack = fields.pop("stack", None) or _exception(record)
        line = f"{at} {record.levelname.lower():8} {one_line(record.getMessage())}"
        line += "".join(f" {name}={one_line(str(value))}" for name, value in fields.items())
        return f"{line}\n{stack}" if stack else line


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_marks(record),
        }
        stack = line.pop("stack", None) or _exception(record)
        if stack:
            line["exception"] = stack
        # JSON escapes the C0 controls; the other unprintable characters are escaped here, in the same form.
        text = json.dumps(line, ensure_ascii=False, default=lambda value: type(value).__name__)
        return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def name_worker(number: int) -> None:
    """Has each line say which of several workers wrote it."""
    _worker["worker"] = number


def in_json() -> bool:
    """Whether what is logged is JSON: then nothing else is written where it goes."""
    return any(isinstance(handler.formatter, _Json) for handler in logging.getLogger().handlers)


def take_over() -> None:
    """Has this process log whatever Python would write by itself: warnings, and what ends it or a thread. Called once,
    by who starts a process. No message of an exception is in it that may hold a client's text (`describe`)."""
    log = logging.getLogger("otel_bridge")

    def crashed(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("crashed", exc_info=(kind, error, trace))

    def thread_crashed(what: threading.ExceptHookArgs) -> None:
        if what.exc_value is not None and not isinstance(what.exc_value, SystemExit):
            name = what.thread.name if what.thread is not None else "?"
            log.error("thread %s crashed", name, exc_info=what.exc_value)

    def not_raised(what: sys.UnraisableHookArgs) -> None:
        log.error("an exception that nobody can catch", exc_info=what.exc_value or what.exc_type())

    sys.excepthook = crashed
    threading.excepthook = thread_crashed
    sys.unraisablehook = not_raised
    logging.captureWarnings(True)


def set_up(style: str, level: str) -> None:
    """Sends every logger to standard error, in the style asked for (`auto`: text on a terminal, else JSON)."""
    handler = logging.StreamHandler(sys.stderr)
    text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler.setFormatter(_Text() if text else _Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("urllib3", "asyncio"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # Their messages contain what clients sent; the bridge logs itself what it needs of them.
    for name in ("mcp", "sse_starlette", "httpx2", "redis"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
