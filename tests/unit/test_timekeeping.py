"""What is held while the clock is doubted is held after a restart, too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from otel_bridge import journal
from otel_bridge.clock import Clock
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Duplicate, Journal, Outcome, Store
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.scrapers import Scrapers
from otel_bridge.metrics.state import MetricState
from otel_bridge.ops import snapshot, timekeeping
from otel_bridge.ops.snapshot import Counted
from otel_bridge.ops.timekeeping import Timekeeping
from tests.journal.stores import append, commit, transact
from tests.unit.samples import event

HOUR = 3600
S = 10**9
CONFIG: Any = SimpleNamespace(clock_settle_seconds=HOUR)


class Machine:
    """A bridge's journal and clock, on a machine whose wall clock can be set."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.url = f"sqlite:///{folder}/journal.db"
        self.wall_ns, self.steady_ns = 1_751_000_000 * S, 1_000 * S
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(timekeeping, "time", SimpleNamespace(monotonic=lambda: self.steady_ns / S))
        self.start()

    def start(self) -> None:
        self.clock = Clock(lambda: self.wall_ns, lambda: self.steady_ns)
        for module in (timekeeping, snapshot):
            self._monkeypatch.setattr(module, "CLOCK", self.clock)
        state = MetricState({})
        self.counted = Counted(state, SelfMetrics((), ()), Scrapers())
        self.store: Store = journal.open(self.url, CONSUMER)
        snapshot.restore(self.store, self.counted)
        self.journal = Journal(self.store, state.apply, lambda: None, 1_000)
        self.reader = self.store.reader()
        self.timekeeping = Timekeeping(self.journal, self.reader, CONFIG)
        self._monkeypatch.setattr(self.timekeeping, "_hold", self.store.hold_keys)
        self._monkeypatch.setattr(self.timekeeping, "_mend", self._mend)

    def _mend(self, start: bytes, now_us: int) -> None:
        transact(self.store, lambda: self.store.mend(now_us, [], 100))

    def stop(self) -> None:
        transact(self.store, lambda: snapshot.save(self.store, self.counted))
        self.reader.close()
        self.store.close()

    def restart(self) -> None:
        self.stop()
        self.start()

    def run(self, seconds: int) -> None:
        for _ in range(seconds // 60):
            self.wall_ns += 60 * S
            self.steady_ns += 60 * S
            self.clock.watch()
            self.timekeeping.step()
            self.timekeeping.mend({})
        while self.clock.believed and transact(self.store, lambda: self.store.forget(100)):
            pass

    def post(self, number: int, key: bytes) -> Outcome:
        now_us = self.clock.now_us()
        one = append(event(number, arrived_us=now_us, end_us=now_us), keys=[key])
        new = commit(self.store, one)
        self.counted.state.apply(new, self.store.last)
        return None if one.outcomes is None else one.outcomes[0]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    machine = Machine(tmp_path, monkeypatch)
    yield machine
    machine.stop()


@pytest.mark.parametrize("days", [0.9, 3, 40])
def test_a_retry_is_known_after_a_correction_and_a_restart(machine: Machine, days: float) -> None:
    machine.post(1, b"ckey")
    machine.run(HOUR)
    machine.wall_ns += int(days * 24 * HOUR) * S
    machine.run(2 * HOUR)
    assert machine.clock.believed and machine.post(2, b"another") is None
    machine.run(2 * HOUR)
    machine.restart()
    assert machine.clock.believed
    machine.run(2 * HOUR)
    assert isinstance(machine.post(3, b"ckey"), Duplicate)


def test_restarts_do_not_make_it_last(machine: Machine) -> None:
    machine.post(1, b"ckey")
    machine.run(HOUR)
    machine.wall_ns += 72 * HOUR * S
    for _ in range(4):
        machine.run(8 * HOUR)
        machine.restart()
    assert machine.clock.held is None or machine.clock.now_us() - machine.clock.held[1] > 24 * HOUR * 1_000_000
    machine.run(HOUR)
    assert machine.clock.held is None and machine.post(4, b"ckey") is None


@pytest.mark.parametrize("hours_off", [3, 30])
def test_a_retry_is_known_after_a_clock_that_went_back_is_right_again(machine: Machine, hours_off: int) -> None:
    machine.post(1, b"before")
    machine.run(HOUR)
    machine.wall_ns -= 40 * 24 * HOUR * S
    machine.run(hours_off * HOUR)
    assert machine.clock.believed and machine.clock.skew_us() == 0
    machine.post(2, b"ckey")
    machine.wall_ns += 40 * 24 * HOUR * S
    for _ in range(4):
        machine.run(HOUR)
        assert isinstance(machine.post(3, b"ckey"), Duplicate)


def test_what_another_replicas_clock_has_stamped_is_looked_for_after_its_doubt(machine: Machine) -> None:
    looks: list[bytes] = []

    def look(start: bytes, now_us: int) -> None:
        looks.append(start)
        machine.timekeeping._mend_from = None

    machine.timekeeping._mend = look  # type: ignore[method-assign]
    machine.timekeeping.mend({})
    machine.timekeeping.mend({})
    assert looks == [b""]
    for at in (5, 6, 6, 6):
        machine.timekeeping.mend({1: (4, at)})
    assert looks == [b""] * 3, "as long as it doubts, and once more"
