"""A real OTLP receiver, over HTTP and gRPC, that reads requests with the official protobuf classes.

It can be told to misbehave: `behave` is asked before each answer, with the spans of the request, and
`behave_to_metrics` with its metrics.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from otel_bridge import catalog
from tests.harness.ports import free_port


@dataclass
class Received:
    """One span as it came: the official message, and its resource's and scope's attributes."""

    span: Span
    resource: dict[str, Any]
    scope: tuple[str, str]
    schemas: tuple[str, str]
    """The schema URLs of its resource and of its scope."""
    at: float = field(default_factory=time.time)

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def span_id(self) -> str:
        return self.span.span_id.hex()

    @property
    def attributes(self) -> dict[str, Any]:
        return plain(self.span.attributes)

    @property
    def is_part_root(self) -> bool:
        """Whether nobody posted it: the root of a later trace of a long session."""
        return not self.span.parent_span_id and catalog.SESSION_PART in self.attributes


def plain(attributes: Any) -> dict[str, Any]:
    """KeyValues → a dict."""

    def value(pair: KeyValue) -> Any:
        kind = str(pair.value.WhichOneof("value"))
        if kind == "array_value":
            return [one.string_value for one in pair.value.array_value.values]
        return getattr(pair.value, kind)

    return {pair.key: value(pair) for pair in attributes}


@dataclass
class Reply:
    """What the receiver answers. `keep`: whether the spans count as delivered."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    keep: bool = True
    delay: float = 0.0
    close: bool = False
    """Close the connection instead of answering."""
    truncate: bool = False
    """Close it in the middle of the answer."""
    cut: bool = False
    """Close it in the middle of the answer's headers."""
    trickle: float = 0.0
    """Send the answer a byte at a time, with such a pause after each."""
    grpc: grpc.StatusCode | None = None
    details: str = ""


OK = Reply()
Behaviour = Callable[[list[Received]], Reply]


@dataclass
class Push:
    """A request of metrics that was taken."""

    request: ExportMetricsServiceRequest
    headers: dict[str, str]

    def values(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Its samples as a scrape would show them: (name, sorted labels) → value; `le` is as on the page."""
        found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

        def note(name: str, labels: dict[str, Any], value: float, **more: str) -> None:
            found[name, tuple(sorted((labels | more).items()))] = value

        for metric, point in self.points():
            labels = plain(point.attributes)
            if metric.WhichOneof("data") != "histogram":
                note(metric.name, labels, point.as_double)
                continue
            so_far = 0
            for bound, count in zip([*point.explicit_bounds, float("inf")], point.bucket_counts, strict=True):
                so_far += count
                note(f"{metric.name}_bucket", labels, so_far, le="+Inf" if bound == float("inf") else str(bound))
            assert so_far == point.count
            note(f"{metric.name}_count", labels, point.count)
            note(f"{metric.name}_sum", labels, point.sum)
        return found

    def points(self) -> list[tuple[Any, Any]]:
        """(metric, data point) of all, but those that tell of an end."""
        return [
            (metric, point)
            for of_resource in self.request.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
            for point in getattr(metric, str(metric.WhichOneof("data"))).data_points
            if not point.flags
        ]


class OtlpReceiver:
    """Listens on both protocols; collects what was delivered."""

    def __init__(
        self, port: int = 0, grpc_port: int = 0, host: str = "127.0.0.1", grpc_limit: int | None = None
    ) -> None:
        """`grpc_limit`: bytes of a message; by default those of every gRPC server (4 MiB)."""
        self.spans: list[Received] = []
        self.times: Counter[str] = Counter()
        """span id → how often it was delivered, of what was posted."""
        self.requests: list[tuple[float, int]] = []
        """(time, spans) of every request, delivered or not."""
        self.headers: list[dict[str, str]] = []
        self.behave: Behaviour = lambda spans: OK
        self.pushes: list[Push] = []
        """Requests of metrics that were taken."""
        self.behave_to_metrics: Callable[[ExportMetricsServiceRequest], Reply] = lambda request: OK
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Headers and body in one segment: Nagle's wait would be measured as ours.
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                if self.path.endswith("/v1/metrics"):
                    reply = receiver.take_metrics(ExportMetricsServiceRequest.FromString(body), headers)
                else:
                    receiver.headers.append(headers)
                    reply = receiver.take(body)
                if reply.close:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                if reply.cut:
                    self.flush_headers()
                    self.close_connection = True
                    return
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) + (100 if reply.truncate else 0)))
                self.end_headers()
                if reply.trickle:
                    for byte in reply.body:
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        time.sleep(reply.trickle)
                    return
                self.wfile.write(reply.body)
                if reply.truncate:
                    self.close_connection = True

            def finish(self) -> None:
                # The library's own closes what it reads from only where the rest of the answer can still be written: a
                # bridge that is killed has closed its end.
                try:
                    super().finish()
                finally:
                    self.rfile.close()

            def log_message(self, *arguments: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that gave up is what some tests want

        self._http = Server((host, port or free_port()), Handler)
        self.port = self._http.server_port

        class Servicer(TraceServiceServicer):
            def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:
                receiver.headers.append(dict(context.invocation_metadata()))
                reply = receiver.take(request.SerializeToString())
                if reply.grpc is not None:
                    context.abort(reply.grpc, reply.details)
                return ExportTraceServiceResponse.FromString(reply.body)

        class MetricsServicer(MetricsServiceServicer):
            def Export(self, request: ExportMetricsServiceRequest, context: Any) -> ExportMetricsServiceResponse:
                reply = receiver.take_metrics(request, dict(context.invocation_metadata()))
                if reply.grpc is not None:
                    context.abort(reply.grpc, reply.details)
                return ExportMetricsServiceResponse.FromString(reply.body)

        limit = [("grpc.max_receive_message_length", grpc_limit)] if grpc_limit is not None else []
        # Two receivers at one port are a mistake; gRPC would share it among them.
        self._grpc = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0), *limit])
        add_TraceServiceServicer_to_server(Servicer(), self._grpc)  # type: ignore[no-untyped-call]
        add_MetricsServiceServicer_to_server(MetricsServicer(), self._grpc)  # type: ignore[no-untyped-call]
        self.grpc_port = self._grpc.add_insecure_port(f"{host}:{grpc_port or free_port()}")

    def start(self) -> OtlpReceiver:
        # The argument is how long `close` may have to wait.
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        self._grpc.start()
        return self

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._grpc.stop(None).wait()

    @property
    def environ(self) -> dict[str, str]:
        """What points a bridge here, over HTTP."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}"}

    @property
    def grpc_environ(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.grpc_port}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
        }

    def take(self, body: bytes) -> Reply:
        spans = _read(body)
        with self._lock:
            self.requests.append((time.time(), len(spans)))
            reply = self.behave(spans)
        if reply.delay:
            time.sleep(reply.delay)
        if reply.keep and 200 <= reply.status < 300 and reply.grpc is None and not reply.close:
            with self._lock:
                self.spans.extend(spans)
                self.times.update(one.span_id for one in spans if not one.is_part_root)
        return reply

    def take_metrics(self, request: ExportMetricsServiceRequest, headers: dict[str, str]) -> Reply:
        reply = self.behave_to_metrics(request)
        if reply.delay:
            time.sleep(reply.delay)
        if reply.keep and 200 <= reply.status < 300 and reply.grpc is None and not reply.close:
            with self._lock:
                self.pushes.append(Push(request, headers))
        return reply

    def find(self, **wanted: str) -> list[Received]:
        """Spans by `name`, `trace_id` or `span_id`."""
        with self._lock:
            return [
                one
                for one in self.spans
                if all((one.span.name if k == "name" else getattr(one, k)) == v for k, v in wanted.items())
            ]


def _read(body: bytes) -> list[Received]:
    request = ExportTraceServiceRequest.FromString(body)
    return [
        Received(
            span,
            plain(of_resource.resource.attributes),
            (of_scope.scope.name, of_scope.scope.version),
            (of_resource.schema_url, of_scope.schema_url),
        )
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def partial(rejected: int, message: str) -> Reply:
    """200 with a partial success."""
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = message
    return Reply(body=answer.SerializeToString(), headers={"Content-Type": "application/x-protobuf"}, keep=False)


def json_partial(rejected: int, message: str) -> Reply:
    """The same as JSON, as OTLP/JSON writes it: a number of 64 bits is a string."""
    answer = {"partialSuccess": {"rejectedSpans": str(rejected), "errorMessage": message}}
    return Reply(body=json.dumps(answer).encode(), headers={"Content-Type": "application/json"}, keep=False)
