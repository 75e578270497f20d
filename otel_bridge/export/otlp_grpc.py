"""OTLP over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from otel_bridge import __version__
from otel_bridge.config import Otlp
from otel_bridge.export.response import read_response
from otel_bridge.export.result import SendResult, shorten

_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_CONFIG = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.NOT_FOUND,
}
_MAY_BE_RECORD = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN}


class GrpcTransport:
    """OTLP/gRPC. The request goes as the bytes it already is. Thread-safe."""

    def __init__(self, otlp: Otlp) -> None:
        self._otlp = otlp
        target = urlsplit(otlp.endpoint).netloc
        # gRPC reads some of the proxy variables by itself, and not as HTTP does: what was read of them is said here.
        proxy = ("grpc.http_proxy", otlp.proxy) if otlp.proxy else ("grpc.enable_http_proxy", 0)
        options = [("grpc.primary_user_agent", f"otel-bridge/{__version__}"), ("grpc.enable_retries", 0), proxy]
        compression = grpc.Compression.Gzip if otlp.gzip else grpc.Compression.NoCompression
        if otlp.insecure:
            self._channel = grpc.insecure_channel(target, options, compression)
        else:
            credentials = grpc.ssl_channel_credentials(
                _file(otlp.certificate), _file(otlp.client_key), _file(otlp.client_certificate)
            )
            self._channel = grpc.secure_channel(target, credentials, options, compression)
        self._export = self._channel.unary_unary(_METHOD, request_serializer=None, response_deserializer=None)

    def send(self, body: bytes) -> SendResult:
        """Sends a serialised `ExportTraceServiceRequest`; waits `timeout_seconds` at the most."""
        try:
            response = self._export(body, timeout=self._otlp.timeout_seconds, metadata=self._otlp.headers)
        except grpc.RpcError as error:
            return _classify(error).without(self._otlp.secrets)
        return read_response(response).without(self._otlp.secrets)

    def close(self) -> None:
        self._channel.close()


def _classify(error: Any) -> SendResult:
    code = error.code()
    message = shorten(f"{code.name} {error.details()}")
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return SendResult("poison", message)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # gRPC itself says this of a message over the receiver's size limit. The specification has every other
        # one without RetryInfo permanent too, but Tempo says so when it limits the rate: that is for later.
        if "larger than max" in message:
            return SendResult("poison", message)
        return SendResult("retry", message, _retry_delay(error))
    if code in _CONFIG:
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
