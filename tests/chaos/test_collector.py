"""A real OpenTelemetry Collector as the endpoint: what it acknowledges is its own, and this is what it makes of it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.conftest import long_form
from tests.chaos.ledger import Load, Say, account
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.collector import Collector, collector_program
from tests.harness.otlp import OtlpReceiver
from tests.harness.ports import free_port
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

KILLS = 20
pytestmark = [long_form, pytest.mark.timeout(600)]
over_both = pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])


@pytest.fixture(scope="module")
def program() -> Path:
    return collector_program()


@pytest.fixture
def downstream() -> Iterator[Downstream]:
    """What the Collector hands on to, at a port that stays."""
    made = Downstream()
    yield made
    made.close()


class Downstream:
    def __init__(self) -> None:
        self.port = free_port()
        self.receiver = OtlpReceiver(grpc_port=self.port)
        self._up = False

    def start(self) -> OtlpReceiver:
        self._up = True
        return self.receiver.start()

    def stop(self) -> None:
        """The one that starts after it has received nothing yet."""
        self.receiver.close()
        self.receiver = OtlpReceiver(grpc_port=self.port)
        self._up = False

    def close(self) -> None:
        if self._up:
            self.receiver.close()


@pytest.fixture
def collector(program: Path, tmp_path: Path, downstream: Downstream) -> Iterator[Collector]:
    folder = tmp_path / "collector"
    folder.mkdir()
    made = Collector(program, folder, f"127.0.0.1:{downstream.port}")
    yield made
    made.close()


def _arrives(receiver: OtlpReceiver, load: Load, seconds: float = 120.0) -> None:
    wait_for(lambda: load.ledger.spans <= set(receiver.times), "everything, behind the Collector", seconds)


@over_both
def test_with_its_queue_on_disk_kills_under_load_lose_nothing(
    make_bridge: Callable[..., Bridge], collector: Collector, downstream: Downstream, say: Say, protocol: str
) -> None:
    receiver = downstream.start()
    collector.keep_queue()
    collector.start()
    bridge = make_bridge(**collector.environ(protocol)).start()
    chance = random.Random(16)
    with Load(bridge, clients=3, pause=0.005) as load:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.2, 2.0))
            collector.kill()
            time.sleep(chance.uniform(0.0, 1.0))
            collector.start()
    settle(bridge)
    _arrives(receiver, load)
    found = account(bridge, load.ledger, receiver)
    failed = bridge.metric("otel_bridge_export_attempts_total", result="retry")
    say(f"{protocol}, {KILLS} kills: {found}; {failed:g} attempts failed")
    found.check()
    assert found.parked == 0 and failed > 0


@over_both
def test_a_full_queue_is_waited_for(
    make_bridge: Callable[..., Bridge], collector: Collector, downstream: Downstream, say: Say, protocol: str
) -> None:
    """Its own downstream is away: what has room in its queue is acknowledged, the rest refused, and kept here."""
    collector.exporter["sending_queue"] = {"queue_size": 4, "num_consumers": 1}
    collector.start()
    bridge = make_bridge(**collector.environ(protocol)).start()
    with Load(bridge, clients=3, pause=0.005) as load:
        wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 10, "backlog")
    taken = bridge.metric("otel_bridge_exported_records_total")
    said = next(line for line in bridge.output().splitlines() if "delivery waits" in line)
    assert "sending queue is full" in said and bridge.metric("otel_bridge_parked_records") == 0
    assert bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200
    receiver = downstream.start()
    settle(bridge)
    _arrives(receiver, load)
    found = account(bridge, load.ledger, receiver)
    say(f"{protocol}: {taken:g} records taken by the queue, then «{said.split('delivery waits ')[1][:60]}»; {found}")
    found.check()
    assert found.parked == 0


@over_both
def test_without_a_queue_its_downstreams_outage_is_ours(
    make_bridge: Callable[..., Bridge], collector: Collector, downstream: Downstream, say: Say, protocol: str
) -> None:
    """It acknowledges what its downstream has acknowledged: nothing is lost in it, whatever happens to it."""
    collector.exporter |= {"sending_queue": {"enabled": False}, "retry_on_failure": {"enabled": False}}
    collector.start()
    bridge = make_bridge(**collector.environ(protocol)).start()
    with Load(bridge, clients=3, pause=0.005) as load:
        wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 5, "backlog")
        assert bridge.metric("otel_bridge_exported_records_total") == 0
        said = next(line for line in bridge.output().splitlines() if "delivery waits" in line)
        receiver = downstream.start()
        wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") < 1, "delivery that keeps up", 60)
        for _ in range(5):
            time.sleep(0.5)
            collector.kill()
            collector.start()
    settle(bridge)
    found = account(bridge, load.ledger, receiver)
    say(f"{protocol}: «{said.split('delivery waits ')[1][:90]}»; {found}")
    found.check()
    assert found.parked == 0


@over_both
def test_a_memory_limiter_that_refuses_is_waited_for(
    make_bridge: Callable[..., Bridge], collector: Collector, downstream: Downstream, say: Say, protocol: str
) -> None:
    limiter = {"check_interval": "100ms", "limit_mib": 10, "spike_limit_mib": 9}
    collector.processors["memory_limiter"] = limiter
    collector.keep_queue()
    collector.start()
    receiver = downstream.start()
    time.sleep(0.3)  # its first look at its memory
    bridge = make_bridge(**collector.environ(protocol)).start()
    with Load(bridge, clients=3, pause=0.005) as load:
        wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 5, "backlog")
        assert bridge.metric("otel_bridge_exported_records_total") == 0 and not receiver.times
        said = next(line for line in bridge.output().splitlines() if "delivery waits" in line)
        collector.kill()
        limiter["limit_mib"] = 2_000
        collector.start()
    settle(bridge)
    _arrives(receiver, load)
    found = account(bridge, load.ledger, receiver)
    say(f"{protocol}: «{said.split('delivery waits ')[1][:90]}»; {found}")
    found.check()
    assert found.parked == 0


@pytest.mark.parametrize("how", ["killed", "gives up"])
def test_what_it_acknowledged_and_has_in_memory_is_lost_with_it(
    make_bridge: Callable[..., Bridge], collector: Collector, downstream: Downstream, say: Say, how: str
) -> None:
    """Its defaults: a queue in memory, and a time (5 minutes) after which it drops what its downstream does not take.
    Such a loss is not ours to see: the acknowledgement was a receipt."""
    if how == "gives up":
        collector.exporter["retry_on_failure"]["max_elapsed_time"] = "1s"
    collector.start()
    bridge = make_bridge(**collector.environ("http/protobuf")).start()
    with Load(bridge, clients=2, pause=0.01) as lost:
        time.sleep(2)
    settle(bridge)
    if how == "killed":
        collector.kill()
        collector.start()
    else:
        records = lost.ledger.acknowledged
        wait_for(lambda: _dropped(collector) >= records, "everything dropped")
    receiver = downstream.start()
    with Load(bridge, clients=2, seed=2, pause=0.01) as load:
        time.sleep(1)
    settle(bridge)
    _arrives(receiver, load)
    assert not lost.ledger.spans & set(receiver.times)
    exported = bridge.metric("otel_bridge_exported_records_total")
    assert exported == lost.ledger.acknowledged + load.ledger.acknowledged
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    say(f"{how}: {lost.ledger.acknowledged} acknowledged by it and lost in it, {load.ledger.acknowledged} handed on")


def _dropped(collector: Collector) -> int:
    """Records that its log says it has dropped."""
    marks = [
        line.rpartition('"dropped_items": ')[2] for line in collector.output().splitlines() if "dropped_it" in line
    ]
    return sum(int(mark.split("}")[0].split(",")[0]) for mark in marks)


@over_both
def test_its_limit_of_a_messages_size_is_learnt(
    make_bridge: Callable[..., Bridge], collector: Collector, downstream: Downstream, say: Say, protocol: str
) -> None:
    collector.receiver["grpc"]["max_recv_msg_size_mib"] = 1
    collector.receiver["http"]["max_request_body_size"] = 1 << 20
    collector.start()
    receiver = downstream.start()
    bridge = make_bridge(
        **collector.environ(protocol), OTEL_BRIDGE_CONTENT_MAX_CHARS="1000000", OTEL_BRIDGE_REDACTION="off"
    ).start()
    session = bridge.session()
    event = {**GUIDE_EVENT, "sesion_id": session}
    for _ in range(10):
        events = [{**event, "contenido": "palabra " * size} for size in [30_000] * 8 + [1] * 100]
        assert bridge.post("/events", events).status_code == 201
    settle(bridge)
    wait_for(lambda: len(receiver.times) == 1 + 10 * 108, "everything, behind the Collector")
    refused = bridge.metric("otel_bridge_export_attempts_total", result="poison")
    say(f"{protocol}: {1 + 10 * 108} records, {refused:g} requests refused")
    assert refused > 0 and bridge.metric("otel_bridge_parked_records") == 0
