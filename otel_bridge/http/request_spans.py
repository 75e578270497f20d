"""The bridge's own request spans, by the OpenTelemetry SDK and its OTLP exporter.

Off by default: they tell about the bridge, not about a GPT, and the SDK's queue may drop them, which is right for
them and would be wrong for a record (`docs/decisions/0002-delivery.md`). The SDK reads the standard environment
itself: endpoint, protocol, headers, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*.
"""

from __future__ import annotations

import time
from typing import Any

from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_bridge import __version__, catalog
from otel_bridge.config import Config, Otlp

SLOW_SECONDS = 1.0


def open(config: Config) -> RequestSpans | None:
    """What makes spans of the bridge's own requests; None where nobody wants them or takes them."""
    if config.otlp is None or config.request_spans == "off":
        return None
    return RequestSpans(config.service_name, config.otlp, config.request_spans)


class RequestSpans:
    """Makes a span of a request that has been answered. `which`: `all`, or `problems` (5xx and slow ones)."""

    def __init__(self, service_name: str, otlp: Otlp, which: str) -> None:
        resource = Resource.create({SERVICE_NAME: service_name, SERVICE_VERSION: __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(otlp)))
        self._tracer = self._provider.get_tracer(catalog.SCOPE_NAME, __version__)
        self._all = which == "all"

    def __call__(self, route: str, method: str, status: int, seconds: float) -> None:
        if not self._all and status < 500 and seconds < SLOW_SECONDS:
            return
        end = time.time_ns()
        span = self._tracer.start_span(
            f"{method} {route}",
            kind=SpanKind.SERVER,
            start_time=end - int(seconds * 1e9),
            attributes={
                catalog.HTTP_REQUEST_METHOD: method,
                catalog.HTTP_ROUTE: route,
                catalog.HTTP_RESPONSE_STATUS_CODE: status,
            },
        )
        if status >= 500:
            span.set_attribute(catalog.ERROR_TYPE, str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        """Flushes what the SDK still holds."""
        self._provider.shutdown()


def _exporter(otlp: Otlp) -> SpanExporter:
    # The way goes through the proxy that records go through: each library reads those variables in its own way.
    if otlp.protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        proxy: Any = ("grpc.http_proxy", otlp.proxy) if otlp.proxy else ("grpc.enable_http_proxy", 0)
        return GrpcExporter(channel_options=(proxy,))
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    session = requests.Session()
    session.trust_env = False
    if otlp.proxy:
        session.proxies = {"http": otlp.proxy, "https": otlp.proxy}
    return HttpExporter(session=session)
