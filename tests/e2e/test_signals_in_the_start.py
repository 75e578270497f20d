"""A signal that comes while the bridge, or its delivery process, starts: remembered and carried out, never deadly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.harness.bridge import Bridge
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

Make = Callable[..., Bridge]
READ_AGAIN = "the configuration was read again"


def in_its_start(bridge: Bridge) -> int:
    """Starts a bridge and returns its process id as soon as it minds SIGHUP, long before it serves."""

    def minds() -> bool:
        caught = int(Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0], 16)
        return bool(caught >> (signal.SIGHUP - 1) & 1)

    for _ in range(10):  # on a busy machine it may have served before this process saw it
        assert bridge.start(wait=False).process is not None
        pid = bridge.process.pid  # type: ignore[union-attr]
        wait_for(minds, "a process that minds SIGHUP", pause=0.002)
        if bridge.output() == "":
            return pid
        bridge.kill()
        bridge.log.unlink()
    raise AssertionError("it was no longer in its start")


@pytest.mark.parametrize("delay", [0.0, 0.05, 0.15, 0.3, 0.6])
def test_a_hangup_in_the_start_is_carried_out_after_it(make_bridge: Make, delay: float) -> None:
    bridge = make_bridge()
    pid = in_its_start(bridge)
    time.sleep(delay)
    os.kill(pid, signal.SIGHUP)
    bridge.wait_ready()
    wait_for(lambda: READ_AGAIN in bridge.output(), "the reload in the log")
    assert bridge.output().count(READ_AGAIN) == 1
    assert bridge.event(bridge.session()).status_code == 201
    assert bridge.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.4])
def test_a_stop_in_the_start_is_a_clean_exit(
    make_bridge: Make, receiver: OtlpReceiver, number: signal.Signals, delay: float
) -> None:
    bridge = make_bridge(**receiver.environ)
    pid = in_its_start(bridge)
    time.sleep(delay)
    os.kill(pid, number)
    assert bridge.process is not None and bridge.process.wait(30) == 0
    assert "Traceback" not in bridge.output()
    assert not [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(bridge.folder)], "a process is left"
    bridge.start()
    assert bridge.event(bridge.session()).status_code == 201


def test_a_second_stop_in_the_start_ends_it_at_once(make_bridge: Make) -> None:
    bridge = make_bridge()
    pid = in_its_start(bridge)
    for _ in range(2):
        os.kill(pid, signal.SIGTERM)
        time.sleep(0.02)
    assert bridge.process is not None
    assert bridge.process.wait(30) in (0, 128 + signal.SIGTERM)  # 0: the two were taken for one
    assert "Traceback" not in bridge.output()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_the_delivery_process_outlives_a_signal_to_the_whole_group(
    make_bridge: Make, receiver: OtlpReceiver, number: signal.Signals
) -> None:
    """From its first moment on, and later."""
    bridge = make_bridge(**receiver.environ).start()
    assert bridge.process is not None
    parent = psutil.Process(bridge.process.pid)
    old = wait_for(parent.children, "the delivery process")[0]
    old.kill()
    new = wait_for(lambda: [one for one in parent.children() if one.pid != old.pid], "another one", pause=0.001)[0]
    for delay in (0.0, 0.02, 0.2, 0.5, 1.0):
        time.sleep(delay)
        os.kill(new.pid, number)
    session = bridge.session()
    wait_for(lambda: receiver.find(trace_id=session.replace("-", "")), "the session's root")
    assert [one.pid for one in parent.children()] == [new.pid]
    assert bridge.metric("otel_bridge_worker_restarts_total", worker="exporter") == 1
    assert bridge.stop() == 0
