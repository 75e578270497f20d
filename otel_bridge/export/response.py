"""The body of an endpoint's answer: an `Export…ServiceResponse` or a `google.rpc.Status`, as protobuf or as JSON.

Which of the two it is, the body tells better than its Content-Type: that is missing or wrong in answers that proxies
and frameworks make. No protobuf answer is a JSON object, nor the other way round.
"""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_bridge.config import Signal
from otel_bridge.export.result import SendResult, shorten

_RECEIPTS = frozenset((b"", b"ok", b"success", b"accepted", b"null", b"true", b"[]"))
"""What some receivers say instead of an OTLP answer: Alibaba Cloud `success`, Splunk `"OK"`, a framework's handler that
returns nothing `null`. The exporters of OpenTelemetry take every 200, so nobody else tells them."""
_RECEIPT_BYTES = 32

_Response = ExportTraceServiceResponse | ExportMetricsServiceResponse
_RESPONSES: dict[Signal, type[_Response]] = {
    "traces": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}


def read_response(body: bytes, protobuf: bool = False, signal: Signal = "traces") -> SendResult:
    """The result that an accepted request's body tells: ok, partial, or `config` where the body is no OTLP answer: then
    it was somebody else's word that it was accepted. `protobuf`: the sender says that this is what it is."""
    if len(body) <= _RECEIPT_BYTES and body.strip(b' \t\r\n".!').lower() in _RECEIPTS:
        return SendResult("ok")
    response = _from_json(body, _RESPONSES[signal]) or _from_protobuf(body, protobuf, _RESPONSES[signal])
    if response is None:
        return SendResult("config", shorten(f"the answer is none of an OTLP receiver: {error_message(body)}"))
    partial = response.partial_success
    rejected = (
        response.partial_success.rejected_spans
        if isinstance(response, ExportTraceServiceResponse)
        else (response.partial_success.rejected_data_points)
    )
    if rejected > 0:
        return SendResult("partial", shorten(partial.error_message), rejected=rejected)
    return SendResult("ok", shorten(partial.error_message))


def error_message(body: bytes) -> str:
    """The text of a refused request's body: a google.rpc.Status as the specification has it, or whatever it is."""
    document = _json_object(body)
    if document is not None:
        found = _field(document, "message") or _field(document, "error")
        return found or _text(body)
    try:
        message = Status.FromString(body).message
        if message:
            return str(message)
    except DecodeError:
        pass
    return _text(body)


def _from_json(body: bytes, kind: type[_Response]) -> _Response | None:
    """None: not a JSON object, or one that is no answer. Names that OTLP does not know are ignored, as OTLP/JSON wants
    it (Langfuse answers `{"message": "OK"}`); but what names an error is no receipt."""
    document = _json_object(body)
    if document is None or _field(document, "error") or _field(document, "errors"):
        return None
    try:
        return json_format.Parse(_text(body), kind(), ignore_unknown_fields=True)
    except json_format.ParseError:
        return None


def _from_protobuf(body: bytes, declared: bool, kind: type[_Response]) -> _Response | None:
    """None: not protobuf. Some plain texts are, with fields that nobody knows: that is an answer only where it says so
    of itself."""
    try:
        response = kind.FromString(body)
    except DecodeError:
        return None
    return response if declared or response.HasField("partial_success") else None


def _json_object(body: bytes) -> Struct | None:
    if not body.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return None
    try:
        return json_format.Parse(_text(body), Struct())
    except json_format.ParseError:
        return None


def _field(document: Struct, name: str) -> str:
    """A field as text, of an object its message; empty where there is nothing in it."""
    value = document.fields.get(name, None)
    if value is None:
        return ""
    if value.WhichOneof("kind") == "struct_value" and "message" in value.struct_value.fields:
        return _field(value.struct_value, "message")
    if value.WhichOneof("kind") == "string_value":
        return value.string_value
    try:
        plain = json_format.MessageToDict(value)
        return json_format.MessageToJson(value, indent=None) if plain else ""
    except ValueError:  # a number that JSON does not have: 1e999
        return name


def _text(body: bytes) -> str:
    return body.decode("utf-8-sig", "replace")
