"""Families as text. A series that has not changed since the last page keeps its text.

For 1,000 GPTs of 8 types prometheus-client takes seconds of the interpreter at every scrape; here an unchanged series
is looked up, and a changed histogram is one formatting. Nothing is made in one long piece (`pace.py`): a page is a list
of parts. Formats: OpenMetrics 1.0 (with exemplars) and the Prometheus text format 0.0.4 (without).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from itertools import accumulate, compress
from operator import is_not
from typing import Any

from prometheus_client.utils import floatToGoString

from otel_bridge.catalog import Metric
from otel_bridge.metrics.pace import Pace
from otel_bridge.metrics.scrapers import LabelSet
from otel_bridge.metrics.state import Labels, exemplar
from otel_bridge.records import event_span_id

Row = tuple[Labels, tuple[Sequence[int], float, Sequence[Any]]]
"""Labels, and (counts by bucket, sum, exemplars by bucket)."""

END = b"# EOF\n"
"""Of a page in OpenMetrics."""
_ROWS = 32
"""Of a family that are written between two looks at the clock."""


class _Series:
    """One series' text as of the `value` that was shown last."""

    __slots__ = ("exemplars", "labels", "notes", "plain", "text", "value")

    def __init__(self, labels: str) -> None:
        self.labels = labels
        self.value: Any = None
        self.text = self.plain = b""
        self.exemplars: Sequence[Any] = ()
        """Of a histogram, by bucket, and what the lines of the buckets say of them."""
        self.notes: list[str] = []


class _Family:
    """What all series of a family share, and what each was shown as."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.series: dict[Labels, _Series] = {}
        self.zero: Any = 0
        self.template = ""
        """A histogram's lines: labels, count and note of each bucket; labels and count; labels and sum."""
        self._order = sorted(range(len(metric.labels)), key=lambda i: metric.labels[i])
        if metric.type == "histogram":
            bounds = [*(str(bound) for bound in metric.buckets), "+Inf"]
            self.zero = ([0] * len(bounds), 0.0, [None] * len(bounds))
            buckets = [f'{metric.name}_bucket{{%s,le="{bound}"}} %d.0%s\n' for bound in bounds]
            self.template = "".join([*buckets, f"{metric.name}_count{{%s}} %d.0\n{metric.name}_sum{{%s}} %r\n"])

    def head(self, openmetrics: bool) -> bytes:
        """The HELP and TYPE lines."""
        metric = self.metric
        name, help_ = metric.name, metric.help.replace("\\", "\\\\").replace("\n", "\\n")
        if openmetrics:
            help_ = help_.replace('"', '\\"')
            if metric.type == "counter":
                name = name.removesuffix("_total")
        return f"# HELP {name} {help_}\n# TYPE {name} {metric.type}\n".encode()

    def new(self, labels: Labels) -> _Series:
        names = self.metric.labels
        made = self.series[labels] = _Series(",".join(f'{names[i]}="{_escape(labels[i])}"' for i in self._order))
        return made


class FamilyText:
    """Remembers the text of every series of one process. Used by one page at a time."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def render(
        self,
        metric: Metric,
        rows: Sequence[tuple[Labels, Any]],
        openmetrics: bool,
        held: Container[LabelSet] = frozenset(),
        pace: Pace | None = None,
    ) -> Iterator[bytes]:
        """A whole family in parts, with its HELP and TYPE lines. Series in `held` are at 0 (scrapers.py). A histogram's
        value is never changed once it was given here; one that is another object is written anew."""
        family = self._families.get(metric.name)
        if family is None:
            family = self._families[metric.name] = _Family(metric)
        if len(family.series) > len(rows):  # some are no more
            there = {labels for labels, _ in rows}
            family.series = {labels: one for labels, one in family.series.items() if labels in there}
        yield family.head(openmetrics)
        write = _histogram if metric.type == "histogram" else _line
        for start in range(0, len(rows), _ROWS):
            yield b"".join([write(family, *row, openmetrics, held) for row in rows[start : start + _ROWS]])
            if pace is not None:
                pace.rest()


def _line(family: _Family, labels: Labels, value: float, _: bool, held: Container[LabelSet]) -> bytes:
    """A counter or a gauge: the same in both formats."""
    if held and (family.metric.name, labels) in held:
        value = 0
    series = family.series.get(labels) or family.new(labels)
    if value != series.value:
        series.value = value
        braces = f"{{{series.labels}}}" if labels else ""
        series.text = f"{family.metric.name}{braces} {_number(value)}\n".encode()
    return series.text


def _histogram(family: _Family, labels: Labels, value: Any, openmetrics: bool, held: Container[LabelSet]) -> bytes:
    if held and (family.metric.name, labels) in held:
        value = family.zero
    series = family.series.get(labels) or family.new(labels)
    if value is not series.value:
        series.value, series.text, series.plain = value, b"", b""
    if openmetrics:
        if not series.text:
            _note(family.metric.name, labels, series, value[2])
            series.text = _lines(family, series, series.notes)
        return series.text
    if not series.plain:
        series.plain = _lines(family, series, [""] * len(value[0]))
    return series.plain


def _lines(family: _Family, series: _Series, notes: Sequence[str]) -> bytes:
    counts, total, _ = series.value
    labels = series.labels
    values: list[Any] = [labels] * (3 * len(counts))
    values[1::3] = accumulate(counts)
    values[2::3] = notes
    text = family.template % (*values, labels, values[-2], labels, float(total))
    return text.encode()


def _note(name: str, labels: Labels, series: _Series, exemplars: Sequence[Any]) -> None:
    """Writes the exemplars down that are not those of the text before."""
    if not series.notes:
        series.exemplars, series.notes = [None] * len(exemplars), [""] * len(exemplars)
    for i in compress(range(len(exemplars)), map(is_not, exemplars, series.exemplars)):
        held = exemplars[i]
        series.notes[i] = "" if held is None else _exemplar(name, labels, held)
    series.exemplars = exemplars


def _exemplar(name: str, labels: Labels, held: Any) -> str:
    shown = exemplar(name, labels, held)
    return (
        f' # {{trace_id="{shown.trace.hex()}",span_id="{event_span_id(shown.event).hex()}"}} {float(shown.value)!r} '
        f"{shown.arrived_us // 1_000_000}.{shown.arrived_us // 1000 % 1000:03d}"
    )


def _number(value: float) -> str:
    written: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return written


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
