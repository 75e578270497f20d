"""What few events say beyond the documented fields: their families, what bounds them, and snapshots."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from otel_bridge import catalog
from otel_bridge.config import Gpt
from otel_bridge.ids import DAY_US
from otel_bridge.metrics.extras import MAX_TOOLS, MAX_VERSIONS
from otel_bridge.metrics.state import MetricState, exemplar
from otel_bridge.records import Event, Extras, ToolCall
from tests.unit.samples import event, gpt
from tests.unit.test_projections_metrics import BASE, counters, everything, folded, histograms

OWN = {
    metric.name
    for metric in catalog.METRICS
    if metric.name.startswith(("gpt_time_to", "gpt_reasoning", "gpt_version", "gpt_tool", "gpt_unmeasured"))
}


def said(number: int = 7, **fields: Any) -> Event:
    changes = fields.pop("event", {})
    return event(number, **changes, extras=Extras(**fields))


def shown(state: MetricState) -> dict[str, Any]:
    """Everything of the families of this page that has a series."""
    return {name: rows for name, rows in everything(state).items() if name in OWN and rows}


def test_a_gpt_that_says_none_of_it_has_no_series_of_it() -> None:
    assert shown(folded(event())) == {}


def test_what_an_event_says_besides_changes_nothing_of_the_rest() -> None:
    whole = said(ttft_ms=5.0, tokens_reasoning=3, version="v1", tools=[ToolCall("a", 1.0)])
    plain, more = everything(folded(event())), everything(folded(whole))
    assert {name: rows for name, rows in more.items() if name not in OWN} == {
        name: rows for name, rows in plain.items() if name not in OWN
    }


# --- time to the first token ---------------------------------------------------------------------------------------


def with_objective(**changes: Any) -> dict[str, Gpt]:
    return {"devops-expert": gpt(ttft_objective_seconds=0.5, **changes)}


def test_a_time_to_the_first_token_is_observed_with_its_event_as_exemplar() -> None:
    one = said(ttft_ms=420.0)
    state = folded(one)
    labels = (*BASE, "consulta")
    assert histograms(state, catalog.FIRST_TOKEN) == {labels: (1, 0.42)}
    assert counters(state, catalog.FIRST_TOKEN_SLO) == {}
    held = next(held for held in state.histograms[catalog.FIRST_TOKEN.name][labels].exemplars if held)
    assert exemplar(catalog.FIRST_TOKEN.name, labels, held).value == 0.42


@pytest.mark.parametrize(("ttft_ms", "result"), [(0.0, "good"), (500.0, "good"), (500.1, "bad")])
@pytest.mark.parametrize("error", [None, "timeout"])
def test_a_first_token_is_judged_where_the_gpt_has_an_objective(ttft_ms: float, result: str, error: str | None) -> None:
    state = folded(said(ttft_ms=ttft_ms, event={"error": error}), gpts=with_objective())
    judged = {labels[-1]: value for labels, value in counters(state, catalog.FIRST_TOKEN_SLO).items()}
    assert judged == {"good": 0, "bad": 0, result: 1}


def test_with_an_objective_the_series_stand_at_zero_from_the_start() -> None:
    state = MetricState(with_objective(event_types=("consulta",)))
    rows = everything(state)
    assert [labels[-1] for labels, _ in rows[catalog.FIRST_TOKEN_SLO.name]] == ["bad", "good"]
    assert [labels[-1] for labels, _ in rows[catalog.FIRST_TOKEN.name]] == ["consulta", "otro"]


def test_a_first_token_without_a_latency_is_measured() -> None:
    assert histograms(folded(said(unmeasured=7, ttft_ms=420.0)), catalog.FIRST_TOKEN) == {
        (*BASE, "consulta"): (1, 0.42)
    }


# --- reasoning -----------------------------------------------------------------------------------------------------


def test_reasoning_is_counted_beside_the_output_that_it_is_a_part_of() -> None:
    state = folded(said(tokens_reasoning=80), said(8, tokens_reasoning=0), said(9, version="v"))
    assert counters(state, catalog.REASONING_TOKENS) == {BASE: 80}
    assert histograms(state, catalog.TOKEN_USAGE)[(*BASE, "consulta", "output")] == (3, 450)


def test_reasoning_of_an_output_that_nobody_measured_is_a_part_of_nothing() -> None:
    assert counters(folded(said(unmeasured=4, tokens_reasoning=80)), catalog.REASONING_TOKENS) == {}


# --- versions --------------------------------------------------------------------------------------------------------

VERSIONS: dict[str, tuple[dict[str, Any], int, str]] = {
    "in time": ({"latency_ms": 2000.0}, 0, "good"),
    "late": ({"latency_ms": 2000.1}, 0, "slow"),
    "failed": ({"error": "timeout"}, 0, "failed"),
    "late and failed": ({"latency_ms": 9000.0, "error": "timeout"}, 0, "failed"),
    "not measured": ({"latency_ms": 0.0}, 1, "unmeasured"),
    "not measured and failed": ({"latency_ms": 0.0, "error": "timeout"}, 1, "failed"),
    "without tokens": ({}, 6, "good"),
}


@pytest.mark.parametrize("case", VERSIONS)
def test_an_event_of_a_version_is_counted_by_what_became_of_it(case: str) -> None:
    changes, missing, result = VERSIONS[case]
    state = folded(said(version="v1", unmeasured=missing, event=changes))
    results = {labels[1:]: value for labels, value in counters(state, catalog.VERSION_EVENTS).items()}
    assert results == {("v1", name): float(name == result) for name in ("good", "slow", "failed", "unmeasured")}
    seconds = changes.get("latency_ms", 1500.0) / 1000
    found = {("devops-expert", "v1"): (1, seconds)}
    assert histograms(state, catalog.VERSION_DURATION) == ({} if missing & 1 else found)


def of_version(number: int, version: str, days: float = 0) -> Event:
    return said(number, version=version, event={"arrived_us": event().arrived_us + round(days * DAY_US)})


def versions(state: MetricState) -> set[str]:
    return {labels[1] for labels in counters(state, catalog.VERSION_EVENTS)}


def test_versions_past_the_cap_share_the_fallback_on_the_same_day() -> None:
    state = folded(*(of_version(n, f"v{n}") for n in range(MAX_VERSIONS + 3)))
    assert versions(state) == {*(f"v{n}" for n in range(MAX_VERSIONS)), "otro"}
    assert state.capped["version"] == 3


def test_a_new_version_takes_the_place_of_one_that_nobody_names_any_more() -> None:
    old = [of_version(n, f"v{n}") for n in range(MAX_VERSIONS)]
    state = folded(*old, *(of_version(n, f"v{n}", 0.9) for n in range(1, MAX_VERSIONS)), of_version(99, "neu", 1.1))
    assert versions(state) == {*(f"v{n}" for n in range(1, MAX_VERSIONS)), "neu"}
    assert {labels[1] for labels in histograms(state, catalog.VERSION_DURATION)} == versions(state)
    assert state.capped["version"] == 0


def test_what_has_lost_its_place_is_not_admitted_again_before_every_scraper_has_seen_it_go() -> None:
    """Else it could stand at its old value on the next page, and what it counted since would be in no difference."""
    old = [of_version(n, f"v{n}") for n in range(MAX_VERSIONS)]
    minute = 1 / 1440
    state = folded(*old, of_version(20, "neu", 1.1), of_version(21, "v0", 1.1 + 9 * minute))
    assert versions(state) == {*(f"v{n}" for n in range(1, MAX_VERSIONS)), "neu", "otro"}
    assert state.capped["version"] == 1
    again = MetricState({"devops-expert": gpt()})
    again.load(12, state.dump())
    for one in (state, again):
        one.apply([of_version(22, "v0", 1.1 + 9.9 * minute), of_version(23, "v0", 1.1 + 11 * minute)], 14)
        assert versions(one) == {*(f"v{n}" for n in range(2, MAX_VERSIONS)), "neu", "v0", "otro"}
        assert histograms(one, catalog.VERSION_DURATION)["devops-expert", "v0"] == (1, 1.5)


def test_a_client_makes_ten_versions_a_day_at_the_most() -> None:
    state = MetricState({"devops-expert": gpt()})
    seen = set()
    for number in range(2_000):
        state.apply([of_version(number, f"v{number}", number / 500)], number + 1)
        seen |= versions(state)
        assert len(versions(state)) <= MAX_VERSIONS + 1 and state.series_count() <= state.series_limit()
    assert len(seen) <= MAX_VERSIONS * 4 + 1


# --- tools ---------------------------------------------------------------------------------------------------------


def test_calls_of_tools_are_counted_with_their_time() -> None:
    calls = [ToolCall("buscar", 200.0), ToolCall("buscar", 300.0, "timeout"), ToolCall("leer", 0.0)]
    state = folded(said(tools=calls))
    assert counters(state, catalog.TOOL_CALLS) == {
        ("devops-expert", "buscar", "ok"): 1,
        ("devops-expert", "buscar", "error"): 1,
        ("devops-expert", "leer", "ok"): 1,
        ("devops-expert", "leer", "error"): 0,
    }
    assert counters(state, catalog.TOOL_SECONDS) == {("devops-expert", "buscar"): 0.5, ("devops-expert", "leer"): 0}


def test_tools_past_the_cap_share_the_fallback() -> None:
    state = folded(*(said(n, tools=[ToolCall(f"t{n}", 1.0), ToolCall("otro", 1.0)]) for n in range(MAX_TOOLS + 5)))
    names = {labels[1] for labels in counters(state, catalog.TOOL_SECONDS)}
    assert names == {*(f"t{n}" for n in range(MAX_TOOLS)), "otro"}
    assert state.capped["tool"] == 5


# --- snapshots -----------------------------------------------------------------------------------------------------


def whole(n: int) -> Event:
    tools = [ToolCall(f"t{n % 25}", 5.0)]
    return said(n, unmeasured=n % 8, ttft_ms=n * 10.0, tokens_reasoning=n, version=f"v{n % 12}", tools=tools)


WHOLE = [whole(n) for n in range(60)]


@pytest.mark.parametrize("at", [0, 1, 30, 60])
def test_a_snapshot_anywhere_changes_nothing(at: int) -> None:
    state = folded(*WHOLE)
    first = folded(*WHOLE[:at])
    again = MetricState({"devops-expert": gpt()})
    again.load(at, first.dump())
    again.apply(WHOLE[at:], 60)
    assert everything(again) == everything(state)
    assert msgspec.msgpack.decode(again.dump()) == msgspec.msgpack.decode(state.dump())


def test_what_is_not_known_of_a_snapshot_by_another_release_is_left_out() -> None:
    """The release before reads what it knows: it has the new families apart; and so does this one of the next."""
    document = msgspec.msgpack.decode(folded(*WHOLE).dump())
    assert not {*document["histograms"], *document["counters"]} & OWN
    document["later"]["counters"]["gpt_of_tomorrow_total"] = [[["a"], 1.0]]
    document["later"]["of_tomorrow"] = {}
    again = MetricState({"devops-expert": gpt()})
    again.load(60, msgspec.msgpack.encode(document))
    assert everything(again) == everything(folded(*WHOLE))
    del document["later"]  # as the release before writes it
    again = MetricState({"devops-expert": gpt()})
    again.load(60, msgspec.msgpack.encode(document))
    assert shown(again) == {} and again.accepted["event"] == 60
