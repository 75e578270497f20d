"""A page as OTLP: the same series under the same names, cumulative.

Names are whole, with `_total` and units in them: a receiver that adds suffixes finds them there, one that adds none (or
translates nothing) leaves them. A label without a value is left out, as Prometheus does.

Of several replicas, what they share has a resource without an instance, so that it is the same series whoever is
steward (docs/decisions/0018-metrics-pushed.md); what each shows of itself has its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK,
    HistogramDataPoint,
    NumberDataPoint,
    ResourceMetrics,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric as OtlpMetric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from otel_bridge import __version__, catalog
from otel_bridge.catalog import Metric
from otel_bridge.metrics.scrapers import LabelSet
from otel_bridge.metrics.shown import Rows, Shown
from otel_bridge.metrics.state import Labels, exemplar
from otel_bridge.records import event_span_id

UNITS = {"": "", "seconds": "s", "bytes": "By", "ratio": "1"}
"""A unit of the catalog → in UCUM, as OTLP has it. Each one's word is in its metrics' names already."""

_OF_A_PLACE = (
    *("host.", "process.", "container.", "os.", "device.", "service.instance."),
    *("k8s.pod.", "k8s.node.", "k8s.container.", "k8s.replicaset.", "cloud.availability_zone", "cloud.resource_id"),
)
"""Beginnings of resource attributes that tell replicas of one journal apart."""

Attributes = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Resources:
    """Whose the series are: of what is counted of the journal, and of what a process shows of itself."""

    shared: Resource
    own: Resource


def resources(service: str, attributes: Attributes, instance: str, port: int | None) -> Resources:
    """`attributes`: of the environment; `service.instance.id` among them goes before `instance`. `port`: of one of
    several replicas; those of one machine have the same environment, and are told apart by it."""
    own = {catalog.SERVICE_INSTANCE_ID: instance, **dict(attributes)}
    own |= {catalog.SERVICE_NAME: service, catalog.SERVICE_VERSION: __version__}
    shared = own
    if port is not None:
        own = {**own, catalog.SERVICE_INSTANCE_ID: f"{own[catalog.SERVICE_INSTANCE_ID]}:{port}"}
        shared = {name: value for name, value in own.items() if not name.startswith(_OF_A_PLACE)}
    return Resources(Resource(attributes=_attributes(shared.items())), Resource(attributes=_attributes(own.items())))


@dataclass(frozen=True)
class Times:
    """Of one page, in nanoseconds since the epoch."""

    now: int
    began: int
    """When what is counted of the journal began: from then on it has only grown. 0: not known."""
    process: int
    """When this process began: what it counts of itself ends with it."""


def requests(
    families: Iterable[Shown], gone: Iterable[LabelSet], whose: Resources, times: Times, most_bytes: int
) -> list[ExportMetricsServiceRequest]:
    """A page as requests of `most_bytes`, or one series more. `gone`: series that were on the page before and are not
    on this one: they are told to have ended, as a scrape tells it."""
    ended: dict[str, list[Labels]] = {}
    for name, labels in gone:
        ended.setdefault(name, []).append(labels)
    pages = _Requests(whose, most_bytes)
    for family in families:
        _add(pages, family.metric, family.rows, ended.pop(family.metric.name, ()), times)
    by_name = {metric.name: metric for metric in catalog.METRICS}
    for name, labels_of_ended in ended.items():
        _add(pages, by_name[name], [], labels_of_ended, times)
    return pages.made


def label_sets(families: Iterable[Shown]) -> Iterator[LabelSet]:
    """(family, labels) of all that is on a page."""
    for family in families:
        for labels, _ in family.rows:
            yield family.metric.name, labels


class _Requests:
    """Requests that are filled one after the other."""

    def __init__(self, whose: Resources, most_bytes: int) -> None:
        self.made: list[ExportMetricsServiceRequest] = []
        self._whose = whose
        self._are_apart = whose.own != whose.shared
        self._most_bytes = most_bytes
        self._bytes = most_bytes
        self._of: dict[bool, ResourceMetrics] = {}
        """The last request's, by whether it is what each process shows of itself, where that is apart."""
        self._open: tuple[Metric, OtlpMetric] | None = None

    def family(self, metric: Metric) -> OtlpMetric:
        """Where the next series of this family goes."""
        if self._bytes >= self._most_bytes:
            self.made.append(ExportMetricsServiceRequest())
            self._bytes, self._of, self._open = 0, {}, None
        if self._open is None or self._open[0] is not metric:
            is_own = self._are_apart and metric.name in catalog.OF_EACH_PROCESS
            if is_own not in self._of:
                self._of[is_own] = self.made[-1].resource_metrics.add(
                    resource=self._whose.own if is_own else self._whose.shared
                )
                self._of[is_own].scope_metrics.add(
                    scope=InstrumentationScope(name=catalog.SCOPE_NAME, version=__version__)
                )
            added = (
                self._of[is_own]
                .scope_metrics[0]
                .metrics.add(name=metric.name, description=metric.help, unit=UNITS[metric.unit])
            )
            if metric.type == "counter":
                added.sum.is_monotonic = True
                added.sum.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            elif metric.type == "histogram":
                added.histogram.aggregation_temporality = AGGREGATION_TEMPORALITY_CUMULATIVE
            self._open = metric, added
            self._bytes += added.ByteSize()
        return self._open[1]

    def took(self, point: NumberDataPoint | HistogramDataPoint) -> None:
        self._bytes += point.ByteSize() + 4


def _add(pages: _Requests, metric: Metric, rows: Rows, ended: Iterable[Labels], times: Times) -> None:
    start = 0
    if metric.type != "gauge":
        start = times.process if metric.name in catalog.OF_EACH_PROCESS else times.began
    for labels, value in rows:
        pages.took(_point(pages.family(metric), metric, labels, value, start, times.now))
    for labels in ended:
        nothing: Any = ([0] * (len(metric.buckets) + 1), 0.0, ()) if metric.type == "histogram" else 0
        point = _point(pages.family(metric), metric, labels, nothing, start, times.now)
        point.flags = DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
        pages.took(point)


def _point(
    family: OtlpMetric, metric: Metric, labels: Labels, value: Any, start: int, now: int
) -> NumberDataPoint | HistogramDataPoint:
    attributes = _attributes(zip(metric.labels, labels, strict=True))
    if metric.type != "histogram":
        points = family.sum.data_points if metric.type == "counter" else family.gauge.data_points
        return points.add(attributes=attributes, start_time_unix_nano=start, time_unix_nano=now, as_double=float(value))
    counts, total, exemplars = value
    point = family.histogram.data_points.add(
        attributes=attributes,
        start_time_unix_nano=start,
        time_unix_nano=now,
        count=sum(counts),
        sum=total,
        bucket_counts=counts,
        explicit_bounds=metric.buckets,
    )
    for held in exemplars:  # in the order of the buckets, so of their values, as receivers expect
        if held is not None:
            behind = exemplar(metric.name, labels, held)
            point.exemplars.add(
                time_unix_nano=behind.arrived_us * 1000,
                as_double=float(behind.value),
                trace_id=behind.trace,
                span_id=event_span_id(behind.event),
            )
    return point


def _attributes(pairs: Iterable[tuple[str, str]]) -> list[KeyValue]:
    return [KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in pairs if value]
