"""What the tests do with a store: commit, transact, look at what it holds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from otel_bridge.journal import Append, Duplicate, Journal, Parked, Store
from otel_bridge.records import Event, Idle, Record, decode
from tests.journal.backends import Backend
from tests.unit.samples import START_US, event

HOUR_US = 3_600_000_000
FIRST = Duplicate(event(1).arrived_us)
"""What a repeat of `event(1)` is told."""

alone = False
"""Whether `commit` writes alone; the fixture `backend` sets it."""


def append(*records: Record, keys: Sequence[bytes | None] | None = None, **options: Any) -> Append:
    return Append(list(records), list(keys or [None] * len(records)), **options)


def commit(store: Store, *appends: Append) -> list[Record]:
    if alone:
        return store.write_alone(list(appends))
    store.begin()
    new = store.write(list(appends))
    store.commit()
    return new


def transact(store: Store, run: Callable[[], Any]) -> Any:
    store.begin()
    result = run()
    store.commit()
    return result


def held(store: Store) -> list[Record]:
    """Every record in the journal, in order."""
    reader = store.reader()
    try:
        return [record for segment in reader.segments(0, 10_000) for record in decode(segment.body)]
    finally:
        reader.close()


def sizes(store: Store) -> list[int]:
    """Records of each segment, in order."""
    reader = store.reader()
    try:
        return [segment.size for segment in reader.segments(0, 10_000)]
    finally:
        reader.close()


def at(hours: float, number: int = 1) -> Event:
    """An event that arrives so many hours after START_US."""
    return event(number, arrived_us=START_US + int(hours * HOUR_US))


def idles(store: Store, before_us: int) -> list[Idle]:
    reader = store.reader()
    candidates = reader.idle_candidates(before_us, 100)
    reader.close()
    return candidates


def ledger(store: Store) -> tuple[int, int, int]:
    """(exported, pending, parked)."""
    reader = store.reader()
    reader.begin_snapshot()
    counted = reader.ledger()
    reader.close()
    return counted.exported, counted.pending, counted.parked


def parked(seq: int, **changes: Any) -> Parked:
    return Parked(seq, b"body", "refused", "HTTP 400", START_US, 1)._replace(**changes)


Scenario = Callable[[Journal], Coroutine[Any, Any, Any]]


class Fold:
    """Collects what is folded."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.seq = 0
        self.threads: set[str] = set()

    def __call__(self, records: Sequence[Record], seq: int) -> None:
        self.records.extend(records)
        self.seq = seq
        self.threads.add(threading.current_thread().name)


def served(backend: Backend, scenario: Scenario, fold: Any = None, store: Store | None = None, **options: Any) -> Any:
    """Runs a scenario on a journal that is stopped after it."""

    async def run() -> Any:
        journal = Journal(store or backend.open(), fold or Fold(), **options)
        journal.start()
        try:
            return await scenario(journal)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, journal.stop)

    return asyncio.run(run())


def hold(journal: Journal) -> threading.Event:
    """Keeps the writer busy between two commits, so that what is appended waits; returns what releases it."""
    held, release = threading.Event(), threading.Event()

    def wait() -> None:
        held.set()
        release.wait(30)

    journal.run_between_commits(wait)
    assert held.wait(30)
    return release
