"""Metrics pushed by OTLP, by a real bridge: as the page has them, over both protocols; and an endpoint in trouble is
nobody else's trouble."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import __version__, catalog
from tests.harness.bridge import Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply, plain
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

PUSH = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "200"}
ACCEPTED = (catalog.RECORDS.name, (("kind", "event"), ("result", "accepted")))


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    made = OtlpReceiver().start()
    yield made
    made.close()


@pytest.fixture
def bridge(tmp_path: Path, receiver: OtlpReceiver) -> Iterator[Bridge]:
    made = Bridge(tmp_path, **receiver.environ, **PUSH)
    made.environ["OTEL_BRIDGE_JOURNAL_MAX_SIZE"] = "100MiB"  # else it is what the disk has room for
    yield made
    made.close()


def pushed(receiver: OtlpReceiver) -> float | None:
    return receiver.pushes[-1].values().get(ACCEPTED) if receiver.pushes else None


def post(bridge: Bridge, count: int) -> None:
    session = bridge.session()
    for i in range(count):
        assert bridge.event(session, latency_ms=10 * i).status_code == 201


@pytest.mark.parametrize("protocol", ["http", "http+gzip", "grpc", "grpc+gzip"])
def test_what_is_pushed_is_the_page(bridge: Bridge, receiver: OtlpReceiver, protocol: str) -> None:
    if protocol.startswith("grpc"):
        bridge.environ |= receiver.grpc_environ
    if protocol.endswith("gzip"):
        bridge.environ["OTEL_EXPORTER_OTLP_COMPRESSION"] = "gzip"
    bridge.environ |= {
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "x-equipo=uno",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=equipo",
    }
    bridge.start()
    post(bridge, 5)
    settle(bridge)
    moving = (catalog.REQUEST_DURATION.name, catalog.METRICS_PUSHES.name)

    def same() -> bool:
        page = {
            (name, tuple(pair for pair in labels if pair[1])): value
            for (name, labels), value in bridge.scrape().items()
            if not name.startswith(moving)
        }
        assert page == {key: v for key, v in receiver.pushes[-1].values().items() if not key[0].startswith(moving)}
        return True

    wait_for(same, "the page")
    last = receiver.pushes[-1]
    assert last.headers["x-equipo"] == "uno"
    (of_resource,) = last.request.resource_metrics
    attributes = plain(of_resource.resource.attributes)
    assert attributes.pop("service.instance.id")
    assert attributes == {
        "service.name": "otel-bridge",
        "service.namespace": "equipo",
        "service.version": __version__,
    }
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()["metricas"] == {"estado": "ok"}
    assert bridge.stop() == 0
    assert pushed(receiver) == 5


def test_by_default_nothing_is_pushed(bridge: Bridge, receiver: OtlpReceiver) -> None:
    del bridge.environ["OTEL_METRICS_EXPORTER"]
    bridge.start()
    post(bridge, 2)
    settle(bridge)
    assert bridge.stop() == 0 and receiver.pushes == []
    assert "metricas" not in bridge.output()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(status=503), "no responde o pide esperar"),
        (Reply(status=404), "no acepta esta configuración"),
        (Reply(status=400, body=b"out of order sample"), "las rechaza"),
        (Reply(delay=3600.0), "arrancando"),
    ],
    ids=["away", "not-found", "refused", "hanging"],
)
def test_an_endpoint_that_takes_no_metrics_is_nobody_elses_trouble(
    bridge: Bridge, receiver: OtlpReceiver, reply: Reply, words: str
) -> None:
    receiver.behave_to_metrics = lambda request: reply
    bridge.environ["OTEL_EXPORTER_OTLP_METRICS_TIMEOUT"] = "600"
    bridge.start()

    def told() -> bool:
        state: dict[str, Any] = bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()
        assert state["estado"] == "listo" and state["exportacion"] == {"estado": "ok"}
        return words in state["metricas"]["estado"]

    post(bridge, 20)
    settle(bridge, timeout=20)  # spans arrive, and pages are scraped
    wait_for(told, "its word on /readyz")
    assert receiver.pushes == []
    if reply.delay:
        return
    said = [line for line in bridge.output().splitlines() if "metrics are not taken" in line]
    assert len(said) == 1
    receiver.behave_to_metrics = lambda request: OK
    wait_for(lambda: pushed(receiver) == 20, "all that was counted meanwhile", 60)
    wait_for(lambda: "metrics are taken again" in bridge.output(), "a word of it")


def test_an_endpoint_that_hangs_does_not_hold_the_stop(bridge: Bridge, receiver: OtlpReceiver) -> None:
    receiver.behave_to_metrics = lambda request: Reply(delay=3600.0)
    bridge.start()
    post(bridge, 1)
    began = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - began < 10


def test_a_bridge_that_is_killed_pushes_on_from_what_was_pushed(bridge: Bridge, receiver: OtlpReceiver) -> None:
    bridge.start()
    instances, starts = set(), set()
    for n in (1, 2, 3):
        post(bridge, 5)
        wait_for(lambda n=n: pushed(receiver) == 5 * n, f"{5 * n} events")  # type: ignore[misc]
        bridge.kill()
        bridge.start()
    wait_for(lambda: pushed(receiver) == 15, "15 events")
    so_far: dict[Any, float] = {}
    own = tuple(catalog.OF_EACH_PROCESS)
    for push in receiver.pushes:
        (of_resource,) = push.request.resource_metrics
        instances.add(plain(of_resource.resource.attributes)["service.instance.id"])
        for metric, point in push.points():
            if metric.name == catalog.RECORDS.name:
                starts.add(point.start_time_unix_nano)
        for key, value in push.values().items():
            if key[0].endswith(("_total", "_bucket", "_count", "_sum")) and not key[0].startswith(own):
                assert value >= so_far.get(key, 0), key
                so_far[key] = value
    assert len(instances) == len(starts) == 1
    assert 0 < time.time_ns() - starts.pop() < 300e9
