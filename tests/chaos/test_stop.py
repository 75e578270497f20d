"""SIGTERM and SIGINT, under load and in trouble: an orderly end, bounded in time."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable

import psutil
import pytest

from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Load, Say, account, journaled
from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] if LONG else [signal.SIGTERM])
@side_by_side
def test_a_stop_under_load_answers_what_it_has_taken_and_exits_with_0(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say, number: signal.Signals
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    assert bridge.process is not None
    with Load(bridge, clients=4) as load:
        time.sleep(1.0)
        signalled = time.monotonic()
        bridge.process.send_signal(number)
        assert bridge.process.wait(20) == 0
        took = time.monotonic() - signalled
        # What the journal holds now was answered: no client has to send any of it again.
        sessions, events = journaled(bridge)
        wait_for(
            lambda: set(sessions) == load.ledger.sessions and set(events) == load.ledger.events,
            "clients that have read their answers",
        )
        repeats = load.ledger.statuses[200]
        bridge.start()
        time.sleep(0.5)
    settle(bridge)
    found = account(bridge, load.ledger, receiver)
    say(f"stopped in {took:.1f} s; {found}")
    found.check()
    assert repeats == load.ledger.statuses[200] == 0  # no post was committed and not answered


@side_by_side
def test_a_stop_delivers_what_waits_within_its_time(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    bridge = make_bridge(**receiver.environ).start()
    with Load(bridge, clients=2) as load:
        time.sleep(0.5)
    assert bridge.stop() == 0
    assert set(receiver.times) == load.ledger.spans


@side_by_side
def test_a_stop_does_not_wait_for_an_endpoint_in_trouble(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    receiver.behave = lambda spans: Reply(delay=60)
    bridge = make_bridge(OTEL_BRIDGE_SHUTDOWN_SECONDS="1", **receiver.environ).start()
    bridge.event(bridge.session())
    wait_for(lambda: receiver.requests, "a request that hangs")
    assert bridge.process is not None
    started = time.monotonic()
    assert bridge.stop() == 0
    assert time.monotonic() - started < 10
    wait_for(lambda: not psutil.pid_exists(bridge.process.pid), "the process's end")  # type: ignore[union-attr]


@side_by_side
def test_a_second_signal_ends_at_once(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    receiver.behave = lambda spans: Reply(delay=60)
    bridge = make_bridge(OTEL_BRIDGE_SHUTDOWN_SECONDS="60", OTEL_EXPORTER_OTLP_TIMEOUT="60", **receiver.environ).start()
    bridge.event(bridge.session())
    wait_for(lambda: receiver.requests, "a request that hangs")
    process = bridge.process
    assert process is not None
    children = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    wait_for(lambda: "stopping:" in bridge.output(), "the announced stop")
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 128 + signal.SIGTERM  # and not after the minute that it may wait
    wait_for(lambda: not any(one.is_running() and one.status() != "zombie" for one in children), "no process left")
    bridge.start()
    assert bridge.metric("gen_ai_client_operation_duration_seconds_count") == 1


def _refuses(port: int) -> bool:
    """Whether the stop has got to the listening socket: the connections that are left are told to close by then."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


@side_by_side
def test_a_request_that_is_half_sent_at_the_stop_is_answered(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    body = b'{"gpt_id": "devops-expert", "usuario_id": "u", "timestamp_inicio": "2025-06-29T20:00:00Z"}'
    with socket.create_connection(("127.0.0.1", bridge.port), timeout=20) as client:
        head = f"POST /api/sessions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        client.sendall(head + body[:20])
        time.sleep(0.3)
        assert bridge.process is not None
        bridge.process.send_signal(signal.SIGTERM)
        wait_for(lambda: _refuses(bridge.port), "a port that takes nobody new")
        client.sendall(body[20:])
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 201") and b"connection: close" in answer.lower()
    assert bridge.process.wait(20) == 0


@side_by_side
def test_signals_to_the_whole_group_still_flush(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    """A service manager signals every process at once: the delivery process stays until the bridge ends it."""
    bridge = make_bridge(**receiver.environ).start()
    assert bridge.process is not None
    children = psutil.Process(bridge.process.pid).children()
    with Load(bridge, clients=2) as load:
        wait_for(lambda: receiver.requests, "a delivery process at work")
    for one in children:
        one.send_signal(signal.SIGTERM)
    assert bridge.stop() == 0
    assert set(receiver.times) == load.ledger.spans
    assert "died" not in bridge.output()


def test_a_hangup_in_the_stop_is_too_late_and_harms_nothing(make_bridge: Callable[..., Bridge]) -> None:
    for _ in range(3):
        bridge = make_bridge().start()
        process = bridge.process
        assert process is not None
        assert bridge.event(bridge.session()).status_code == 201
        process.send_signal(signal.SIGTERM)
        wait_for(lambda bridge=bridge: "stopping:" in bridge.output(), "the stop", pause=0.01)
        while process.poll() is None:
            process.send_signal(signal.SIGHUP)
            time.sleep(0.002)
        assert process.returncode == 0, bridge.output()
