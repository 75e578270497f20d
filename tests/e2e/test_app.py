"""The bridge as one object: how its parts end together."""

from __future__ import annotations

from pathlib import Path

import pytest

from otel_bridge import config
from otel_bridge.app import Bridge
from tests.harness.waiting import wait_for


def test_no_worker_takes_a_stop_for_a_death(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the stop is held up after the first word of it."""
    environ = {"JOURNAL": f"sqlite:///{tmp_path}/journal.db", "METRICS_PORT": "0"}
    bridge = Bridge(config.load(None, {f"OTEL_BRIDGE_{name}": value for name, value in environ.items()}))
    bridge.start()
    wait_for(lambda: all(worker.alive for worker in bridge.workers), "every worker at work")
    say = bridge._stopping.set

    def say_and_wait() -> None:
        say()
        wait_for(lambda: not all(worker.alive for worker in bridge.workers), "a worker that has heard it")

    monkeypatch.setattr(bridge._stopping, "set", say_and_wait)
    bridge.stop()
    assert {worker.name: worker.restarts for worker in bridge.workers if worker.restarts} == {}
