"""The documented HTTP API, as a client of the bridge posts to it."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import urllib3

from otel_bridge import __version__
from otel_bridge.logs import one_line


class PostFailed(Exception):
    """The bridge cannot be reached or refuses what is posted; the text says what to do."""


def shown_url(url: str) -> str:
    """A URL as a message shows it: without a login and a query, which may be secrets."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    if "@" in rest and ("?" in rest or "#" in rest):  # where the one ends and the other begins is anybody's guess
        return f"{scheme}{mark}…"
    return scheme + mark + rest.rpartition("@")[2].partition("?")[0]


class Answered(NamedTuple):
    """What the bridge answered, be it yes or no."""

    status: int
    document: Any
    limit: int | None = None
    """Records that its limit lets through at once, where it is smaller than what was sent."""


class Api:
    """The documented HTTP API, with the retries that the guide asks its clients for."""

    def __init__(self, url: str, key: str | None = None, patience_seconds: float = 30.0, connections: int = 1) -> None:
        """`connections`: threads that may post at once."""
        self.url = url.rstrip("/").removesuffix("/api")
        self.shown = shown_url(self.url)
        self._pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(total=30.0 if connections > 1 else 10.0), retries=False, maxsize=connections
        )
        self._headers = {"Content-Type": "application/json", "User-Agent": f"otel-bridge-demo/{__version__}"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._patience = patience_seconds
        self.retries = 0

    def post(self, path: str, body: Any, stop: threading.Event | None = None) -> Any:
        """The answer's document. The same body is sent again while the bridge says «not now» or nothing. Raises
        PostFailed."""
        answer = self.send(path, json.dumps(body, ensure_ascii=False).encode(), {}, stop=stop)
        if answer.status not in (200, 201, 207):
            raise PostFailed(f"{self.shown}/api{path} respondió {answer.status}: {_problem_text(answer.document)}")
        return answer.document

    def send(
        self,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        records: int = 1,
        stop: threading.Event | None = None,
    ) -> Answered:
        """As `post`, of a body of so many records as it is, and a refusal is an answer, too: raises PostFailed where
        the bridge says «not now» or nothing for as long as patience lasts."""
        deadline = time.monotonic() + self._patience
        pause = 0.25
        while True:
            try:
                answer = self._pool.request(
                    "POST", f"{self.url}/api{path}", body=body, headers={**self._headers, **headers}
                )
            except urllib3.exceptions.HTTPError as error:
                self._raise_if_lasting(error)
                trouble = f"{self.shown} no responde ({type(error).__name__}). ¿Está en marcha `otel-bridge serve`?"
            else:
                document = _document(answer.data)
                if answer.status in (200, 201, 207):
                    if document is None:
                        raise self._unexpected(path)
                elif document is None or not {"type", "title"} <= document.keys():  # of a gateway before the bridge
                    document = _unknown(answer.status, answer.data)
                if answer.status not in (429, 502, 503, 504):
                    return Answered(answer.status, document)
                limit = answer.headers.get("RateLimit-Limit", "")
                if answer.status == 429 and limit.isdecimal() and 0 < int(limit) < records:
                    return Answered(429, document, int(limit))
                said = _problem_text(document)
                trouble = f"{self.shown}/api{path} respondió {answer.status}: {said}"
                pause = max(pause, _seconds(answer.headers.get("Retry-After")))
            if time.monotonic() + pause > deadline:
                raise PostFailed(trouble)
            self.retries += 1
            if (stop or threading.Event()).wait(pause):
                raise PostFailed(trouble)
            pause = min(2 * pause, 5.0)

    def open_session(self, body: Any, stop: threading.Event | None = None) -> tuple[str, str]:
        """Posts a session; its id and its trace id. Raises PostFailed."""
        match self.post("/sessions", body, stop):
            case {"id": str(session_id), "trace_id": str(trace_id)}:
                return session_id, trace_id
        raise self._unexpected("/sessions")

    def _raise_if_lasting(self, error: urllib3.exceptions.HTTPError) -> None:
        """A certificate does not become good while one waits. A handshake that breaks off is as any other break."""
        cause = error.args[0] if isinstance(error, urllib3.exceptions.SSLError) and error.args else None
        if cause is None or isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message or str(cause)
            raise PostFailed(f"el certificado de {self.shown} no es válido o no es de confianza: {one_line(why)}")
        raise PostFailed(
            f"{self.shown} no habla TLS como se espera: {one_line(str(cause))}. ¿Es http:// y no https://?"
        )

    def _unexpected(self, path: str) -> PostFailed:
        return PostFailed(f"{self.shown}/api{path}: respuesta inesperada. ¿Es la dirección de un otel-bridge?")


def now_text() -> str:
    """The time, as the guide's clients write it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _document(body: bytes) -> Any:
    """None: it is no JSON object."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _unknown(status: int, body: bytes) -> dict[str, Any]:
    """What is no answer of a bridge, as if it were a problem of one."""
    return {"type": "urn:otel-bridge:?", "title": one_line(body[:200].decode("utf-8", "replace")), "status": status}


def _problem_text(problem: dict[str, Any]) -> str:
    """What a problem says: its title and detail."""
    return one_line(f"{problem.get('title', '')}. {problem.get('detail', '')}".removesuffix(". ").strip())


def _seconds(retry_after: str | None) -> float:
    try:
        return min(30.0, float(retry_after or 0))
    except ValueError:
        return 0.0
