"""`otel_bridge_series_limit`: no client gets more series than it says, and one that tries gets most of them."""

from __future__ import annotations

from itertools import count, product
from typing import Any

import pytest

from otel_bridge.config import Gpt, Price
from otel_bridge.metrics.extras import MAX_TOOLS, MAX_VERSIONS
from otel_bridge.metrics.state import MetricState
from otel_bridge.records import Extras, Record, ToolCall
from tests.unit.samples import event, feedback, gpt, idle, session

MODELS, ERRORS = 4, 3
CONFIGURED: dict[str, dict[str, Any]] = {
    "as few as there can be": {"event_types": ("consulta",), "prices": {}},
    "the usual": {},
    "with an objective of the first token": {"ttft_objective_seconds": 0.5},
    "with a list of prices": {"prices": {f"p{n}": Price(1, 1) for n in range(5)}},
}


def worst(one: Gpt) -> list[Record]:
    """Whatever a client can vary, varied past its cap."""
    numbers = count(10)
    models = [one.model, *one.prices, *(f"m{n}" for n in range(MODELS + 3))]
    errors = [None, *(f"e{n}" for n in range(ERRORS + 3))]
    of_one: dict[str, Any] = {"gpt": one.id}
    made: list[Record] = [session(next(numbers), **of_one), idle(next(numbers), **of_one)]
    for kind, model, error, unmeasured in product((*one.event_types, "rare"), models, errors, (0, 7)):
        number = next(numbers)
        said = Extras(
            unmeasured=unmeasured,
            ttft_ms=None if unmeasured else 20.0,
            tokens_reasoning=None if unmeasured else 3,
            version=f"v{number % (MAX_VERSIONS + 3)}",
            tools=[ToolCall(f"t{number % (MAX_TOOLS + 3)}", 1.0)],
        )
        made.append(event(number, **of_one, type=kind, model=model, error=error, extras=said))
    made += [
        feedback(next(numbers), **of_one, model=model, value=value) for model in models for value in (-1.0, 0, 1.0)
    ]
    return made


@pytest.mark.parametrize("case", CONFIGURED)
def test_the_worst_client_gets_no_more_and_most_of_them(case: str) -> None:
    gpts = {name: gpt(id=name, **CONFIGURED[case]) for name in ("a", "b")}
    state = MetricState(gpts, max_models=MODELS, max_errors=ERRORS)
    assert 0 < state.series_count() <= state.series_limit()
    for one in gpts.values():
        records = worst(one)
        state.apply(records, len(records))
    limit, shown = state.series_limit(), state.series_count()
    assert shown <= limit, f"{shown} series, and the limit says {limit}"
    assert shown >= 0.6 * limit, f"{shown} series at the worst: a limit of {limit} warns nobody"


def test_it_grows_with_what_is_configured_and_with_nothing_else() -> None:
    def limit(gpts: int = 1, models: int = MODELS, errors: int = ERRORS, **changes: Any) -> int:
        configured = {f"g{n}": gpt(id=f"g{n}", **changes) for n in range(gpts)}
        return MetricState(configured, max_models=models, max_errors=errors).series_limit()

    usual = limit()
    assert limit(gpts=3) == 3 * usual
    assert limit(models=MODELS + 1) > usual
    assert limit(errors=ERRORS + 1) > usual
    assert limit(event_types=("consulta",)) < usual
    assert limit(prices={"gpt-6.2-sol": Price(1, 1), "other": Price(1, 1)}) > usual
