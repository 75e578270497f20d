"""The body of an endpoint's answer: an `ExportTraceServiceResponse` or a `google.rpc.Status`."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_bridge.export.result import SendResult, shorten


def read_response(body: bytes) -> SendResult:
    """The result that an accepted request's body tells: ok or partial. A body that is no OTLP message is ok."""
    try:
        partial = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return SendResult("ok", "the answer is no OTLP message")
    if partial.rejected_spans > 0:
        return SendResult("partial", shorten(partial.error_message), rejected=partial.rejected_spans)
    return SendResult("ok", shorten(partial.error_message))


def error_message(body: bytes) -> str:
    """The text of a refused request's body: a google.rpc.Status as the specification has it, or whatever it is."""
    try:
        message = Status.FromString(body).message
        if message:
            return str(message)
    except DecodeError:
        pass
    return body.decode("utf-8", "replace")
