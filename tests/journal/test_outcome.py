"""A commit whose outcome is not known: nothing is claimed until it is learnt, and then it is answered or goes again.

SQLite's commits are so only where a disk fails, and then the outcome is for the next process to learn
(`tests/chaos/test_fsync.py`): a double stands around the real store and makes them so.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from otel_bridge import errors
from otel_bridge.errors import Problem
from otel_bridge.journal import Append, Duplicate, Journal, OutcomeUnknown, Store, StoreLost, StoreUnavailable
from otel_bridge.journal import writer as writer_module
from otel_bridge.records import Record
from tests.journal.backends import Backend
from tests.journal.stores import Fold, append, held, hold, served
from tests.unit.samples import event, session

PAUSE_SECONDS = 0.01


class LostAnswers:
    """A store that loses the answer to a commit, before or after the commit took place."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.lose: list[bool] = []
        """For each of the next commits: whether it takes place before its answer is lost."""
        self.learnt = threading.Event()
        """Until then `resolve_outcome` knows nothing."""
        self.broken: Exception | None = None
        """What `resolve_outcome` raises."""
        self.asked = 0
        self._taken: bool | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write_alone(self, appends: list[Append]) -> list[Record]:
        if not self.lose:
            return self._store.write_alone(appends)
        self._taken = self.lose.pop(0)
        if self._taken:
            self._store.write_alone(appends)
        raise OutcomeUnknown("the connection was lost")

    def commit(self) -> None:
        if not self.lose:
            self._store.commit()
            return
        self._taken = self.lose.pop(0)
        if self._taken:
            self._store.commit()
        else:
            self._store.rollback()
        raise OutcomeUnknown("the connection was lost")

    def resolve_outcome(self) -> bool | None:
        self.asked += 1
        if self.broken is not None:
            raise self.broken
        return self._taken if self.learnt.is_set() else None


@pytest.fixture(autouse=True)
def times(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses; nobody is refused because this machine is slow."""
    monkeypatch.setattr(writer_module, "OUTCOME_SECONDS", PAUSE_SECONDS)
    monkeypatch.setattr(writer_module, "HELD_SECONDS", 600.0)
    monkeypatch.setattr(writer_module, "STALLED_SECONDS", 600.0)


@pytest.fixture
def losing(backend: Backend) -> LostAnswers:
    return LostAnswers(backend.open())


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("took_place", [True, False], ids=["taken", "not taken"])
def test_answers_are_held_until_the_outcome_is_learnt(backend: Backend, losing: LostAnswers, took_place: bool) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        await journal.append(append(event(1), keys=[b"a"]))
        losing.lose = [took_place]
        mixed = journal.append(append(event(2), event(3), event(4), keys=[b"b", b"a", None]))
        await until(lambda: losing.asked > 2)
        later = journal.append(append(event(5)))
        assert journal.last_error is not None and "not known" in journal.last_error
        assert not mixed.done() and not later.done() and fold.records == [event(1)]
        losing.learnt.set()
        answered = await asyncio.wait_for(mixed, 10)
        assert answered.outcomes == [None, Duplicate(event(1).arrived_us), None]
        await asyncio.wait_for(later, 10)
        assert journal.last_error is None

    served(backend, scenario, fold, store=losing)  # type: ignore[arg-type]
    assert held(backend.open()) == fold.records == [event(n) for n in (1, 2, 4, 5)]
    assert fold.seq == 4


@pytest.mark.parametrize("took_place", [True, False], ids=["taken", "not taken"])
def test_a_transaction_with_tasks_is_learnt_of_and_counted_once(
    backend: Backend, losing: LostAnswers, took_place: bool
) -> None:
    fold, runs = Fold(), []

    def task(store: Store) -> str:
        runs.append(store.last)
        store.advance(1, 1, [])
        return "done"

    async def scenario(journal: Journal) -> None:
        losing.lose, release = [took_place], hold(journal)
        taken, noted = journal.append(append(session())), journal.transact(task)
        release.set()
        await until(lambda: losing.asked > 2)
        assert not taken.done() and not noted.done()
        losing.learnt.set()
        await asyncio.wait_for(taken, 10)
        assert noted.result(10) == "done"

    served(backend, scenario, fold, store=losing)  # type: ignore[arg-type]
    store = backend.open()
    assert held(store) == fold.records == [session()] and runs == [1] * (1 if took_place else 2)
    reader = store.reader()
    assert reader.ledger().exported == 1


def test_a_commit_may_lose_its_answer_again_and_again(backend: Backend, losing: LostAnswers) -> None:
    losing.lose = [False, False, True]
    losing.learnt.set()

    async def scenario(journal: Journal) -> None:
        await asyncio.wait_for(journal.append(append(event(1))), 10)

    fold = Fold()
    served(backend, scenario, fold, store=losing)  # type: ignore[arg-type]
    assert held(backend.open()) == fold.records == [event(1)]


def test_meanwhile_the_queue_fills_and_tasks_are_refused(backend: Backend, losing: LostAnswers) -> None:
    async def scenario(journal: Journal) -> None:
        losing.lose = [True]
        waiting = [journal.append(append(event(1)))]
        await until(lambda: losing.asked)
        waiting.append(journal.append(append(event(2))))
        with pytest.raises(Problem) as caught:
            journal.append(append(event(3)))
        assert caught.value.kind is errors.QUEUE_FULL
        for task in (journal.transact(lambda store: None), journal.run_between_commits(lambda: None)):
            with pytest.raises(StoreUnavailable, match="not known"):
                await asyncio.wait_for(asyncio.wrap_future(task), 10)
        losing.learnt.set()
        await asyncio.wait_for(asyncio.gather(*waiting), 10)

    served(backend, scenario, store=losing, max_waiting_records=2)  # type: ignore[arg-type]
    assert held(backend.open()) == [event(1), event(2)]


def test_who_comes_meanwhile_waits_for_a_moment_and_is_refused_then(
    backend: Backend, losing: LostAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is in the commit waits on: what they are told must be true."""

    async def scenario(journal: Journal) -> None:
        losing.lose = [True]
        in_hand = journal.append(append(event(1)))
        await until(lambda: losing.asked)
        behind = journal.append(append(event(2)))
        monkeypatch.setattr(writer_module, "HELD_SECONDS", 0.05)
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(behind, 10)
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE and "Retry-After" in caught.value.headers
        with pytest.raises(Problem) as caught:
            journal.append(append(event(3)))
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE and not in_hand.done()
        losing.learnt.set()
        await asyncio.wait_for(in_hand, 10)
        await asyncio.wait_for(journal.append(append(event(4))), 10)

    served(backend, scenario, store=losing)  # type: ignore[arg-type]
    assert held(backend.open()) == [event(1), event(4)]


def test_behind_a_commit_that_does_not_return_nobody_waits(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "WATCH_SECONDS", 0.02)
    store = backend.open()
    release, under_way, write_alone = threading.Event(), threading.Event(), store.write_alone

    def slow(appends: list[Append]) -> list[Record]:
        under_way.set()
        release.wait(30)
        return write_alone(appends)

    store.write_alone = slow  # type: ignore[method-assign]

    async def scenario(journal: Journal) -> None:
        in_hand = journal.append(append(event(1)))
        await until(under_way.is_set)
        behind = journal.append(append(event(4)))  # before anybody knows
        monkeypatch.setattr(writer_module, "STALLED_SECONDS", 0.05)
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(behind, 10)
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE and "Retry-After" in caught.value.headers
        await until(lambda: journal.stalled)
        with pytest.raises(Problem) as caught:
            journal.append(append(event(2)))
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE and "Retry-After" in caught.value.headers
        monkeypatch.setattr(writer_module, "STALLED_SECONDS", 600.0)
        release.set()
        await asyncio.wait_for(in_hand, 10)
        assert not journal.stalled
        await asyncio.wait_for(journal.append(append(event(3))), 10)

    served(backend, scenario, store=store)
    assert held(backend.open()) == [event(1), event(3)]


def test_behind_a_question_that_is_not_answered_nobody_waits(
    backend: Backend, losing: LostAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became of a commit is asked by a write: that, too, waits for a standby, or a server that stands still."""
    monkeypatch.setattr(writer_module, "WATCH_SECONDS", 0.02)
    resolve, release = losing.resolve_outcome, threading.Event()

    def slow() -> bool | None:
        release.wait(30)
        return resolve()

    losing.resolve_outcome = slow  # type: ignore[method-assign]
    losing.learnt.set()

    async def scenario(journal: Journal) -> None:
        losing.lose = [True]
        in_hand = journal.append(append(event(1)))
        await until(lambda: not journal.outcome_known)
        behind = journal.append(append(event(2)))
        monkeypatch.setattr(writer_module, "STALLED_SECONDS", 0.05)
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(behind, 10)
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE and "Retry-After" in caught.value.headers
        await until(lambda: journal.stalled)
        with pytest.raises(Problem):
            journal.append(append(event(3)))
        monkeypatch.setattr(writer_module, "STALLED_SECONDS", 600.0)
        release.set()
        await asyncio.wait_for(in_hand, 10)
        await asyncio.wait_for(journal.append(append(event(5))), 10)

    served(backend, scenario, store=losing)
    assert held(backend.open()) == [event(1), event(5)]


def test_a_stop_before_it_is_learnt_tells_senders_that_it_is_not_known(backend: Backend, losing: LostAnswers) -> None:
    async def scenario(journal: Journal) -> None:
        losing.lose, release = [True], hold(journal)
        in_hand, task = journal.append(append(event(1))), journal.transact(lambda store: None)
        release.set()
        await until(lambda: losing.asked)
        behind = journal.append(append(event(2)))
        await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(None, journal.stop), 10)
        for future, kind in ((in_hand, errors.OUTCOME_UNKNOWN), (behind, errors.SHUTTING_DOWN)):
            with pytest.raises(Problem) as caught:
                await asyncio.wait_for(future, 10)
            assert caught.value.kind is kind and "Retry-After" in caught.value.headers
        with pytest.raises(OutcomeUnknown):
            task.result(10)
        assert journal.fatal_error is None

    async def run() -> None:
        journal = Journal(losing, Fold())  # type: ignore[arg-type]
        journal.start()
        await scenario(journal)

    asyncio.run(run())
    assert held(backend.open()) == [event(1)]


def test_an_outcome_that_cannot_be_learnt_ends_the_writer(backend: Backend, losing: LostAnswers) -> None:
    async def scenario(journal: Journal) -> None:
        losing.lose, losing.broken = [True], StoreUnavailable("the journal went back")
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(journal.append(append(event(1))), 10)
        assert caught.value.kind is errors.OUTCOME_UNKNOWN
        assert journal.fatal_error is not None
        with pytest.raises(Problem) as caught:
            journal.append(append(event(2)))
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE

    served(backend, scenario, store=losing)  # type: ignore[arg-type]


def test_an_outcome_that_cannot_be_learnt_in_a_stop_is_no_orderly_end(backend: Backend, losing: LostAnswers) -> None:
    async def scenario() -> None:
        journal = Journal(losing, Fold())  # type: ignore[arg-type]
        journal.start()
        losing.lose, losing.broken, release = [True], StoreLost("the disk has failed"), hold(journal)
        in_hand = journal.append(append(event(1)))
        stopping = asyncio.get_running_loop().run_in_executor(None, journal.stop)
        await until(lambda: journal._queue.qsize() == 2)  # what wakes it for the append, and the stop
        release.set()
        await asyncio.wait_for(stopping, 10)
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(in_hand, 10)
        assert caught.value.kind is errors.OUTCOME_UNKNOWN and journal.fatal_error is not None

    asyncio.run(scenario())


def test_a_store_that_is_lost_between_commits_ends_the_writer(backend: Backend) -> None:
    """What was committed before it is answered as taken, what comes after it as not."""
    lost = StoreLost("the disk has failed")

    def fail() -> None:
        raise lost

    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        before, task = journal.append(append(event(1))), journal.run_between_commits(fail)
        release.set()
        await asyncio.wait_for(before, 10)
        with pytest.raises(StoreLost):
            task.result(10)
        await until(lambda: journal.fatal_error is not None)
        assert journal.last_error == str(lost)
        with pytest.raises(Problem) as caught:
            await asyncio.wait_for(journal.append(append(event(2))), 10)
        assert caught.value.kind is errors.JOURNAL_UNAVAILABLE

    served(backend, scenario)
    assert held(backend.open()) == [event(1)]
