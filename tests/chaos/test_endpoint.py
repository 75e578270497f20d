"""The OTLP endpoint misbehaves in every way, comes back, and nothing is lost, blocked or out of order."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Ledger, Load, Say, account
from tests.harness.bridge import Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

FAULT_SECONDS = 60.0 if LONG else 0.6
POSTS = 20
"""That the time of a post is taken of, at the least."""
TIMEOUT = 0.5
"""OTEL_EXPORTER_OTLP_TIMEOUT of these runs."""

FAULTS: dict[str, Reply] = {
    "slow": Reply(delay=TIMEOUT * 2),
    "trickling answer": Reply(body=b"x" * 100, trickle=TIMEOUT / 5, keep=False),
    "429 with Retry-After": Reply(429, headers={"Retry-After": "1"}),
    "500": Reply(500),
    "503": Reply(503),
    "302": Reply(302, headers={"Location": "http://127.0.0.1:9/"}),
    "400 to everything": Reply(400, b"no"),
    "a web page": Reply(200, b"<html>", keep=False),  # nor does it say that it is one
    "connection closed instead of an answer": Reply(close=True),
    "connection closed mid-answer": Reply(truncate=True, keep=False),
    "connection closed within the answer's headers": Reply(cut=True, keep=False),
}
TOGETHER = [tuple(FAULTS)] if LONG else [tuple(FAULTS)[i::3] for i in range(3)]
"""Faults that one bridge meets, one after the other."""
CONFIG = {"302", "a web page"}
"""Those that the bridge tells for a mistake of the operator's at once."""
PAUSE = 0.002 if LONG else 0.02
"""A client's, between two posts. The runs of the short form share this process: they must not slow one another down."""


def _speed(ledger: Ledger, since: float, until: float) -> tuple[float, float]:
    """Acknowledged posts a second, and the median time of one, in a stretch of the run."""
    took = [seconds for at, seconds in ledger.times if since <= at < until]
    return len(took) / (until - since), statistics.median(took) if took else float("inf")


def _posted(ledger: Ledger, since: float) -> list[float]:
    """When posts were answered that had begun after this."""
    return [at for at, seconds in ledger.times if at - seconds > since]


def _lag_is_true(bridge: Bridge, oldest_at: float) -> None:
    """`oldest_at`: when the oldest pending record was accepted at the latest (monotonic)."""
    asked = time.monotonic()
    lag = bridge.metric("otel_bridge_export_lag_seconds")
    assert lag >= asked - oldest_at - 1.0, (lag, asked - oldest_at)


def _said(bridge: Bridge) -> dict[str, Any] | None:
    """What `/readyz` says of the export, once it says that something is wrong."""
    said: dict[str, Any] = bridge.http.get(f"{bridge.url}/readyz", timeout=5).json()["exportacion"]
    return said if said["estado"] != "ok" and "el log dice" in said["estado"] else None


@pytest.mark.timeout(300 + 2 * FAULT_SECONDS * len(FAULTS))
@pytest.mark.parametrize("faults", TOGETHER, ids=range(1, len(TOGETHER) + 1))
@side_by_side
def test_every_fault_of_the_endpoint_delays_and_loses_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say, faults: tuple[str, ...]
) -> None:
    bridge = make_bridge(OTEL_EXPORTER_OTLP_TIMEOUT=str(TIMEOUT), **receiver.environ).start()
    lines = []
    with Load(bridge, clients=2, pause=PAUSE) as load:
        time.sleep(0.5)
        healthy_since = time.monotonic()
        time.sleep(1.5)
        wait_for(lambda: len(_posted(load.ledger, healthy_since)) > POSTS, "posts")
        healthy = _speed(load.ledger, healthy_since, time.monotonic())
        for name, reply in ((name, FAULTS[name]) for name in faults):
            wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") < 1, "delivery that keeps up", 60)
            began = time.monotonic()
            receiver.behave = lambda spans, reply=reply: reply  # type: ignore[misc]
            faulty = time.monotonic()
            time.sleep(FAULT_SECONDS)
            wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 1, f"backlog under {name}")
            wait_for(lambda faulty=faulty: len(_posted(load.ledger, faulty)) > POSTS, f"posts under {name}")  # type: ignore[misc]
            _lag_is_true(bridge, min(_posted(load.ledger, faulty)))
            said = wait_for(lambda: _said(bridge), f"a word of {name}")
            state = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
            assert state.status_code == 200  # ingest is ready whatever the endpoint does
            speed = _speed(load.ledger, began, time.monotonic())
            pending = bridge.metric("otel_bridge_pending_records")
            receiver.behave = lambda spans: OK
            lines.append(f"{name}: {speed[0]:.0f} posts/s, backlog {pending:.0f}, state {said['estado']}")
            # An endpoint that ingest waits for would slow every post down; a machine that stands still, one.
            assert speed[1] < 3 * healthy[1] + TIMEOUT / 5, (name, speed, healthy)
            # A noisy machine halves a speed.
            assert not LONG or speed[0] > healthy[0] / 3, (name, speed, healthy)
            assert "delivery waits (" in bridge.output()
    settle(bridge)
    found = account(bridge, load.ledger, receiver)
    say(f"healthy: {healthy[0]:.0f} posts/s; " + "; ".join(lines))
    say(str(found))
    found.check()
    assert found.parked == 0
    wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") == 0, "no lag")
    _assert_roots_first(receiver)
    assert bridge.metric("otel_bridge_export_attempts_total", result="retry") > 0
    assert (bridge.metric("otel_bridge_export_attempts_total", result="config") > 0) == (not CONFIG.isdisjoint(faults))


def _assert_roots_first(receiver: OtlpReceiver) -> None:
    """A session's root was delivered before any of its events."""
    roots: set[str] = set()
    for one in receiver.spans:
        if one.span.parent_span_id:
            assert one.trace_id in roots, "an event came before its session's root"
        else:
            roots.add(one.trace_id)


@side_by_side
def test_an_endpoint_that_is_down_and_comes_back_gets_everything_in_order(
    make_bridge: Callable[..., Bridge], say: Say
) -> None:
    receiver = OtlpReceiver().start()
    port = receiver.port
    bridge = make_bridge(**receiver.environ).start()
    receiver.close()
    with Load(bridge, clients=3, pause=0.0 if LONG else PAUSE) as load:
        time.sleep(FAULT_SECONDS)
    assert bridge.metric("otel_bridge_pending_records") == load.ledger.acknowledged
    assert bridge.metric("otel_bridge_ledger_gap") == 0
    bridge.kill()  # the backlog outlives the process
    bridge.start()
    assert bridge.metric("otel_bridge_pending_records") == load.ledger.acknowledged
    receiver = OtlpReceiver(port).start()
    started = time.monotonic()
    settle(bridge)
    found = account(bridge, load.ledger, receiver)
    say(f"{found}; drained {load.ledger.acknowledged} in {time.monotonic() - started:.1f} s")
    found.check()
    _assert_roots_first(receiver)
    receiver.close()


@side_by_side
def test_retry_after_is_obeyed(make_bridge: Callable[..., Bridge], receiver: OtlpReceiver) -> None:
    receiver.behave = lambda spans: Reply(429, headers={"Retry-After": "2"})
    bridge = make_bridge(**receiver.environ).start()
    bridge.event(bridge.session())
    wait_for(lambda: len(receiver.requests) == 2, "a second request")
    first, second = (at for at, _ in receiver.requests[:2])
    assert second - first >= 2.0


@side_by_side
def test_over_grpc_an_outage_delays_and_loses_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(**receiver.grpc_environ).start()
    with Load(bridge, clients=2, pause=PAUSE) as load:
        codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
        for code in codes if LONG else codes[:1]:
            receiver.behave = lambda spans, code=code: Reply(grpc=code, details="not now")  # type: ignore[misc]
            wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") > 1, f"backlog under {code}")
            receiver.behave = lambda spans: OK
            wait_for(lambda: bridge.metric("otel_bridge_export_lag_seconds") < 1, "delivery that keeps up", 60)
    settle(bridge)
    account(bridge, load.ledger, receiver).check()
    assert bridge.metric("otel_bridge_parked_records") == 0


@side_by_side
def test_a_short_trouble_that_ends_while_a_batch_is_halved_parks_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """500 to everything until the bridge looks for a bad record, then to nothing: the sixth request is the first that
    tries a good record. (In the long form that one fails as well, and what comes after it: a wait of some seconds.)"""
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    settle(bridge)
    trouble = threading.Event()
    trouble.set()

    def behave(spans: object) -> Reply:
        if trouble.is_set() and len(receiver.requests) > (7 if LONG else 5):
            trouble.clear()
        return Reply(500, b"in trouble") if trouble.is_set() else OK

    receiver.behave = behave
    bridge.post("/events", [_event(session) for _ in range(64)])
    settle(bridge)
    assert not trouble.is_set()
    assert bridge.metric("otel_bridge_parked_records") == 0
    assert len(receiver.times) == 65


def _event(session: str) -> dict[str, object]:
    from tests.harness.bridge import GUIDE_EVENT

    return {**GUIDE_EVENT, "sesion_id": session}
