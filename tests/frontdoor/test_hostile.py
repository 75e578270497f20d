"""Bodies, headers and paths that nobody honest sends: no 5xx, no echo, no series, nothing journaled."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import zlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge

CANARY = "zq7canary"
"""Stands wherever a text may stand; no answer, log line or series may show it."""
UUID = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
SESSION = json.dumps({**GUIDE_SESSION, "usuario_id": CANARY}).encode()
EVENT = json.dumps({**GUIDE_EVENT, "sesion_id": UUID, "contenido": CANARY}).encode()


@pytest.fixture(scope="module")
def target(serve: Serve) -> Bridge:
    return serve()


def raw(bridge: Bridge, path: str, body: bytes, headers: dict[str, str] | None = None) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", bridge.port, timeout=30)
    connection.request("POST", path, body, {"Content-Type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    answer.text = answer.read().decode()  # type: ignore[attr-defined]
    connection.close()
    return answer


def accepted(bridge: Bridge) -> float:
    return bridge.metric("otel_bridge_records_total", result="accepted")


def check_refused(answer: Any) -> None:
    assert 400 <= answer.status < 500, (answer.status, answer.text)
    assert answer.getheader("Content-Type") == "application/problem+json"
    assert answer.getheader("X-Content-Type-Options") == "nosniff" and answer.getheader("X-Request-Id")
    problem = json.loads(answer.text)
    assert problem["status"] == answer.status
    assert problem["type"].startswith("urn:otel-bridge:") and problem["title"] and problem["detail"]
    assert CANARY not in answer.text and "Traceback" not in answer.text and 'File "' not in answer.text
    for error in problem.get("errors", []):
        assert error["mensaje"] and error["ejemplo"] is not None


def with_field(base: bytes, field: str, literal: str) -> bytes:
    """The object with one field's value written as this literal, whatever that is."""
    fields = {k: json.dumps(v) for k, v in json.loads(base).items()} | {field: literal}
    return ("{" + ",".join(f'"{k}":{v}' for k, v in fields.items()) + "}").encode()


RATING = f"/api/events/{UUID}/valoracion"

BROKEN = {
    "empty": b"",
    "spaces": b"  \n\t ",
    "byte order mark": b"\xef\xbb\xbf" + EVENT,
    "cut off": EVENT[:-5],
    "two documents": EVENT + EVENT,
    "trailing comma": EVENT[:-1] + b",}",
    "single quotes": EVENT.replace(b'"', b"'"),
    "latin-1": EVENT.replace(b"zq7", b"\xe9\xe8"),
    "utf-16": EVENT.decode().encode("utf-16"),
    "overlong": EVENT.replace(b"zq7", b"\xc0\xaf"),
    "raw surrogate": EVENT.replace(b"zq7", b"\xed\xa0\x80"),
    "null byte": EVENT + b"\0",
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "closed deep array": b"[" * 50_000 + b"]" * 50_000,
    "deep field": with_field(EVENT, "contenido", "[" * 50_000 + "]" * 50_000),
    "number": b"1",
    "text": f'"{CANARY}"'.encode(),
    "null": b"null",
    "true": b"true",
    "huge number": b"9" * 100_000,
    "huge exponent": b"1e999999",
    "comment": b"/* hi */" + EVENT,
    "xml": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "form": b"sesion_id=1&tipo=consulta",
    "control characters": b"\x00\x01\x02\x1b[31m",
    "a million commas": b"[" + b"," * 1_000_000 + b"]",
    "unclosed text": b'{"contenido":"' + b"a" * 100_000,
    "escape at the end": b'{"contenido":"\\u12',
}


@pytest.mark.parametrize("path", ["/api/sessions", "/api/events", RATING])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_refused_and_leaves_nothing(target: Bridge, path: str, name: str) -> None:
    before = accepted(target)
    answer = raw(target, path, BROKEN[name])
    if answer.status == 207 and name == "closed deep array":
        # Python 3.14 measures the stack where earlier ones count levels, and reads it: a batch of one wrong item.
        assert [item["estado"] // 100 for item in json.loads(answer.text)["resultados"]] == [4]
    else:
        check_refused(answer)
    assert accepted(target) == before


LITERALS = {
    "null": "null", "true": "true", "text": f'"{CANARY}"', "empty": '""', "array": f'["{CANARY}"]',
    "object": f'{{"{CANARY}":1}}', "NaN": "NaN", "Infinity": "-Infinity", "1e999": "1e999", "negative": "-1",
    "minus zero point": "-0.5", "2**64": str(2**64), "digits": "9" * 5000, "float": "1.5", "quoted number": '"1500"',
    "NUL": '"a\\u0000b"', "lone surrogate": '"\\ud800"', "bidi": '"\\u202e\\u0000"', "long": json.dumps("x" * 2000),
    "nil uuid": '"00000000-0000-0000-0000-000000000000"', "year 0": '"0000-01-01T00:00:00Z"',
    "year 9999": '"9999-12-31T23:59:59Z"', "february 30": '"2025-02-30T00:00:00Z"', "date words": '"ayer"',
    "epoch": "1751227200", "sql": "\"'; DROP TABLE session; --\"", "log line": '"a\\r\\n{\\"level\\":\\"error\\"}"',
    "template": '"${jndi:ldap://x}{{7*7}}%s%n"',
}  # fmt: skip
FITS = {  # what a field takes after all
    "gpt_id": set(), "usuario_id": {"text", "quoted number", "bidi2", "sql", "log line", "template", "nil uuid",
    "year 0", "year 9999", "february 30", "date words"},
    "contenido": {"text", "empty", "quoted number", "long", "sql", "log line", "template", "nil uuid", "year 0",
    "year 9999", "february 30", "date words"},
    "tipo": {"text", "quoted number", "sql", "log line", "template", "nil uuid", "year 0", "year 9999", "february 30",
    "date words"}, "timestamp": {"null"}, "id": {"null"}, "error": {"null", "text", "quoted number", "nil uuid",
    "date words", "year 0", "year 9999", "february 30"},
    "modelo": {"null", "text", "quoted number", "sql", "log line", "template", "nil uuid", "year 0", "year 9999",
    "february 30", "date words"}, "latency_ms": {"float"}, "timestamp_inicio": set(), "sesion_id": set(),
    "tokens_entrada": set(), "tokens_salida": set(), "tokens_cache": {"null"},
}  # fmt: skip


WRONG = [
    (path, field, name)
    for path, fields in (
        ("/api/sessions", ("gpt_id", "usuario_id", "timestamp_inicio", "id")),
        ("/api/events", ("sesion_id", "tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida",
                         "tokens_cache", "timestamp", "id", "modelo", "error")),
    )
    for field in fields
    for name in LITERALS
    if name not in FITS[field]
]  # fmt: skip


@pytest.mark.parametrize("path, field, name", WRONG)
def test_a_wrong_value_is_named_with_an_example_and_never_echoed(
    target: Bridge, path: str, field: str, name: str
) -> None:
    body = with_field(SESSION if path == "/api/sessions" else EVENT, field, LITERALS[name])
    before = accepted(target)
    answer = raw(target, path, body)
    check_refused(answer)
    assert accepted(target) == before
    if answer.status == 422:
        assert [error["campo"] for error in json.loads(answer.text)["errors"]] == [field]


def test_every_wrong_field_is_told_at_once_so_that_a_model_repairs_its_call_in_one_go(target: Bridge) -> None:
    body = {"sesion_id": "uuid-de-la-sesion", "tipo": "", "latency_ms": "1500", "tokens_entrada": None, "timestamp": 5}
    answer = raw(target, "/api/events", json.dumps(body).encode())
    errors = {error["campo"]: error for error in json.loads(answer.text)["errors"]}
    assert set(errors) == {
        "sesion_id",
        "tipo",
        "contenido",
        "latency_ms",
        "tokens_entrada",
        "tokens_salida",
        "timestamp",
    }
    session = target.session()
    repaired = {
        "sesion_id": session,
        **{name: error["ejemplo"] for name, error in errors.items() if name != "sesion_id"},
    }
    assert raw(target, "/api/events", json.dumps(repaired).encode()).status == 201


HEADERS: list[dict[str, str]] = [
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/xml"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": CANARY},
    {"Content-Encoding": "br"},
    {"Content-Encoding": "gzip, gzip"},
    {"Content-Encoding": "gzip"},
    {"Idempotency-Key": ""},
    {"Idempotency-Key": "a b"},
    {"Idempotency-Key": "x" * 300},
    {"Idempotency-Key": "é"},
]


@pytest.mark.parametrize("headers", HEADERS, ids=str)
@pytest.mark.parametrize("path", ["/api/sessions", "/api/events"])
def test_a_header_that_cannot_be_honoured_is_refused(target: Bridge, path: str, headers: dict[str, str]) -> None:
    before = accepted(target)
    check_refused(raw(target, path, SESSION if path == "/api/sessions" else EVENT, headers))
    assert accepted(target) == before


@pytest.mark.parametrize(
    "headers",
    [{"traceparent": CANARY}, {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
     {"X-Request-Id": "a\tb" + CANARY}, {"Authorization": "Bearer " + CANARY}, {"X-API-Key": "é" * 50},
     {"X-Forwarded-For": "," * 5000},
     {"openai-conversation-id": CANARY + " x"}, {"openai-conversation-id": ""}, {"Host": "evil.example"},
     {"tracestate": "x" * 5000}, {"baggage": "é"}, {"Cookie": CANARY}],
    ids=str,
)  # fmt: skip
def test_a_header_that_is_only_a_hint_refuses_nothing_however_it_is_bent(
    target: Bridge, headers: dict[str, str]
) -> None:
    answer = raw(target, "/api/sessions", SESSION, headers)
    assert answer.status == 201
    assert CANARY not in str(answer.getheaders())


def test_a_bomb_costs_no_more_than_an_honest_batch(target: Bridge) -> None:
    bomb = gzip.compress(b"[" + b" " * (200 << 20), 9)
    answer = raw(target, "/api/events", bomb, {"Content-Encoding": "gzip"})
    check_refused(answer)
    assert answer.status == 413


@pytest.mark.parametrize(
    "body", [zlib.compress(EVENT), gzip.compress(EVENT)[:-4], gzip.compress(EVENT) + b"more", gzip.compress(EVENT) * 2]
)
def test_a_damaged_stream_is_refused(target: Bridge, body: bytes) -> None:
    check_refused(raw(target, "/api/events", body, {"Content-Encoding": "gzip"}))


@pytest.mark.parametrize(
    "path",
    ["/api/sessions/..", "/api/sessions/%00", "/api/sessions/" + CANARY,
     f"/api/sessions/{UUID}%0a", "/api/sessions/%ff", "/api/sessions/" + "a" * 8000, "/metrics", "/api", "/",
     "//api/events", "/api/events/", "/api/events//valoracion", "/api/events/a/b/valoracion",
     "/api/sessions/a/valoracion",
     "/api/events/%2f/valoracion", "/api/events/a/fin", RATING + "/", "/api/sessions/a/fin/", "/%2e%2e/etc/passwd",
     "/docs", "/openapi-gpt.json?gpt=" + CANARY, "/openapi-gpt.json?gpt=%00", "/api/sessions/{id}"],
)  # fmt: skip
def test_a_path_that_leads_nowhere_is_a_404_in_the_one_shape(target: Bridge, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=30)
    connection.request("GET", path)
    answer: Any = connection.getresponse()
    answer.text = answer.read().decode()
    connection.close()
    check_refused(answer)
    assert answer.status == 404


@pytest.mark.parametrize(
    "sent",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
     b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
     b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     b"POST /api/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
     b"POST /api/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http_gets_no_5xx_and_ends_nothing(target: Bridge, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", target.port), timeout=20) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        first = connection.recv(4096)
    assert not first or first.split(b" ")[1][:1] == b"4", first
    assert target.http.get(f"{target.url}/healthz").status_code == 200


# --- what nobody thought of -----------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(CANARY),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["sesion_id", "tipo", "contenido", "latency_ms", "tokens_entrada", "tokens_salida", "tokens_cache",
          "timestamp", "id", "modelo", "error", "gpt_id", "usuario_id", "timestamp_inicio"]  # fmt: skip
near_misses = st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=10)
bodies = st.one_of(
    st.binary(max_size=300),
    json_values.map(lambda value: json.dumps(value).encode()),
    near_misses.map(lambda value: json.dumps({**GUIDE_EVENT, "sesion_id": UUID, **value}).encode()),
    near_misses.map(lambda value: json.dumps({**GUIDE_SESSION, "gpt_id": "no-such-gpt", **value}).encode()),
    st.lists(near_misses, max_size=5).map(lambda value: json.dumps(value).encode()),
    st.tuples(st.just(EVENT), st.integers(0, len(EVENT)), st.binary(max_size=5)).map(
        lambda cut: cut[0][: cut[1]] + cut[2] + cut[0][cut[1] :]
    ),
)


@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    path=st.sampled_from(["/api/sessions", "/api/events", RATING, f"/api/sessions/{UUID}/fin"]),
    body=bodies,
    hinted=st.booleans(),
)
def test_no_body_whatever_makes_a_5xx(target: Bridge, path: str, body: bytes, hinted: bool) -> None:
    # Every event here belongs to a session that does not exist: only a hint can have one opened.
    headers = {"openai-conversation-id": "hostile"} if hinted else {}
    answer: Any = raw(target, path, body, headers)
    assert answer.status < 500, answer.text
    if answer.status >= 400:
        check_refused(answer)
    elif answer.status == 207:
        assert CANARY not in answer.text


@pytest.fixture(scope="module", autouse=True)
def clean_afterwards(target: Bridge) -> Any:
    yield
    text = target.http.get(target.metrics_url).text
    assert CANARY not in text
    series = target.metric("otel_bridge_series")
    for i in range(50):
        raw(target, "/api/events", with_field(EVENT, "tipo", f'"tipo{i}"'))
        raw(target, "/api/events", with_field(EVENT, "modelo", f'"modelo{i}"'))
        target.http.get(f"{target.url}/{CANARY}{i}")
    assert target.metric("otel_bridge_series") == series
    assert CANARY not in target.http.get(target.metrics_url).text
    assert target.metric("otel_bridge_ledger_gap") == 0
    output = target.output()
    assert CANARY not in output and "Traceback" not in output and "unexpected" not in output
    for line in output.splitlines()[7:]:
        assert not line.startswith("{") or json.loads(line)["level"] in ("info", "warning"), line
    assert target.stop() == 0
