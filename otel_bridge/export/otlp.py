"""One request to an OTLP endpoint, and which of five answers it gave. Never retries, never follows a redirect.

    ok       delivered
    partial  delivered in part; the specification forbids to retry
    retry    not now: 408, 429, 5xx, no connection, time-out
    poison   something in the batch is refused: 400, 413, 422
    config   this endpoint will not have us as we are: 401, 403, 404, other 3xx and 4xx

The SDK's own exporter tells fewer apart (a 302 is its success, a 500 its final failure), which a delivery that
loses nothing cannot use. Sources: OTLP specification 1.x, «OTLP/HTTP Response», «OTLP/gRPC Response».
"""

from __future__ import annotations

import contextlib
import email.utils
import gzip
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import grpc
import urllib3
import urllib3.connection
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_bridge import __version__
from otel_bridge.config import Otlp

Kind = Literal["ok", "partial", "retry", "poison", "config"]
KINDS: tuple[Kind, ...] = ("ok", "partial", "retry", "poison", "config")
_WORDS_LIMIT = 500
_ANSWER_LIMIT = 64 * 1024
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Answer(NamedTuple):
    """What the endpoint said to one request."""

    kind: Kind
    words: str = ""
    """The endpoint's own words, or what went wrong on the way to it."""
    retry_after_seconds: float | None = None
    rejected: int = 0
    suspicious: bool = False
    """A retry that one bad record could be the cause of (500, INTERNAL), not only an endpoint in trouble."""


class Transport(Protocol):
    def send(self, body: bytes) -> Answer: ...
    def close(self) -> None: ...


def connect(otlp: Otlp) -> Transport:
    return GrpcTransport(otlp) if otlp.protocol == "grpc" else HttpTransport(otlp)


class _Time(threading.local):
    """The time one request has, from its first byte to its answer's last. urllib3 knows only the time between two
    bytes: an endpoint that sends one now and then would hold the delivery for ever."""

    sock: socket.socket | None = None
    late = False
    """Whether the time was up: where an answer tells no length, its end then looks like any other."""

    @contextlib.contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        self.sock, self.late = None, False
        watch = threading.Timer(seconds, self._cut, (self.__dict__,))
        watch.daemon = True
        watch.start()
        try:
            yield
        finally:
            watch.cancel()

    @staticmethod
    def _cut(of_sender: dict[str, Any]) -> None:
        of_sender["late"] = True
        sock = of_sender.get("sock")
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


_time = _Time()


class _Lines:
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
        lines = _Lines(stream)
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
        _time.sock = self.sock


class _TlsConnection(urllib3.connection.HTTPSConnection):
    response_class = _Response

    def request(self, *arguments: Any, **options: Any) -> None:
        super().request(*arguments, **options)
        _time.sock = self.sock


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
        self._pool = urllib3.PoolManager(
            maxsize=8, retries=False, timeout=urllib3.Timeout(total=otlp.timeout_seconds), **options
        )
        self._pool.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
        self._headers = {
            "Content-Type": "application/x-protobuf",
            "User-Agent": f"otel-bridge/{__version__}",
            **dict(otlp.headers),
        }
        if otlp.gzip:
            self._headers["Content-Encoding"] = "gzip"

    def send(self, body: bytes) -> Answer:
        if self._otlp.gzip:
            body = gzip.compress(body, compresslevel=1, mtime=0)
        with _time.limited(self._otlp.timeout_seconds + 0.5):
            return self._exchange(body)

    def _exchange(self, body: bytes) -> Answer:
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
                text = response.read(_ANSWER_LIMIT)
                if _time.late:
                    words = f"no whole answer within {self._otlp.timeout_seconds:g} s"
                    return Answer("retry", words, suspicious=True)
                return _classify(response.status, text, response.headers)
            finally:
                response.drain_conn() if response.status < 300 else response.close()
                response.release_conn()
        except urllib3.exceptions.HTTPError as error:
            # A record can make the receiver drop the connection; it cannot keep it from being made.
            dropped = isinstance(error, urllib3.exceptions.ProtocolError | urllib3.exceptions.ReadTimeoutError)
            return Answer("retry", _shorten(f"{type(error).__name__}: {error}"), suspicious=dropped)
        except (OSError, ValueError) as error:
            return Answer("config", _shorten(f"{type(error).__name__}: {error}"))

    def close(self) -> None:
        self._pool.clear()


def _classify(status: int, text: bytes, headers: Any) -> Answer:
    if 200 <= status < 300:
        if "text/html" in headers.get("Content-Type", ""):
            return Answer("config", f"HTTP {status} with a web page: what answers there is no OTLP receiver")
        return _accepted(text)
    words = _shorten(f"HTTP {status} {_error_text(text)}")
    if status in (408, 429) or status >= 500:
        return Answer("retry", words, _retry_after(headers.get("Retry-After")), suspicious=status == 500)
    if status in (400, 413, 422):
        return Answer("poison", words)
    if 300 <= status < 400:
        words = f"{words} → {headers.get('Location', '?')}: redirects are not followed"
    return Answer("config", words)


def _accepted(body: bytes) -> Answer:
    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return Answer("ok", "the answer is no OTLP message")
    if partial.rejected_spans > 0:
        return Answer("partial", _shorten(partial.error_message), rejected=partial.rejected_spans)
    return Answer("ok", _shorten(partial.error_message))


def _error_text(body: bytes) -> str:
    """The text of an error's body: a google.rpc.Status as the specification has it, or whatever it is."""
    try:
        message = Status.FromString(body).message
        if message:
            return str(message)
    except DecodeError:
        pass
    return body.decode("utf-8", "replace")


def _retry_after(value: str | None) -> float | None:
    """`Retry-After`: seconds or an HTTP date."""
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


def _shorten(words: str) -> str:
    printable = "".join(c if c.isprintable() else " " for c in words[: 2 * _WORDS_LIMIT])
    return " ".join(printable.split())[:_WORDS_LIMIT]


_GRPC_CONFIG = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}
_GRPC_SUSPICIOUS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}


class GrpcTransport:
    """OTLP/gRPC. The request goes as the bytes it already is. Thread-safe."""

    def __init__(self, otlp: Otlp) -> None:
        self._otlp = otlp
        target = otlp.endpoint.split("://", 1)[-1].rstrip("/")
        options = [("grpc.primary_user_agent", f"otel-bridge/{__version__}"), ("grpc.enable_retries", 0)]
        compression = grpc.Compression.Gzip if otlp.gzip else grpc.Compression.NoCompression
        if otlp.insecure:
            self._channel = grpc.insecure_channel(target, options, compression)
        else:
            credentials = grpc.ssl_channel_credentials(
                _file(otlp.certificate), _file(otlp.client_key), _file(otlp.client_certificate)
            )
            self._channel = grpc.secure_channel(target, credentials, options, compression)
        self._export = self._channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)

    def send(self, body: bytes) -> Answer:
        try:
            answer = self._export(body, timeout=self._otlp.timeout_seconds, metadata=self._otlp.headers)
        except grpc.RpcError as error:
            return self._refused(error)
        return _accepted(answer)

    def _refused(self, error: Any) -> Answer:
        code = error.code()
        words = _shorten(f"{code.name} {error.details()}")
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            return Answer("poison", words)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            # gRPC itself says this of a message over the receiver's size limit. The specification has every other
            # one without RetryInfo permanent too, but Tempo says so when it limits the rate: that is for later.
            if "larger than max" in words:
                return Answer("poison", words)
            return Answer("retry", words, _grpc_retry_delay(error))
        if code in _GRPC_CONFIG:
            return Answer("config", words)
        return Answer("retry", words, _grpc_retry_delay(error), suspicious=code in _GRPC_SUSPICIOUS)

    def close(self) -> None:
        self._channel.close()


def _grpc_retry_delay(error: Any) -> float | None:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            try:
                details = Status.FromString(value).details
            except DecodeError:
                return None
            for detail in details:
                info = RetryInfo()
                if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                    return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
    return None


def _file(path: str | None) -> bytes | None:
    if path is None:
        return None
    return Path(path).read_bytes()
