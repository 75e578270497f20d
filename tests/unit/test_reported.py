"""An event that a model reports of itself: numbers may be missing, and a part may be known without its whole."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from otel_bridge import contract
from otel_bridge.contract import EventIn, ReportedEventIn
from otel_bridge.errors import Problem
from otel_bridge.records import UNMEASURED_LATENCY, UNMEASURED_TOKENS_IN, UNMEASURED_TOKENS_OUT
from tests.unit.test_contract import EVENT, refused

NOW_US = time.time_ns() // 1000
BITS = {
    "latency_ms": UNMEASURED_LATENCY,
    "tokens_entrada": UNMEASURED_TOKENS_IN,
    "tokens_salida": UNMEASURED_TOKENS_OUT,
}


def said(**changes: Any) -> dict[str, Any]:
    """The guide's event with these fields; ... takes one away."""
    return {name: value for name, value in (EVENT | changes).items() if value is not ...}


def judged(value: dict[str, Any]) -> EventIn | Problem:
    """As every door takes it."""
    event = contract.reported_event_from(value)
    try:
        contract.event_time(event, NOW_US)
    except ValueError:
        return contract.diagnose_event(event, NOW_US)
    return event


@pytest.mark.parametrize("absent", [..., None], ids=["missing", "null"])
@pytest.mark.parametrize("names", [["latency_ms"], ["tokens_entrada"], ["tokens_salida"], [*BITS]])
def test_a_number_that_is_missing_is_not_measured(names: list[str], absent: Any) -> None:
    event = judged(said(**dict.fromkeys(names, absent)))
    assert isinstance(event, ReportedEventIn)
    assert event.unmeasured == sum(BITS[name] for name in names)
    assert {name for name in BITS if not contract.is_measured(event, name)} == set(names)
    assert all(getattr(event, name) == (0 if name in names else EVENT[name]) for name in BITS)


def test_an_event_with_all_its_numbers_is_any_event() -> None:
    assert judged(said(latency_ms=0, tokens_entrada=0, tokens_salida=25.0)).__class__ is EventIn


@pytest.mark.parametrize("value", ["1500", -1, True, math.nan, math.inf, 10**12, [], {}])
@pytest.mark.parametrize("name", BITS)
def test_a_number_that_is_there_is_held_to_its_limits(name: str, value: Any) -> None:
    others = dict.fromkeys(set(BITS) - {name}, ...)
    assert [error.campo for error in refused(judged, said(**others, **{name: value})).errors] == [name]


def test_what_else_is_wrong_is_named_and_what_is_missing_is_not() -> None:
    problem = refused(judged, said(latency_ms=..., tokens_salida=..., tipo=7, tokens_entrada="x", contenido=...))
    assert [(error.campo, error.tipo) for error in problem.errors] == [
        ("tipo", "tipo"),
        ("contenido", "falta"),
        ("tokens_entrada", "tipo"),
    ]


PARTS = {"ttft_ms": "latency_ms", "tokens_cache": "tokens_entrada", "tokens_razonamiento": "tokens_salida"}


@pytest.mark.parametrize(("part", "whole"), PARTS.items())
def test_a_part_may_be_known_without_its_whole(part: str, whole: str) -> None:
    event = judged(said(**{whole: ..., part: 7}))
    assert isinstance(event, ReportedEventIn) and getattr(event, part) == 7


@pytest.mark.parametrize(("part", "whole"), PARTS.items())
def test_a_part_beyond_a_whole_that_is_known_is_refused(part: str, whole: str) -> None:
    missing = next(name for name in BITS if name != whole)
    for value in (said(**{part: 10_000}), said(**{part: 10_000, missing: ...})):
        problem = judged(value)
        assert isinstance(problem, Problem)
        (error,) = problem.errors
        assert error.campo == part and error.mensaje.startswith(f"supera «{whole}»; se espera")


@pytest.mark.parametrize("changes", [{"timestamp": "ayer"}, {"contenido": "a\0b"}, {"id": str(contract.NIL_UUID)}])
def test_what_only_the_whole_event_shows_is_named_where_numbers_are_missing(changes: dict[str, Any]) -> None:
    problem = judged(said(**changes, **dict.fromkeys(BITS, ...)))
    assert isinstance(problem, Problem) and [error.campo for error in problem.errors] == [*changes]


def test_a_client_does_not_say_what_was_measured() -> None:
    event = judged(said(unmeasured=7))
    assert event.__class__ is EventIn
    assert judged(said(unmeasured=0, latency_ms=...)).unmeasured == UNMEASURED_LATENCY  # type: ignore[union-attr]


def test_over_the_documented_api_every_number_is_asked_for() -> None:
    for name in BITS:
        problem = refused(contract.event_from, said(**{name: ...}))
        assert [(error.campo, error.tipo) for error in problem.errors] == [(name, "falta")]


def tools(*calls: Any) -> dict[str, Any]:
    return said(herramientas=list(calls))


GOOD = {"nombre": "buscar", "ms": 210}
TOOLS: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "no list": ("buscar", [("herramientas", "tipo")]),
    "too many": ([GOOD] * 51, [("herramientas", "valor")]),
    "no object": ([GOOD, "buscar"], [("herramientas[1]", "tipo")]),
    "no name": ([{"ms": 1}], [("herramientas[0].nombre", "falta")]),
    "a wrong name": ([GOOD, GOOD, {"nombre": "a b", "ms": 1}], [("herramientas[2].nombre", "valor")]),
    "a NUL in a name": ([{"nombre": "a\0", "ms": 1}], [("herramientas[0].nombre", "valor")]),
    "half a character in a name": ([{"nombre": "\ud800", "ms": 1}], [("herramientas[0].nombre", "valor")]),
    "no time": ([GOOD, {"nombre": "b"}], [("herramientas[1].ms", "falta")]),
    "a text for a time": ([{"nombre": "b", "ms": "210"}], [("herramientas[0].ms", "tipo")]),
    "no number for a time": ([{"nombre": "b", "ms": math.nan}], [("herramientas[0].ms", "valor")]),
    "an endless time": ([{"nombre": "b", "ms": math.inf}], [("herramientas[0].ms", "valor")]),
    "a negative time": ([{"nombre": "b", "ms": -1}], [("herramientas[0].ms", "valor")]),
    "a wrong error": ([{**GOOD, "error": "no va"}], [("herramientas[0].error", "valor")]),
    "several": (
        [{"nombre": 7, "ms": 1}, GOOD, {"nombre": "b", "ms": None, "error": 5}],
        [("herramientas[0].nombre", "tipo"), ("herramientas[2].ms", "tipo"), ("herramientas[2].error", "tipo")],
    ),
}


@pytest.mark.parametrize("read", [contract.event_from, contract.reported_event_from], ids=["api", "model"])
@pytest.mark.parametrize("case", TOOLS)
def test_what_is_wrong_with_a_call_of_a_tool_is_named_with_its_place(case: str, read: Any) -> None:
    value, wrong = TOOLS[case]
    problem = refused(read, said(herramientas=value))
    assert [(error.campo, error.tipo) for error in problem.errors] == wrong
    assert all(error.mensaje and "no va" not in error.mensaje for error in problem.errors)


@pytest.mark.parametrize("value", [[], None, [GOOD], [GOOD] * 50, [{**GOOD, "error": None, "más": 1}]])
def test_calls_of_tools_that_are_taken(value: Any) -> None:
    event = judged(said(herramientas=value))
    assert isinstance(event, EventIn) and len(event.herramientas or ()) == len(value or ())
