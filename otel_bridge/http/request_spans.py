"""The bridge's own request spans, by the OpenTelemetry SDK and its OTLP exporter.

Off by default: they tell about the bridge, not about a GPT, and the SDK's queue may drop them, which is right for
them and would be wrong for a record (`docs/decisions/0002-delivery.md`). The SDK reads the standard environment
itself: endpoint, protocol, headers, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER, OTEL_BSP_*.

Names, attributes and status are those of the HTTP conventions
(https://github.com/open-telemetry/semantic-conventions/blob/v1.41.1/docs/http/http-spans.md#http-server-span). Left out
is what may say who asks: the query, headers and addresses, and what `shown_path` takes out of a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from otel_bridge import __version__, catalog, clock
from otel_bridge.config import Config, Otlp
from otel_bridge.errors import StartRefused

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SLOW_SECONDS = 1.0

KNOWN_METHODS = "GET,HEAD,POST,PUT,DELETE,CONNECT,OPTIONS,TRACE,PATCH,QUERY"
"""What the conventions know unless `OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS` lists others: RFC 9110's, PATCH, QUERY."""

REDACTED = "REDACTED"
"""Stands for what a client made up."""

_parameters = re.compile(r"\{[^}]*\}").sub


def open(config: Config) -> RequestSpans | None:
    """What makes spans of the bridge's own requests; None where nobody wants them or takes them.
    Raises StartRefused where the SDK refuses its environment."""
    if config.otlp is None or config.request_spans == "off":
        return None
    try:
        return RequestSpans(config.service_name, config.otlp, config.request_spans)
    except ValueError:  # its text may be a variable's, with credentials in it
        raise StartRefused(
            "request_spans: el SDK de OpenTelemetry rechaza una de sus variables (OTEL_…). Corrígela, o define "
            'request_spans = "off".'
        ) from None


class RequestSpans:
    """Makes a span of a request that has been answered. `which`: `all`, or `problems` (5xx and slow ones)."""

    def __init__(self, service_name: str, otlp: Otlp, which: str) -> None:
        # The SDK reads its environment as it is imported: where it is not used, a wrong variable stops nothing.
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        service = {SERVICE_NAME: service_name, SERVICE_VERSION: __version__}
        resource = Resource.create(service, catalog.SCHEMA_URL)
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(_exporter(otlp)))
        self._tracer = self._provider.get_tracer(catalog.SCOPE_NAME, __version__, schema_url=catalog.SCHEMA_URL)
        methods = os.environ.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS") or KNOWN_METHODS
        self._known_methods = frozenset(method.strip() for method in methods.split(","))
        self._all = which == "all"

    def __call__(self, method: str, route: str | None, path: str, scheme: str, status: int, seconds: float) -> None:
        """A request was answered. `method`: as it came; `route`: the template that matched, None where none did;
        `path`: what may leave of its path; `scheme`: the client's."""
        if not self._all and status < 500 and seconds < SLOW_SECONDS:
            return
        known = method in self._known_methods
        attributes: dict[str, str | int] = {
            catalog.HTTP_REQUEST_METHOD: method if known else catalog.OTHER_METHOD,
            catalog.URL_PATH: path,
            catalog.URL_SCHEME: scheme,
            catalog.HTTP_RESPONSE_STATUS_CODE: status,
        }
        name = method if known else "HTTP"
        if not known:
            attributes[catalog.HTTP_REQUEST_METHOD_ORIGINAL] = method
        if route is not None:
            attributes[catalog.HTTP_ROUTE] = route
            name = f"{name} {route}"
        if status >= 500:
            attributes[catalog.ERROR_TYPE] = str(status)
        end = clock.now_us() * 1000
        start = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, kind=SpanKind.SERVER, start_time=start, attributes=attributes)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        """Flushes what the SDK still holds."""
        self._provider.shutdown()


def shown_path(path: str, route: str | None, status: int, served: Collection[str]) -> str:
    """What may leave of a path; `route`: the template that it matched, `served`: all of them.

    A path that is served has nothing of the client's in it. An id in one that was answered well names what exists, and
    leaves as a trace id anyway. Everything else is a client's text, which may be a user id or a key: it is replaced.
    """
    if path in served or (route is not None and status < 400):
        return path
    return f"/{REDACTED}" if route is None else _parameters(REDACTED, route)


def _exporter(otlp: Otlp) -> SpanExporter:
    # The way goes through the proxy that records go through: each library reads those variables in its own way. Headers
    # may come from a file, which the SDK does not read.
    if otlp.protocol == "grpc":
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes lines of its own, which are no log of ours
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        proxy: Any = ("grpc.http_proxy", otlp.proxy) if otlp.proxy else ("grpc.enable_http_proxy", 0)
        return GrpcExporter(headers=otlp.headers or None, channel_options=(proxy,))
    import requests
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    session = requests.Session()
    session.trust_env = False
    if otlp.proxy:
        session.proxies = {"http": otlp.proxy, "https": otlp.proxy}
    return HttpExporter(headers=dict(otlp.headers) or None, session=session)
