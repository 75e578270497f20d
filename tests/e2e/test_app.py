"""The bridge as one object: how its parts end together."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from otel_bridge import app, config
from otel_bridge.app import Bridge
from tests.harness.waiting import wait_for


def make_bridge_here(folder: Path) -> Bridge:
    environ = {"JOURNAL": f"sqlite:///{folder}/journal.db", "METRICS_PORT": "0"}
    return Bridge(config.load(None, {f"OTEL_BRIDGE_{name}": value for name, value in environ.items()}))


def test_no_worker_takes_a_stop_for_a_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the stop is held up after the first word of it."""
    bridge = make_bridge_here(tmp_path)
    bridge.start()
    wait_for(lambda: all(worker.alive for worker in bridge.workers), "every worker at work")
    say = bridge._stopping.set

    def say_and_wait() -> None:
        say()
        wait_for(lambda: not all(worker.alive for worker in bridge.workers), "a worker that has heard it")

    monkeypatch.setattr(bridge._stopping, "set", say_and_wait)
    bridge.stop()
    assert {worker.name: worker.restarts for worker in bridge.workers if worker.restarts} == {}


def test_a_thread_that_waits_for_the_event_loop_sees_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given to a loop in its last moment is never done: a stop must not wait for it."""
    monkeypatch.setattr(app, "LOOP_SECONDS", 60.0)
    bridge = make_bridge_here(tmp_path)
    bridge.start()
    ended = asyncio.new_event_loop()  # does nothing any more, and is not closed yet
    bridge._loop = ended
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(bridge._run_on_loop, lambda: None)
        with pytest.raises(TimeoutError):
            asked.result(0.3)
        bridge._loop = None  # as `serving` does when it is left
        assert asked.result(30) is False
    ended.close()
    bridge.stop()
