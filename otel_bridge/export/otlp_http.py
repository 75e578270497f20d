"""OTLP over HTTP."""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
import urllib3.connection

from otel_bridge import __version__
from otel_bridge.config import Otlp
from otel_bridge.export.response import error_message, read_response
from otel_bridge.export.result import SendResult, shorten

_BODY_LIMIT = 64 * 1024
"""Bytes that are read of an answer's body."""


class _Deadline(threading.local):
    """The time one request has, from its first byte to its answer's last. urllib3 knows only the time between two
    bytes: an endpoint that sends one now and then would hold the delivery for ever."""

    sock: socket.socket | None = None
    passed = False
    """Whether the time was up: where an answer tells no length, its end then looks like any other."""

    @contextlib.contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        self.sock, self.passed = None, False
        timer = threading.Timer(seconds, self._cut, (self.__dict__,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @staticmethod
    def _cut(sender: dict[str, Any]) -> None:
        """Ends the connection. Runs in the timer's thread: `sender` is what the sending thread sees as this object."""
        sender["passed"] = True
        sock = sender.get("sock")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


_deadline = _Deadline()


class _HeaderLines:
    """A stream's lines, and whether the last of them was the empty one that ends headers."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.ended = False

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self.stream.readline(limit)
        self.ended = line in (b"\r\n", b"\n")
        return line


class _Response(http.client.HTTPResponse):
    """http.client takes headers for whole that the connection's end has cut short: a status line alone would be an
    answer, and what is not answered would count as delivered."""

    def begin(self) -> None:
        stream = self.fp
        lines = _HeaderLines(stream)
        self.fp = lines  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            self.fp = stream
        if not lines.ended:
            raise http.client.RemoteDisconnected("the answer ends within its headers")


class _Connection(urllib3.connection.HTTPConnection):
    response_class = _Response

    def request(self, *arguments: Any, **options: Any) -> None:
        super().request(*arguments, **options)
        _deadline.sock = self.sock


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response

    def request(self, *arguments: Any, **options: Any) -> None:
        super().request(*arguments, **options)
        _deadline.sock = self.sock


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class HttpTransport:
    """OTLP/HTTP with protobuf bodies. Thread-safe."""

    def __init__(self, otlp: Otlp) -> None:
        self._otlp = otlp
        options: dict[str, Any] = {}
        if otlp.certificate:
            options["ca_certs"] = otlp.certificate
        if otlp.client_certificate:
            options["cert_file"], options["key_file"] = otlp.client_certificate, otlp.client_key
        options |= {"maxsize": 8, "retries": False, "timeout": urllib3.Timeout(total=otlp.timeout_seconds)}
        self._pool = _through(otlp.proxy, options) if otlp.proxy else urllib3.PoolManager(**options)
        self._pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"otel-bridge/{__version__}",
            **dict(otlp.headers),
        }
        if otlp.gzip:
            self._headers["Content-Encoding"] = "gzip"

    def send(self, body: bytes) -> SendResult:
        """Sends a serialised `ExportTraceServiceRequest`; takes half a second over `timeout_seconds` at the most."""
        if self._otlp.gzip:
            body = gzip.compress(body, compresslevel=1, mtime=0)
        with _deadline.within(self._otlp.timeout_seconds + 0.5):
            return self._exchange(body).without(self._otlp.secrets)

    def _exchange(self, body: bytes) -> SendResult:
        try:
            response = self._pool.request(
                "POST",
                self._otlp.endpoint,
                body=body,
                headers=self._headers,
                redirect=False,
                preload_content=False,
                decode_content=True,
            )
            try:
                # An answer is never read without bound.
                text = response.read(_BODY_LIMIT)
                if _deadline.passed:
                    message = f"no whole answer within {self._otlp.timeout_seconds:g} s"
                    return SendResult("retry", message, may_be_record=True)
                return _classify(response.status, text, response.headers)
            finally:
                response.drain_conn() if response.status < 300 else response.close()
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            # A record can make the receiver drop the connection; it cannot keep it from being made.
            dropped = isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.ReadTimeoutError)
            return SendResult("retry", shorten(f"{type(error).__name__}: {error}"), may_be_record=dropped)
        except OSError as error:
            return SendResult("config", shorten(f"{type(error).__name__}: {error}"))
        except ValueError as error:  # its message may repeat a header
            return SendResult("config", f"{type(error).__name__}: the endpoint or a header cannot be sent")

    def close(self) -> None:
        self._pool.clear()


def _through(proxy: str, options: dict[str, Any]) -> urllib3.ProxyManager:
    """The pool whose connections go through an HTTP proxy; a login in its URL is sent as the header that it is for."""
    parts = urlsplit(proxy)
    login, at, address = parts.netloc.rpartition("@")
    headers = urllib3.make_headers(proxy_basic_auth=unquote(login)) if at else None
    return urllib3.ProxyManager(f"http://{address}", proxy_headers=headers, **options)


def _classify(status: int, body: bytes, headers: Any) -> SendResult:
    if 200 <= status < 300:
        if "text/html" in headers.get("Content-Type", ""):
            return SendResult("config", f"HTTP {status} with a web page: what answers there is no OTLP receiver")
        return read_response(body)
    message = shorten(f"HTTP {status} {error_message(body)}")
    if status in (408, 429) or status >= 500:
        return SendResult("retry", message, _retry_after(headers.get("Retry-After")), may_be_record=status == 500)
    if status in (400, 413, 422):
        return SendResult("poison", message)
    if 300 <= status < 400:
        message = f"{message} → {headers.get('Location', '?')}: redirects are not followed"
    return SendResult("config", message)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a `Retry-After` header, which holds seconds or an HTTP date; None where it holds neither."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
