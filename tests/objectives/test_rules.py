"""When alerts would have fired: the same numbers as the rules, and the same answer as a real Prometheus."""

from __future__ import annotations

import random
import re
import shutil
import time
from collections.abc import Iterator

import pytest
import yaml

from otel_bridge import catalog
from otel_bridge.objectives import rules
from otel_bridge.objectives.minutes import MINUTE_US, NICE, Minutes
from tests.harness.bridge import ROOT
from tests.harness.prometheus import Prometheus, available, backfill

RULES = ROOT / "prometheus/rules"
ALERTS = [
    rule
    for group in yaml.safe_load((RULES / "gpt.alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
OBJECTIVE, TARGET, LOW_TARGET = 2.0, 0.98, 0.9
BOUNDS = catalog.OPERATION_DURATION.buckets
SECONDS = {"m": 60, "h": 3600, "d": 86_400}


def alert(name: str, ventana: str | None = None, causa: str | None = None) -> str:
    """The expression of the one alert with this name and these labels."""
    (found,) = (
        rule["expr"]
        for rule in ALERTS
        if rule["alert"] == name and (rule["labels"].get("ventana"), rule["labels"].get("causa")) == (ventana, causa)
    )
    return str(found)


def of(name: str, **labels: str | None) -> dict[str, object]:
    return next(
        rule for rule in ALERTS if rule["alert"] == name and all(rule["labels"].get(k) == v for k, v in labels.items())
    )


def minutes_of(text: str) -> int:
    return int(text[:-1]) * SECONDS[text[-1]] // 60


@pytest.mark.parametrize("burn", rules.BURNS, ids=lambda burn: burn.window)
def test_a_burn_has_the_numbers_of_its_rule(burn: rules.Burn) -> None:
    rule = of("GPTLatencyBudgetBurn", ventana=burn.window, causa=None)
    found = re.fullmatch(
        r"gpt:gpt_slo_budget:burn_rate(\w+) > ([\d.]+) and gpt:gpt_slo_budget:burn_rate(\w+) > ([\d.]+) "
        r"and gpt:gpt_slo_events:rate(\w+) \* (\d+) > (\d+) and gpt:gpt_slo_events_bad:rate(\w+) \* (\d+) > (\d+)",
        str(rule["expr"]),
    )
    assert found is not None, rule["expr"]
    long, factor, short, same, window, seconds, answers, bad_window, bad_seconds, bad = found.groups()
    assert long == window == bad_window == burn.window and factor == same and seconds == bad_seconds
    assert (minutes_of(long), minutes_of(short)) == (burn.long, burn.short) and int(seconds) == 60 * burn.long
    assert (float(factor), int(answers), int(bad)) == (burn.factor, burn.answers, rules.LEAST_BAD)
    labels = rule["labels"]
    assert isinstance(labels, dict)
    assert (minutes_of(str(rule["for"])), labels["severity"] == "page") == (burn.wait, burn.page)


def test_every_rule_on_an_objective_is_simulated() -> None:
    windows = {rule["labels"]["ventana"] for rule in ALERTS if rule["alert"] == "GPTLatencyBudgetBurn"}
    assert windows == {burn.window for burn in rules.BURNS}
    on_objectives = {rule["alert"] for rule in ALERTS if "slo" in rule["expr"] and rule["alert"] != "GPTSilent"}
    assert on_objectives == {"GPTLatencyBudgetBurn", "GPTLatencyHigh", "GPTFirstTokenSlow"}


def test_the_slow_alerts_have_the_numbers_of_their_rules() -> None:
    latency = of("GPTLatencyHigh")
    for part in (
        f"histogram_quantile({1 - rules.SLOW_SHARE}", f"[{rules.SLOW_WINDOW}m]",
        f"> {rules.SLOW_SHARE} * gpt:gpt_slo_events:rate{rules.SLOW_WINDOW}m",
        f"gpt:gpt_slo_events:rate{rules.SLOW_WINDOW}m * {60 * rules.SLOW_WINDOW} > {rules.SLOW_ANSWERS}",
    ):  # fmt: skip
        assert part in str(latency["expr"]), part
    assert latency["for"] == f"{rules.SLOW_WAIT}m"
    first = of("GPTFirstTokenSlow")
    assert set(re.findall(r"\[(\d+)m\]", str(first["expr"]))) == {str(rules.FIRST_TOKEN_WINDOW)}
    assert str(first["expr"]).endswith(f"> {rules.FIRST_TOKEN_ANSWERS}")
    assert first["for"] == f"{rules.FIRST_TOKEN_WAIT}m"


def test_an_alert_fires_once_it_has_held_for_its_wait() -> None:
    assert rules.times([True] * 3, 2) == 1
    assert rules.times([True] * 2, 2) == 0
    assert rules.times([True, True, False, True, True], 1) == 2
    assert rules.times([], 0) == 0


def test_a_quantile_is_linear_within_its_bucket() -> None:
    assert rules.quantile(0.5, (1.0, 2.0), (0, 10, 0)) == 1.5
    assert rules.quantile(0.95, (1.0, 2.0), (0, 0, 5)) == 2.0


# --- beside a real Prometheus -----------------------------------------------------------------------------------

MINUTES = 1800


def traffic(seed: int) -> Iterator[tuple[int, float, bool]]:
    """(minute, seconds, failed): days and nights, slow hours, bursts of errors, a silence."""
    dice = random.Random(seed)
    slow_until = failing_until = 0
    for minute in range(MINUTES):
        night = (minute // 60) % 24 < 6
        if dice.random() < 0.003:
            slow_until = minute + dice.choice((4, 20, 90, 200))
        if dice.random() < 0.003:
            failing_until = minute + dice.choice((3, 15, 60))
        if 700 < minute < 740:
            continue
        for _ in range(dice.choice((0, 0, 1)) if night else dice.randint(2, 12)):
            slow = minute < slow_until and dice.random() < 0.6
            seconds = dice.uniform(2.1, 12) if slow else dice.lognormvariate(-0.7, 0.5)
            yield minute, seconds, minute < failing_until and dice.random() < 0.8


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, Minutes, int]]:
    """The same answers, counted here and known to Prometheus; and the first minute."""
    folder = tmp_path_factory.mktemp("objectives")
    first = int(time.time()) // 60 - MINUTES - 60
    minutes = Minutes((*NICE, *BOUNDS))
    by_minute: dict[int, list[tuple[float, bool]]] = {}
    for minute, seconds, failed in traffic(19):
        minutes.add((first + minute) * MINUTE_US, seconds, failed)
        by_minute.setdefault(minute, []).append((seconds, failed))
    first = minutes.first
    samples: list[tuple[str, int, float]] = []

    def sample(name: str, labels: str, value: float, at: int) -> None:
        samples.append((f"{name}{{{labels}}}", at, value))

    good = bad = 0
    buckets = [0] * (len(BOUNDS) + 1)
    for minute in range(-1, minutes.last - first + 1):
        for seconds, failed in by_minute.get(minute, []):
            is_good = not failed and seconds <= OBJECTIVE
            good, bad = good + is_good, bad + (not is_good)
            for place, bound in enumerate((*BOUNDS, float("inf"))):
                buckets[place] += seconds <= bound
        at = (first + minute + 1) * 60
        for gpt, target in (("uno", TARGET), ("dos", LOW_TARGET)):
            label = f'gen_ai_agent_id="{gpt}"'
            sample(catalog.LATENCY_OBJECTIVE.name, label, OBJECTIVE, at)
            sample(catalog.SLO_TARGET.name, label, target, at)
            sample(catalog.SLO_EVENTS.name, f'{label},result="good"', good, at)
            sample(catalog.SLO_EVENTS.name, f'{label},result="bad"', bad, at)
            for place, bound in enumerate((*BOUNDS, float("inf"))):
                name = f"{catalog.OPERATION_DURATION.name}_bucket"
                sample(name, f'{label},event_type="c",le="{bound}"', buckets[place], at)
    prometheus = Prometheus(folder / "prometheus")
    backfill(prometheus.folder / "tsdb", samples)
    try:
        yield prometheus.start(), minutes, first
    finally:
        prometheus.close()


def inlined(expr: str) -> str:
    """The expression without names of recording rules: what they record, instead."""
    recorded = {
        rule["record"]: rule["expr"]
        for file in ("gpt.objectives.yml", "gpt.budget.yml")
        for group in yaml.safe_load((RULES / file).read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    }
    while names := set(re.findall(r"gpt:\w+:\w+", expr)):
        for name in names:
            expr = re.sub(re.escape(name) + r"\b", lambda _, name=name: f"({recorded[name]})", expr)
    return expr


def holds(prometheus: Prometheus, expr: str, gpt: str, first: int, count: int) -> list[bool]:
    """Whether the expression holds for the GPT at the end of each minute."""
    result = prometheus.get(
        "query_range", query=inlined(expr), start=(first + 1) * 60, end=(first + count) * 60, step=60
    )["result"]
    found = {
        int(float(at)) // 60 - 1 - first
        for series in result
        if series["metric"]["gen_ai_agent_id"] == gpt
        for at, _ in series["values"]
    }
    return [minute in found for minute in range(count)]


@pytest.mark.skipif(available() is None or shutil.which("promtool") is None, reason="prometheus is not installed")
@pytest.mark.parametrize("case", ["1h", "6h", "1d", "3d", "parte", "lento"])
def test_a_real_prometheus_says_the_same_of_each_minute(counted: tuple[Prometheus, Minutes, int], case: str) -> None:
    prometheus, minutes, first = counted
    totals, bad = minutes.totals(), minutes.bad(OBJECTIVE)
    burns = {burn.window: burn for burn in rules.BURNS}
    if case == "lento":
        here, expr, gpt = rules.slow(minutes, totals, bad, OBJECTIVE), alert("GPTLatencyHigh"), "uno"
    elif case == "parte":
        here = rules.burning(totals, bad, LOW_TARGET, burns["1h"])
        expr, gpt = alert("GPTLatencyBudgetBurn", "1h", "parte"), "dos"
    else:
        here, gpt = rules.burning(totals, bad, TARGET, burns[case]), "uno"
        expr = alert("GPTLatencyBudgetBurn", case)
    there = holds(prometheus, expr, gpt, first, len(totals))
    differ = sum(a != b for a, b in zip(here, there, strict=True))
    assert sum(here) > 5 and differ <= 0.02 * sum(here), (differ, sum(here), sum(there))
