"""The bridge's answers, and what is said of them."""

from __future__ import annotations

import email.utils
import http.client
import json
import time
from typing import Any

OURS = "urn:otel-bridge:"
"""How the types of the bridge's own problem documents begin. Only their words are repeated: they never echo a text."""


class Reply:
    """An answer; status 0 where there was none."""

    __slots__ = ("body", "retry_after", "status", "words")

    def __init__(self, status: int, body: bytes = b"", retry_after: float = 0.0, words: str = "") -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after
        self.words = words

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def transient(self) -> bool:
        return transient(self.status)

    def document(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None

    def problem(self) -> dict[str, Any]:
        return {"status": self.status, **(self.document() or {})}

    def cause(self) -> str:
        return cause(self.problem()) if self.status else self.words or "no answer"


def transient(status: int) -> bool:
    """Whether the same record may be taken later: no answer, a redirect, a limit, a failing server."""
    return not 200 <= status < 300 and (not 400 <= status < 500 or status in (408, 425, 429))


def cause(problem: dict[str, Any] | None) -> str:
    """«HTTP 404 GPT no encontrado»: the same words for the same fault."""
    status = (problem or {}).get("status")
    words = http.client.responses.get(status, "") if isinstance(status, int) else ""
    if problem and str(problem.get("type", "")).startswith(OURS) and isinstance(problem.get("title"), str):
        words = problem["title"][:100]
    return f"HTTP {status} {words}".strip()


def detail(problem: dict[str, Any] | None) -> str:
    """What the bridge says beyond the cause, such as «Revisa: «latency_ms».»; empty where it says nothing."""
    if not problem or not str(problem.get("type", "")).startswith(OURS):
        return ""
    return str(problem.get("detail") or "")[:200]


def seconds(retry_after: str | None) -> float:
    """`Retry-After`: seconds or a date; 0 where it is neither."""
    if not retry_after:
        return 0.0
    try:
        if retry_after.strip().isdigit():
            return float(retry_after)
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0
