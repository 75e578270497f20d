"""The writer over every backend: group commit, folding, refusing, stopping (otel_bridge/journal/writer.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from otel_bridge import errors
from otel_bridge.errors import Problem
from otel_bridge.journal import Append, Journal, Store, StoreFull, StoreUnavailable
from otel_bridge.records import Record
from tests.harness.waiting import wait_for
from tests.journal.backends import Backend
from tests.journal.stores import HOUR_US, Fold, append, held, hold, served, sizes
from tests.unit.samples import START_US, event, idle, session, uid


def test_an_append_resolves_after_its_commit_and_fold(backend: Backend) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        done = await journal.append(append(session(), event(1)))
        assert fold.records == done.records and fold.seq == 2
        assert sizes(journal.store) == [2]

    served(backend, scenario, fold)
    assert fold.threads == {"journal-writer"}


def test_a_repeat_is_not_folded_again(backend: Backend) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        for _ in range(3):
            await journal.append(append(event(1), keys=[b"key"]))

    served(backend, scenario, fold)
    assert fold.records == [event(1)]


def test_what_one_turn_of_the_loop_appends_is_one_commit(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        for turn in range(5):
            await asyncio.gather(*(journal.append(append(event(100 * turn + n))) for n in range(20)))

    served(backend, scenario)
    assert sizes(backend.open()) == [20] * 5


@pytest.mark.parametrize("stop_at_once", [False, True], ids=["serving", "stopping"])
def test_what_a_group_leaves_behind_is_the_next_one(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, stop_at_once: bool
) -> None:
    monkeypatch.setattr("otel_bridge.journal.writer.GROUP_RECORDS", 3)

    async def scenario(journal: Journal) -> None:
        futures = [journal.append(append(event(n))) for n in range(10)]
        if stop_at_once:
            await asyncio.get_running_loop().run_in_executor(None, journal.stop)
        await asyncio.wait_for(asyncio.gather(*futures), 20)

    served(backend, scenario)
    store = backend.open()
    assert sizes(store) == [3, 3, 3, 1]
    assert held(store) == [event(n) for n in range(10)]


def test_appends_that_wait_together_share_a_commit(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        futures = [journal.append(append(event(n + 1))) for n in range(50)]
        release.set()
        await asyncio.gather(*futures)

    served(backend, scenario)
    assert sizes(backend.open()) == [50]


def test_one_bad_append_of_a_group_fails_alone(backend: Backend) -> None:
    async def scenario(journal: Journal) -> list[Any]:
        release = hold(journal)
        good = [journal.append(append(event(n))) for n in (1, 2)]
        bad = journal.append(append(event(3, gpt=object())))
        late = journal.append(append(event(4)))
        release.set()
        return await asyncio.gather(*good, bad, late, return_exceptions=True)

    fold = Fold()
    one, two, bad, late = served(backend, scenario, fold)
    assert isinstance(bad, Exception) and not isinstance(bad, Problem)
    assert all(isinstance(answer, Append) for answer in (one, two, late))
    assert [record.id for record in fold.records] == [uid(1), uid(2), uid(4)]
    store = backend.open()
    assert len(held(store)) == 3 and store.last == 3


def test_a_failing_transaction_does_not_take_the_appends_with_it(backend: Backend) -> None:
    def fails(store: Store) -> None:
        raise KeyError("mine alone")

    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        waiting = journal.append(append(event(1)))
        task = journal.transact(fails)
        release.set()
        await waiting
        with pytest.raises(KeyError):
            await asyncio.wrap_future(task)

    served(backend, scenario)
    assert held(backend.open()) == [event(1)]


def test_what_a_transaction_journals_is_folded(backend: Backend) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        await journal.append(append(session()))
        fallen = idle(duration_s=0.0)
        await asyncio.wrap_future(journal.transact(lambda store: store.fall_idle([fallen], START_US + HOUR_US)))

    served(backend, scenario, fold)
    assert [type(record).__name__ for record in fold.records] == ["Session", "Idle"] and fold.seq == 2


def test_no_room_is_503_and_nothing_is_taken(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        with pytest.raises(Problem) as caught:
            await journal.append(append(event(1)))
        assert caught.value.kind is errors.DISK_FULL and "Retry-After" in caught.value.headers
        assert journal.last_error == "no room"
        why.clear()
        await journal.append(append(event(2)))
        assert journal.last_error is None

    why = ["no room"]
    served(backend, scenario, why_full=lambda: why[0] if why else None)
    assert held(backend.open()) == [event(2)]


@pytest.mark.parametrize(
    ("error", "kind"), [(StoreFull("full"), errors.DISK_FULL), (StoreUnavailable("gone"), errors.JOURNAL_UNAVAILABLE)]
)
def test_a_store_that_cannot_write_is_503_for_all_who_wait(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: errors.ErrorKind
) -> None:
    def fail(appends: list[Append]) -> None:
        raise error

    async def scenario(journal: Journal) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(journal.store, "write_alone", fail)
            answers = await asyncio.gather(*(journal.append(append(event(n))) for n in (1, 2)), return_exceptions=True)
        assert [answer.kind for answer in answers if isinstance(answer, Problem)] == [kind, kind]
        await journal.append(append(event(3)))

    served(backend, scenario)
    assert held(backend.open()) == [event(3)]


def test_nobody_waits_behind_work_between_two_commits_that_does_not_end(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease that is renewed waits for a standby, as a commit does."""
    monkeypatch.setattr("otel_bridge.journal.writer.STALLED_SECONDS", 0.1)
    monkeypatch.setattr("otel_bridge.journal.writer.WATCH_SECONDS", 0.05)

    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        with pytest.raises(Problem) as refused:
            await asyncio.wait_for(journal.append(append(event(1))), 20)
        assert refused.value.kind == errors.JOURNAL_UNAVAILABLE and journal.stalled
        release.set()
        wait_for(lambda: not journal.stalled, "a writer that goes on")
        await journal.append(append(event(2)))

    served(backend, scenario)
    assert held(backend.open()) == [event(2)]


def test_more_than_may_wait_is_refused_at_once(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        first = journal.append(append(*(event(n) for n in range(8))))
        with pytest.raises(Problem) as caught:
            journal.append(append(*(event(n) for n in range(5))))
        assert caught.value.kind is errors.QUEUE_FULL and caught.value.headers["Retry-After"]
        second = journal.append(append(event(100), event(101)))
        with pytest.raises(Problem):
            journal.append(append(event(102)))
        release.set()
        await asyncio.gather(first, second)
        await journal.append(append(*(event(n) for n in range(200, 210))))  # all of the room is back

    served(backend, scenario, max_waiting_records=10)


def test_a_batch_larger_than_the_queue_is_taken_when_nothing_else_waits(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        await journal.append(append(*(event(n) for n in range(20))))

    served(backend, scenario, max_waiting_records=10)


def test_stopping_commits_what_was_taken_on_and_refuses_what_comes_later(backend: Backend) -> None:
    early: list[asyncio.Future[Append]] = []

    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        taken = journal.append(append(event(1)))
        stopping = asyncio.get_running_loop().run_in_executor(None, journal.stop)
        deadline = time.monotonic() + 10
        with pytest.raises(Problem) as caught:  # the stop begins in a thread of its own
            while time.monotonic() < deadline:
                early.append(journal.append(append(event(2))))
                await asyncio.sleep(0.001)
        assert caught.value.kind is errors.SHUTTING_DOWN
        release.set()
        await stopping
        await asyncio.gather(taken, *early)

    async def run() -> None:
        journal = Journal(backend.open(), Fold())
        journal.start()
        await scenario(journal)
        with pytest.raises(StoreUnavailable):
            journal.transact(lambda store: None).result(1)

    asyncio.run(run())
    assert held(backend.open()) == [event(1), *[event(2)] * len(early)]


def test_a_writer_that_dies_answers_everyone_and_accepts_nothing_more(backend: Backend) -> None:
    def fold(records: Sequence[Record], seq: int) -> None:
        raise RuntimeError("the fold is broken")

    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        waiting = [journal.append(append(event(n))) for n in (1, 2)]
        release.set()
        answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        # They were committed, which nobody can tell any more: nothing is claimed.
        assert {answer.kind for answer in answers if isinstance(answer, Problem)} == {errors.OUTCOME_UNKNOWN}
        assert journal.fatal_error is not None
        with pytest.raises(Problem):
            journal.append(append(event(3)))

    served(backend, scenario, fold)  # type: ignore[arg-type]


def test_a_cancelled_request_is_journaled_all_the_same(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        release = hold(journal)
        future = journal.append(append(event(1)))
        future.cancel()
        release.set()
        await journal.append(append(event(2)))

        await journal.append(append(event(3)))  # what waited has given its room back

    served(backend, scenario, max_waiting_records=2)
    assert held(backend.open()) == [event(1), event(2), event(3)]
