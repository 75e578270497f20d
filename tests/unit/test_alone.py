"""One machine's counting: what a page has saved, and what a restart goes on from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from otel_bridge import config, journal
from otel_bridge.journal import Append, Journal, Store, StoreError
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.metrics.state import MetricState
from otel_bridge.ops import alone, snapshot
from otel_bridge.ops.alone import Alone
from tests.unit.samples import event, session

KEY = ("event", "duplicate", "")


class Served:
    """A journal, and who counts of it."""

    def __init__(self, folder: Path) -> None:
        self.own = SelfMetrics()
        store = journal.open(f"sqlite:///{folder / 'journal.db'}", "otlp")
        self.counting = Alone(config.load(None, {}), store, self.own)
        store.begin_service()
        self.journal = Journal(store, self.counting.fold)
        self.counting.begin(self.journal)
        self.journal.start()
        self.scraper = self.counting.scrapers.meet("prometheus", True)

    def take(self, *numbers: int) -> None:
        for number in numbers:
            self.journal.transact(lambda store, n=number: store.write([Append([event(n)], [None])])).result(10)

    def page(self) -> tuple[int, int]:
        """(events, repeats) that it shows."""
        shared = self.counting.shared(self.scraper)
        self.scraper.received()
        return shared.accepted["event"], shared.own.records[KEY]

    def end(self) -> None:
        """As a kill ends it: nothing more is saved."""
        self.counting.close()
        self.journal.stop()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(alone, "PAGE_SECONDS", 60.0)  # what a slow machine saves late is saved
    made = Served(tmp_path)
    made.journal.transact(lambda store: store.write([Append([session()], [None])])).result(10)
    yield made
    made.end()


def test_a_page_shows_the_bridges_own_counters_as_they_are_and_a_restart_goes_on_from_them(
    served: Served, tmp_path: Path
) -> None:
    served.take(1, 2)
    served.own.duplicate("event")
    assert served.page() == (2, 1)
    served.own.duplicate("event")
    assert served.page() == (2, 2)
    served.end()
    again = Served(tmp_path)
    assert again.page() == (2, 2)
    again.end()


def test_a_page_that_is_saved_does_not_dump_what_is_counted_of_records_again(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.counting.save()
    monkeypatch.setattr(MetricState, "dump_at", lambda *_: pytest.fail("it was dumped"))
    served.take(1, 2, 3)
    served.own.duplicate("event")
    assert served.page() == (3, 1)
    monkeypatch.undo()
    served.end()
    again = Served(tmp_path)
    assert again.page() == (3, 1), "the journal has the events since"
    again.end()


def test_where_a_snapshot_is_dear_pages_show_own_counters_as_they_were_saved_last(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "DEAR_BYTES", 0)
    served.counting.save()
    served.page()
    served.take(1)
    served.own.duplicate("event")
    assert served.page() == (1, 0)
    monkeypatch.setattr(alone, "SNAPSHOT_SECONDS", 0.0)
    monkeypatch.setattr(alone, "SNAPSHOT_FACTOR", 0)
    served.counting.save_if_due()
    assert served.page() == (1, 1)
    served.own.duplicate("event")
    served.counting.save_if_due()
    assert served.page() == (1, 2), "it is saved although no record came"
    served.end()
    again = Served(tmp_path)
    assert again.page() == (1, 2)
    again.end()


def test_what_was_shown_while_nothing_could_be_saved_does_not_fall_once_it_can(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alone, "DEAR_BYTES", 0)
    served.counting.save()
    served.page()
    served.own.duplicate("event")

    def refuse(*_: object) -> None:
        raise StoreError("the journal cannot be written")

    with monkeypatch.context() as full:
        full.setattr(snapshot, "save", refuse)
        full.setattr(served.journal, "last_error", "the journal cannot be written")
        assert served.page() == (0, 1)
    assert served.page() == (0, 1)
    served.own.duplicate("event")
    assert served.page() == (0, 1), "it is saved: the next pages do without a snapshot again"


def test_of_two_snapshots_in_one_commit_the_later_one_is_kept(served: Served) -> None:
    """Whose thread is told last does not matter."""
    first = Future[tuple[int, snapshot.Saved]]()
    counting, journal_ = served.counting, served.journal
    late = threading.Thread(target=counting._save, args=(10,))
    transact, asked = journal_.transact, threading.Event()

    def told_late(work: Callable[[Store], tuple[int, snapshot.Saved]]) -> Future[tuple[int, snapshot.Saved]]:
        result = transact(work).result(10)
        first.set_running_or_notify_cancel()
        asked.result = result  # type: ignore[attr-defined]
        asked.set()
        return first

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_, "transact", told_late)
        late.start()
        assert asked.wait(10)
    served.own.duplicate("event")
    newer = counting._save(10).own
    first.set_result(asked.result)  # type: ignore[attr-defined]
    late.join(10)
    assert counting._kept == newer


def test_what_a_page_shows_after_a_reload_is_not_folded_again_by_the_new_configuration(served: Served) -> None:
    served.counting.save()
    served.take(1, 2, 3)
    served.counting.configure(config.load(None, {}))
    served.page()
    saved = served.journal.store.snapshot()
    assert saved is not None
    assert saved[0] == served.counting._state.seq
