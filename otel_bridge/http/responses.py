"""What answers have in common: their headers, the one shape of a problem, their bytes on the wire."""

from __future__ import annotations

import http
import itertools
import logging
import os
import re
import uuid
from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from otel_bridge import errors, logs
from otel_bridge.errors import Problem
from otel_bridge.http.cors import Pairs

log = logging.getLogger(__name__)

JSON_LINE = b"content-type: application/json\r\n"
PROBLEM = (b"content-type", b"application/problem+json")
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}

_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,127}").fullmatch
_request_ids = map(b"%b-%x".__mod__, zip(itertools.repeat(os.urandom(8).hex().encode()), itertools.count(1)))
"""Unlike any other process's, and cheaper than a UUID."""


def request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """The caller's own `X-Request-Id` where it is fit for a header and a log, else a new one."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID(given):
        return given
    return next(_request_ids)


def as_lines(pairs: Pairs) -> bytes:
    """Headers as they leave."""
    return b"".join([b"%b: %b\r\n" % pair for pair in pairs])


def on_the_wire(status: int, defaults: bytes, lines: bytes, body: bytes, keep_alive: bool) -> bytes:
    """A whole answer, for one write; an ASGI server makes two. `defaults` and `lines`: header lines, of all answers and
    of this one, without the length."""
    end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
    return b"%b%b%bcontent-length: %d\r\n%b%b" % (_STATUS_LINES[status], defaults, lines, len(body), end, body)


def problem_lines(problem: Problem) -> bytes:
    """Headers of a problem's answer, but for those that all answers have."""
    return as_lines([PROBLEM, *((name.lower().encode(), value.encode()) for name, value in problem.headers.items())])


def problem_body(problem: Problem) -> bytes:
    return msgspec.json.encode(problem.document())


def problem_response(problem: Problem) -> Response:
    return Response(
        problem_body(problem),
        status_code=problem.kind.status,
        headers=problem.headers,
        media_type="application/problem+json",
    )


def unexpected(error: BaseException) -> Problem:
    """An error nobody foresaw, as a 500 with an id that the log has. The log gets where, and never what was sent:
    an exception's message may hold a user's text."""
    reference = uuid.uuid4().hex
    fields = {"error_id": reference, "stack": logs.where(error.__traceback__)}
    log.error("unexpected %s", logs.describe(error), extra={"fields": fields})
    return Problem(errors.SERVER_ERROR, reference=reference)
