"""The steward dies, or stands still: another counts on from what was shown, and nothing falls."""

from __future__ import annotations

import signal
import time

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from otel_bridge import catalog
from tests.harness.bridge import OPENMETRICS, Bridge
from tests.harness.fleet import Page, page
from tests.harness.settling import settle
from tests.harness.waiting import wait_for
from tests.replicas.conftest import Place

CHANGE_SECONDS = 10
ACCEPTED = {"kind": "event", "result": "accepted"}
COUNTERS = tuple(
    series for metric in catalog.METRICS if metric.type != "gauge" for series in metric.series
    if metric.name not in catalog.OF_EACH_PROCESS
)  # fmt: skip


def counters(shown: Page) -> Page:
    return {key: value for key, value in shown.items() if key[0] in COUNTERS}


def post(place: Place, count: int) -> None:
    for bridge in place.fleet.bridges:
        if bridge.process is not None and bridge.process.poll() is None:
            session = bridge.session()
            for _ in range(count):
                assert bridge.event(session).status_code == 201


def steward_of(place: Place) -> Bridge:
    return wait_for(place.fleet.steward, "a steward", CHANGE_SECONDS)


class Prometheus:
    """As it scrapes each replica: by its own name, over connections that stay."""

    def __init__(self) -> None:
        self._http = requests.Session()
        self._http.headers.update(
            {**OPENMETRICS, "User-Agent": "Prometheus/test", "X-Prometheus-Scrape-Timeout-Seconds": "10"}
        )

    def page(self, bridge: Bridge) -> dict[str, float]:
        """Events of models that nobody has configured, as the page of a replica has them."""
        pages = text_string_to_metric_families(self._http.get(bridge.metrics_url, timeout=10).text)  # type: ignore[no-untyped-call]
        return {
            sample.labels["gen_ai_request_model"]: sample.value
            for family in pages
            for sample in family.samples
            if sample.name == f"{catalog.OPERATION_DURATION.name}_count"
            and sample.labels["gen_ai_request_model"] in ("antes", "despues")
        }

    def close(self) -> None:
        self._http.close()


def test_a_steward_that_is_killed_is_followed_by_another_and_nothing_falls(place: Place) -> None:
    post(place, 3)
    steward = steward_of(place)
    prometheus = Prometheus()
    assert [prometheus.page(bridge) for bridge in place.fleet.bridges] == [{}, {}, {}]
    session = steward.session()
    assert steward.event(session, modelo="antes").status_code == 201
    assert [prometheus.page(steward) for _ in range(3)] == [{"antes": 0}, {"antes": 1}, {"antes": 1}]
    before = page(steward)
    post(place, 2)
    assert steward.event(session, modelo="despues").status_code == 201
    began = time.monotonic()
    steward.kill()
    other = steward_of(place)
    assert time.monotonic() - began < CHANGE_SECONDS
    assert other is not steward
    now = counters(page(other))
    fallen = {key: (value, now.get(key)) for key, value in counters(before).items() if now.get(key, -1) < value}
    assert not fallen
    # A value that was shown goes on; what is new since begins at 0, as on one machine.
    assert prometheus.page(other) == {"antes": 1, "despues": 0}
    assert prometheus.page(other) == {"antes": 1, "despues": 1}
    prometheus.close()
    steward.start()
    accepted = place.sql("SELECT sum(count) FROM otel_bridge.segment")[0][0]
    assert place.fleet.metric(catalog.RECORDS.name, result="accepted") == accepted
    assert place.fleet.metric(catalog.LEDGER_GAP.name) == 0


def test_a_steward_that_stood_still_past_its_lease_shows_nothing_shared_any_more(place: Place) -> None:
    steward = steward_of(place)
    before = counters(page(steward))
    assert steward.process is not None
    steward.process.send_signal(signal.SIGSTOP)
    try:
        others = [bridge for bridge in place.fleet.bridges if bridge is not steward]
        other = wait_for(
            lambda: next((one for one in others if page(one).get((catalog.STEWARD.name, ())) == 1), None),
            "another steward", CHANGE_SECONDS,
        )  # fmt: skip
        session = other.session()
        assert other.event(session).status_code == 201
        between = counters(page(other))
        assert not {key for key, value in before.items() if between.get(key, -1) < value}
    finally:
        steward.process.send_signal(signal.SIGCONT)
    for _ in range(5):
        shown = page(steward)
        assert not counters(shown) and shown[(catalog.STEWARD.name, ())] == 0
    assert steward.event(session).status_code == 201
    assert place.fleet.metric(catalog.RECORDS.name, **ACCEPTED) == sum(
        value for (name, labels), value in between.items()
        if name == catalog.RECORDS.name and ACCEPTED.items() <= dict(labels).items()
    ) + 1  # fmt: skip


def test_a_steward_that_stops_in_order_leaves_the_count_to_another_at_once(place: Place) -> None:
    who = "SELECT name FROM otel_bridge.steward"
    steward = steward_of(place)
    before = place.sql(who)
    began = time.monotonic()
    assert steward.stop() == 0
    assert time.monotonic() - began < 15
    assert place.sql(who) != before, "the lease was left to its end"
    assert steward_of(place) is not steward
    steward.start()


def test_a_replica_that_was_taken_for_dead_goes_on_in_another_lane(place: Place) -> None:
    fleet = place.fleet
    bridge = fleet.bridges[0]
    rejected = {"kind": "session", "result": "rejected"}
    for _ in range(4):
        assert bridge.post("/sessions", {}).status_code == 422
    steward_of(place)
    wait_for(lambda: fleet.metric(catalog.RECORDS.name, **rejected) == 4, "its refusals", 60)
    state = bridge.http.get(f"{bridge.url}/readyz").json()["replicas"]
    lane = state["carril"]
    session = bridge.session()
    place.sql(
        "UPDATE otel_bridge.lane SET owner = gen_random_uuid(), name = 'another', epoch = epoch + 1, "
        "lease_until = clock_timestamp() + interval '1 hour' WHERE lane = %s", lane,
    )  # fmt: skip
    assert bridge.event(session).status_code == 201, "what was under way goes again in another lane"
    assert bridge.post("/sessions", {}).status_code == 422
    now = bridge.http.get(f"{bridge.url}/readyz").json()["replicas"]["carril"]
    assert now != lane
    wait_for(lambda: fleet.metric(catalog.RECORDS.name, **rejected) == 5, "what it refused in both lanes", 60)
    # Its exporter delivers from there; what it may have left behind is whoever's that drains the lane.
    place.sql("UPDATE otel_bridge.lane SET owner = NULL, lease_until = '-infinity' WHERE lane = %s", lane)
    settle(fleet, 60)
    delivered = place.receiver.find(trace_id=session.replace("-", ""))
    assert len(delivered) >= 2
    assert fleet.metric(catalog.LEDGER_GAP.name) == 0
