"""Names that leave the process follow the conventions of those who read them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from otel_bridge import catalog
from otel_bridge.catalog import METRICS, Metric

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_metric_is_named_as_prometheus_asks(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", metric.name)
    assert metric.help.endswith(".")
    assert metric.name.endswith("_total") == (metric.type == "counter")
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", label) and label not in ("le", "quantile") for label in metric.labels)
    assert len(set(metric.labels)) == len(metric.labels)
    if metric.unit:
        assert metric.name.removesuffix("_total").endswith("_" + metric.unit)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_only_histograms_have_buckets_and_they_rise(metric: Metric) -> None:
    assert bool(metric.buckets) == (metric.type == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_names_are_unique() -> None:
    series = [name for metric in METRICS for name in metric.series]
    assert len(series) == len(set(series))
    assert len(catalog.SPAN_ATTRIBUTES) == len(set(catalog.SPAN_ATTRIBUTES))


def test_every_metric_of_the_page_is_in_the_list() -> None:
    assert {v.name for v in vars(catalog).values() if isinstance(v, Metric)} == {metric.name for metric in METRICS}


def test_buckets_are_the_documented_ones() -> None:
    assert catalog.OPERATION_DURATION.buckets[0] == 0.01 and catalog.OPERATION_DURATION.buckets[-1] == 300
    assert catalog.TOKEN_USAGE.buckets[:4] == (1, 4, 16, 64) and catalog.TOKEN_USAGE.buckets[-1] == 4**13


def test_names_of_the_wire_stand_nowhere_else_in_the_package() -> None:
    """A name written twice is a name that can drift. Prose may mention one in backticks."""
    wire = [metric.name for metric in METRICS] + [name for name in catalog.SPAN_ATTRIBUTES if name.startswith("gen_ai")]
    strings = re.compile("|".join(f"[\"']{re.escape(name)}" for name in wire))
    guilty = [
        f"{path.name}: {match[0]}"
        for path in sorted((ROOT / "otel_bridge").rglob("*.py"))
        if path.name != "catalog.py"
        for match in strings.finditer(path.read_text(encoding="utf-8"))
    ]
    assert guilty == []
