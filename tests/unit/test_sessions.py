"""The sessions that events name: what is remembered of them, and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_bridge import journal
from otel_bridge.intake.sessions import KnownSession, Sessions
from otel_bridge.journal.damage import Damage
from tests.unit.samples import SESSION_ID, USER

KNOWN = KnownSession(SESSION_ID, "devops-expert", USER)
NUMBER = int.from_bytes(SESSION_ID, "big")


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    store = journal.open(f"sqlite:///{tmp_path}/journal.db", "otlp")
    reader = store.reader()
    known = Sessions(reader, Damage())
    known.remember(KNOWN)
    yield known
    known.close()
    reader.close()
    store.close()


def test_one_that_events_come_for_is_remembered_whatever_its_age(sessions: Sessions) -> None:
    for _ in range(5):
        sessions.age()
        assert sessions.remembers(SESSION_ID)
        assert sessions.remembered([NUMBER]) == ({NUMBER: KNOWN}, [])


def test_one_that_is_asked_for_by_its_id_is_remembered_too(sessions: Sessions) -> None:
    for _ in range(5):
        sessions.age()
        assert asyncio.run(sessions.find([NUMBER])) == {NUMBER: KNOWN}


def test_one_that_nothing_comes_for_is_looked_up_again(sessions: Sessions) -> None:
    sessions.age()
    sessions.age()
    assert not sessions.remembers(SESSION_ID)
    assert sessions.remembered([NUMBER]) == ({}, [NUMBER])
    assert asyncio.run(sessions.find([NUMBER])) == {}, "the journal has it no more"


def test_as_many_as_that_are_remembered_and_those_that_events_come_for_among_them(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otel_bridge.intake.sessions.REMEMBERED", 100)
    ids = [number.to_bytes(16, "big") for number in range(1_000)]
    for id_ in ids:
        sessions.remember(KnownSession(id_, "devops-expert", USER))
        assert sessions.remembered([NUMBER]) == ({NUMBER: KNOWN}, [])
    kept = [id_ for id_ in ids if sessions.remembers(id_)]
    assert 49 <= len(kept) <= 100 and kept == ids[-len(kept) :]


def test_one_that_is_refused_is_not_remembered_by_its_age_either(sessions: Sessions) -> None:
    sessions.age()
    sessions.refuse([SESSION_ID])
    assert sessions.remembered([NUMBER]) == ({}, [NUMBER])
