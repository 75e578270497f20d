"""Families as text: what prometheus-client writes of them, and what is remembered of a series is what it would be
written as."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from otel_bridge import catalog
from otel_bridge.catalog import Metric
from otel_bridge.metrics.state import Labels
from otel_bridge.metrics.text import END, FamilyText

LABELS = ("devops-expert", "v1")
BOUNDS = len(catalog.VERSION_DURATION.buckets) + 1
STRANGE = 'a "quoted" \\ back\nline, 50 % of {it}, ñ'


class One(CollectorRegistry):
    def __init__(self, family: Any) -> None:
        super().__init__(auto_describe=False)
        self.family = family

    def collect(self) -> Iterator[Any]:
        yield self.family


def text_of(metric: Metric, rows: list[tuple[Labels, Any]], openmetrics: bool, text: FamilyText | None = None) -> bytes:
    written = b"".join((text or FamilyText()).render(metric, rows, openmetrics))
    return written + END * openmetrics


def of_the_library(family: Any, openmetrics: bool) -> bytes:
    page: bytes = (generate_openmetrics if openmetrics else generate_latest)(One(family))
    return page


@pytest.mark.parametrize("openmetrics", [True, False])
@pytest.mark.parametrize("value", [0, 1, 7.25, 123456789, 1e16, 0.000001, float("inf")])
def test_counters_and_gauges_are_written_as_the_library_writes_them(openmetrics: bool, value: float) -> None:
    for kind, made in (("counter", CounterMetricFamily), ("gauge", GaugeMetricFamily)):
        name = "made_total" if kind == "counter" else "made"
        for names, rows in (
            ((), [((), value)]),
            (("b", "a"), [((STRANGE, "y"), value), (("", "z"), value)]),
            (("a",), []),
        ):
            family: Any = made(name, STRANGE, labels=names)
            for labels, each in rows:
                family.add_metric(labels, each)
            assert text_of(Metric(name, kind, STRANGE, names), rows, openmetrics) == of_the_library(family, openmetrics)  # type: ignore[arg-type]


@pytest.mark.parametrize("openmetrics", [True, False])
def test_a_histogram_is_written_as_the_library_writes_it(openmetrics: bool) -> None:
    family = HistogramMetricFamily("made", STRANGE, labels=["b", "a"])
    family.add_metric([STRANGE, "y"], [("0.5", 2), ("1.0", 2), ("+Inf", 5)], sum_value=12.5)
    metric = Metric("made", "histogram", STRANGE, ("b", "a"), buckets=(0.5, 1.0))
    rows: list[tuple[Labels, Any]] = [((STRANGE, "y"), ([2, 0, 3], 12.5, [None] * 3))]
    assert text_of(metric, rows, openmetrics) == of_the_library(family, openmetrics)


def histogram(text: FamilyText, bucket: int, total: float) -> bytes:
    counts = [1 if number == bucket else 0 for number in range(BOUNDS)]
    return text_of(catalog.VERSION_DURATION, [(LABELS, (counts, total, [None] * BOUNDS))], False, text)


def test_a_series_that_began_anew_and_has_as_many_observations_is_written_anew() -> None:
    text = FamilyText()
    histogram(text, 2, 0.6)
    assert histogram(text, 9, 6.0) == histogram(FamilyText(), 9, 6.0)


def test_a_value_that_changes_is_written_anew_and_one_that_is_no_more_is_gone() -> None:
    text, metric = FamilyText(), Metric("made", "gauge", "help", ("a",))
    assert b'made{a="x"} 1.0' in text_of(metric, [(("x",), 1), (("y",), 2)], False, text)
    page = text_of(metric, [(("x",), 3)], False, text)
    assert b'made{a="x"} 3.0' in page and b'"y"' not in page
    assert text_of(metric, [(("y",), 2), (("x",), 3)], False, text).endswith(b'made{a="y"} 2.0\nmade{a="x"} 3.0\n')


@pytest.mark.parametrize("openmetrics", [True, False])
def test_a_series_that_is_held_is_at_zero_and_then_shows_its_value(openmetrics: bool) -> None:
    text = FamilyText()
    rows: list[tuple[Labels, Any]] = [(LABELS, ([1] * BOUNDS, 3.5, [None] * BOUNDS))]
    held = {(catalog.VERSION_DURATION.name, LABELS)}
    first = b"".join(text.render(catalog.VERSION_DURATION, rows, openmetrics, held))
    assert b'le="+Inf"} 0.0' in first and b"} 3.5" not in first
    then = b"".join(text.render(catalog.VERSION_DURATION, rows, openmetrics))
    assert f'le="+Inf"}} {BOUNDS}.0'.encode() in then and b"} 3.5" in then
