"""The body of an answer, as protobuf and as JSON."""

from __future__ import annotations

import pytest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_bridge.export.response import error_message, read_response
from otel_bridge.export.result import MESSAGE_LIMIT

PARTIAL: dict[str, tuple[bytes, int, str]] = {
    "a string": (b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"no"}}', 2, "no"),
    "a number": (b'{"partialSuccess":{"rejectedSpans":2,"errorMessage":"no"}}', 2, "no"),
    "a whole float": (b'{"partialSuccess":{"rejectedSpans":2.0}}', 2, ""),
    "snake case": (b'{"partial_success":{"rejected_spans":"2","error_message":"no"}}', 2, "no"),
    "names that nobody knows": (b'{"ok":false,"partialSuccess":{"rejectedSpans":2,"x":[{}]}}', 2, ""),
    "white space and a mark before it": (b'\xef\xbb\xbf\r\n {"partialSuccess":{"rejectedSpans":2}}', 2, ""),
    "escapes": (b'{"partialSuccess":{"rejectedSpans":2,"errorMessage":"a\\u00f1o\\n"}}', 2, "a\u00f1o"),
}
OK: dict[str, bytes] = {
    "nothing": b"",
    "an empty object": b"{}",
    "an empty partial success": b'{"partialSuccess":{}}',
    "none": b'{"partialSuccess":null}',
    "none refused": b'{"partialSuccess":{"rejectedSpans":"0"}}',
    "fewer than none": b'{"partialSuccess":{"rejectedSpans":-1}}',
    "a greeting, as Langfuse answers": b'{"message":"OK"}',
    "a word": b"OK",
    "a word as JSON, as Splunk answers": b'"OK"',
    "a word, as Alibaba Cloud answers": b"success",
    "a word in a line": b"Accepted.\r\n",
    "nothing, of a framework": b"null\n",
    "white space": b" \n",
    "no error": b'{"error":null,"errors":[],"message":"OK"}',
}
CHANCE = "words that are protobuf by chance"
"""An answer all the same where it says that it is protobuf: a later release may have such fields."""
NO_ANSWER: dict[str, bytes] = {
    "a page": b"<html>",
    "words": b"Sign in",
    "a number that is none": b'{"error":1e999}',
    CHANCE: b"accepter\n",
    "a list": b"[1]",
    "a text": b'"x"',
    "not UTF-8": b"\xff\xfe{",
    "cut off": b'{"partialSuccess":{"rejectedSpans":',
    "an error": b'{"error":"unauthorized"}',
    "an error with its own message": b'{"error":{"code":401,"message":"unauthorized"}}',
    "errors": b'{"errors":[{"message":"no"}]}',
    "no number": b'{"partialSuccess":{"rejectedSpans":"many"}}',
    "lists in lists": b"[" * 200_000 + b"]" * 200_000,
    "objects in objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a million digits": b'{"a":' + b"9" * 1_000_000 + b"}",
    "protobuf that is cut off": ExportTraceServiceResponse.FromString(b"\n\x05\x08\x02\x12\x01x").SerializeToString()[
        :-1
    ],
}


@pytest.mark.parametrize("name", PARTIAL)
def test_json_tells_how_many_were_refused(name: str) -> None:
    body, rejected, message = PARTIAL[name]
    result = read_response(body)
    assert (result.kind, result.rejected, result.message) == ("partial", rejected, message)


@pytest.mark.parametrize("name", OK)
def test_an_answer_without_a_refusal_is_a_receipt(name: str) -> None:
    assert read_response(OK[name]).kind == "ok"


@pytest.mark.parametrize(
    ("name", "protobuf"), [(n, p) for n in NO_ANSWER for p in (False, True) if n != CHANCE or not p]
)
def test_what_is_no_otlp_answer_is_no_receipt(name: str, protobuf: bool) -> None:
    result = read_response(NO_ANSWER[name], protobuf)
    assert result.kind == "config" and result.message and len(result.message) <= MESSAGE_LIMIT


def test_a_field_of_a_later_release_does_no_harm() -> None:
    later = b"\x1a\x01x"  # field 3
    partial = ExportTraceServiceResponse.FromString(b"\n\x02\x08\x02").SerializeToString()
    assert read_response(later, protobuf=True).kind == "ok"
    assert read_response(partial + later).kind == "partial"


ERRORS: dict[str, tuple[bytes, str]] = {
    "a Status": (Status(code=3, message="no id").SerializeToString(), "no id"),
    "a Status as JSON": ('{"code":3,"message":"sin «id»","details":[]}'.encode(), "sin «id»"),
    "with details that nobody knows": (b'{"code":3,"message":"no id","details":[{"@type":"x/y.Z","a":1}]}', "no id"),
    "as Google's gateways have it": (b'{"error":{"code":400,"message":"no id","status":"INVALID"}}', "no id"),
    "an error's text": (b'{"error":"no id"}', "no id"),
    "another object": (b'{"detail":"no id"}', '{"detail":"no id"}'),
    "no text at all": (b'{"message":null,"error":[]}', '{"message":null,"error":[]}'),
    "words": (b"no id", "no id"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize("name", ERRORS)
def test_the_text_of_an_error_is_found(name: str) -> None:
    body, text = ERRORS[name]
    assert error_message(body) == text
