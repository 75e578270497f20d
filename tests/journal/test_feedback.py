"""What the journal does for ratings: finds an event by its id and its arrival, keeps ratings, and is marked by them."""

from __future__ import annotations

import random
import time
from uuid import UUID

import pytest

from otel_bridge.ids import DAY_US, derived_uuid, keys_of_derived, new_uuid, time_of
from otel_bridge.intake.identity import Identity
from otel_bridge.journal import DamagedPart, Duplicate, Store, StoreDamaged, event_search
from otel_bridge.journal.postgres import lookup as postgres_lookup
from otel_bridge.journal.sqlite import lookup as sqlite_lookup
from otel_bridge.records import Idle, Session
from tests.journal.backends import Backend
from tests.journal.stores import append, commit, held, transact
from tests.unit.samples import SESSION_ID, START_US, event, feedback, session, uid

SECOND = 1_000_000


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that is given up because this machine is slow finds nothing."""
    for lookup in (postgres_lookup, sqlite_lookup):
        monkeypatch.setattr(lookup, "SEARCH_SECONDS", 600.0)


# --- from an id to the arrival ----------------------------------------------------------------------------------------


def test_a_derived_id_leads_to_its_key_whatever_the_key() -> None:
    drawn = random.Random(17)
    for _ in range(300):
        key, arrived_us = b"c" + drawn.randbytes(16), drawn.randrange(START_US, START_US + 50 * 365 * DAY_US)
        keys = keys_of_derived(derived_uuid(key, arrived_us), arrived_us)
        assert keys.count(key[1:]) == 1 and len(set(keys)) == 64
        assert key[1:] not in keys_of_derived(derived_uuid(key, arrived_us), arrived_us + DAY_US)


def test_other_ids_lead_to_no_key() -> None:
    for id_ in (new_uuid(START_US), UUID("6ba7b810-9dad-41d1-80b4-00c04fd430c8").bytes, bytes(16), b"\xff" * 16):
        assert keys_of_derived(id_, START_US) == []


def test_an_id_tells_its_time_where_its_version_has_one() -> None:
    assert time_of(new_uuid(START_US)) == START_US
    at = (START_US // 1000).to_bytes(6, "big")
    assert time_of(derived_uuid(b"c" + at + bytes(10), START_US + DAY_US)) == START_US
    assert time_of(UUID("6ba7b810-9dad-41d1-80b4-00c04fd430c8").bytes) is None


def test_what_is_remembered_is_found_across_days(store: Store) -> None:
    keys = [b"g" + uid(n) for n in range(3)]
    for day, key in enumerate(keys):
        commit(store, append(event(day, arrived_us=START_US + day * DAY_US), keys=[key]))
    found = store.reader().arrivals([keys[2], keys[1], b"h" + uid(1)])
    assert sorted(found) == [(keys[day], START_US + day * DAY_US) for day in (1, 2)]


# --- from the arrival to the event ------------------------------------------------------------------------------------


def fill(store: Store, count: int, each_us: int = SECOND, size: int = 3) -> None:
    """So many segments of so many events, an event each time."""
    for n in range(count):
        commit(
            store,
            append(*(event(size * n + i, arrived_us=START_US + (size * n + i) * each_us) for i in range(size))),
        )


def test_every_event_is_found_by_its_arrival_and_about_it(store: Store) -> None:
    fill(store, 400)
    reader = store.reader()
    for n in (0, 1, 2, 599, 600, 1198, 1199):
        for off in (0, -20 * SECOND, 20 * SECOND):
            found = reader.event_near(uid(n), START_US + n * SECOND + off)
            assert found is not None and found.id == uid(n)


def test_what_is_not_there_is_not_found_and_costs_a_bounded_search(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lookup in (postgres_lookup, sqlite_lookup):
        monkeypatch.setattr(lookup, "SEARCH_SECONDS", event_search.SEARCH_SECONDS)
    fill(store, 300)
    reader, began = store.reader(), time.monotonic()
    for at in (0, START_US, START_US + 450 * SECOND, START_US + 90 * DAY_US):
        assert reader.event_near(uid(99_999), at) is None
    assert time.monotonic() - began < 4 * (event_search.SEARCH_SECONDS + 1)
    assert store.reader().event_near(uid(0), START_US, gpt="otro") is None


def test_what_is_where_it_should_be_is_found_however_slow_the_machine_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for lookup in (postgres_lookup, sqlite_lookup):
        monkeypatch.setattr(lookup, "SEARCH_SECONDS", -1.0)  # over before it began
    fill(store, 300)
    reader = store.reader()
    for n in range(0, 900, 7):
        found = reader.event_near(uid(n), START_US + n * SECOND)
        assert found is not None and found.id == uid(n)


def test_an_empty_journal_has_no_event(store: Store) -> None:
    assert store.reader().event_near(uid(0), START_US) is None
    assert store.reader().arrivals([b"g" + uid(0)]) == []


def test_one_of_several_with_the_id_is_that_of_the_gpt(store: Store) -> None:
    commit(store, append(event(1, gpt="uno"), event(1, gpt="dos")))
    found = store.reader().event_near(uid(1), event().arrived_us, gpt="dos")
    assert found is not None and found.gpt == "dos"


def test_a_batch_of_many_segments_and_what_was_drafted_before_and_committed_later(store: Store) -> None:
    batch = [event(n, arrived_us=START_US) for n in range(7_000)]
    late = event(8_000, arrived_us=START_US - SECOND)
    commit(store, append(*batch))
    commit(store, append(event(7_001, arrived_us=START_US + SECOND)))
    commit(store, append(late))
    reader = store.reader()
    for n, at in ((0, START_US), (3_500, START_US), (6_999, START_US), (8_000, START_US - SECOND)):
        found = reader.event_near(uid(n), at)
        assert found is not None and found.id == uid(n)


def test_a_clock_that_went_back_hides_neither_what_came_before_nor_what_comes_since(store: Store) -> None:
    hour = 3_600 * SECOND
    times = [START_US + n * 10 * SECOND for n in range(1_000)]
    times += [START_US + hour + n * 10 * SECOND for n in range(300)]  # it stepped back by almost two hours
    events = [event(n, arrived_us=at) for n, at in enumerate(times)]
    for start in range(0, len(events), 5):
        commit(store, append(*events[start : start + 5]))
    reader = store.reader()
    for n in (0, 300, 500, 999, 1_100, 1_299):
        found = reader.event_near(uid(n), times[n])
        assert found is not None and found.id == uid(n), n


def test_after_what_was_trimmed_the_rest_is_found(store: Store) -> None:
    fill(store, 200)
    store.begin()
    store.advance(store.last, store.last, [])
    store.save_snapshot(store.last, b"state")
    store.commit()
    reader = store.reader()
    reader.windows(START_US, {"1d": 1})  # totals are added
    transact(store, lambda: store.trim(START_US + 300 * SECOND, START_US + 600 * SECOND, 1_000, []))
    assert reader.event_near(uid(10), START_US + 10 * SECOND) is None
    found = reader.event_near(uid(590), START_US + 590 * SECOND)
    assert found is not None


def test_damage_is_told_where_the_event_may_be_in_it_and_hides_no_other(backend: Backend) -> None:
    store = backend.open()
    fill(store, 200)
    backend.damage_segment(303)
    reader = store.reader()
    found = reader.event_near(uid(310), START_US + 310 * SECOND)
    assert found is not None
    with pytest.raises(StoreDamaged) as told:
        reader.event_near(uid(301), START_US + 301 * SECOND)
    assert told.value.part == DamagedPart.LOOKED_FOR
    assert reader.event_near(uid(99_999), START_US + 30 * SECOND) is None, "that is far from it"


# --- ratings ----------------------------------------------------------------------------------------------------------


def test_a_rating_is_kept_and_its_repeat_recognised(store: Store) -> None:
    key = b"v" + uid(1)
    commit(store, append(session(), event(7)))
    first = append(feedback(1), keys=[key])
    again = append(feedback(2), keys=[key])
    assert commit(store, first) == [feedback(1)] and first.outcomes is None
    assert commit(store, again) == [] and again.outcomes == [Duplicate(feedback().arrived_us)]
    assert held(store) == [session(), event(7), feedback(1)]
    assert store.reader().ledger().pending == 3, "it is delivered, and counted as what is"


def test_a_rating_adds_nothing_to_its_session(store: Store) -> None:
    commit(store, append(session(), event(7)))
    before = store.reader().session(SESSION_ID)
    commit(store, append(feedback(1), keys=[b"v" + uid(1)]))
    assert store.reader().session(SESSION_ID) == before
    commit(store, append(feedback(2, session=uid(404)), keys=[b"v" + uid(2)]))
    assert store.reader().session(uid(404)) is None


# --- the end of a session ---------------------------------------------------------------------------------------------


def test_an_end_tells_what_idleness_would_and_once(store: Store) -> None:
    commit(store, append(session(), event(1), event(2, end_us=event().end_us + 9 * SECOND)))
    later = START_US + DAY_US
    idle = store.reader().idle_candidates(later, 10)
    now_us = START_US + 100 * SECOND
    ended = transact(store, lambda: store.end(SESSION_ID, now_us))
    assert ended == [Idle(SESSION_ID, "devops-expert", 9.0, 2, now_us)]
    assert transact(store, lambda: store.end(SESSION_ID, now_us)) == []
    assert transact(store, lambda: store.fall_idle(idle, later)) == [], "housekeeping had found it idle meanwhile"
    assert transact(store, lambda: store.end(uid(404), now_us)) == []
    assert [one for one in held(store) if isinstance(one, Idle)] == ended
    row = store.reader().session(SESSION_ID)
    assert row is not None and not row.live and row.events == 2


def test_what_comes_after_an_end_is_a_period_of_its_own(store: Store) -> None:
    commit(store, append(session(), event(1)))
    transact(store, lambda: store.end(SESSION_ID, START_US))
    commit(store, append(event(2, end_us=event().end_us + 9 * SECOND)))
    ended = transact(store, lambda: store.end(SESSION_ID, START_US))
    assert [(one.events, one.duration_s) for one in ended] == [(1, 0.0)]


def test_an_end_that_is_rolled_back_leaves_the_session_live(store: Store) -> None:
    commit(store, append(session()))
    store.begin()
    assert store.end(SESSION_ID, START_US)
    store.rollback()
    assert isinstance(held(store)[-1], Session)
    assert len(transact(store, lambda: store.end(SESSION_ID, START_US))) == 1


def test_keys_of_ratings_are_none_of_events() -> None:
    identity = Identity(b"k" * 32)
    assert identity.of_feedback_id("g", uid(1)) != identity.of_id("g", uid(1))
    assert identity.of_feedback_id("g", uid(1)) != identity.of_feedback_id("h", uid(1))
