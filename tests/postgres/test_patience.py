"""A server that stands still is waited for as long as patience lasts; what became of a commit is learnt afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge.journal.postgres import reading
from otel_bridge.journal.store import OutcomeUnknown, StoreUnavailable
from tests.harness.hurry import hurried
from tests.journal.backends import PostgresBackend
from tests.journal.stores import append, held
from tests.unit.samples import SESSION_ID, event, session


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[PostgresBackend]:
    made = PostgresBackend(tmp_path)
    yield made
    made.close()


def test_a_commit_that_gets_no_answer_is_of_unknown_outcome_and_that_is_learnt(backend: PostgresBackend) -> None:
    store = backend.open()
    store.write_alone([append(session(), event(1), keys=[None, b"first"])])
    with hurried(store), backend.cluster.stopped():
        began = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="has not answered"):
            store.write_alone([append(event(2), keys=[b"key"])])
        assert time.monotonic() - began < 5
        assert store.resolve_outcome() is None
    taken = store.resolve_outcome()
    assert taken is not None
    if not taken:
        store.write_alone([append(event(2), keys=[b"key"])])
    again = append(event(2), keys=[b"key"])
    assert store.write_alone([again]) == []
    assert held(store) == [session(), event(1), event(2)]


def test_what_others_read_ends_with_it_and_is_read_again(backend: PostgresBackend) -> None:
    assert reading.PATIENCE_SECONDS > 60
    store = backend.open()
    store.write_alone([append(session())])
    reader = store.reader()
    told: list[object] = []

    def read() -> None:
        try:
            told.append(reader.sessions([SESSION_ID]))
        except StoreUnavailable as error:
            told.append(error)

    with hurried(store), backend.cluster.stopped():
        other = threading.Thread(target=read)
        other.start()
        with pytest.raises(OutcomeUnknown):
            store.write_alone([append(event(1))])
        other.join(20)
        assert not other.is_alive() and isinstance(told[0], StoreUnavailable), told
    assert list(reader.sessions([SESSION_ID])) == [SESSION_ID]
