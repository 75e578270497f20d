"""OTLP over gRPC."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_bridge import __version__
from otel_bridge.config import Otlp, Signal
from otel_bridge.export.renewal import Renewed
from otel_bridge.export.response import read_response
from otel_bridge.export.result import SendResult, shorten

_METHODS: dict[Signal, str] = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_CONFIG = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}
_MAY_BE_RECORD = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    # What the specification has permanent: it is so for a record, if others are taken.
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
}
_TOO_LARGE = re.compile(
    r"larger than max"  # C and what is built on it, Go, Node
    r"|message exceeds maximum size"  # Java
    r"|message exceeds the maximum configured message size"  # .NET
    r"|message length too large",  # tonic (Rust)
    re.IGNORECASE,
)
"""What servers say of a message over their limit, with RESOURCE_EXHAUSTED or (tonic) OUT_OF_RANGE."""
_PROXY_REFUSED = re.compile(r"HTTP proxy returned response code (\d{3})")
"""What gRPC says of a proxy's answer to CONNECT."""


class _Line(NamedTuple):
    channel: grpc.Channel
    export: Callable[..., bytes]


class GrpcTransport:
    """OTLP/gRPC. The request goes as the bytes it already is. Thread-safe."""

    def __init__(self, otlp: Otlp, signal: Signal = "traces") -> None:
        self._otlp = otlp
        self._signal: Signal = signal
        self._lines = Renewed(lambda: _line(otlp, signal), lambda line: line.channel.close())

    def send(self, body: bytes) -> SendResult:
        """Sends a serialised `Export…ServiceRequest`; waits `timeout_seconds` at the most."""
        try:
            with self._lines.use() as line:
                response = line.export(body, timeout=self._otlp.timeout_seconds, metadata=self._otlp.headers)
        except grpc.RpcError as error:
            result = _classify(error)
            if result.kind == "retry":
                # A channel stays with a connection that says nothing any more, for a quarter of an hour, and waits up
                # to two minutes before it asks again where the name leads. A new one asks at once.
                self._lines.renew()
            return result.without(self._otlp.secrets)
        except OSError as error:  # of a certificate's file
            return SendResult("config", shorten(f"{type(error).__name__}: {error}"))
        return read_response(response, True, self._signal).without(self._otlp.secrets)

    def close(self) -> None:
        self._lines.close()


def _line(otlp: Otlp, signal: Signal) -> _Line:
    target = urlsplit(otlp.endpoint).netloc
    # gRPC reads some of the proxy variables by itself, and not as HTTP does: what was read of them is said here.
    proxy = ("grpc.http_proxy", otlp.proxy) if otlp.proxy else ("grpc.enable_http_proxy", 0)
    options = [
        ("grpc.primary_user_agent", f"otel-bridge/{__version__}"),
        ("grpc.enable_retries", 0),
        # Else a new channel takes over the connection of the old one.
        ("grpc.use_local_subchannel_pool", 1),
        proxy,
    ]
    compression = grpc.Compression.Gzip if otlp.gzip else grpc.Compression.NoCompression
    if otlp.insecure:
        channel = grpc.insecure_channel(target, options, compression)
    else:
        credentials = grpc.ssl_channel_credentials(
            _file(otlp.certificate), _file(otlp.client_key), _file(otlp.client_certificate)
        )
        channel = grpc.secure_channel(target, credentials, options, compression)
    return _Line(channel, channel.unary_unary(_METHODS[signal], request_serializer=None, response_deserializer=None))


def _classify(error: Any) -> SendResult:
    code = error.code()
    message = shorten(f"{code.name} {error.details()}")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return SendResult("poison", message)
    if code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.OUT_OF_RANGE) and _TOO_LARGE.search(message):
        # The specification has every other RESOURCE_EXHAUSTED without RetryInfo permanent too, but Tempo says so when
        # it limits the rate: that is for later.
        return SendResult("poison", message, too_large=True)
    if code in _CONFIG:
        return SendResult("config", message)
    refused = _PROXY_REFUSED.search(message)
    if refused is not None and refused[1].startswith("4") and refused[1] not in ("408", "429"):
        return SendResult("config", message)
    return SendResult("retry", message, _retry_delay(error), may_be_record=code in _MAY_BE_RECORD)


def _retry_delay(error: Any) -> float | None:
    """Seconds of the error's RetryInfo; None where it has none."""
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
