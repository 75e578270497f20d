"""What all replicas count together, as of one moment: what the page shows of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, NamedTuple

from otel_bridge.catalog import Metric
from otel_bridge.gzipped import Begun
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


class Folded(NamedTuple):
    """What is folded from records. Copies: nothing of it changes while the page is written."""

    families: list[tuple[Metric, list[tuple[Labels, Any]]]]
    """As `MetricState.snapshot` has them."""
    held: Container[LabelSet]
    """Label sets of these that are at 0 on this page (scrapers.py)."""


def _nobody(openmetrics: bool) -> Begun | None:
    return None


@dataclass(frozen=True)
class Shared:
    """Copies, but for what is folded."""

    folded: Callable[[], Folded]
    """Called once at the most."""
    accepted: dict[str, int]
    capped: dict[str, int]
    series: int
    series_limit: int
    own: OwnCounts
    held: Container[LabelSet]
    """Label sets that are at 0 on this page."""
    ledger: ShownLedger | None
    """None where it cannot be counted: an old one would look like a good one."""
    until: float = math.inf
    """When it may not be shown any more (monotonic): another steward may have counted on since."""
    packed: Callable[[bool], Begun | None] = _nobody
    """What is folded, as text in gzip, in OpenMetrics or not, by another process (page_process.py); None: it has to be
    written here."""


def folded(state: MetricState, held: Held, pace: Pace | None = None) -> Folded:
    """Of a state as it is now. `pace`: of a thread that has time."""
    families = list(state.snapshot(pace))
    return Folded(families, frozenset() if held.has_none_of(state.label_sets()) else held)


def shared(
    state: MetricState,
    own: OwnCounts,
    held: Held,
    ledger: ShownLedger | None,
    until: float = math.inf,
    *,
    of_records: Callable[[], Folded] | None = None,
    packed: Callable[[bool], Begun | None] = _nobody,
) -> Shared:
    """What is to be shown of a state as it is now. `of_records`: how to get what is folded, where not from the state as
    it is when somebody asks."""
    return Shared(
        folded=of_records or (lambda: folded(state, held, Pace())),
        accepted=dict(state.accepted),
        capped=dict(state.capped),
        series=state.series_count(),
        series_limit=state.series_limit(),
        own=own,
        held=held,
        ledger=ledger,
        until=until,
        packed=packed,
    )
