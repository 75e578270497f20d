"""A page of metrics before it is written in a format: families, each with its series as a scraper is shown them."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from otel_bridge.catalog import Metric
from otel_bridge.metrics.scrapers import LabelSet
from otel_bridge.metrics.state import Labels

Rows = list[tuple[Labels, Any]]
"""(labels, value) of a counter or gauge; (labels, (counts by bucket, sum, exemplars by bucket)) of a histogram."""


@dataclass(frozen=True)
class Shown:
    """One family."""

    metric: Metric
    rows: Rows


@dataclass(frozen=True)
class ShownPage:
    """A whole page."""

    families: list[Shown]
    until: float = math.inf
    """When it may not be shown any more (monotonic): another steward may have counted on since."""


def shown(metric: Metric, rows: Rows, held: Container[LabelSet] = frozenset()) -> Shown:
    """A family whose series in `held` are at 0 (scrapers.py)."""
    nothing: Any = 0
    if metric.type == "histogram":
        buckets = len(metric.buckets) + 1
        nothing = ([0] * buckets, 0.0, [None] * buckets)
    return Shown(metric, [(labels, nothing if (metric.name, labels) in held else value) for labels, value in rows])
