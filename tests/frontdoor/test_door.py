"""What every answer carries: security headers, a request id, and what browsers of other origins need. And the logs."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest
import requests

from otel_bridge import logs
from tests.frontdoor.conftest import Serve
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION, Bridge
from tests.harness.waiting import wait_for

ORIGIN = "https://app.example"
SECRET = "zq8secret"


@pytest.fixture(scope="module")
def door(serve: Serve) -> Bridge:
    return serve(OTEL_BRIDGE_CORS_ORIGINS=f"{ORIGIN}, http://localhost:3000", OTEL_BRIDGE_LOG_LEVEL="debug")


@pytest.fixture(scope="module")
def closed(serve: Serve) -> Bridge:
    return serve()


def every_kind(bridge: Bridge, **headers: str) -> dict[str, requests.Response]:
    """One answer of each kind."""
    session = bridge.session()
    event = {**GUIDE_EVENT, "sesion_id": session}

    def get(path: str, method: str = "GET") -> requests.Response:
        return bridge.http.request(method, bridge.url + path, headers=headers)

    return {
        "201 session": bridge.post("/sessions", GUIDE_SESSION, headers=headers),
        "201 event": bridge.post("/events", event, headers=headers),
        "207 batch": bridge.post("/events", [event, {}], headers=headers),
        "422": bridge.post("/events", {}, headers=headers),
        "400": bridge.http.post(
            f"{bridge.api}/events", data="{", headers={"Content-Type": "application/json", **headers}
        ),
        "415": bridge.http.post(f"{bridge.api}/events", data="{}", headers={"Content-Type": "text/plain", **headers}),
        "404 gpt": bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": "x"}, headers=headers),
        "404 event": bridge.post(f"/events/{session}/valoracion", {"valor": 1}, headers=headers),
        "201 rating": bridge.post(
            f"/events/{bridge.event(session).json()['id']}/valoracion", {"valor": 1}, headers=headers
        ),
        "200 end": bridge.post(f"/sessions/{session}/fin", {}, headers=headers),
        "404 route": get("/nowhere"),
        "405": get("/api/events"),
        "405 rating": get(f"/api/events/{session}/valoracion"),
        "405 end": get(f"/api/sessions/{session}/fin"),
        "405 mcp": get("/mcp"),
        "200 state": get(f"/api/sessions/{session}"),
        "200 health": get("/healthz"),
        "200 ready": get("/readyz"),
        "200 openapi": get("/openapi.json"),
        "200 openapi-gpt": get("/openapi-gpt.json"),
        "HEAD": get("/healthz", "HEAD"),
    }


def test_security_headers_and_a_request_id_are_on_every_answer(door: Bridge) -> None:
    seen = set()
    for name, answer in every_kind(door).items():
        headers = answer.headers
        assert name.split()[0] in (str(answer.status_code), "HEAD"), (name, answer.text)
        assert headers["X-Content-Type-Options"] == "nosniff", name
        assert headers["Cache-Control"] == "no-store", name
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'", name
        assert headers["Referrer-Policy"] == "no-referrer", name
        assert "Server" not in headers, name
        assert re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]+", headers["X-Request-Id"]), name
        seen.add(headers["X-Request-Id"])
    assert len(seen) == len(every_kind(door))


@pytest.mark.parametrize("given, kept", [
    ("0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f", True), ("Root=1-67891233-abcdef012345678912345678", True), ("a", True),
    ("x" * 128, True), ("x" * 129, False), ("", False), ("a b", False), ("<script>", False), ('"}{"', False),
    ("é", False), ("a;b", False),
])  # fmt: skip
def test_a_callers_request_id_is_returned_where_it_is_fit_for_a_header_and_a_log(
    door: Bridge, given: str, kept: bool
) -> None:
    answer = door.post("/sessions", GUIDE_SESSION, headers={"X-Request-Id": given.encode()})
    assert answer.status_code == 201
    assert (answer.headers["X-Request-Id"] == given) is kept


# --- CORS -----------------------------------------------------------------------------------------------------------


def test_a_configured_origin_may_read_every_answer_errors_too(door: Bridge) -> None:
    for name, answer in every_kind(door, Origin=ORIGIN).items():
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN, name
        assert answer.headers["Vary"] == "Origin", name
        assert {"Retry-After", "Location", "X-Request-Id"} <= {
            part.strip() for part in answer.headers["Access-Control-Expose-Headers"].split(",")
        }
        assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "https://app.example.evil.example", ORIGIN + ":8443"]
)
def test_another_origin_is_told_nothing(door: Bridge, origin: str) -> None:
    for name, answer in every_kind(door, Origin=origin).items():
        assert "Access-Control-Allow-Origin" not in answer.headers, name
    assert preflight(door, origin).status_code == 405


def preflight(bridge: Bridge, origin: str, path: str = "/api/events") -> requests.Response:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, authorization, idempotency-key",
    }
    return bridge.http.options(bridge.url + path, headers=headers)


@pytest.mark.parametrize(
    "path",
    ["/api/events", "/api/sessions", "/api/sessions/x", "/api/sessions/x/fin", "/api/events/x/valoracion", "/mcp"],
)
def test_a_preflight_of_a_configured_origin_is_answered(door: Bridge, path: str) -> None:
    answer = preflight(door, ORIGIN, path)
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = {part.strip().lower() for part in answer.headers["Access-Control-Allow-Headers"].split(",")}
    assert {"content-type", "authorization", "x-api-key", "idempotency-key"} <= allowed


def test_without_configured_origins_no_browser_of_another_origin_is_let_in(closed: Bridge) -> None:
    assert preflight(closed, ORIGIN).status_code == 405
    for answer in every_kind(closed, Origin=ORIGIN).values():
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_any_origin_may_be_configured(serve: Serve) -> None:
    bridge = serve(OTEL_BRIDGE_CORS_ORIGINS="*")
    answer = bridge.post("/sessions", GUIDE_SESSION, headers={"Origin": "https://anyone.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert preflight(bridge, "https://anyone.example").status_code == 204


# --- logs -----------------------------------------------------------------------------------------------------------


def test_each_request_is_a_json_line_with_its_ids_and_nothing_of_what_was_sent(door: Bridge) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {
        "X-Request-Id": "mine-1",
        "traceparent": f"00-{trace}-b7ad6b7169203331-01",
        "Authorization": f"Bearer {SECRET}",
        "User-Agent": SECRET,
    }
    session = door.post("/sessions", {**GUIDE_SESSION, "usuario_id": SECRET}, headers=headers).json()["id"]
    event = {**GUIDE_EVENT, "sesion_id": session, "contenido": SECRET, "tipo": SECRET, "modelo": SECRET}
    assert door.post("/events", event, headers={"X-Request-Id": "mine-2"}).status_code == 201
    assert (
        door.post("/events", {**event, "latency_ms": SECRET}, headers={**headers, "X-Request-Id": "mine-3"}).status_code
        == 422
    )
    door.http.get(f"{door.url}/{SECRET}?{SECRET}", headers={"X-Request-Id": "mine-4"})
    wait_for(lambda: "mine-4" in door.output(), "the last line")  # it is written when the answer has left
    lines = {}
    for text in door.output().splitlines():
        if text.startswith("{"):
            line = json.loads(text)
            lines[line.get("request_id")] = line
    assert lines["mine-1"] | {"timestamp": "", "ms": 0} == {
        "timestamp": "", "level": "debug", "logger": "otel_bridge.http.app", "message": "request",
        "route": "/api/sessions",
        "method": "POST", "status": 201, "ms": 0, "request_id": "mine-1", "trace_id": session.replace("-", ""),
    }  # fmt: skip
    assert lines["mine-2"]["trace_id"] == session.replace("-", "")
    assert lines["mine-3"]["status"] == 422 and lines["mine-3"]["trace_id"] == trace
    assert lines["mine-4"]["route"] == "otra"
    assert SECRET not in door.output()


NASTY = 'a\r\nb\n{"level":"error"}\x1b[31m\x00\x7f\x9b\u2028\u202e'


@pytest.mark.parametrize("style", ["text", "json"])
def test_no_text_can_start_a_line_of_its_own_or_move_the_cursor(style: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._Json() if style == "json" else logs._Text())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error("said %s", NASTY, extra={"fields": {"from": NASTY}})
    written = stream.getvalue()
    assert written.count("\n") == 1 and written.endswith("\n")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", written)
    if style == "json":
        line = json.loads(written)
        assert line["level"] == "error" and line["message"] == f"said {NASTY}" and line["from"] == NASTY


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_exceptions_own_words_are_written_only_where_they_cannot_be_a_clients(style: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs._Json() if style == "json" else logs._Text())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    try:
        try:
            int(SECRET)
        except ValueError as cause:
            raise RuntimeError("the disk is gone") from cause
    except RuntimeError as error:
        logger.error("failed", exc_info=error)
    written = stream.getvalue()
    assert "RuntimeError: the disk is gone" in written and "ValueError" in written and "test_door.py" in written
    assert SECRET not in written.replace("SECRET", "")


def test_a_person_at_a_terminal_gets_lines_to_read(serve: Serve) -> None:
    bridge = serve(OTEL_BRIDGE_LOG_FORMAT="text")
    assert re.search(r"^\d\d:\d\d:\d\d info     journal ", bridge.output(), re.MULTILINE)
    assert bridge.stop() == 0
