"""A journal that cannot be used stops the start, over every backend; and what opens one."""

from __future__ import annotations

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from tests.journal.backends import CONSUMER, Backend
from tests.journal.stores import append, commit, held
from tests.unit.samples import event


def test_a_journal_exists_once_it_was_opened(backend: Backend) -> None:
    assert not journal.exists(backend.url)
    backend.open()
    assert journal.exists(backend.url)


def test_what_reads_or_replays_makes_no_journal(backend: Backend) -> None:
    for attempt in (lambda: journal.open_reader(backend.url, CONSUMER), lambda: journal.mark_replay(backend.url, None)):
        with pytest.raises(StartRefused, match="aún no existe"):
            attempt()
    assert not journal.exists(backend.url)


def test_a_reader_of_its_own_sees_what_the_store_holds(backend: Backend) -> None:
    commit(backend.open(), append(event(1)))
    reader = journal.open_reader(backend.url, CONSUMER)
    assert reader.ledger().pending == 1 and reader.cursor() == 0
    reader.close()


def test_a_scheme_without_a_backend_is_refused() -> None:
    with pytest.raises(StartRefused, match="no tiene dónde guardar un diario memory:"):
        journal.open("memory:///", CONSUMER)


def refused(backend: Backend) -> str:
    with pytest.raises(StartRefused) as caught:
        backend.open()
    return str(caught.value)


def test_a_second_process_is_refused_or_has_a_log_of_its_own(backend: Backend) -> None:
    first = backend.open()
    if backend.exclusive:
        assert "otro otel-bridge lo está sirviendo" in refused(backend)
        return
    second = backend.open()
    commit(first, append(event(1)))
    commit(second, append(event(2)))
    assert held(first) == [event(1)] and held(second) == [event(2)]


def test_a_newer_schema_is_refused(backend: Backend) -> None:
    backend.open().close()
    backend.make_newer()
    assert "más nuevo" in refused(backend)


def test_a_damaged_newest_segment_is_refused(backend: Backend) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    store.close()
    backend.damage_segment(1)
    assert "suma de comprobación" in refused(backend)


def test_a_refused_start_gives_the_lock_back(backend: Backend) -> None:
    backend.open().close()
    backend.make_newer()
    refused(backend)
    backend.make_current()
    backend.open()


def test_a_damaged_segment_in_the_middle_is_told_and_the_rest_is_read(backend: Backend) -> None:
    store = backend.open()
    for number in range(3):
        commit(store, append(event(number + 1)))
    backend.damage_segment(2)
    reader = store.reader()
    damaged = {segment.last: segment.damaged for segment in reader.segments(0, 10)}
    assert damaged == {1: False, 2: True, 3: False}
    reader.close()
