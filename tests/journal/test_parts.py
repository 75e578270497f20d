"""Which trace of its session an event is in (otel_bridge/journal/parts.py), over every backend."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge import journal
from otel_bridge.journal import Append, Duplicate, Store
from otel_bridge.journal.parts import EVENT_BYTES, PART_BYTES, PART_EVENTS, Parts, as_sent, parts_of
from otel_bridge.records import Event, Extras, ToolCall
from tests.journal.backends import CONSUMER, Backend
from tests.journal.earlier import as_before
from tests.journal.stores import append, commit, held
from tests.unit.samples import SESSION_ID, event, session, uid

BIG = "x" * 9_998
FULL = PART_BYTES // 12_000
"""So many events with that content fill a part to the last byte."""


def size(one: Event) -> int:
    return EVENT_BYTES + (0 if one.content is None else len(as_sent(one.content)))


def marks(store: Store) -> list[tuple[int, bool]]:
    return [(one.part, one.opens) for one in held(store) if isinstance(one, Event)]


def bigs(first: int, count: int, **fields: Any) -> list[Event]:
    return [event(first + i, content=BIG, **fields) for i in range(count)]


# --- the rule ---------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 1_500_000)), max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=60),
)
def test_no_part_is_too_large_and_each_is_opened_once_however_commits_cut_them(
    events: list[tuple[int, int]], cuts: list[int]
) -> None:
    records = [event(i, session=uid(who), content="x" * length) for i, (who, length) in enumerate(events)]
    _assign(records, cuts)
    cut = [(one.part, one.opens) for one in records]
    by_part: Counter[tuple[bytes, int]] = Counter()
    seen: dict[bytes, int] = {}
    for one in records:
        assert one.part - seen.get(one.session, 0) == one.opens
        seen[one.session] = one.part
        by_part[one.session, one.part] += size(one)
    assert all(total <= PART_BYTES for total in by_part.values())
    for one in records:
        one.part, one.opens = 0, False
    _assign(records, [1])
    assert [(one.part, one.opens) for one in records] == cut


def _assign(records: list[Event], cuts: list[int]) -> None:
    """Each commit by a writer that remembers nothing but what was kept."""
    kept: dict[bytes, int] = {}
    start = turn = 0
    while start < len(records):
        group = records[start : start + cuts[turn % len(cuts)]]
        sizes: dict[bytes, int] = {}
        for one in group:
            sizes[one.session] = sizes.get(one.session, 0) + size(one)
        kept |= Parts().assign(group, sizes, (), lambda asked, kept=kept: [(i, kept[i]) for i in asked if i in kept])
        start, turn = start + len(group), turn + 1


def test_a_part_has_a_limit_of_events_too() -> None:
    records = [event(i, content=None) for i in range(PART_EVENTS + 1)]
    _assign(records, [500])
    assert [one.part for one in records] == [0] * PART_EVENTS + [1]


def test_a_session_has_as_many_traces_as_its_events_have_parts() -> None:
    assert [parts_of(fill) for fill in (0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES)] == [1, 1, 1, 2, 3]


def test_sessions_that_are_forgotten_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otel_bridge.journal.parts.REMEMBERED", 8)
    parts, kept, asked = Parts(), dict[bytes, int](), list[bytes]()

    def read(sessions: list[bytes]) -> list[tuple[bytes, int]]:
        asked.extend(sessions)
        return [(one, kept[one]) for one in sessions if one in kept]

    for turn in range(3):
        for who in range(12):
            kept |= parts.assign([event(who, session=uid(who))], {uid(who): 10}, (), read)
            parts.settle()
            assert kept[uid(who)] == 10 * (turn + 1)
    assert len(asked) > 12, "nothing was forgotten"
    assert len(parts._young) + len(parts._old) <= 9


# --- in a store -------------------------------------------------------------------------------------------------------


def test_a_session_goes_on_in_another_part_across_commits_and_restarts(backend: Backend) -> None:
    store = backend.open()
    commit(store, append(session()))
    for first in range(0, 2 * FULL + 10, 50):
        commit(store, append(*bigs(first, min(50, 2 * FULL + 10 - first))))
        if first % 100:
            store.close()
            store = backend.open()
    expected = [(0, False)] * FULL + [(1, True)] + [(1, False)] * (FULL - 1) + [(2, True)] + [(2, False)] * 9
    assert marks(store) == expected
    reader = store.reader()
    row = reader.session(SESSION_ID)
    reader.close()
    assert row is not None and row.parts == 3


def test_a_group_may_fill_many_parts_of_many_sessions(store: Store) -> None:
    long = bigs(0, 10 * FULL)
    others = [event(100_000 + i, session=uid(i % 20)) for i in range(FULL)]
    here = commit(store, append(*[one for pair in zip(long, others * 10, strict=True) for one in pair]))
    assert [one.part for one in here if one.session == SESSION_ID] == [i // FULL for i in range(10 * FULL)]
    assert sum(one.opens for one in here) == 9
    assert {one.part for one in here if one.session != SESSION_ID} == {0}


@pytest.mark.parametrize("digest", [None, b"d" * 16], ids=["by content", "by an id"])
@pytest.mark.parametrize("count", [FULL + 1, 12 * FULL], ids=["two parts", "more than one statement holds"])
def test_a_repeat_is_told_the_part_of_the_first(store: Store, digest: bytes | None, count: int) -> None:
    keys = [b"c" + uid(i) for i in range(count)]
    digests = {} if digest is None else dict.fromkeys(range(count), digest)
    commit(store, append(session()))
    commit(store, append(*bigs(0, count), keys=keys, digests=digests))
    again = append(*bigs(0, count), event(count), keys=[*keys, None], digests=digests)
    assert commit(store, again) == [event(count, part=count // FULL, opens=count % FULL == 0)]
    assert again.outcomes == [*(Duplicate(event().arrived_us, i // FULL) for i in range(count)), None]


def test_a_repeat_within_one_group_is_told_the_part_of_the_first(store: Store) -> None:
    commit(store, append(session(), *bigs(0, FULL)))
    first, again = append(event(1000), keys=[b"c" + uid(1)]), append(event(1001), keys=[b"c" + uid(1)])
    commit(store, first, again)
    assert again.outcomes == [Duplicate(event().arrived_us, 1)]
    assert marks(store)[-1] == (1, True)


@pytest.mark.parametrize("at_once", [True, False])
def test_calls_of_tools_are_spans_of_a_part_as_events_are(store: Store, at_once: bool) -> None:
    calls = 50
    fit = PART_BYTES // (EVENT_BYTES * (1 + calls) + 2)
    events = [event(n, content="", extras=Extras(tools=[ToolCall("buscar", 1.0)] * calls)) for n in range(2 * fit + 1)]
    commit(store, append(session()))
    for group in [events] if at_once else [[one] for one in events]:
        commit(store, append(*group))
    assert marks(store) == [(n // fit, n in (fit, 2 * fit)) for n in range(2 * fit + 1)]
    assert fit * (1 + calls) <= PART_EVENTS


def test_what_is_rolled_back_opens_no_part(store: Store) -> None:
    commit(store, append(session(), *bigs(0, FULL)))
    lost = append(*bigs(FULL, 2))
    store.begin()
    store.write([lost])
    store.rollback()
    assert [(one.part, one.opens) for one in lost.records] == [(0, False)] * 2
    commit(store, lost)
    assert marks(store)[-2:] == [(1, True), (1, False)]


def test_repeats_do_not_fill_a_part(store: Store) -> None:
    keys = [b"c" + uid(i) for i in range(100)]
    commit(store, append(session()))
    for _ in range(4):
        commit(store, append(*bigs(0, 100), keys=keys))
    commit(store, append(*bigs(1000, FULL - 100)))
    assert set(marks(store)) == {(0, False)}


def test_a_session_that_was_deleted_begins_anew(backend: Backend) -> None:
    store = backend.open()
    commit(store, append(session(), *bigs(0, FULL + 5)))
    reader = store.reader()
    store.begin()
    store.fall_idle(reader.idle_candidates(1 << 60, 10), 1 << 60)
    store.commit()
    reader.windows(0, {"1d": 1})  # totals are added
    store.begin()
    assert store.trim(1 << 60, 1 << 60, 10, [SESSION_ID]).kept_sessions == []
    reader.close()
    store.commit()
    commit(store, append(session(), event(5000)))
    assert marks(store)[-1] == (0, False)


# --- releases ---------------------------------------------------------------------------------------------------------


def _forget_fills(url: str) -> None:
    """As a release that knew no parts has left it."""
    import sqlite3

    path = Path(url.removeprefix("sqlite:///"))
    as_before(path)
    db = sqlite3.connect(path)
    db.executescript("ALTER TABLE session DROP COLUMN fill; ALTER TABLE seen DROP COLUMN part;")
    db.close()


@pytest.mark.parametrize(("events", "part"), [(10, 0), (300, 1)], ids=["a short session", "a long one"])
def test_a_session_of_the_release_before_goes_on_in_another_part_where_it_is_long(
    tmp_path: Path, events: int, part: int
) -> None:
    url = f"sqlite:///{tmp_path / 'journal.db'}"
    store = journal.open(url, CONSUMER)
    store.write_alone([append(session(), *[event(i) for i in range(events)])])
    store.close()
    _forget_fills(url)
    store = journal.open(url, CONSUMER)
    assert store.write_alone([Append([event(1000)], [None])]) == [event(1000, part=part, opens=part == 1)]
    store.close()
