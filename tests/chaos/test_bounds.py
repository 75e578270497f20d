"""What must not grow: memory with the backlog and with the journal, the start with the journal's age."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil
import pytest

from benchmarks.bounded import fill
from tests.chaos.conftest import long_form
from tests.chaos.lanes import LONG
from tests.chaos.ledger import Forgetful, Say
from tests.harness.bridge import Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.settling import settle
from tests.harness.waiting import wait_for

PENDING = 1_000_000 if LONG else 50_000
JOURNALED = 5_000_000 if LONG else 50_000
FLAT = 120 << 20
"""Bytes that a backlog or a journal of any length may add to both processes together."""


def _memory(bridge: Bridge) -> int:
    assert bridge.process is not None
    main = psutil.Process(bridge.process.pid)
    return int(sum(one.memory_info().rss for one in (main, *main.children(recursive=True))))


def _start(bridge: Bridge) -> float:
    started = time.monotonic()
    bridge.start(wait=False)
    bridge.wait_ready(timeout=300)
    return time.monotonic() - started


@pytest.mark.timeout(1800)
def test_memory_is_flat_with_a_long_backlog_and_it_drains(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver, say: Say
) -> None:
    receiver.spans = Forgetful()
    receiver.behave = lambda spans: Reply(503)
    bridge = make_bridge(**receiver.environ).start()
    session = bridge.session()
    bridge.event(session)
    idle = _memory(bridge)
    assert bridge.stop() == 0
    fill(bridge.journal, PENDING)
    folding = _start(bridge)  # every record is folded, as none is in a snapshot
    wait_for(lambda: bridge.metric("otel_bridge_export_attempts_total", result="retry") > 1, "attempts")
    full = _memory(bridge)
    pending = bridge.metric("otel_bridge_pending_records")
    receiver.behave = lambda spans: OK
    peak, began = full, time.monotonic()
    while bridge.metric("otel_bridge_pending_records"):
        peak = max(peak, _memory(bridge))
        assert time.monotonic() - began < 900
        time.sleep(0.2)
    say(
        f"memory idle {idle >> 20} MiB, with {pending:,.0f} pending {full >> 20} MiB, peak while draining {peak >> 20} "
        f"MiB; start that folds all of them {folding:.1f} s; drained in {time.monotonic() - began:.1f} s"
    )
    assert peak - idle < FLAT
    settle(bridge)
    assert len(receiver.times) == pending


@long_form
@pytest.mark.timeout(1800)
def test_memory_and_start_do_not_grow_with_the_journal(make_bridge: Callable[..., Bridge], say: Say) -> None:
    bridge = make_bridge()
    empty = _start(bridge)
    idle = _memory(bridge)
    assert bridge.stop() == 0
    fill(bridge.journal, JOURNALED)
    folding = _start(bridge)
    assert bridge.stop() == 0  # with a snapshot
    took = _start(bridge)
    wait_for(lambda: bridge.metric("gen_ai_client_operation_duration_seconds_count") == JOURNALED, "the count")
    gap = bridge.metric("otel_bridge_ledger_gap")
    full = _memory(bridge)
    bridge.kill()
    after_kill = _start(bridge)
    say(
        f"{JOURNALED:,} records: memory {full >> 20} MiB (empty: {idle >> 20}); start {took:.1f} s, after kill -9 "
        f"{after_kill:.1f} s (empty journal: {empty:.1f} s; with nothing folded: {folding:.1f} s)"
    )
    assert gap == 0
    assert full - idle < FLAT
    assert took < empty + 4 and after_kill < empty + 4
