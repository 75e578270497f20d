"""A background worker that dies is known to be dead, and starts again."""

from __future__ import annotations

import logging
import threading

import pytest

from otel_bridge.ops import supervisor
from otel_bridge.ops.supervisor import Worker, periodic
from tests.harness.waiting import wait_for


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", (0.01, 0.05))


def test_a_worker_runs_until_it_is_stopped() -> None:
    worker = periodic("steady", lambda: 0.001, lambda: None)
    worker.start()
    wait_for(lambda: worker.alive, "a living worker")
    worker.stop()
    assert not worker.alive and worker.restarts == 0


def test_a_worker_that_dies_is_counted_logged_and_started_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    runs: list[int] = []
    well = threading.Event()

    def body() -> None:
        runs.append(1)
        if len(runs) < 4:
            raise ValueError("broken")
        well.wait()

    worker = Worker("shaky", body)
    worker.start()
    wait_for(lambda: len(runs) == 4, "the fourth run")
    assert worker.alive and worker.restarts == 3
    assert sum("worker shaky died" in record.getMessage() for record in caplog.records) == 3
    worker.stopping.set()
    well.set()
    worker.stop()


def test_a_worker_is_down_between_its_death_and_its_next_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", (60.0, 60.0))

    def body() -> None:
        raise RuntimeError("at once")

    worker = Worker("dead", body)
    worker.start()
    wait_for(lambda: worker.restarts == 1, "a death")
    assert not worker.alive
    worker.stop()


def test_a_body_that_ends_without_being_asked_is_a_death() -> None:
    worker = Worker("quitter", lambda: None)
    worker.start()
    wait_for(lambda: worker.restarts >= 2, "two restarts")
    worker.stop()


def test_a_step_is_run_at_once_and_then_again() -> None:
    steps: list[int] = []
    worker = periodic("steps", lambda: 0.001, lambda: steps.append(1))
    worker.start()
    wait_for(lambda: len(steps) > 3, "steps")
    worker.stop()


def test_stopping_a_worker_that_never_started_does_nothing() -> None:
    Worker("never", lambda: None).stop()
