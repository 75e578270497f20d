"""Whatever is posted is either the documented value or a refusal in the documented shape."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from otel_bridge import contract, errors
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.errors import Problem
from otel_bridge.times import AHEAD_US, EARLIEST_US
from tests.unit.test_contract import EVENT, SESSION, decode_batch

NOW_US = time.time_ns() // 1000
LATEST_US = NOW_US + AHEAD_US + 3_600 * 1_000_000
MARK = "s3cr3t-Zq7"
"""A text that nothing of ours contains: if it stands in an answer, a user's text was echoed."""

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(codec=None), max_size=30)
    | st.sampled_from(
        ["1500", "", "\0", "\ud800", "ayer", "2025-06-29T20:00:00Z", 10**30, -1, 0, EVENT["sesion_id"], MARK]
    )
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)


def documents(valid: dict[str, Any], optional: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Objects near the documented one: fields missing, replaced, added."""
    names = st.sampled_from([*valid, *optional, "otro"])
    return st.tuples(
        st.sets(st.sampled_from(list(valid)), max_size=2),
        st.dictionaries(names, values, max_size=4),
    ).map(lambda both: {**{key: value for key, value in valid.items() if key not in both[0]}, **both[1]})


sessions = documents(SESSION, ("id",))
events = documents(EVENT, ("timestamp", "id", "modelo", "error", "tokens_cache"))


def raw(document: object) -> bytes:
    """As a client would: with escapes, so that lone surrogates get through; NaN and Infinity as Python writes them."""
    return json.dumps(document).encode()


def check_problem(problem: Problem) -> None:
    """The documented shape, whatever was posted."""
    document = json.loads(msgspec.json.encode(problem.document()))
    assert problem.kind in (errors.JSON_MALFORMED, errors.INVALID_DATA, errors.BODY_TOO_LARGE)
    assert document["type"] == problem.kind.type and document["status"] == problem.kind.status
    assert document["title"] == problem.kind.title and document["detail"]
    for error in document.get("errors", []):
        assert set(error) == {"campo", "mensaje", "tipo", "ejemplo"}
        assert error["tipo"] in ("falta", "tipo", "valor") and error["mensaje"]
    msgspec.convert(document, contract.ProblemOut)
    assert MARK not in json.dumps(document, ensure_ascii=False)


def session(body: bytes) -> tuple[SessionIn, int] | Problem:
    try:
        return contract.decode_session(body)
    except Problem as problem:
        check_problem(problem)
        return problem


def event(body: bytes) -> tuple[EventIn, int | None] | Problem:
    try:
        value = contract.decode_event(body)
        try:
            return value, contract.event_time(value, NOW_US)
        except (ValueError, OverflowError):
            problem = contract.diagnose(body, EventIn)
    except Problem as refused:
        problem = refused
    check_problem(problem)
    return problem


def check_session(value: SessionIn, started_us: int) -> None:
    assert 1 <= len(value.gpt_id) <= 128 and 1 <= len(value.usuario_id) <= 256
    assert "\0" not in value.gpt_id + value.usuario_id
    (value.gpt_id + value.usuario_id).encode()
    assert EARLIEST_US <= started_us <= LATEST_US


def check_event(value: EventIn, at_us: int | None) -> None:
    assert isinstance(value.latency_ms, float) and 0 <= value.latency_ms <= contract.MAX_LATENCY_MS
    cached = value.tokens_cache
    for tokens in (value.tokens_entrada, value.tokens_salida, 0 if cached is None else cached):
        assert type(tokens) is int and 0 <= tokens <= contract.MAX_TOKENS
    assert cached is None or cached <= value.tokens_entrada
    text = value.tipo + value.contenido + (value.modelo or "") + (value.error or "")
    assert "\0" not in text
    text.encode()
    assert at_us is None or EARLIEST_US <= at_us <= LATEST_US


@given(sessions | values)
def test_any_json_is_a_session_or_a_refusal(document: object) -> None:
    answer = session(raw(document))
    if not isinstance(answer, Problem):
        check_session(*answer)


@given(events | values)
@example({**EVENT, "otro": float("nan")})
@example({**EVENT, "otro": "\ud800"})
@example({**EVENT, "latency_ms": 10**400})
@example({**EVENT, "tokens_cache": EVENT["tokens_entrada"] + 1})
def test_any_json_is_an_event_or_a_refusal(document: object) -> None:
    answer = event(raw(document))
    if not isinstance(answer, Problem):
        check_event(*answer)


@given(st.lists(events | values, max_size=4))
def test_any_array_is_one_answer_an_item(documents: list[object]) -> None:
    try:
        items = decode_batch(raw(documents))
    except Problem as problem:
        check_problem(problem)
        return
    assert len(items) == len(documents)
    for item in items:
        if isinstance(item, Problem):
            check_problem(item)
        else:
            try:
                check_event(item, contract.event_time(item, NOW_US))
            except (ValueError, OverflowError):
                check_problem(contract.diagnose_value(msgspec.to_builtins(item), EventIn))


@given(st.lists(events, min_size=1, max_size=3))
def test_an_item_fares_in_a_batch_as_it_does_alone(documents: list[object]) -> None:
    try:
        items = decode_batch(raw(documents))
    except Problem:
        # NaN or a lone surrogate refuses the whole array; at least one item must be refused alone, too.
        assert any(isinstance(event(raw(document)), Problem) or _outside(document) for document in documents)
        return
    for document, item in zip(documents, items, strict=True):
        alone = event(raw(document))
        if isinstance(item, Problem):
            assert isinstance(alone, Problem)
        elif not isinstance(alone, Problem):
            assert alone[0] == item


def _outside(document: object) -> bool:
    """Python writes it, JSON does not have it."""
    try:
        json.dumps(document, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        return True
    return False


@given(st.binary(max_size=200))
@example(b"\xef\xbb\xbf{}")
@example("{}".encode("utf-16"))
@example(b'{"tipo":"\xed\xa0\x80"}')
def test_any_bytes_are_answered(body: bytes) -> None:
    session(body)
    event(body)
    try:
        for item in decode_batch(body):
            if isinstance(item, Problem):
                check_problem(item)
    except Problem as problem:
        check_problem(problem)


@given(st.sampled_from([*EVENT, "timestamp", "id", "modelo", "error", "tokens_cache"]), st.data())
def test_a_refusal_never_repeats_what_was_written(name: str, data: st.DataObject) -> None:
    wrong = data.draw(
        st.sampled_from([MARK, [MARK], {MARK: MARK}, MARK * 100, f"{MARK}\0", f"{MARK}\ud800", f"2025-{MARK}"])
    )
    event(raw({**EVENT, name: wrong, MARK: 1}))
    event(raw({**EVENT, name: wrong})[:-1])


@given(st.dictionaries(st.sampled_from(list(EVENT)), values, min_size=1, max_size=3))
def test_only_wrong_fields_are_named(changes: dict[str, object]) -> None:
    answer = event(raw({**EVENT, **changes}))
    if isinstance(answer, Problem):
        assert {error.campo for error in answer.errors} <= changes.keys()
