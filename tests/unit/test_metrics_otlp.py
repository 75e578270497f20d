"""A page as OTLP: each family of the catalog, and every value, as the text of the page has it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_bridge import catalog
from otel_bridge.catalog import Metric
from otel_bridge.metrics import otlp
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.page import BridgeCollector, Sources
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shared import Shared, ShownLedger, shared
from otel_bridge.metrics.shown import shown
from otel_bridge.metrics.state import MetricState
from otel_bridge.records import Record
from tests.harness.otlp import Push, plain
from tests.unit.samples import event, gpt, session

TIMES = otlp.Times(now=3_000, began=1_000, process=2_000)
LIMIT = 1 << 20
WHOSE = otlp.resources("otel-bridge", [("service.namespace", "equipo"), ("host.name", "una")], "diario", None)


def some(metric: Metric) -> tuple[tuple[str, ...], Any]:
    labels = tuple(f"de {name}" for name in metric.labels)
    if metric.type == "histogram":
        return labels, ([*range(len(metric.buckets) + 1)], 2.5, [None] * (len(metric.buckets) + 1))
    return labels, 7


@pytest.mark.parametrize("metric", catalog.METRICS, ids=[metric.name for metric in catalog.METRICS])
def test_every_family_of_the_catalog_can_be_pushed(metric: Metric) -> None:
    labels, value = some(metric)
    (request,) = otlp.requests([shown(metric, [(labels, value)])], [], WHOSE, TIMES, LIMIT)
    ((sent, point),) = Push(request, {}).points()
    assert (sent.name, sent.description) == (metric.name, metric.help)
    assert plain(point.attributes) == dict(zip(metric.labels, labels, strict=True))
    assert point.time_unix_nano == 3_000
    began = 2_000 if metric.name in catalog.OF_EACH_PROCESS else 1_000
    if metric.type == "gauge":
        assert (sent.WhichOneof("data"), point.start_time_unix_nano, point.as_double) == ("gauge", 0, 7)
    elif metric.type == "counter":
        assert sent.sum.is_monotonic and sent.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        assert (point.start_time_unix_nano, point.as_double) == (began, 7)
    else:
        assert sent.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        assert tuple(point.explicit_bounds) == metric.buckets
        assert list(point.bucket_counts) == value[0] and point.count == sum(value[0]) and point.sum == 2.5
        assert point.start_time_unix_nano == began


def test_a_unit_is_one_whose_word_the_name_has_already() -> None:
    """Else a receiver that adds units would make another name of it."""
    words = {"s": "seconds", "By": "bytes", "1": "ratio"}
    for metric in catalog.METRICS:
        unit = otlp.UNITS[metric.unit]
        assert not unit or metric.name.removesuffix("_total").endswith(f"_{words[unit]}"), metric.name


def test_a_label_without_a_value_is_left_out() -> None:
    labels = ("a", "b", "c", "d", "consulta", "")
    _, value = some(catalog.OPERATION_DURATION)
    (request,) = otlp.requests([shown(catalog.OPERATION_DURATION, [(labels, value)])], [], WHOSE, TIMES, LIMIT)
    ((_, point),) = Push(request, {}).points()
    assert "error_type" not in plain(point.attributes)


def test_what_is_held_is_at_0() -> None:
    for metric in (catalog.OPERATION_DURATION, catalog.SESSIONS):
        labels, value = some(metric)
        held = {(metric.name, labels)}
        (request,) = otlp.requests([shown(metric, [(labels, value)], held)], [], WHOSE, TIMES, LIMIT)
        assert set(Push(request, {}).values().values()) == {0}


def test_what_has_ended_says_so() -> None:
    labels, _ = some(catalog.TOP_USER_EVENTS)
    bucketed, _ = some(catalog.VERSION_DURATION)
    gone = [(catalog.TOP_USER_EVENTS.name, labels), (catalog.VERSION_DURATION.name, bucketed)]
    (request,) = otlp.requests([shown(catalog.TOP_USER_EVENTS, [(("a", "b", "c"), 1)])], gone, WHOSE, TIMES, LIMIT)
    users, versions = request.resource_metrics[0].scope_metrics[0].metrics
    assert [point.flags for point in users.gauge.data_points] == [0, 1]
    (point,) = versions.histogram.data_points
    assert point.flags == 1 and len(point.bucket_counts) == len(point.explicit_bounds) + 1


def test_a_page_is_cut_into_requests_that_a_receiver_takes() -> None:
    rows = [((f"gpt-{i}", f"h{i}", "1d"), i) for i in range(500)]
    families = [shown(catalog.TOP_USER_EVENTS, rows), shown(catalog.STEWARD, [((), 1)])]
    most = 4_000
    made = otlp.requests(families, [], WHOSE, TIMES, most)
    assert len(made) > 5
    largest = max(request.resource_metrics[0].scope_metrics[0].metrics[0].ByteSize() for request in made)
    assert most / 2 < largest < most + 500
    found = [pair for request in made for pair in Push(request, {}).values().items()]
    assert len(found) == len(dict(found)) == 501


def test_replicas_share_a_resource_without_a_place() -> None:
    attributes = [("service.namespace", "equipo"), ("host.name", "una"), ("k8s.pod.name", "p-1"), ("team", "x")]
    one, other = (otlp.resources("otel-bridge", attributes, "una", port) for port in (9464, 9465))
    shared_ = plain(one.shared.attributes)
    assert shared_.keys() == {"service.name", "service.namespace", "service.version", "team"}
    assert plain(other.shared.attributes) == shared_
    ids = {plain(each.own.attributes)["service.instance.id"] for each in (one, other)}
    assert ids == {"una:9464", "una:9465"}
    assert plain(one.own.attributes)["k8s.pod.name"] == "p-1"


def test_one_bridge_is_one_resource_and_its_instance_can_be_given() -> None:
    assert WHOSE.shared == WHOSE.own
    assert plain(WHOSE.own.attributes)["service.instance.id"] == "diario"
    given_ = otlp.resources("otel-bridge", [("service.instance.id", "mio"), ("service.name", "otro")], "diario", None)
    found = plain(given_.own.attributes)
    assert (found["service.instance.id"], found["service.name"]) == ("mio", "otel-bridge")


class Counted:
    """A bridge's page, without the bridge."""

    def __init__(self, records: list[Record]) -> None:
        self.state = MetricState({"devops-expert": gpt()})
        self.own = SelfMetrics(("/api/events",), ("email",))
        self.scrapers = Scrapers()
        self.scrapers.stand(self.state.label_sets())
        self.state.apply(records, len(records))
        self.own.observe("/api/events", "POST", 201, 0.3)
        sources = Sources(
            shared=self.shared, gpts=lambda: {"devops-expert": gpt()}, windows=lambda: None,
            workers=lambda: [("windows", True, 2)], journal_bytes=lambda: (10, 20), journal_in_place=lambda: True,
            journal_backend="sqlite", went_back=lambda: None, export_configured=True, started=1.5,
            reload_failed=lambda: False, limits_fallback=lambda: True, pushes=lambda: {"ok": 3},
        )  # fmt: skip
        self.collector = BridgeCollector(sources)

    def shared(self, scraper: Scraper) -> Shared:
        own = self.own.counts()
        self.scrapers.begin_page(scraper, [*self.state.label_sets(), *own.label_sets()])
        held = self.scrapers.held(scraper, True)
        return shared(self.state, own, held, ShownLedger(5, 3, 1, 1, 0.25))


records = st.lists(
    st.builds(
        event,
        latency_ms=st.floats(0, 4e5),
        tokens_in=st.integers(0, 10**9),
        tokens_out=st.integers(0, 10**9),
        model=st.sampled_from([None, "m", "ñ"]),
        error=st.sampled_from([None, "timeout"]),
        type=st.sampled_from(["consulta", "inventado"]),
    ),
    max_size=30,
)


@given(records)
def test_what_is_pushed_is_what_the_page_shows(posted: list[Record]) -> None:
    counted = Counted([session(), *posted])
    scraping, pushing = (counted.scrapers.meet(name, True) for name in ("prometheus", "otlp"))
    for _ in range(2):  # what is new is at 0 on the first page, and not on the second
        text = b"".join(counted.collector.render(True, scraping)).decode()
        page = counted.collector.page(pushing)
        made = otlp.requests(page.families, [], WHOSE, TIMES, LIMIT)
        found = {key: value for request in made for key, value in Push(request, {}).values().items()}
        assert found == {
            (sample.name, tuple(sorted((name, value) for name, value in sample.labels.items() if value))): sample.value
            for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
            for sample in family.samples
        }
        scraping.received()
        pushing.received()


def test_exemplars_are_those_of_the_page() -> None:
    counted = Counted([session(), event(latency_ms=700), event(latency_ms=80), event(latency_ms=9e6)])
    scraper = counted.scrapers.meet("a", True)
    text = b"".join(counted.collector.render(True, scraper)).decode()
    made = otlp.requests(counted.collector.page(scraper).families, [], WHOSE, TIMES, LIMIT)
    on_page = {
        (family.name, sample.exemplar.labels["trace_id"], sample.exemplar.labels["span_id"], sample.exemplar.value)
        for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in family.samples
        if sample.exemplar
    }
    pushed = {
        (metric.name, one.trace_id.hex(), one.span_id.hex(), one.as_double)
        for request in made
        for metric, point in Push(request, {}).points()
        if metric.WhichOneof("data") == "histogram"
        for one in point.exemplars
    }
    assert pushed == on_page and len(pushed) >= 3
    for request in made:
        for metric, point in Push(request, {}).points():
            if metric.name == catalog.OPERATION_DURATION.name:
                values = [one.as_double for one in point.exemplars]
                assert values == sorted(values)
