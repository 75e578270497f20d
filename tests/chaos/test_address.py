"""The endpoint's name leads elsewhere: delivery follows it, whatever the old address still does."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from otel_bridge.export.renewal import MAX_AGE_SECONDS
from tests.chaos.conftest import long_form
from tests.chaos.lanes import side_by_side
from tests.chaos.ledger import Say
from tests.harness.bridge import Bridge
from tests.harness.names import Names
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

NAME = "collector.example"
OLD, NEW = "127.0.0.1", "127.0.0.2"
PROTOCOLS = ["http/protobuf", "grpc"]
TIMEOUT = 1.0


@contextmanager
def _two() -> Iterator[tuple[OtlpReceiver, OtlpReceiver]]:
    """The same ports at both addresses."""
    old = OtlpReceiver(host=OLD).start()
    new = OtlpReceiver(old.port, old.grpc_port, host=NEW).start()
    yield old, new
    for one in (old, new):
        one.close()


def _bridge(
    make_bridge: Callable[..., Bridge], names: Names, receiver: OtlpReceiver, protocol: str, timeout: float = TIMEOUT
) -> Bridge:
    port = receiver.grpc_port if protocol == "grpc" else receiver.port
    bridge = make_bridge(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{NAME}:{port}",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_TIMEOUT=str(timeout),
    )
    bridge.under = names.under
    return bridge.start()


@pytest.mark.parametrize("protocol", PROTOCOLS)
@side_by_side
def test_an_old_address_that_hangs_is_left_after_one_timeout(
    make_bridge: Callable[..., Bridge], tmp_path: Path, say: Say, protocol: str
) -> None:
    """It goes on taking connections and requests, and answers nothing. The kernel would keep such a connection for a
    quarter of an hour."""
    names = Names(tmp_path)
    names.lead(NAME, OLD)
    with _two() as (old, new):
        bridge = _bridge(make_bridge, names, old, protocol)
        session = bridge.session()
        settle(bridge)
        old.behave = lambda spans: Reply(delay=60.0, keep=False)
        names.lead(NAME, NEW)
        bridge.event(session)
        moved = time.monotonic()
        wait_for(lambda: len(new.times) == 1, "delivery to the new address", 30)
        say(f"{protocol}: found after {time.monotonic() - moved:.1f} s")
        settle(bridge)
        assert len(old.times) == 1 and bridge.metric("otel_bridge_ledger_gap") == 0
        old.behave = lambda spans: OK


@pytest.mark.parametrize("protocol", PROTOCOLS)
@side_by_side
def test_an_old_address_that_refuses_connections_is_left(
    make_bridge: Callable[..., Bridge], tmp_path: Path, protocol: str
) -> None:
    names = Names(tmp_path)
    names.lead(NAME, OLD)
    with _two() as (old, new):
        bridge = _bridge(make_bridge, names, old, protocol)
        session = bridge.session()
        settle(bridge)
        old.behave = lambda spans: Reply(close=True, grpc=grpc.StatusCode.UNAVAILABLE)
        old.close()
        names.lead(NAME, NEW)
        bridge.event(session)
        wait_for(lambda: len(new.times) == 1, "delivery to the new address", 30)
        settle(bridge)


@long_form
@pytest.mark.parametrize("protocol", PROTOCOLS)
@side_by_side
def test_an_old_address_that_still_answers_is_left_within_a_minute(
    make_bridge: Callable[..., Bridge], tmp_path: Path, say: Say, protocol: str
) -> None:
    """Nothing is wrong with it, but that the name no longer means it."""
    names = Names(tmp_path)
    names.lead(NAME, OLD)
    with _two() as (old, new):
        bridge = _bridge(make_bridge, names, old, protocol)
        session = bridge.session()
        settle(bridge)
        names.lead(NAME, NEW)
        moved, posted = time.monotonic(), 0

        def arrived() -> bool:
            nonlocal posted
            posted += 1
            assert bridge.event(session, latency_ms=posted).status_code == 201
            return bool(new.times)

        wait_for(arrived, "delivery to the new address", MAX_AGE_SECONDS + 10)
        say(f"{protocol}: found after {time.monotonic() - moved:.1f} s")
        settle(bridge)
        assert len(old.times) + len(new.times) == 1 + posted
        assert bridge.metric("otel_bridge_export_attempts_total", result="retry") == 0, "nothing failed meanwhile"


@side_by_side
def test_one_of_two_addresses_swallows_everything(make_bridge: Callable[..., Bridge], tmp_path: Path, say: Say) -> None:
    """Half the time of a request is the second one's. (gRPC tries both at once by itself.)"""
    names = Names(tmp_path)
    names.lead(NAME, OLD, NEW)  # in this order: the system gives the nearer one first, and that is 127.0.0.1
    receiver = OtlpReceiver(host=NEW).start()
    with _hole(OLD, receiver.port):
        bridge = _bridge(make_bridge, names, receiver, "http/protobuf", 8.0)
        bridge.event(bridge.session())
        wait_for(lambda: len(receiver.times) == 2, "delivery to the second address")
        assert bridge.metric("otel_bridge_export_attempts_total", result="retry") == 0
    receiver.close()


@contextmanager
def _hole(address: str, port: int) -> Iterator[None]:
    """A listener whose queue is full: the kernel drops what asks for a connection."""
    held = [socket.socket() for _ in range(4)]
    listener, *clients = held
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(0)
    for client in clients:
        client.settimeout(0.2)
        client.connect_ex((address, port))
    yield
    for one in held:
        one.close()
