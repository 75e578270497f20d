"""Histograms as text. A series that has not changed since the last scrape keeps its text.

prometheus-client writes the other families. For 50 GPTs of 8 types it takes it 0.3 s to write 20,000 histogram lines
at every scrape, and the answers wait meanwhile; here an unchanged series is one string and a changed line one
concatenation. Formats: OpenMetrics 1.0 (with exemplars) and the Prometheus text format 0.0.4 (without).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from otel_bridge.catalog import Metric
from otel_bridge.metrics.scrapers import LabelSet
from otel_bridge.metrics.state import Labels, exemplar
from otel_bridge.records import event_span_id

Row = tuple[Labels, tuple[Sequence[int], float, Sequence[Any]]]
"""Labels, and (counts by bucket, sum, exemplars by bucket)."""


class _Series:
    """One series' lines up to their values, and its text as of what was `shown`: its observations, and their sum (a
    version's series that has gone comes again from 0, and may have as many)."""

    __slots__ = ("buckets", "plain", "rest", "shown", "text")

    def __init__(self, metric: Metric, labels: Labels) -> None:
        pairs = ",".join(
            f'{name}="{_escape(value)}"' for name, value in sorted(zip(metric.labels, labels, strict=True))
        )
        comma = "," if pairs else ""
        bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
        self.buckets = [f'{metric.name}_bucket{{{pairs}{comma}le="{bound}"}} ' for bound in bounds]
        braces = f"{{{pairs}}}" if pairs else ""
        self.rest = (f"{metric.name}_count{braces} ", f"{metric.name}_sum{braces} ")
        self.shown: tuple[int, float] | None = None
        self.text = ""
        self.plain = ""


class HistogramText:
    """Remembers the text of every series of one process. Used by one scrape at a time."""

    def __init__(self) -> None:
        self._series: dict[str, dict[Labels, _Series]] = {}
        """By family."""

    def render(
        self, metric: Metric, rows: Iterable[Row], with_exemplars: bool, held: Container[LabelSet] = frozenset()
    ) -> str:
        """A whole family, with its HELP and TYPE lines. Series in `held` are at 0 (scrapers.py)."""
        out = [f"# HELP {metric.name} {_escape(metric.help)}\n# TYPE {metric.name} histogram\n"]
        rows = list(rows)
        family = self._series.setdefault(metric.name, {})
        if len(family) > len(rows):  # some are no more
            there = {labels for labels, _ in rows}
            family = self._series[metric.name] = {labels: one for labels, one in family.items() if labels in there}
        for labels, (counts, total, exemplars) in rows:
            series = family.get(labels)
            if series is None:
                series = family[labels] = _Series(metric, labels)
            if (metric.name, labels) in held:
                out.append(_text(metric.name, labels, series, [0] * len(counts), 0.0, None))
                continue
            shown = (sum(counts), total)
            if shown != series.shown:
                series.shown, series.plain = shown, ""
                series.text = _text(metric.name, labels, series, counts, total, exemplars)
            if with_exemplars:
                out.append(series.text)
            else:
                if not series.plain:
                    series.plain = _text(metric.name, labels, series, counts, total, None)
                out.append(series.plain)
        return "".join(out)


def _text(
    name: str, labels: Labels, series: _Series, counts: Sequence[int], total: float, exemplars: Sequence[Any] | None
) -> str:
    lines, cumulative = [], 0
    for i, count in enumerate(counts):
        cumulative += count
        held = exemplars[i] if exemplars is not None else None
        if held is None:
            lines.append(f"{series.buckets[i]}{cumulative}.0\n")
        else:
            shown = exemplar(name, labels, held)
            lines.append(
                f'{series.buckets[i]}{cumulative}.0 # {{trace_id="{shown.trace.hex()}",'
                f'span_id="{event_span_id(shown.event).hex()}"}} {float(shown.value)!r} '
                f"{shown.arrived_us // 1_000_000}.{shown.arrived_us // 1000 % 1000:03d}\n"
            )
    count_head, sum_head = series.rest
    lines.append(f"{count_head}{cumulative}.0\n{sum_head}{float(total)!r}\n")
    return "".join(lines)


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
