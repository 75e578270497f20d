"""What a sender is told where the journal cannot be asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from otel_bridge import errors
from otel_bridge.errors import Problem
from otel_bridge.intake import looking_up
from otel_bridge.journal import DamagedPart, StoreDamaged, StoreError, StoreUnavailable
from otel_bridge.journal.damage import Damage


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


def _told(thread: ThreadPoolExecutor, error: Exception, damage: Damage) -> Problem:
    def fails() -> None:
        raise error

    with pytest.raises(Problem) as told:
        asyncio.run(looking_up.look_up(thread, damage, fails))
    return told.value


def test_a_journal_that_is_away_is_a_503_with_a_time_to_come_again(thread: ThreadPoolExecutor) -> None:
    told = _told(thread, StoreUnavailable("away"), Damage())
    assert told.kind is errors.JOURNAL_UNAVAILABLE and told.headers == {"Retry-After": "5"}


def test_what_is_damaged_is_a_503_and_is_noted(thread: ThreadPoolExecutor) -> None:
    damage = Damage()
    told = _told(thread, StoreDamaged("torn", DamagedPart.SESSIONS), damage)
    assert told.kind is errors.JOURNAL_UNAVAILABLE and told.headers == {"Retry-After": "60"}
    assert damage.parts() == [DamagedPart.SESSIONS]


def test_an_error_that_nobody_foresaw_stays_one(thread: ThreadPoolExecutor) -> None:
    with pytest.raises(StoreError, match="odd"):
        asyncio.run(looking_up.look_up(thread, Damage(), _odd))


def _odd() -> None:
    raise StoreError("odd")


def test_a_journal_that_does_not_answer_is_not_waited_for(
    thread: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what comes of it after all disturbs nobody."""
    answers = threading.Event()

    def hangs() -> None:
        answers.wait(20)
        raise StoreUnavailable("at last")

    async def ask() -> None:
        loud: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: loud.append(context))
        with monkeypatch.context() as impatient, pytest.raises(Problem) as told:
            impatient.setattr(looking_up, "PATIENCE_SECONDS", 0.05)
            await looking_up.look_up(thread, Damage(), hangs)
        assert told.value.kind is errors.JOURNAL_UNAVAILABLE and told.value.headers == {"Retry-After": "5"}
        answers.set()
        assert await looking_up.look_up(thread, Damage(), lambda: "well") == "well"
        assert not loud

    asyncio.run(ask())
