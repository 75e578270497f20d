"""One request to an OTLP endpoint, over HTTP or gRPC. Never retries, never follows a redirect."""

from __future__ import annotations

from typing import Protocol

from otel_bridge.config import Otlp, Signal
from otel_bridge.export.result import SendResult


class Transport(Protocol):
    """Sends requests to one endpoint. `send` may be called from several threads."""

    def send(self, body: bytes) -> SendResult:
        """Sends a serialised `Export…ServiceRequest`. Failures of the network are results, not exceptions."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


def connect(otlp: Otlp, signal: Signal = "traces") -> Transport:
    """The transport of the configured protocol. Raises OSError where a certificate file of gRPC cannot be read."""
    if otlp.protocol == "grpc":
        from otel_bridge.export.otlp_grpc import GrpcTransport

        return GrpcTransport(otlp, signal)
    from otel_bridge.export.otlp_http import HttpTransport

    return HttpTransport(otlp, signal)
