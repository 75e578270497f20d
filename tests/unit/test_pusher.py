"""Who pushes metrics: what is taken as arrived, what is tried again and when, and that nothing is kept."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from otel_bridge import catalog
from otel_bridge.config import Otlp, Push
from otel_bridge.metrics import otlp, pusher
from otel_bridge.metrics.pusher import Pusher
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shown import Shown, ShownPage, shown
from tests.harness.otlp import OK, OtlpReceiver, Reply, partial
from tests.harness.waiting import wait_for

WHOSE = otlp.resources("otel-bridge", [], "diario", None)
SERIES = shown(catalog.SERIES, [((), 1)])
NEW = (catalog.REDACTIONS.name, ("nuevo",))


class Pages:
    """Pages with some users; the label set `NEW` is counted from the second page on."""

    def __init__(self) -> None:
        self.scrapers = Scrapers()
        self.scrapers.stand([])
        self.users = ["a", "b"]
        self.is_steward = True
        self.until = math.inf
        self.made = 0

    def __call__(self, scraper: Scraper) -> ShownPage:
        self.made += 1
        own = shown(catalog.STEWARD, [((), int(self.is_steward))])
        if not self.is_steward:
            return ShownPage([own])
        sets = [NEW] if self.made > 1 else []
        self.scrapers.begin_page(scraper, sets)
        self.scrapers.saved(scraper)
        redactions = shown(catalog.REDACTIONS, [(NEW[1], 7)] if sets else [], self.scrapers.held(scraper, True))
        users = Shown(catalog.TOP_USER_EVENTS, [(("g", user, "1d"), 1) for user in self.users])
        return ShownPage([SERIES, redactions, users, own], self.until)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    made = OtlpReceiver().start()
    yield made
    made.close()


@pytest.fixture
def pages() -> Pages:
    return Pages()


@contextmanager
def pushing(
    receiver: OtlpReceiver, pages: Pages, seconds: float = 0.05, went_back_us: Callable[[], int] = lambda: 0
) -> Iterator[Pusher]:
    to = Otlp(f"http://127.0.0.1:{receiver.port}/v1/metrics", "http/protobuf", timeout_seconds=5)
    made = Pusher(Push(to, seconds), pages, pages.scrapers, WHOSE, went_back_us)
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        yield made
    finally:
        made.stop()
        thread.join(20)
        assert not thread.is_alive()


def redacted(receiver: OtlpReceiver) -> list[float]:
    """What came of the label set that is new."""
    key = (catalog.REDACTIONS.name, (("kind", "nuevo"),))
    return [push.values()[key] for push in receiver.pushes if key in push.values()]


def test_a_new_label_set_is_at_0_until_a_page_with_it_has_arrived(receiver: OtlpReceiver, pages: Pages) -> None:
    refused = [503, 503, 200]
    seen: list[float] = []

    def behave(request: object) -> Reply:
        if pages.made > 1 and refused:
            return Reply(refused.pop(0))
        return OK

    receiver.behave_to_metrics = behave
    with pushing(receiver, pages) as made:
        wait_for(lambda: 7 in redacted(receiver), "its value")
        assert made.counts()["retry"] == 2
    seen = redacted(receiver)
    assert seen[0] == 0 and set(seen[1:]) == {7}, "0 once, and its value from then on"


def test_what_ends_is_told_once_and_what_another_replica_shows_is_not(receiver: OtlpReceiver, pages: Pages) -> None:
    def ended() -> list[tuple[str, str]]:
        return [
            (metric.name, attribute.value.string_value)
            for push in receiver.pushes
            for of_resource in push.request.resource_metrics
            for metric in of_resource.scope_metrics[0].metrics
            for point in metric.gauge.data_points
            if point.flags
            for attribute in point.attributes
            if attribute.key == "user_hash"
        ]

    with pushing(receiver, pages):
        wait_for(lambda: receiver.pushes, "a push")
        pages.users = ["b"]
        wait_for(ended, "an end")
        pages.is_steward = False
        count = len(receiver.pushes)
        wait_for(lambda: len(receiver.pushes) > count + 3, "pushes of one that is not steward")
    assert ended() == [(catalog.TOP_USER_EVENTS.name, "a")]


def test_a_page_of_a_steward_whose_lease_is_over_is_not_sent(receiver: OtlpReceiver, pages: Pages) -> None:
    pages.until = time.monotonic() - 1
    with pushing(receiver, pages) as made:
        wait_for(lambda: pages.made > 3, "pages")
        assert receiver.pushes == [] and sum(made.counts().values()) == 0
        pages.until = math.inf
        wait_for(lambda: receiver.pushes, "a push")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(404), "config"),
        (Reply(401), "config"),
        (Reply(400, b"out of order sample"), "poison"),
        (Reply(503), "retry"),
        (Reply(close=True), "retry"),
    ],
)
def test_a_failure_is_told_once_and_it_comes_back_by_itself(
    receiver: OtlpReceiver, pages: Pages, caplog: pytest.LogCaptureFixture, reply: Reply, kind: str
) -> None:
    caplog.set_level("INFO", pusher.__name__)
    receiver.behave_to_metrics = lambda request: reply
    with pushing(receiver, pages) as made:
        wait_for(lambda: made.counts()[kind] > 3, "failures")
        assert made.state == kind and receiver.pushes == []
        receiver.behave_to_metrics = lambda request: OK
        wait_for(lambda: made.state == "ok", "a push that is taken")
    said = [record.getMessage() for record in caplog.records if record.name == pusher.__name__]
    assert len(said) == 2 and f"({kind})" in said[0] and "taken again" in said[1]


def test_a_partial_success_is_told_and_goes_on(receiver: OtlpReceiver, pages: Pages) -> None:
    body = b'{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "unos no"}}'
    receiver.behave_to_metrics = lambda request: Reply(body=body, headers={"Content-Type": "application/json"})
    with pushing(receiver, pages) as made:
        wait_for(lambda: made.counts()["partial"] > 2, "partial successes")
        assert made.state == "partial"
    assert redacted(receiver)[-1] == 7


def test_too_large_a_request_is_cut(receiver: OtlpReceiver, pages: Pages) -> None:
    pages.users = [f"{i:016x}" for i in range(400)]
    partly = True

    def behave(request: ExportMetricsServiceRequest) -> Reply:
        if request.ByteSize() > 8_000:
            return Reply(413)
        first = request.resource_metrics[0].scope_metrics[0].metrics[0].name == catalog.SERIES.name
        return partial(1, "uno no") if partly and first else OK

    receiver.behave_to_metrics = behave

    def users() -> int:
        return len({key for push in receiver.pushes for key in push.values() if key[0] == catalog.TOP_USER_EVENTS.name})

    with pushing(receiver, pages) as made:
        wait_for(lambda: made.state == "partial", "a push of which a part is refused, and its other parts are not", 60)
        partly = False
        wait_for(lambda: made.state == "ok", "a push that is taken", 60)
        assert users() == 400


def test_a_hanging_endpoint_keeps_no_page(receiver: OtlpReceiver, pages: Pages) -> None:
    """One request at a time; the next page is made when it is over, and is the newest."""
    receiver.behave_to_metrics = lambda request: Reply(delay=1.0)
    with pushing(receiver, pages, seconds=0.01):
        wait_for(lambda: len(receiver.pushes) >= 2, "two slow pushes")
        made = pages.made
        assert made <= len(receiver.pushes) + 1


def test_the_start_of_counters(receiver: OtlpReceiver, pages: Pages) -> None:
    pages.scrapers.began_us = 5_000_000
    went_back = 0

    def starts() -> tuple[int, int]:
        points = {metric.name: point for metric, point in receiver.pushes[-1].points()}
        counted = points[catalog.REDACTIONS.name].start_time_unix_nano
        return counted, points[catalog.SERIES.name].start_time_unix_nano

    with pushing(receiver, pages, went_back_us=lambda: went_back):
        wait_for(lambda: starts() == (5_000_000_000, 0), "the time that counting began; a gauge has none")
        went_back = 9_000_000
        wait_for(lambda: starts() == (9_000_000_000, 0), "the time that the journal went back")
        went_back, pages.scrapers.began_us = 0, None
        wait_for(lambda: starts() == (0, 0), "no time, where it is not known")


def test_the_last_page_comes_at_the_stop_and_ends_what_is_the_processes(
    receiver: OtlpReceiver, pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pusher, "LAST_SECONDS", 60.0)
    with pushing(receiver, pages, seconds=600):
        wait_for(lambda: receiver.pushes, "the first push")
    assert len(receiver.pushes) == 2
    last = receiver.pushes[-1].request
    flags = {
        metric.name: [point.flags for point in metric.gauge.data_points]
        for of_resource in last.resource_metrics
        for metric in of_resource.scope_metrics[0].metrics
    }
    assert flags[catalog.STEWARD.name] == [1] and flags[catalog.SERIES.name] == [0]


def test_over_grpc_a_refusal_is_told_apart(receiver: OtlpReceiver, pages: Pages) -> None:
    to = Otlp(f"http://127.0.0.1:{receiver.grpc_port}", "grpc", timeout_seconds=5, gzip=True)
    made = Pusher(Push(to, 0.05), pages, pages.scrapers, WHOSE, lambda: 0)
    receiver.behave_to_metrics = lambda request: Reply(grpc=grpc.StatusCode.PERMISSION_DENIED, details="no")
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        wait_for(lambda: made.state == "config", "a refusal")
        receiver.behave_to_metrics = lambda request: OK
        wait_for(lambda: made.state == "ok" and receiver.pushes, "a push")
    finally:
        made.stop()
        thread.join(20)
