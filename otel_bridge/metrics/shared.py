"""What all replicas count together, as of one moment: what the page shows of it."""

from __future__ import annotations

import math
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, NamedTuple

from otel_bridge.catalog import Metric
from otel_bridge.metrics.own import OwnCounts
from otel_bridge.metrics.pace import Pace
from otel_bridge.metrics.scrapers import Held, LabelSet
from otel_bridge.metrics.state import Labels, MetricState


class ShownLedger(NamedTuple):
    """The ledger's two sides, counted of one state of the journal."""

    accepted: int
    exported: int
    pending: int
    parked: int
    lag: float
    """Seconds that the oldest pending record waits."""

    @property
    def gap(self) -> int:
        return self.accepted - self.exported - self.pending - self.parked


@dataclass(frozen=True)
class Shared:
    """Copies: nothing of it changes while the page is written."""

    families: list[tuple[Metric, list[tuple[Labels, Any]]]]
    """As `MetricState.snapshot` has them."""
    accepted: dict[str, int]
    capped: dict[str, int]
    series: int
    series_limit: int
    own: OwnCounts
    held: Container[LabelSet]
    """Label sets that are at 0 on this page (scrapers.py)."""
    ledger: ShownLedger | None
    """None where it cannot be counted: an old one would look like a good one."""
    until: float = math.inf
    """When it may not be shown any more (monotonic): another steward may have counted on since."""


def shared(
    state: MetricState,
    own: OwnCounts,
    held: Held,
    ledger: ShownLedger | None,
    until: float = math.inf,
    pace: Pace | None = None,
) -> Shared:
    """What is to be shown of a state as it is now. `pace`: of a thread that has time."""
    families = list(state.snapshot(pace))
    none_held = held.has_none_of(state.label_sets()) and not any(each in held for each in own.label_sets())
    return Shared(
        families=families,
        accepted=dict(state.accepted),
        capped=dict(state.capped),
        series=state.series_count(),
        series_limit=state.series_limit(),
        own=own,
        held=frozenset() if none_held else held,
        ledger=ledger,
        until=until,
    )
