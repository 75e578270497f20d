"""The documented JSON: what is taken, what is refused, and how a refusal is worded."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from otel_bridge import contract, errors
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.errors import FieldError, Problem

SESSION_ID = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
SESSION = {"gpt_id": "devops-expert", "usuario_id": "usuario123", "timestamp_inicio": "2025-06-29T20:00:00.000Z"}
EVENT: dict[str, Any] = {
    "sesion_id": SESSION_ID,
    "tipo": "consulta",
    "contenido": "¿Cómo configuro un pipeline CI/CD con Docker?",
    "latency_ms": 1500,
    "tokens_entrada": 25,
    "tokens_salida": 150,
}
NOW_US = time.time_ns() // 1000
GUIDE_START_US = int(datetime(2025, 6, 29, 20, tzinfo=UTC).timestamp()) * 1_000_000


def decode_batch(raw: bytes) -> list[EventIn | Problem]:
    """A batch as the intake reads it."""
    events = contract.decode_good_batch(raw)
    return contract.decode_mixed_batch(raw) if events is None else events


def body(document: object) -> bytes:
    return json.dumps(document).encode()


def refused(call: Any, *arguments: Any) -> Problem:
    with pytest.raises(Problem) as caught:
        call(*arguments)
    return caught.value


def event_problem(raw: bytes) -> Problem:
    """Why a single event is refused, by the two steps every door takes."""
    try:
        event = contract.decode_event(raw)
    except Problem as problem:
        return problem
    with pytest.raises((ValueError, OverflowError)):
        contract.event_time(event, NOW_US)
    return contract.diagnose(raw, EventIn)


def fields(problem: Problem) -> dict[str, str]:
    """{campo: tipo} of a refusal."""
    return {error.campo: error.tipo for error in problem.errors}


# --- what is taken ------------------------------------------------------------------------------------------------


def test_the_guides_session_is_taken() -> None:
    session, started_us = contract.decode_session(body(SESSION))
    assert (session.gpt_id, session.usuario_id, session.id) == ("devops-expert", "usuario123", None)
    assert started_us == GUIDE_START_US


def test_the_guides_event_is_taken() -> None:
    event = contract.decode_event(body(EVENT))
    assert event.sesion_id == UUID(SESSION_ID)
    assert (event.tipo, event.contenido) == (EVENT["tipo"], EVENT["contenido"])
    assert (event.latency_ms, event.tokens_entrada, event.tokens_salida) == (1500, 25, 150)
    assert (event.timestamp, event.id, event.modelo, event.error, event.tokens_cache) == (None,) * 5
    assert contract.event_time(event, NOW_US) is None


def test_optional_fields_are_taken() -> None:
    extra = {"timestamp": "2025-06-29T20:00:00Z", "id": SESSION_ID, "modelo": "gpt-6.2-sol", "error": "timeout"}
    event = contract.decode_event(body({**EVENT, **extra, "tokens_cache": 20}))
    assert (event.id, event.modelo, event.error, event.tokens_cache) == (UUID(SESSION_ID), "gpt-6.2-sol", "timeout", 20)
    assert contract.event_time(event, NOW_US) == GUIDE_START_US


def test_unknown_fields_are_ignored() -> None:
    assert contract.decode_event(body({**EVENT, "canal": "web", "extra": {"a": [1, None]}})).tipo == "consulta"
    assert contract.decode_session(body({**SESSION, "canal": "web"}))[0].gpt_id == "devops-expert"


@pytest.mark.parametrize("name", ["timestamp", "id", "modelo", "error", "tokens_cache"])
def test_an_optional_field_may_be_null(name: str) -> None:
    assert getattr(contract.decode_event(body({**EVENT, name: None})), name) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("latency_ms", 0),
        ("latency_ms", 0.25),
        ("latency_ms", 1.5e3),
        ("latency_ms", contract.MAX_LATENCY_MS),
        ("tokens_entrada", 0),
        ("tokens_salida", contract.MAX_TOKENS),
        ("tokens_cache", 0),
        ("tokens_cache", EVENT["tokens_entrada"]),
        ("contenido", ""),
        ("contenido", "línea\nlínea\t«😀»"),
        ("tipo", "x" * 64),
        ("modelo", "x" * 128),
        ("error", "http/500:upstream_x.y-z"),
    ],
)
def test_values_at_the_edge_are_taken(name: str, value: object) -> None:
    event = contract.decode_event(body({**EVENT, name: value}))
    contract.event_time(event, NOW_US)
    assert getattr(event, name) == value


# --- strictness ---------------------------------------------------------------------------------------------------

NUMBER_FIELDS = ("latency_ms", "tokens_entrada", "tokens_salida")
BAD_NUMBERS = [
    '"1500"',
    "true",
    "false",
    "NaN",
    "Infinity",
    "-Infinity",
    "-1",
    "1e999",
    "-0.5",
    "{}",
    "[]",
    str(10**30),
]


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name in NUMBER_FIELDS for text in [*BAD_NUMBERS, "null"]]
    + [("tokens_cache", text) for text in BAD_NUMBERS],
)
def test_a_number_must_be_a_number_in_range(name: str, text: str) -> None:
    raw = json.dumps({**EVENT, name: "@"}).replace('"@"', text).encode()
    problem = event_problem(raw)
    assert problem.kind is errors.INVALID_DATA
    assert list(fields(problem)) == [name]


@pytest.mark.parametrize("tokens", [3, 25, 10**8])
def test_the_cache_cannot_serve_more_than_was_asked(tokens: int) -> None:
    wrong = {**EVENT, "tokens_entrada": tokens, "tokens_cache": tokens + 1}
    problem = event_problem(body(wrong))
    assert problem.kind is errors.INVALID_DATA and problem.detail == "Revisa: «tokens_cache»."
    (error,) = problem.errors
    assert (error.campo, error.tipo) == ("tokens_cache", "valor")
    assert error.mensaje == (
        "supera «tokens_entrada»; se espera un entero entre 0 y el de «tokens_entrada», sin comillas"
    )
    repaired = contract.decode_event(body({**wrong, "tokens_cache": error.ejemplo}))
    assert contract.event_time(repaired, NOW_US) is None


def test_too_large_a_cache_is_told_beside_what_else_is_wrong() -> None:
    assert fields(event_problem(body({**EVENT, "tokens_cache": 26, "tipo": ""}))) == {
        "tipo": "valor",
        "tokens_cache": "valor",
    }
    assert fields(event_problem(body({**EVENT, "tokens_cache": 26, "tokens_entrada": "25"}))) == {
        "tokens_entrada": "tipo"
    }


@pytest.mark.parametrize("name", ["tokens_entrada", "tokens_salida", "tokens_cache"])
def test_tokens_are_whole(name: str) -> None:
    assert list(fields(event_problem(body({**EVENT, name: 1.5})))) == [name]


BAD_TEXTS = {
    "number": "7",
    "true": "true",
    "null": "null",
    "list": "[]",
    "object": "{}",
    "NUL": '"a\\u0000b"',
    "high surrogate": '"a\\ud800"',
    "low surrogate": '"a\\udc00b"',
    "reversed surrogates": '"\\udc00\\ud800"',
}


@pytest.mark.parametrize("name", ["tipo", "contenido", "sesion_id"])
@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_an_events_text_must_be_text_without_nul_or_lone_surrogates(name: str, kind: str) -> None:
    raw = json.dumps({**EVENT, name: "@"}).replace('"@"', BAD_TEXTS[kind]).encode()
    problem = event_problem(raw)
    assert problem.kind is errors.INVALID_DATA
    assert list(fields(problem)) == [name]


@pytest.mark.parametrize("name", ["gpt_id", "usuario_id", "timestamp_inicio"])
@pytest.mark.parametrize("kind", BAD_TEXTS)
def test_a_sessions_text_must_be_text_without_nul_or_lone_surrogates(name: str, kind: str) -> None:
    raw = json.dumps({**SESSION, name: "@"}).replace('"@"', BAD_TEXTS[kind]).encode()
    problem = refused(contract.decode_session, raw)
    assert problem.kind is errors.INVALID_DATA
    assert list(fields(problem)) == [name]


@pytest.mark.parametrize("kind", [kind for kind in BAD_TEXTS if kind != "null"])
@pytest.mark.parametrize("name", ["modelo", "error", "timestamp", "id"])
def test_an_optional_text_is_as_strict(name: str, kind: str) -> None:
    raw = json.dumps({**EVENT, name: "@"}).replace('"@"', BAD_TEXTS[kind]).encode()
    problem = event_problem(raw)
    assert problem.kind is errors.INVALID_DATA
    assert list(fields(problem)) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tipo", ""),
        ("tipo", "x" * 65),
        ("modelo", ""),
        ("modelo", "x" * 129),
        ("error", ""),
        ("error", "x" * 65),
        ("error", "con espacios"),
        ("error", "salto\n"),
        ("sesion_id", "no-es-uuid"),
        ("sesion_id", SESSION_ID + "0"),
        ("id", "00000000-0000-0000-0000-000000000000"),
        ("id", "7"),
    ],
)
def test_a_text_outside_its_limits_is_refused(name: str, value: str) -> None:
    assert fields(event_problem(body({**EVENT, name: value}))) == {name: "valor"}


BAD_TIMES = [
    "",
    "ayer",
    "29/06/2025",
    "2025-13-01T00:00:00Z",
    "2025-02-30T00:00:00Z",
    "2025-06-29T25:00:00Z",
    "2025-06-29T20:00:60Z",
    "2025-06-29T20:00:00+25:00",
    "1751227200",
    "1751227200000",
    "1969-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59",
    "0001-01-01T00:00:00+23:59",
    "2025-06-29T20:00:00Z; DROP TABLE",
    "20250629T2000+05:00.123Z",
    "2025-06-29T20:00:00.12³Z",
    "2025-06-29T20:00:00.-12Z",
]


@pytest.mark.parametrize("text", BAD_TIMES)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    assert list(fields(refused(contract.decode_session, body({**SESSION, "timestamp_inicio": text})))) == [
        "timestamp_inicio"
    ]
    assert list(fields(event_problem(body({**EVENT, "timestamp": text})))) == ["timestamp"]


@pytest.mark.parametrize("shape", [SessionIn, EventIn])
@pytest.mark.parametrize("raw", [b"[]", b"1", b'"x"', b"null", b"true"])
def test_a_value_that_is_no_object_is_refused(shape: Any, raw: bytes) -> None:
    problem = contract.diagnose(raw, shape)
    assert problem.kind is errors.INVALID_DATA
    assert problem.errors[0].ejemplo == contract.example(shape)


# --- how a refusal is worded ----------------------------------------------------------------------------------------


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {"sesion_id": 7, "tipo": "", "latency_ms": "1500", "tokens_entrada": -1, "timestamp": "ayer"}
    problem = event_problem(body(wrong))
    assert fields(problem) == {
        "sesion_id": "tipo",
        "tipo": "valor",
        "contenido": "falta",
        "latency_ms": "tipo",
        "tokens_entrada": "valor",
        "tokens_salida": "falta",
        "timestamp": "valor",
    }
    for name in fields(problem):
        assert f"«{name}»" in problem.detail


@pytest.mark.parametrize("name", list(EVENT))
def test_a_missing_field_of_an_event_is_named_with_an_example(name: str) -> None:
    problem = event_problem(body({key: value for key, value in EVENT.items() if key != name}))
    assert fields(problem) == {name: "falta"}
    assert problem.errors[0].ejemplo is not None
    assert problem.errors[0].mensaje.startswith("falta este campo; se espera ")


@pytest.mark.parametrize("name", list(SESSION))
def test_a_missing_field_of_a_session_is_named(name: str) -> None:
    raw = body({key: value for key, value in SESSION.items() if key != name})
    assert fields(refused(contract.decode_session, raw)) == {name: "falta"}


@pytest.mark.parametrize("shape", [SessionIn, EventIn])
def test_the_example_of_a_shape_is_itself_valid(shape: Any) -> None:
    msgspec.convert(contract.example(shape), shape)
    assert contract.diagnose(body(contract.example(shape)), shape).errors == ()


MALFORMED = {
    "nothing": b"",
    "blank": b" \n ",
    "cut off": b'{"tipo": "consulta"',
    "trailing comma": b'{"tipo": "consulta",}',
    "two documents": b"{} {}",
    "single quotes": b"{'tipo': 1}",
    "not UTF-8": b'{"tipo": "\xff\xfe"}',
    "too many digits": b'{"latency_ms": ' + b"9" * 5000 + b"}",
    "nested 100,000": b'{"contenido": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects nested 100,000": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_body_that_is_no_json_is_400(case: str) -> None:
    for call in (contract.decode_session, contract.decode_event):
        problem = refused(call, MALFORMED[case])
        assert problem.kind is errors.JSON_MALFORMED
        assert problem.errors == ()


def test_a_refusal_tells_where_the_json_breaks() -> None:
    assert "línea 2, columna" in refused(contract.decode_event, b'{"tipo": "consulta",\n "x"}').detail


# --- batches --------------------------------------------------------------------------------------------------------


def test_a_batch_is_told_from_an_object_by_its_first_character() -> None:
    assert contract.is_batch(b"[]") and contract.is_batch(b" \r\n\t[1]")
    assert not contract.is_batch(b"{}") and not contract.is_batch(b"") and not contract.is_batch(b' "["')


def test_good_items_of_a_batch_stand_beside_bad_ones_in_order() -> None:
    items = decode_batch(body([EVENT, {**EVENT, "latency_ms": "x"}, EVENT, 7]))
    assert [isinstance(item, EventIn) for item in items] == [True, False, True, False]
    assert fields(items[1]) == {"latency_ms": "tipo"}  # type: ignore[arg-type]


def test_an_empty_batch_has_no_items() -> None:
    assert decode_batch(b"[]") == []


@pytest.mark.parametrize("raw", [b"[", b"[1,", b'["\xff"]'])
def test_a_batch_that_is_no_json_is_400(raw: bytes) -> None:
    assert refused(decode_batch, raw).kind is errors.JSON_MALFORMED


def test_a_batch_that_is_nested_without_end_is_refused() -> None:
    """Python up to 3.13 counts levels and cannot read it (400); 3.14 measures the stack and reads it: a wrong item."""
    try:
        items = decode_batch(b"[" * 100_000 + b"]" * 100_000)
    except Problem as problem:
        assert problem.kind is errors.JSON_MALFORMED
    else:
        assert [isinstance(item, Problem) for item in items] == [True]


def test_a_batch_with_too_many_items_is_413() -> None:
    limit = contract.MAX_BATCH_ITEMS
    assert len(decode_batch(b"[" + b",".join([b"1"] * limit) + b"]")) == limit
    for count in (limit + 1, 100 * limit):
        assert refused(decode_batch, b"[" + b",".join([b"1"] * count) + b"]").kind is errors.BODY_TOO_LARGE


# --- the types also make the document ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [SessionIn, EventIn])
def test_every_field_says_what_is_expected_and_gives_an_example(shape: Any) -> None:
    for field in msgspec.structs.fields(shape):
        meta = contract.field_meta(field.type)
        assert meta["expected"] and meta["example"] is not None


def test_a_field_without_words_for_its_sender_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        contract.field_meta(int)


def test_an_answer_to_a_field_has_the_documented_shape() -> None:
    assert msgspec.structs.asdict(FieldError("tipo", "se espera un texto", "valor", "consulta")).keys() == {
        "campo",
        "mensaje",
        "tipo",
        "ejemplo",
    }
