"""The clock that the bridge goes by, against a wall clock and a steady one that the test moves."""

from __future__ import annotations

import pytest

from otel_bridge.clock import Clock

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
START = 1_751_227_200.0
"""2025-06-29T20:00:00Z."""


class Machine:
    """Its two clocks, and a bridge that looks at them once a second."""

    def __init__(self, wall: float = START, journal: float | None = None) -> None:
        self.wall, self.steady, self.truth = wall, 1_000.0, START
        self.clock = Clock(lambda: int(self.wall * 1e9), lambda: int(self.steady * 1e9))
        self.restart(journal)

    def restart(self, journal: float | None) -> None:
        """Another bridge, on a journal that was last sure of the time then (None: an empty one)."""
        self.clock.begin(None if journal is None else int(journal * 1e6))

    def run(self, seconds: float) -> None:
        step = max(1.0, seconds / 4_000)
        end = self.steady + seconds
        while self.steady < end - step / 2:
            self.steady += step
            self.wall += step
            self.truth += step
            self.clock.watch()

    def step(self, seconds: float) -> None:
        self.wall += seconds

    def off(self) -> float:
        """Seconds that the bridge's time is ahead of the truth."""
        return round(self.clock.now_us() / 1e6 - self.truth, 3)


AWAY = [DAY * 40, DAY * 400, -DAY * 40, -DAY * 400, HOUR, -HOUR, -START]


@pytest.mark.parametrize("seconds", AWAY)
def test_a_step_that_ends_soon_leaves_no_trace(seconds: float) -> None:
    machine = Machine()
    machine.run(2)
    machine.step(seconds)
    assert machine.off() == 0  # even before anybody has looked
    machine.run(5)
    assert machine.off() == 0 and not machine.clock.believed
    assert machine.clock.skew_us() / 1e6 == pytest.approx(seconds)
    machine.step(-seconds)
    machine.run(1)
    assert machine.off() == 0 and machine.clock.believed and machine.clock.skew_us() == 0


@pytest.mark.parametrize("seconds", [20.0, -20.0, 290.0])
def test_what_daemons_correct_is_followed_at_once(seconds: float) -> None:
    machine = Machine()
    machine.run(2)
    machine.step(seconds)
    machine.run(1)
    assert machine.off() == seconds and machine.clock.believed


def test_many_small_steps_are_one_large_one() -> None:
    machine = Machine()
    for _ in range(3):
        machine.run(10)
        machine.step(200)
    machine.run(1)
    assert not machine.clock.believed
    machine.run(HOUR + 1)
    assert machine.clock.believed


def test_small_steps_that_are_hours_apart_add_up_to_none() -> None:
    machine = Machine()
    for _ in range(5):
        machine.run(HOUR + 2)
        machine.step(200)
        machine.run(2)
        assert machine.clock.believed


def test_a_step_forward_is_followed_in_ten_minutes_and_believed_after_an_hour() -> None:
    machine = Machine()
    machine.run(3 * HOUR)
    machine.step(DAY * 40)
    machine.run(9 * MINUTE)
    assert machine.off() == 0
    machine.run(2 * MINUTE)
    assert machine.off() == DAY * 40 and not machine.clock.believed
    machine.run(47 * MINUTE)
    assert not machine.clock.believed
    machine.run(5 * MINUTE)
    assert machine.clock.believed


def test_a_clock_that_was_followed_and_comes_back_is_believed_at_once() -> None:
    machine = Machine()
    machine.run(3 * HOUR)
    machine.step(DAY * 40)
    machine.run(30 * MINUTE)
    machine.step(-DAY * 40)
    machine.run(1)
    assert machine.off() == 0 and machine.clock.believed


def test_a_step_back_is_followed_when_it_is_believed() -> None:
    machine = Machine()
    machine.run(3 * HOUR)
    machine.step(-DAY * 40)
    machine.run(59 * MINUTE)
    assert machine.off() == 0
    machine.run(2 * MINUTE)
    assert machine.off() == -DAY * 40 and machine.clock.believed


def test_a_clock_that_goes_on_stepping_is_never_followed() -> None:
    machine = Machine()
    machine.run(3 * HOUR)
    for _ in range(40):
        machine.step(DAY)
        machine.run(5 * MINUTE)
    assert machine.off() == 0 and not machine.clock.believed


@pytest.mark.parametrize("wrong", [-HOUR * 2, HOUR * 2, DAY * 40])
def test_a_correction_soon_after_the_start_is_followed_as_soon(wrong: float) -> None:
    """A machine that boots with a wrong clock, which NTP corrects."""
    machine = Machine(START + wrong)
    machine.run(2 * MINUTE)
    machine.step(-wrong)
    machine.run(2 * MINUTE + 2)
    assert machine.off() == 0


@pytest.mark.parametrize("away", [-HOUR, -DAY * 40])
def test_a_step_soon_after_the_start_to_before_the_journal_is_no_correction(away: float) -> None:
    """What it stamps would be old when the clock is right again: sessions of a minute ago would be deleted."""
    machine = Machine(journal=START - MINUTE)
    machine.run(2 * MINUTE)
    machine.step(away)
    machine.run(HOUR - 2)
    assert machine.off() == 0 and not machine.clock.believed
    machine.step(-away)
    machine.run(1)
    assert machine.off() == 0 and machine.clock.believed


def test_a_correction_to_what_the_journal_knows_is_followed_as_soon() -> None:
    """A machine whose hardware clock runs by local time."""
    machine = Machine(START + 10 * HOUR, journal=START - MINUTE)
    machine.run(2 * MINUTE)
    machine.step(-10 * HOUR)
    machine.run(2 * MINUTE + 2)
    assert machine.off() == 0


@pytest.mark.parametrize("journal", [None, START - HOUR, START - DAY * 40])
def test_a_clock_that_was_never_set_gives_way_to_the_first_that_is(journal: float | None) -> None:
    machine = Machine(1_000.0, journal)
    assert not machine.clock.believed
    assert machine.clock.now_us() / 1e6 == pytest.approx(1_000 if journal is None else journal)
    machine.run(2 * HOUR)
    assert not machine.clock.believed
    assert machine.clock.now_us() + machine.clock.ahead_us() > machine.truth * 1e6  # what clients say is no news
    machine.wall = machine.truth
    machine.run(2)
    assert machine.off() == pytest.approx(0, abs=1)
    machine.run(HOUR + 1)
    assert machine.clock.believed


@pytest.mark.parametrize("pause", [1.0, HOUR, 23 * HOUR])
def test_a_start_soon_after_the_journals_last_time_is_believed(pause: float) -> None:
    machine = Machine(journal=START - pause)
    assert machine.clock.believed


@pytest.mark.parametrize("wrong", [DAY * 40, DAY * 400, -DAY * 40, -DAY * 400, -HOUR])
def test_a_restart_amid_a_step_does_not_believe_it(wrong: float) -> None:
    machine = Machine(START + wrong, journal=START - 5)
    for _ in range(3):  # nor do its successors
        assert not machine.clock.believed
        machine.run(10 * MINUTE)
        machine.restart(machine.clock.known_us() / 1e6)
    machine.step(-wrong)
    machine.run(1)
    assert machine.off() == 0 and machine.clock.believed


def test_a_start_after_a_long_pause_is_believed_when_it_has_run_for_an_hour() -> None:
    machine = Machine(journal=START - DAY * 40)
    assert machine.off() == 0
    machine.run(HOUR - 2)
    assert not machine.clock.believed
    machine.run(4)
    assert machine.clock.believed and machine.off() == 0


def test_a_journal_that_a_wrong_clock_has_hurt_is_not_believed_more_than_an_hour() -> None:
    machine = Machine(journal=START + DAY * 400)
    assert not machine.clock.believed and machine.off() == 0
    machine.run(HOUR + 2)
    assert machine.clock.believed and machine.off() == 0


def test_sleep_is_no_step() -> None:
    """CLOCK_BOOTTIME goes on while the machine sleeps."""
    machine = Machine()
    machine.run(2)
    for name in ("wall", "steady", "truth"):
        setattr(machine, name, getattr(machine, name) + DAY * 60)
    machine.clock.watch()
    assert machine.clock.believed and machine.off() == 0


def test_a_process_that_is_halted_while_it_reads_the_clocks_sees_no_step() -> None:
    steady = iter([0, 0, 0, 500 * 10**9, 500 * 10**9, 500 * 10**9, *[501 * 10**9] * 9])
    walls = iter([int(START * 1e9), int((START + 500) * 1e9), *[int((START + 501) * 1e9)] * 9])
    clock = Clock(lambda: next(walls), lambda: next(steady))
    clock.watch()
    assert clock.believed


def test_a_time_may_be_ahead_of_either_clock_while_nobody_knows_which_is_right() -> None:
    machine = Machine()
    assert machine.clock.ahead_us() == 0
    machine.step(DAY * 3)
    assert machine.clock.ahead_us() == int(DAY * 3e6)
    machine.step(-DAY * 6)
    assert machine.clock.ahead_us() == 0
