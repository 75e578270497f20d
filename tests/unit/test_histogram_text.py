"""Histograms as text: what is remembered of a series is what it would be written as."""

from __future__ import annotations

from otel_bridge import catalog
from otel_bridge.metrics.text import HistogramText

LABELS = ("devops-expert", "v1")
BOUNDS = len(catalog.VERSION_DURATION.buckets) + 1


def rendered(text: HistogramText, bucket: int, total: float, count: int = 1) -> str:
    counts = [count if number == bucket else 0 for number in range(BOUNDS)]
    return text.render(catalog.VERSION_DURATION, [(LABELS, (counts, total, [None] * BOUNDS))], with_exemplars=False)


def test_a_series_that_began_anew_and_has_as_many_observations_is_written_anew() -> None:
    text = HistogramText()
    rendered(text, 2, 0.6)
    assert rendered(text, 9, 6.0) == rendered(HistogramText(), 9, 6.0)
