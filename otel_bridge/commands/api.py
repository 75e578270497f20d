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


def connections(verify: bool, seconds: float, **options: Any) -> urllib3.PoolManager:
    """Connections to a bridge, each request with so much time. `verify` is False only for the bridge that the
    configuration of this machine puts on the loopback (`client.verifies`)."""
    if not verify:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    options["cert_reqs"] = "CERT_REQUIRED" if verify else "CERT_NONE"
    return urllib3.PoolManager(timeout=urllib3.Timeout(total=seconds), retries=False, **options)


class TlsTrouble(NamedTuple):
    """Why HTTPS did not come about."""

    what: str
    todo: str


_NAME_MISMATCH, _ADDRESS_MISMATCH, _EXPIRED = 62, 64, 10
"""X509_V_ERR_… of OpenSSL's x509_vfy.h."""


def tls_trouble(error: Exception) -> TlsTrouble | None:
    """What is wrong with the TLS of a place that was asked; None: something else is."""
    if not isinstance(error, urllib3.exceptions.SSLError):
        return None
    cause = error.args[0] if error.args else None
    if isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError):  # a handshake that broke off, as any other break
        return None
    if not isinstance(cause, ssl.SSLCertVerificationError):
        return TlsTrouble("no se pudo hablar TLS con él", "¿es ese su puerto HTTPS, o sirve http:// ahí?")
    if cause.verify_code in (_NAME_MISMATCH, _ADDRESS_MISMATCH):
        todo = "pide por el nombre para el que es: --url https://NOMBRE:PUERTO"
        return TlsTrouble("el certificado no es válido para ese nombre", todo)
    if cause.verify_code == _EXPIRED:
        return TlsTrouble("el certificado ha caducado", "renuévalo, y que el puente lo lea (SIGHUP)")
    return TlsTrouble(
        f"el certificado no es válido aquí ({one_line(cause.verify_message)})",
        "si es de una autoridad tuya, SSL_CERT_FILE nombra su archivo",
    )


class Answered(NamedTuple):
    """What the bridge answered, be it yes or no."""

    status: int
    document: Any
    limit: int | None = None
    """Records that its limit lets through at once, where it is smaller than what was sent."""


class Api:
    """The documented HTTP API, with the retries that the guide asks its clients for."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        patience_seconds: float = 30.0,
        threads: int = 1,
        verify: bool = True,
    ) -> None:
        """`threads`: that may post at once. `verify`: as in `connections`."""
        self.url = url.rstrip("/").removesuffix("/api")
        self.shown = shown_url(self.url)
        self._pool = connections(verify, 30.0 if threads > 1 else 10.0, maxsize=threads)
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
                tls = tls_trouble(error)
                if tls is not None:  # waiting mends no certificate
                    raise PostFailed(f"{self.shown}: {tls.what}; {tls.todo}") from None
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
