"""Records → the GPT metrics: what each adds, what bounds the series, and that a snapshot loses nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_bridge import catalog, config
from otel_bridge.config import Gpt, Price
from otel_bridge.metrics.state import MetricState, exemplar
from otel_bridge.records import (
    UNMEASURED_LATENCY,
    UNMEASURED_TOKENS_IN,
    UNMEASURED_TOKENS_OUT,
    Event,
    Extras,
    Record,
    ToolCall,
    part_trace_id,
)
from tests.unit.samples import SESSION_ID, event, feedback, gpt, idle, session, uid

BASE = ("devops-expert", "invoke_agent", "openai", "gpt-6.2-sol")
CONSULTA = (*BASE, "consulta", "")


def folded(*records: Record, gpts: dict[str, Gpt] | None = None, **caps: int) -> MetricState:
    state = MetricState(gpts or {"devops-expert": gpt()}, **caps)
    state.apply(list(records), len(records))
    return state


def counters(state: MetricState, metric: catalog.Metric) -> dict[tuple[str, ...], float]:
    return {tuple(labels): value for name, rows in state.snapshot() if name is metric for labels, value in rows}


def histograms(state: MetricState, metric: catalog.Metric) -> dict[tuple[str, ...], tuple[int, float]]:
    """Labels → (count, sum), of series that have an observation."""
    return {
        tuple(labels): (sum(counts), total)
        for name, rows in state.snapshot()
        if name is metric
        for labels, (counts, total, _) in rows
        if any(counts)
    }


def buckets(state: MetricState, metric: catalog.Metric, labels: tuple[str, ...]) -> dict[float, int]:
    """Upper bound → observations of that bucket alone."""
    rows = next(dict(rows) for name, rows in state.snapshot() if name is metric)
    bounds = (*metric.buckets, float("inf"))
    return {bound: count for bound, count in zip(bounds, rows[labels][0], strict=True) if count}


def everything(state: MetricState) -> dict[str, list[Any]]:
    """A snapshot without exemplars."""
    return {
        metric.name: sorted((labels, row[:2] if isinstance(row, tuple) else row) for labels, row in rows)
        for metric, rows in state.snapshot()
    }


# --- what a record adds -------------------------------------------------------------------------------------------


def test_a_session_is_counted() -> None:
    state = folded(session(), session(2))
    assert counters(state, catalog.SESSIONS) == {BASE: 2}
    assert state.accepted == {"session": 2, "event": 0, "feedback": 0}


def test_an_event_is_observed_in_every_metric() -> None:
    state = folded(event())
    assert histograms(state, catalog.OPERATION_DURATION) == {CONSULTA: (1, 1.5)}
    assert histograms(state, catalog.TOKEN_USAGE) == {
        (*BASE, "consulta", "input"): (1, 25),
        (*BASE, "consulta", "output"): (1, 150),
    }
    assert counters(state, catalog.COST) == {BASE: pytest.approx((25 * 2.5 + 150 * 10) / 1e6)}
    assert counters(state, catalog.SLO_EVENTS) == {(*BASE, "good"): 1, (*BASE, "bad"): 0}
    assert state.accepted == {"session": 0, "event": 1, "feedback": 0}


def test_history_is_accepted_and_moves_nothing_else() -> None:
    extras = Extras(historic=True, ttft_ms=5.0, version="v1", tools=[ToolCall("buscar", 1.0)], tokens_reasoning=1)
    before = everything(folded())
    state = folded(session(historic=True), event(extras=extras, model="otro"), feedback(historic=True))
    after = everything(state)
    history = after.pop(catalog.HISTORIC.name)
    assert history == [(("devops-expert", kind), 1) for kind in ("event", "feedback", "session")]
    assert before.pop(catalog.HISTORIC.name) == [] and after == before
    assert state.accepted == {"session": 1, "event": 1, "feedback": 1}
    again = MetricState({"devops-expert": gpt()})
    again.load(3, state.dump())
    assert everything(again) == everything(state)


DURATIONS = [(0.0, 0.01), (10.0, 0.01), (10.1, 0.025), (1500.0, 1.5), (300_000.0, 300.0), (300_000.1, float("inf"))]


@pytest.mark.parametrize(("latency_ms", "bound"), DURATIONS)
def test_a_duration_falls_in_the_bucket_that_includes_its_bound(latency_ms: float, bound: float) -> None:
    state = folded(event(latency_ms=latency_ms))
    assert buckets(state, catalog.OPERATION_DURATION, CONSULTA) == {bound: 1}


@pytest.mark.parametrize(("tokens", "bound"), [(0, 1), (1, 1), (2, 4), (25, 64), (4**13, 4**13), (10**9, float("inf"))])
def test_tokens_fall_in_the_bucket_that_includes_its_bound(tokens: int, bound: float) -> None:
    state = folded(event(tokens_in=tokens))
    assert buckets(state, catalog.TOKEN_USAGE, (*BASE, "consulta", "input")) == {bound: 1}


SLO: dict[str, tuple[dict[str, Any], str]] = {
    "fast": ({"latency_ms": 100.0}, "good"),
    "exactly on the objective": ({"latency_ms": 2000.0}, "good"),
    "just over it": ({"latency_ms": 2000.1}, "bad"),
    "fast and failed": ({"latency_ms": 1.0, "error": "timeout"}, "bad"),
}


@pytest.mark.parametrize("case", SLO)
def test_an_event_is_good_within_the_objective_and_without_error(case: str) -> None:
    changes, result = SLO[case]
    results = counters(folded(event(**changes)), catalog.SLO_EVENTS)
    assert {labels[-1]: value for labels, value in results.items()} == {"good": 0, "bad": 0, result: 1}


def test_a_model_has_its_own_price_and_one_without_costs_nothing() -> None:
    gpts = {"devops-expert": gpt(prices={"gpt-6.2-sol": Price(1, 1), "modelo-x": Price(0, 1_000_000)})}
    state = folded(event(1), event(2, model="modelo-x", tokens_out=3), event(3, model="gratis"), gpts=gpts)
    assert {labels[-1]: value for labels, value in counters(state, catalog.COST).items()} == {
        "gpt-6.2-sol": pytest.approx(175e-6),
        "modelo-x": 3,
    }


def test_without_prices_no_cost_is_shown() -> None:
    assert counters(folded(event(), gpts={"devops-expert": gpt(prices={})}), catalog.COST) == {}


PRICES: dict[str, tuple[Price, dict[str, int], float]] = {
    "nothing from the cache": (Price(2.5, 10, 0.25), {"tokens_in": 1000, "tokens_out": 100}, 3500),
    "a part from the cache": (Price(2.5, 10, 0.25), {"tokens_in": 1000, "tokens_cached": 800, "tokens_out": 100}, 1700),
    "all from the cache": (Price(2.5, 10, 0.25), {"tokens_in": 1000, "tokens_cached": 1000, "tokens_out": 0}, 250),
    "a cache that costs nothing": (Price(2.5, 10, 0), {"tokens_in": 1000, "tokens_cached": 800, "tokens_out": 0}, 500),
    "no price of the cache": (Price(2.5, 10), {"tokens_in": 1000, "tokens_cached": 800, "tokens_out": 100}, 3500),
}
"""A price, the tokens of an event, and its cost in millionths of a dollar."""


@pytest.mark.parametrize("case", PRICES)
def test_input_from_the_cache_has_its_own_price(case: str) -> None:
    price, tokens, cost = PRICES[case]
    state = folded(event(**tokens), gpts={"devops-expert": gpt(prices={"gpt-6.2-sol": price})})
    assert counters(state, catalog.COST) == {BASE: pytest.approx(cost / 1e6)}


def unpriced(state: MetricState) -> dict[str, float]:
    """By model."""
    return {labels[-1]: value for labels, value in counters(state, catalog.UNPRICED).items()}


def test_tokens_of_a_model_without_a_price_are_counted_and_those_of_one_with_a_price_are_not() -> None:
    events = [event(1), event(2, model="modelo-x"), event(3, model="modelo-x", error="timeout", tokens_cached=20)]
    assert unpriced(folded(*events)) == {"modelo-x": 350}
    assert unpriced(folded(*events, gpts={"devops-expert": gpt(prices={})})) == {"gpt-6.2-sol": 175, "modelo-x": 350}
    models = [event(n, model=f"m{n}") for n in range(1, 5)]
    assert unpriced(folded(*models, max_models=3)) == {"m1": 175, "m2": 175, "otro": 350}


def test_unpriced_tokens_stand_at_0_from_the_start_where_a_gpts_own_model_has_no_price() -> None:
    assert unpriced(folded()) == {}
    assert unpriced(folded(gpts={"devops-expert": gpt(prices={})})) == {"gpt-6.2-sol": 0}
    assert unpriced(folded(gpts={"devops-expert": gpt(prices={"modelo-x": Price(1, 1)})})) == {"gpt-6.2-sol": 0}


def test_a_price_that_comes_later_counts_from_then_on() -> None:
    state = folded(event(1, model="modelo-x"))
    shipped = config.load(str(config.SHIPPED), {})
    priced = gpt(prices={"gpt-6.2-sol": Price(2.5, 10), "modelo-x": Price(1_000_000, 0)})
    state.configure(replace(shipped, gpts={"devops-expert": priced}))
    state.apply([event(2, model="modelo-x")], 2)
    assert unpriced(state) == {"modelo-x": 175}
    assert counters(state, catalog.COST)[(*BASE[:-1], "modelo-x")] == 25
    state.configure(replace(shipped, gpts={"devops-expert": gpt()}))
    state.apply([event(3, model="modelo-x")], 3)
    assert unpriced(state) == {"modelo-x": 350}
    assert counters(state, catalog.COST)[(*BASE[:-1], "modelo-x")] == 25


def test_unpriced_tokens_go_on_from_a_snapshot() -> None:
    again = reloaded(folded(event(1, model="modelo-x")))
    assert unpriced(again) == {"modelo-x": 175}
    again.apply([event(2, model="modelo-x"), event(3, model="modelo-x", error="e")], 3)
    assert unpriced(again) == unpriced(reloaded(again)) == {"modelo-x": 525}


def test_a_snapshot_of_before_unpriced_tokens_were_counted_is_loaded() -> None:
    document = msgspec.msgpack.decode(folded(event(1, model="modelo-x")).dump())
    del document["counters"][catalog.UNPRICED.name]
    again = MetricState({"devops-expert": gpt(prices={})})
    again.load(1, msgspec.msgpack.encode(document))
    assert unpriced(again) == {"gpt-6.2-sol": 0}
    again.apply([event(2, model="modelo-x")], 2)
    assert unpriced(again) == {"gpt-6.2-sol": 0, "modelo-x": 175}


@pytest.mark.parametrize(
    ("value", "result"), [(1.0, "good"), (0.001, "good"), (0.0, "neutral"), (-0.0, "neutral"), (-1.0, "bad")]
)
def test_a_rating_is_counted_by_its_sign(value: float, result: str) -> None:
    state = folded(event(), feedback(value=value), feedback(value=value, model="modelo-x"))
    counts = counters(state, catalog.FEEDBACK)
    told = {labels: count for labels, count in counts.items() if count}
    assert told == {(*BASE, result): 1, (*BASE[:-1], "modelo-x", result): 1}
    assert {(*BASE, one) for one in catalog.FEEDBACK_RESULTS} <= set(counts), "each stands at 0 from the start"
    assert state.accepted == {"session": 0, "event": 1, "feedback": 2}


def test_models_of_ratings_are_capped_as_those_of_events() -> None:
    state = folded(*(feedback(model=f"m{i}") for i in range(30)))
    assert len({labels[3] for labels in counters(state, catalog.FEEDBACK)}) <= 12
    assert sum(counters(state, catalog.FEEDBACK).values()) == 30


def test_prices_take_no_place_from_the_models_of_ratings_either() -> None:
    """A rating may be of an event that cannot be read any more."""
    priced = gpt(prices={f"p{i}": Price(1, 1) for i in range(10)})
    state = folded(feedback(model="m"), gpts={"devops-expert": priced})
    assert {labels[3]: count for labels, count in counters(state, catalog.FEEDBACK).items() if count} == {"m": 1}
    assert state.capped["gen_ai_request_model"] == 0


def test_a_snapshot_from_before_ratings_is_loaded() -> None:
    state = folded(session(), event())
    document = msgspec.msgpack.decode(state.dump())
    del document["accepted"]["feedback"]
    document["counters"].pop(catalog.FEEDBACK.name, None)
    again = MetricState({"devops-expert": gpt()})
    again.load(2, msgspec.msgpack.encode(document))
    assert again.dump() == state.dump()


# --- what nobody measured ------------------------------------------------------------------------------------------

LATENCY, IN, OUT = UNMEASURED_LATENCY, UNMEASURED_TOKENS_IN, UNMEASURED_TOKENS_OUT


def unmeasured(missing: int, number: int = 7, **changes: Any) -> Event:
    zeros = {"latency_ms": 0.0} if missing & LATENCY else {}
    zeros |= {"tokens_in": 0} if missing & IN else {}
    zeros |= {"tokens_out": 0} if missing & OUT else {}
    return event(number, **zeros | changes, extras=Extras(missing))


@pytest.mark.parametrize("missing", range(1, 8))
def test_what_nobody_measured_is_a_sample_nowhere_and_counted_apart(missing: int) -> None:
    state = folded(unmeasured(missing))
    assert histograms(state, catalog.OPERATION_DURATION) == ({} if missing & LATENCY else {CONSULTA: (1, 1.5)})
    tokens = {} if missing & IN else {(*BASE, "consulta", "input"): (1, 25)}
    tokens |= {} if missing & OUT else {(*BASE, "consulta", "output"): (1, 150)}
    assert histograms(state, catalog.TOKEN_USAGE) == tokens
    whats = [what for bit, what in enumerate(catalog.UNMEASURED_WHAT) if missing & 1 << bit]
    assert counters(state, catalog.UNMEASURED) == {(*CONSULTA, what): 1 for what in whats}
    assert state.accepted == {"session": 0, "event": 1, "feedback": 0}


@pytest.mark.parametrize("error", [None, "timeout"])
def test_an_event_without_a_latency_is_judged_by_no_objective_failed_or_not(error: str | None) -> None:
    state = folded(unmeasured(LATENCY, error=error))
    assert set(counters(state, catalog.SLO_EVENTS).values()) == {0}
    assert list(counters(state, catalog.UNMEASURED)) == [(*BASE, "consulta", error or "", "latency")]


@pytest.mark.parametrize(
    ("latency_ms", "error", "result"), [(9.0, None, "good"), (9.0, "x", "bad"), (9e9, None, "bad")]
)
def test_an_event_with_a_latency_and_without_tokens_is_judged(
    latency_ms: float, error: str | None, result: str
) -> None:
    state = folded(unmeasured(IN | OUT, latency_ms=latency_ms, error=error))
    judged = {labels[-1]: value for labels, value in counters(state, catalog.SLO_EVENTS).items()}
    assert judged == {"good": 0, "bad": 0, result: 1}


@pytest.mark.parametrize(
    ("missing", "dollars"), [(LATENCY, 25 * 2.5 + 150 * 10), (IN, 150 * 10), (OUT, 15 * 2.5 + 10 * 0.5), (IN | OUT, 0)]
)
def test_tokens_that_nobody_measured_cost_nothing(missing: int, dollars: float) -> None:
    gpts = {"devops-expert": gpt(prices={"gpt-6.2-sol": Price(2.5, 10.0, 0.5)})}
    cached = {"tokens_cached": 10} if missing & (IN | OUT) else {}
    state = folded(unmeasured(missing, **cached), gpts=gpts)
    assert counters(state, catalog.COST) == {BASE: pytest.approx(dollars / 1e6)}
    unpriced = folded(unmeasured(missing), gpts={"devops-expert": gpt(prices={})})
    known = (0 if missing & IN else 25) + (0 if missing & OUT else 150)
    assert counters(unpriced, catalog.UNPRICED) == {BASE: known}


def test_what_nobody_measured_goes_on_from_a_snapshot() -> None:
    gpts, state = {"devops-expert": gpt()}, folded(unmeasured(7), unmeasured(LATENCY, 8, error="timeout"))
    again = MetricState(gpts)
    again.load(2, state.dump())
    assert everything(again) == everything(state)
    for one in (state, again):
        one.apply([unmeasured(7, 9)], 3)
    assert everything(again) == everything(state)


# --- sessions that fall idle, GPTs that leave --------------------------------------------------------------------


def test_an_idle_session_is_observed_once() -> None:
    state = folded(idle(duration_s=95.0, events=3), idle(2, duration_s=0.0, events=0))
    assert histograms(state, catalog.SESSION_DURATION) == {BASE: (2, 95.0)}
    assert histograms(state, catalog.SESSION_EVENTS) == {BASE: (2, 3)}
    assert state.accepted == {"session": 0, "event": 0, "feedback": 0}


def test_a_gpt_that_left_the_configuration_is_still_folded() -> None:
    state = folded(event(gpt="retirado"), session(gpt="retirado"))
    assert counters(state, catalog.SESSIONS)[("retirado", "invoke_agent", "unknown", "unknown")] == 1


# --- what stands at zero -------------------------------------------------------------------------------------------


def test_every_series_of_a_configured_gpt_stands_at_zero_from_the_start() -> None:
    state = MetricState({"devops-expert": gpt()})
    types = {*gpt().event_types, catalog.OTHER_EVENT_TYPE}
    base = catalog.SESSIONS.name, BASE
    sets = set(state.label_sets())
    assert base in sets
    assert {(catalog.OPERATION_DURATION.name, (*BASE, each, "")) for each in types} <= sets
    assert {(catalog.TOKEN_USAGE.name, (*BASE, each, way)) for each in types for way in ("input", "output")} <= sets
    assert {(catalog.SLO_EVENTS.name, (*BASE, each)) for each in ("good", "bad")} <= sets
    assert (catalog.SESSION_DURATION.name, BASE) in sets
    assert not any(histograms(state, metric) for metric in (catalog.OPERATION_DURATION, catalog.TOKEN_USAGE))


def test_with_many_gpts_only_those_that_something_was_posted_for_stand_there() -> None:
    gpts = {f"g{n}": gpt(id=f"g{n}") for n in range(60)}
    state = MetricState(gpts)
    assert {labels[0] for name, labels in state.label_sets() if name != catalog.RECORDS.name} == set()
    state.apply([session(gpt="g7")], 1)
    shown = {labels for name, labels in state.label_sets() if name == catalog.OPERATION_DURATION.name}
    assert {labels[0] for labels in shown} == {"g7"}
    assert len(shown) == len(gpt().event_types) + 1


def test_a_series_that_stands_at_zero_goes_on_from_a_snapshot() -> None:
    before = folded(event())
    state = MetricState({"devops-expert": gpt()})
    state.load(1, before.dump())
    state.apply([event(2)], 2)
    assert histograms(state, catalog.OPERATION_DURATION) == {CONSULTA: (2, 3.0)}
    assert counters(state, catalog.SLO_EVENTS) == {(*BASE, "good"): 2, (*BASE, "bad"): 0}


def test_a_snapshot_of_other_buckets_keeps_its_counts_and_sums() -> None:
    """0.1.0's buckets were 0.01·2ⁿ. What one holds goes to the first of today's that surely holds it."""
    old = tuple(0.01 * 2**n for n in range(14))
    document = msgspec.msgpack.decode(folded(event(latency_ms=6000.0)).dump())
    counts = [0] * 15
    counts[2], counts[9], counts[14] = 3, 5, 1  # to 0.04 s, to 5.12 s, over 81.92 s
    held: list[Any] = [None] * 15
    held[9] = [uid(1), uid(2), 5.1, 0]
    held[2] = [uid(1), uid(2), 0.021, 0]  # would be in another bucket than its count
    rows = [[list(CONSULTA), counts, 260.5, held]]
    document["histograms"][catalog.OPERATION_DURATION.name] = [list(old), rows]
    state = MetricState({"devops-expert": gpt()})
    state.load(1, msgspec.msgpack.encode(document))
    assert histograms(state, catalog.OPERATION_DURATION) == {CONSULTA: (9, 260.5)}
    assert buckets(state, catalog.OPERATION_DURATION, CONSULTA) == {0.05: 3, 7.5: 5, float("inf"): 1}
    state.apply([event(latency_ms=6000.0)], 2)
    assert buckets(state, catalog.OPERATION_DURATION, CONSULTA)[7.5] == 6


def test_no_bucket_of_latency_is_half_as_wide_again_as_the_one_before_where_objectives_are() -> None:
    bounds = [bound for bound in catalog.OPERATION_DURATION.buckets if 0.5 <= bound <= 60]
    assert (bounds[0], bounds[-1]) == (0.5, 60)
    assert max(above / below for below, above in pairwise(bounds)) <= 1.5


# --- what bounds the series -----------------------------------------------------------------------------------------


def label_values(state: MetricState, metric: catalog.Metric, label: str) -> set[str]:
    place = metric.labels.index(label)
    return {labels[place] for labels in histograms(state, metric)}


def test_a_type_that_is_not_configured_is_counted_as_otro() -> None:
    state = folded(event(1, type="consulta"), event(2, type="raro"), event(3, type="rarísimo"))
    assert label_values(state, catalog.OPERATION_DURATION, "event_type") == {"consulta", "otro"}


def test_models_past_the_cap_share_the_fallback_and_are_counted() -> None:
    state = folded(*(event(n, model=f"m{n}") for n in range(1, 8)), max_models=3)
    models = label_values(state, catalog.OPERATION_DURATION, "gen_ai_request_model")
    assert len(models) <= 4 and "otro" in models
    assert state.capped["gen_ai_request_model"] >= 4
    assert sum(count for count, _ in histograms(state, catalog.OPERATION_DURATION).values()) == 7


def test_configured_models_are_never_capped() -> None:
    gpts = {"devops-expert": gpt(prices={f"m{n}": Price(1, 1) for n in range(20)})}
    state = folded(*(event(n + 1, model=f"m{n}") for n in range(20)), gpts=gpts, max_models=0)
    assert len(label_values(state, catalog.OPERATION_DURATION, "gen_ai_request_model")) == 20
    assert state.capped["gen_ai_request_model"] == 0


def test_models_of_a_price_list_take_no_place_from_those_that_clients_name() -> None:
    priced = gpt(prices={"gpt-6.2-sol": Price(1, 1), **{f"p{n}": Price(1, 1) for n in range(20)}})
    state = folded(*(event(n, model=f"m{n}") for n in range(1, 8)), gpts={"devops-expert": priced}, max_models=3)
    models = label_values(state, catalog.OPERATION_DURATION, "gen_ai_request_model")
    assert models == {"m1", "m2", "otro"} and state.capped["gen_ai_request_model"] == 5


def test_error_codes_past_the_cap_share_the_fallback() -> None:
    state = folded(*(event(n, error=f"e{n}") for n in range(1, 8)), max_errors=2)
    assert label_values(state, catalog.OPERATION_DURATION, "error_type") == {"e1", "e2", "_OTHER"}
    assert state.capped["error_type"] == 5


def test_an_admitted_value_stays_admitted() -> None:
    state = folded(event(1, error="a"), event(2, error="b"), event(3, error="a"), max_errors=1)
    by_error = {labels[-1]: count for labels, (count, _) in histograms(state, catalog.OPERATION_DURATION).items()}
    assert by_error == {"a": 2, "_OTHER": 1}


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=300),
    st.integers(0, 5),
    st.integers(0, 5),
)
@settings(max_examples=30)
def test_no_client_makes_more_series_than_the_limit(
    rows: list[tuple[int, int, int]], max_models: int, max_errors: int
) -> None:
    records = [
        event(i + 1, type=f"t{a}", model=f"m{b}" if b else None, error=f"e{c}" if c else None)
        for i, (a, b, c) in enumerate(rows)
    ]
    state = folded(session(), idle(), *records, max_models=max_models, max_errors=max_errors)
    assert state.series_count() <= state.series_limit()
    shown = sum(
        len(rows) * (len(metric.buckets) + 3 if metric.type == "histogram" else 1)
        for metric, rows in ((metric, list(rows)) for metric, rows in state.snapshot())
    )
    assert shown == state.series_count()


# --- exemplars --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", [0, 3])
def test_an_exemplar_names_the_trace_of_its_part_also_from_a_snapshot(part: int) -> None:
    state = folded(session(), event(part=part))
    restored = MetricState({"devops-expert": gpt()})
    restored.load(2, state.dump())
    for one in (state, restored):
        name = catalog.OPERATION_DURATION.name
        (held,) = [held for held in one.histograms[name][CONSULTA].exemplars if held is not None]
        assert exemplar(name, CONSULTA, held).trace == part_trace_id(SESSION_ID, part)


def test_a_bucket_holds_its_last_event_as_exemplar() -> None:
    state = folded(event(1), event(2), event(3, latency_ms=10.0))
    rows = next(dict(rows) for metric, rows in state.snapshot() if metric is catalog.OPERATION_DURATION)
    exemplars = [held for held in rows[CONSULTA][2] if held is not None]
    assert len(exemplars) == 2
    assert {getattr(held, "id", None) or held.event for held in exemplars} == {uid(2), uid(3)}


# --- snapshot -------------------------------------------------------------------------------------------------------


def reloaded(state: MetricState, **caps: int) -> MetricState:
    fresh = MetricState({"devops-expert": gpt()}, **caps)
    fresh.load(state.seq, state.dump())
    return fresh


MIXED: list[Record] = [
    session(),
    event(1),
    event(2, error="timeout", model="modelo-x"),
    idle(),
    event(3, type="raro", latency_ms=0.3),
    session(4, gpt="retirado"),
    event(5, gpt="retirado", model="x" * 100),
    feedback(6),
    feedback(7, value=0.5, model="modelo-x"),
    feedback(8, gpt="retirado", value=0.0),
]


def test_a_loaded_snapshot_is_the_state_that_was_dumped() -> None:
    state = folded(*MIXED)
    again = reloaded(state)
    assert everything(again) == everything(state)
    assert (again.seq, again.accepted, again.capped) == (state.seq, state.accepted, state.capped)
    assert again.dump() == state.dump()


@given(st.data())
@settings(max_examples=40)
def test_a_snapshot_anywhere_changes_nothing(data: st.DataObject) -> None:
    """Fold all, or fold some, snapshot, load, fold the rest: the same state, caps included."""
    kinds = st.sampled_from(["a", "b", "c", "d", None])
    records: list[Record] = data.draw(
        st.lists(
            st.builds(
                event,
                st.integers(1, 99),
                type=st.sampled_from(["consulta", "raro"]),
                model=kinds,
                error=kinds,
                latency_ms=st.floats(0, 100_000),
                tokens_in=st.integers(0, 10**6),
            )
            | st.builds(session, st.integers(1, 99))
            | st.builds(idle, duration_s=st.floats(0, 1000))
            | st.builds(feedback, value=st.floats(-1, 1), model=kinds),
            max_size=25,
        )
    )
    cut = data.draw(st.integers(0, len(records)))
    caps = {"max_models": 2, "max_errors": 2}
    whole = folded(*records, **caps)
    first = folded(*records[:cut], **caps)
    resumed = MetricState({"devops-expert": gpt()}, **caps)
    resumed.load(first.seq, first.dump())
    resumed.apply(records[cut:], len(records))
    assert everything(resumed) == everything(whole)
    assert resumed.capped == whole.capped and resumed.accepted == whole.accepted


def test_the_same_records_give_the_same_snapshot() -> None:
    assert folded(*MIXED).dump() == folded(*MIXED).dump()


def test_records_in_one_piece_or_one_by_one_give_the_same_snapshot() -> None:
    state = MetricState({"devops-expert": gpt()})
    for seq, record in enumerate(MIXED, 1):
        state.apply([record], seq)
    assert state.dump() == folded(*MIXED).dump()


def test_a_snapshot_of_another_version_is_refused() -> None:
    document = msgspec.msgpack.decode(folded().dump())
    with pytest.raises(ValueError, match="version 99"):
        MetricState({}).load(0, msgspec.msgpack.encode({**document, "version": 99}))


def test_a_new_registry_changes_what_comes_and_not_what_was() -> None:
    state = folded(event(1))
    changed = replace(gpt(), latency_objective_seconds=0.1, event_types=("otra-cosa",))
    state.configure(replace(config.load(str(config.SHIPPED), {}), gpts={"devops-expert": changed}))
    state.apply([event(2)], 2)
    assert counters(state, catalog.SLO_EVENTS) == {(*BASE, "good"): 1, (*BASE, "bad"): 1}
    assert label_values(state, catalog.OPERATION_DURATION, "event_type") == {"consulta", "otro"}
