"""The failures of the guide's troubleshooting, and every other refusal, over real HTTP in one shape."""

from __future__ import annotations

import gzip
import json
import socket
import sqlite3
import uuid
from typing import Any

import pytest
import requests

from tests.e2e.conftest import Pair
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION

JSON = {"Content-Type": "application/json"}


def send(pair: Pair, path: str, body: bytes, **headers: str) -> requests.Response:
    return pair.bridge.http.post(f"{pair.bridge.api}{path}", data=body, headers={**JSON, **headers}, timeout=30)


def check(answer: requests.Response, status: int, kind: str, title: str | None = None) -> dict[str, Any]:
    """The one shape of an error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"urn:otel-bridge:{kind}" and body["status"] == status
    assert body["title"] and body["detail"]
    if title is not None:
        assert body["title"] == title
    for error in body.get("errors", []):
        assert error.keys() == {"campo", "mensaje", "tipo", "ejemplo"}
    return body


# --- the guide's six ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "gpt_id",
    [
        "Devops-Expert",
        "DEVOPS-EXPERT",
        "devops-expert ",
        " devops-expert",
        "devops_expert",
        "devopsexpert",
        "devops-experto",
    ],
)
def test_404_where_the_gpt_id_is_not_exactly_the_registered_one(shared: Pair, gpt_id: str) -> None:
    answer = shared.bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": gpt_id})
    body = check(answer, 404, "gpt-no-encontrado", "GPT no encontrado")
    assert "exactamente" in body["detail"]


def test_404_where_the_gpt_is_not_configured(shared: Pair) -> None:
    answer = shared.bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": "ventas-expert"})
    body = check(answer, 404, "gpt-no-encontrado", "GPT no encontrado")
    assert "configuración" in body["detail"]
    assert "ventas-expert" not in answer.text


@pytest.mark.parametrize("time", ["29/06/2025 20:00", "2025-06-29T25:00:00Z", "1751227200", "", 1751227200, None])
def test_422_where_a_timestamp_is_no_iso_8601(shared: Pair, time: object) -> None:
    answer = shared.bridge.post("/sessions", {**GUIDE_SESSION, "timestamp_inicio": time})
    body = check(answer, 422, "datos-invalidos", "Datos inválidos")
    assert [error["campo"] for error in body["errors"]] == ["timestamp_inicio"]
    assert "ISO 8601" in body["errors"][0]["mensaje"]
    assert body["errors"][0]["ejemplo"] == "2025-06-29T20:00:00.000Z"


def test_422_where_an_events_timestamp_is_no_iso_8601(shared: Pair) -> None:
    answer = shared.bridge.event(shared.bridge.session(), timestamp="ayer a las ocho")
    body = check(answer, 422, "datos-invalidos", "Datos inválidos")
    assert [error["campo"] for error in body["errors"]] == ["timestamp"]


@pytest.mark.parametrize("field", ["sesion_id", *GUIDE_EVENT])
def test_422_where_a_required_field_is_missing(shared: Pair, field: str) -> None:
    event = {**GUIDE_EVENT, "sesion_id": shared.bridge.session()}
    del event[field]
    body = check(shared.bridge.post("/events", event), 422, "datos-invalidos", "Datos inválidos")
    assert [(error["campo"], error["tipo"]) for error in body["errors"]] == [(field, "falta")]


def test_500_gives_an_id_that_the_log_has_and_the_next_post_is_taken(shared: Pair) -> None:
    """Somebody's tool renames a table of the journal: an error that nobody foresaw."""
    session = shared.bridge.session()
    db = sqlite3.connect(shared.bridge.journal)
    secret = "contenido-que-no-debe-salir"
    db.execute("ALTER TABLE segment RENAME TO segment_gone")
    try:
        answer = shared.bridge.event(session, contenido=secret)
    finally:
        db.execute("ALTER TABLE segment_gone RENAME TO segment")
        db.close()
    body = check(answer, 500, "error-del-servidor", "Error del servidor")
    assert "administrador" in body["detail"]
    log = shared.bridge.output()
    assert body["id"] in log
    assert secret not in log and secret not in answer.text
    assert shared.bridge.event(session).status_code == 201
    assert shared.bridge.metric("otel_bridge_records_total", reason="urn:otel-bridge:error-del-servidor") >= 1


# --- every other refusal ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/sessions", "/events"])
@pytest.mark.parametrize("body", [b"", b"{", b"no json", b'{"a": 1,}', b"\xff\xfe{}"])
def test_400_malformed_json(shared: Pair, path: str, body: bytes) -> None:
    check(send(shared, path, body), 400, "json-malformado")


def test_400_json_nested_without_end(shared: Pair) -> None:
    check(send(shared, "/events", b"[" * 100_000), 400, "json-malformado")
    check(send(shared, "/events", b'{"a":' * 100_000 + b"1" + b"}" * 100_000), 400, "json-malformado")


def test_400_a_broken_gzip(shared: Pair) -> None:
    for body in (b"no gzip", gzip.compress(b"{}")[:-4], gzip.compress(b"{}") + b"tail"):
        check(send(shared, "/events", body, **{"Content-Encoding": "gzip"}), 400, "gzip-malformado")


@pytest.mark.parametrize("key", ["con espacio", "x" * 256])
def test_400_an_unusable_idempotency_key(shared: Pair, key: str) -> None:
    answer = send(shared, "/sessions", json.dumps(GUIDE_SESSION).encode(), **{"Idempotency-Key": key})
    check(answer, 400, "cabecera-invalida")


def test_404_an_unknown_session(shared: Pair) -> None:
    unknown = str(uuid.uuid4())
    check(shared.bridge.event(unknown), 404, "sesion-no-encontrada")
    for path in (unknown, "no-es-uuid", "%00"):
        check(shared.bridge.http.get(f"{shared.bridge.api}/sessions/{path}", timeout=10), 404, "sesion-no-encontrada")


@pytest.mark.parametrize("path", ["/", "/api", "/api/eventos", "/api/events/", "/metrics", "/docs", "/../etc/passwd"])
def test_404_another_path(shared: Pair, path: str) -> None:
    check(shared.bridge.http.get(shared.bridge.url + path, timeout=10), 404, "ruta-no-encontrada")


@pytest.mark.parametrize("path", ["/api/sessions", "/api/events"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_405_another_method(shared: Pair, path: str, method: str) -> None:
    answer = shared.bridge.http.request(method, shared.bridge.url + path, timeout=10)
    check(answer, 405, "metodo-no-permitido")
    assert answer.headers["Allow"] == "POST"


def test_413_an_object_over_a_mebibyte(shared: Pair) -> None:
    session = shared.bridge.session()
    assert shared.bridge.event(session, contenido="x" * 1_000_000).status_code == 201
    check(shared.bridge.event(session, contenido="x" * 1_100_000), 413, "cuerpo-demasiado-grande")


def test_413_a_batch_over_its_limits(shared: Pair) -> None:
    session = shared.bridge.session()
    event = {**GUIDE_EVENT, "sesion_id": session}
    large = [{**event, "contenido": "x" * 500_000}] * 17
    check(shared.bridge.post("/events", large), 413, "cuerpo-demasiado-grande")
    many = b"[" + b",".join([b"{}"] * 10_001) + b"]"
    check(send(shared, "/events", many), 413, "cuerpo-demasiado-grande")


def test_413_counts_the_inflated_bytes(shared: Pair) -> None:
    bomb = gzip.compress(b"[" + b" " * (200 << 20) + b"]")
    assert len(bomb) < 1 << 20
    check(send(shared, "/events", bomb, **{"Content-Encoding": "gzip"}), 413, "cuerpo-demasiado-grande")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "deflate"},
    ],
)
def test_415_what_is_not_json(shared: Pair, headers: dict[str, str]) -> None:
    check(send(shared, "/sessions", json.dumps(GUIDE_SESSION).encode(), **headers), 415, "tipo-no-admitido")


@pytest.mark.parametrize(
    "kind",
    ["application/json; charset=utf-8", "application/json;charset=UTF-8", "application/vnd.x+json", "APPLICATION/JSON"],
)
def test_what_is_json_by_another_name_is_taken(shared: Pair, kind: str) -> None:
    answer = send(shared, "/sessions", json.dumps(GUIDE_SESSION).encode(), **{"Content-Type": kind})
    assert answer.status_code == 201, answer.text


STRICT = {
    '"1500"': "latency_ms",
    "true": "latency_ms",
    "NaN": "latency_ms",
    "-Infinity": "latency_ms",
    "-1": "latency_ms",
    "1e999": "latency_ms",
}


@pytest.mark.parametrize("text", STRICT)
def test_422_a_number_that_is_none(shared: Pair, text: str) -> None:
    event = {**GUIDE_EVENT, "sesion_id": shared.bridge.session(), "latency_ms": "@"}
    body = check(send(shared, "/events", json.dumps(event).replace('"@"', text).encode()), 422, "datos-invalidos")
    assert [error["campo"] for error in body["errors"]] == ["latency_ms"]


@pytest.mark.parametrize("text", ['"a\\u0000b"', '"\\ud800"'])
def test_422_a_text_that_is_none(shared: Pair, text: str) -> None:
    event = {**GUIDE_EVENT, "sesion_id": shared.bridge.session(), "contenido": "@"}
    check(send(shared, "/events", json.dumps(event).replace('"@"', text).encode()), 422, "datos-invalidos")


def test_no_refusal_repeats_what_was_written(shared: Pair) -> None:
    mark = "Juan-Pérez-4111111111111111"
    bodies = [
        {**GUIDE_SESSION, "gpt_id": mark},
        {**GUIDE_SESSION, "timestamp_inicio": mark},
        {**GUIDE_SESSION, "usuario_id": [mark]},
        {**GUIDE_SESSION, "id": mark},
        [mark],
    ]
    for body in bodies:
        answer = shared.bridge.post("/sessions", body)
        assert answer.status_code in (404, 422) and mark not in answer.text
    assert "Juan-P" not in shared.bridge.output()


def test_refusals_are_counted_by_reason(shared: Pair) -> None:
    def count(reason: str) -> float:
        return shared.bridge.metric(
            "otel_bridge_records_total", kind="session", result="rejected", reason=f"urn:otel-bridge:{reason}"
        )

    before = count("gpt-no-encontrado"), count("datos-invalidos")
    shared.bridge.post("/sessions", {**GUIDE_SESSION, "gpt_id": "x"})
    shared.bridge.post("/sessions", {})
    assert (count("gpt-no-encontrado"), count("datos-invalidos")) == (before[0] + 1, before[1] + 1)


def test_a_refused_record_is_never_accepted(shared: Pair) -> None:
    before = shared.bridge.metric("otel_bridge_records_total", result="accepted")
    shared.bridge.post("/sessions", {})
    shared.bridge.event(str(uuid.uuid4()))
    assert shared.bridge.metric("otel_bridge_records_total", result="accepted") == before


def test_a_connection_survives_a_refusal(shared: Pair) -> None:
    """Keep-alive: the answer after an error belongs to the request after it."""
    with socket.create_connection(("127.0.0.1", shared.bridge.port), timeout=10) as client:
        good = json.dumps(GUIDE_SESSION).encode()
        for body, status in ((b"{", b"400"), (good, b"201"), (b"[]", b"422"), (good, b"201")):
            head = "POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += client.recv(65536)
            head_text, _, rest = answer.partition(b"\r\n\r\n")
            assert head_text.split()[1] == status
            length = next(
                int(line.split(b":")[1])
                for line in head_text.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            while len(rest) < length:
                rest += client.recv(65536)
