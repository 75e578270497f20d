"""A worker that dies is noticed: /readyz, a metric and the log say so, and it is started again, or the process ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from otel_bridge.intake.ingest import APART_BYTES
from tests.chaos.lanes import LONG, side_by_side
from tests.chaos.ledger import Load, account
from tests.chaos.test_kill import export_process
from tests.harness.bridge import GUIDE_EVENT, Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.settling import settle
from tests.harness.waiting import wait_for


def _errors(bridge: Bridge) -> list[str]:
    lines = [json.loads(line) for line in bridge.output().splitlines() if line.startswith("{")]
    return [line["message"] for line in lines if line["level"] in ("error", "critical")]


def _deaths(bridge: Bridge, worker: str, count: int) -> Callable[[], bool]:
    return lambda: bridge.metric("otel_bridge_worker_restarts_total", worker=worker) == count


@side_by_side
def test_a_killed_export_process_is_started_again_and_nothing_is_lost(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    bridge = make_bridge(**receiver.environ).start()
    with Load(bridge, clients=2, pause=0.002) as load:
        for count in (1, 2):
            victim = wait_for(lambda: export_process(bridge), "an export process")
            assert victim is not None
            victim.send_signal(signal.SIGKILL)
            wait_for(_deaths(bridge, "exporter", count), "the counted death")
    wait_for(lambda: bridge.metric("otel_bridge_worker_up", worker="exporter") == 1, "the worker's return")
    assert any("exporter" in line for line in _errors(bridge))
    settle(bridge)
    account(bridge, load.ledger, receiver).check()


def _batch_process(bridge: Bridge) -> psutil.Process | None:
    assert bridge.process is not None
    children = psutil.Process(bridge.process.pid).children()
    return next((one for one in children if "otel_bridge.intake.batch_process" in one.cmdline()), None)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="on one core there is no such process")
@side_by_side
def test_without_the_process_for_batches_they_are_taken_all_the_same(make_bridge: Callable[..., Bridge]) -> None:
    bridge = make_bridge().start()
    session = bridge.session()
    dirty, clean = "¿Por qué no escribe a{}@example.com?", "¿Por qué no escribe nadie?"
    batch = [
        {**GUIDE_EVENT, "sesion_id": session, "contenido": (clean if i % 10 else dirty).format(i)} for i in range(400)
    ]
    assert len(json.dumps(batch)) > APART_BYTES

    def post(hour: int) -> None:
        at = f"{datetime.now(UTC).date()}T{hour:02}:00:00"
        events = [{**event, "timestamp": f"{at}.{i:03}Z"} for i, event in enumerate(batch)]
        answer = bridge.post("/events", events)
        assert answer.status_code == 201 and answer.json()["aceptados"] == 400

    post(0)
    for hour in (1, 2):
        victim = _batch_process(bridge)
        assert victim is not None
        victim.send_signal(signal.SIGKILL)
        post(2 * hour - 1)
        post(2 * hour)
    assert bridge.metric("otel_bridge_redactions_total", kind="email") == 5 * 40
    assert bridge.metric("otel_bridge_records_total", result="accepted", kind="event") == 5 * 400
    assert b"@example.com" not in bridge.journal.read_bytes() + Path(f"{bridge.journal}-wal").read_bytes()
    last = _batch_process(bridge)
    bridge.kill()
    assert last is not None
    wait_for(lambda: not last.is_running(), "the end of the process after its bridge's")


@side_by_side
def test_a_worker_that_keeps_dying_shows_and_returns(make_bridge: Callable[..., Bridge]) -> None:
    """By a real means: a table that it reads is gone for a while."""
    bridge = make_bridge(OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.1").start()
    with closing(sqlite3.connect(bridge.journal, timeout=10, isolation_level=None)) as db:
        db.execute("ALTER TABLE usage RENAME TO gone")

    def named() -> bool:
        answer = bridge.http.get(f"{bridge.url}/readyz", timeout=5)
        return answer.status_code == 503 and any("windows" in problem for problem in answer.json()["problemas"])

    wait_for(named, "a 503 of /readyz that names it")
    wait_for(lambda: bridge.metric("otel_bridge_worker_up", worker="windows") == 0, "the metric")
    assert any("windows" in line for line in _errors(bridge))
    with closing(sqlite3.connect(bridge.journal, timeout=10, isolation_level=None)) as db:
        db.execute("ALTER TABLE gone RENAME TO usage")
    wait_for(lambda: bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 200, "a ready bridge")
    assert bridge.metric("otel_bridge_worker_restarts_total", worker="windows") >= 1


@pytest.mark.parametrize("victim", ["housekeeping", "windows", "metrics-listener"] if LONG else ["housekeeping"])
@side_by_side
def test_a_thread_that_dies_is_noticed_and_started_again(make_bridge: Callable[..., Bridge], victim: str) -> None:
    bridge = _with_murderer(make_bridge, victim, OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="0.1").start()
    assert bridge.process is not None
    bridge.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: bridge.metric("otel_bridge_worker_restarts_total", worker=victim) == 1, "the counted death")
    wait_for(lambda: bridge.metric("otel_bridge_worker_up", worker=victim) == 1, "the worker's return")
    assert any(victim in line for line in _errors(bridge))


@side_by_side
def test_a_dead_writer_ends_the_process_and_loses_nothing(
    make_bridge: Callable[..., Bridge], receiver: OtlpReceiver
) -> None:
    """Without its writer the bridge can promise nothing: it says so and ends, for what runs it to start it again."""
    bridge = _with_murderer(make_bridge, "journal-writer", **receiver.environ).start()
    assert bridge.process is not None
    with Load(bridge, clients=3) as load:
        wait_for(lambda: len(load.ledger.events) > 100, "some load")
        bridge.process.send_signal(signal.SIGUSR1)
        wait_for(lambda: bridge.http.get(f"{bridge.url}/readyz", timeout=5).status_code == 503, "a 503 of /readyz")
        assert bridge.process.wait(30) == 1
        bridge.start()
    settle(bridge)
    account(bridge, load.ledger, receiver).check()
    assert any("writer died" in line for line in _errors(bridge))


def _with_murderer(make_bridge: Callable[..., Bridge], victim: str, **environ: str) -> Bridge:
    return make_bridge(**environ).customised(CHAOS_VICTIM=victim)
