"""What a store makes of arrivals that a wrong clock has written, over every backend."""

from __future__ import annotations

import pytest

from otel_bridge.journal import Duplicate, Store, TopUser
from otel_bridge.records import Event
from tests.journal.backends import Backend
from tests.journal.stores import HOUR_US, append, at, commit, held, idles, transact
from tests.unit.samples import START_US, USER, event, session, uid

DAY = 24
AHEAD = 400 * DAY
"""Hours that the clock ran ahead."""
SIZES = [1, 7, 100]


def hours(number: float) -> int:
    return START_US + int(number * HOUR_US)


def lived(hour: float, number: int) -> Event:
    """An event that arrives at once, by that clock."""
    return event(number, arrived_us=hours(hour), end_us=hours(hour))


def export(store: Store) -> None:
    """All of it, counted in a snapshot, too."""
    transact(store, lambda: store.advance(store.last, store.last, []))
    transact(store, lambda: store.save_snapshot(store.last, b"state"))


def trim(store: Store, before: float, now: float, limit: int = 100, make_room: bool = False) -> None:
    """Until there is nothing left to trim."""
    reader = store.reader()
    while True:
        sessions = reader.old_sessions(hours(before), limit)
        if not transact(store, lambda s=sessions: store.trim(hours(before), hours(now), limit, s, make_room)).rows:  # type: ignore[misc]
            break
    reader.close()


def mend(store: Store, now: float, limit: int = 100) -> None:
    reader, start = store.reader(), b""
    while True:
        ahead, after = reader.sessions_ahead(hours(now), start, limit)
        mended = transact(store, lambda a=ahead: store.mend(hours(now), a, limit))  # type: ignore[misc]
        if after is None and not mended:
            break
        start = after or b""
    reader.close()


def forget(store: Store) -> None:
    while transact(store, lambda: store.forget(7)):
        pass


# --- segments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", SIZES)
def test_what_says_it_arrives_yet_goes_with_what_is_behind_it(store: Store, limit: int) -> None:
    for n in range(5):
        commit(store, append(at(AHEAD, n)))
    commit(store, append(at(1, 10)), append(at(50, 11)))
    commit(store, append(at(50, 12)))
    export(store)
    trim(store, before=0.5, now=60, limit=limit)
    assert len(held(store)) == 8  # what is behind them is not old
    trim(store, before=2, now=60, limit=limit)
    assert held(store) == [at(50, 12)]


@pytest.mark.parametrize("limit", SIZES)
def test_between_old_ones_and_new_ones_it_goes_with_the_new_ones(store: Store, limit: int) -> None:
    commit(store, append(at(1, 1)))
    commit(store, append(at(AHEAD, 2)))
    commit(store, append(at(50, 3)))
    export(store)
    trim(store, before=10, now=60, limit=limit)
    assert held(store) == [at(AHEAD, 2), at(50, 3)]
    trim(store, before=51, now=60, limit=limit)
    assert held(store) == []


def test_what_a_clock_that_went_back_has_written_takes_nothing_along(store: Store) -> None:
    for hour in (50, 1, 50):
        commit(store, append(at(hour, hour)))
    export(store)
    trim(store, before=10, now=60)
    assert len(held(store)) == 3


@pytest.mark.parametrize("limit", SIZES)
def test_for_want_of_room_exported_segments_go_whatever_they_say_and_nothing_else(store: Store, limit: int) -> None:
    commit(store, append(session(1, arrived_us=hours(1))), append(lived(1, 1)))
    commit(store, append(lived(AHEAD, 2)))
    commit(store, append(lived(50, 3), keys=[b"ckey"]))
    transact(store, lambda: store.fall_idle(idles(store, hours(60)), hours(60)))
    export(store)
    commit(store, append(lived(51, 4)))
    trim(store, before=-1_000, now=60, limit=limit, make_room=True)
    assert held(store) == [lived(51, 4)]
    reader = store.reader()
    assert {uid(1), event(1).session} <= reader.sessions([uid(1), event(1).session]).keys()
    assert reader.windows(hours(60), {"30d": 30 * 86_400})[0].users == 1
    assert sum(one.events for one in reader.top_users(hours(60), 7 * 86_400, 1)) == 4
    reader.close()
    again = append(at(52, 5), keys=[b"ckey"])
    assert commit(store, again) == [] and again.outcomes == [Duplicate(at(50, 3).arrived_us)]


# --- sessions and usage ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", SIZES)
def test_sessions_and_usage_of_days_to_come_are_of_now(store: Store, limit: int) -> None:
    for n in range(10):
        commit(store, append(session(n + 1, arrived_us=hours(AHEAD), user=f"u{n:015}")))
    commit(store, append(lived(1.9, 1)))
    commit(store, append(lived(AHEAD, 2)))
    mend(store, now=2, limit=limit)
    reader = store.reader()
    assert reader.sessions_ahead(hours(2), b"", 100) == ([], None)
    assert reader.top_users(hours(2), 3_600, 1) == [TopUser("devops-expert", USER, 2, 350)]
    assert reader.windows(hours(2.1), {"30m": 1800})[0].sessions == 11
    assert reader.windows(hours(40 * DAY), {"30d": 30 * 86_400})[0].sessions == 0
    assert len(reader.idle_candidates(hours(2) + 1, 100)) == 11  # and fall idle when their time is over
    assert reader.idle_candidates(hours(2), 100) == []
    reader.close()


def test_a_session_that_was_heard_of_by_a_clock_that_was_behind_is_not_old(store: Store) -> None:
    commit(store, append(session(1, arrived_us=hours(50))), append(lived(50, 1)))
    commit(store, append(lived(1, 2)))
    reader = store.reader()
    assert reader.old_sessions(hours(40), 100) == [] and reader.idle_candidates(hours(40), 100) == []
    reader.close()


def test_a_period_is_no_longer_than_it_was(store: Store) -> None:
    """Its length is observed when it falls idle."""
    commit(store, append(lived(0.5, 1)))
    commit(store, append(lived(AHEAD, 2)))
    mend(store, now=1)
    assert [(one.duration_s, one.events) for one in idles(store, hours(3))] == [(0, 2)]
    commit(store, append(lived(1.5, 3)))
    assert [(one.duration_s, one.events) for one in idles(store, hours(3))] == [(1800, 3)]


def test_what_is_of_now_is_left_as_it_is(store: Store) -> None:
    commit(store, append(session(1, arrived_us=hours(1))), append(at(1, 1)))
    reader = store.reader()
    assert reader.sessions_ahead(hours(2), b"", 1) == ([], min(uid(1), event(1).session))
    assert transact(store, lambda: store.mend(hours(2), [uid(1), event(1).session], 10)) == 2
    assert len(reader.idle_candidates(hours(1) + 1, 10)) == 2  # the session's own time, not that of the mending
    reader.close()


# --- keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_keys_are_forgotten_again_after_a_clock_that_ran_ahead(backend: Backend, restart: bool) -> None:
    store = backend.open()
    commit(store, append(at(1, 1), keys=[b"c1"]))
    commit(store, append(at(AHEAD, 2), keys=[b"c2"]))
    commit(store, append(at(2, 3), keys=[b"c3"]))
    mend(store, now=3)
    for day in range(4):
        if restart:
            store.close()
            store = backend.open()
            mend(store, now=3 + day * DAY)
        commit(store, append(at(3 + day * DAY, 10 + day), keys=[b"d%d" % day]))
        again = append(at(3 + day * DAY, 20 + day), keys=[b"d%d" % day])
        assert commit(store, again) == []
        if day == 0:
            assert commit(store, append(at(3, 30), keys=[b"c3"])) == []  # what it was told meanwhile is known
        forget(store)
    assert backend.remembered_keys() == [b"d2", b"d3"]


@pytest.mark.parametrize("written", [False, True], ids=["asked", "written"])
@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_keys_of_the_hours_before_a_step_are_known_when_it_is_over(
    backend: Backend, written: bool, restart: bool
) -> None:
    """Of a clock that was 40 days ahead for a while, whether or not anything new came meanwhile."""
    store = backend.open()
    for n, hour in enumerate((-23.0, -1.0, 1.0)):
        commit(store, append(at(hour, n), keys=[b"c%d" % n]))
    store.hold_keys(hours(-23.5))
    again = append(at(40 * DAY, 10), keys=[b"c2"])
    assert commit(store, again) == []
    if written:
        commit(store, append(at(40 * DAY, 11), keys=[b"c3"]))
    mend(store, now=1)
    if restart:
        store.close()
        store = backend.open()  # which is sure of its time, and holds nothing
    forget(store)
    for n in range(3 + written):
        again = append(at(0.9, 20 + n), keys=[b"c%d" % n])
        assert commit(store, again) == [], n
    for day in (1, 2, 3):
        commit(store, append(at(day * DAY, 30 + day), keys=[b"d%d" % day]))
    store.hold_keys(None)
    forget(store)
    assert backend.remembered_keys() == [b"d2", b"d3"]


@pytest.mark.parametrize("days", [2, 40, 400])
@pytest.mark.parametrize("timed", [b"c", b"k"])
def test_keys_that_are_held_are_known_over_a_step_of_the_clock(backend: Backend, days: int, timed: bytes) -> None:
    store = backend.open()
    commit(store, append(at(-20, 1), keys=[timed + b"1"]), append(at(-200, 2), keys=[timed + b"0"]))
    commit(store, append(at(1, 3), keys=[timed + b"2"]))
    store.hold_keys(hours(1) - DAY * HOUR_US)
    for n, key in enumerate((b"1", b"2")):
        again = append(at(1 + days * DAY, 10 + n), keys=[timed + key])
        assert commit(store, again) == [] and again.outcomes is not None
    late = at(1 + days * DAY, 20)
    assert commit(store, append(late, keys=[timed + b"0"])) == [late]  # past its horizon before the step
    assert commit(store, append(at(1 + days * DAY, 21), keys=[timed + b"9"])) != []
    forget(store)
    assert {timed + b"1", timed + b"2"} <= {*backend.remembered_keys()}
    again = append(at(1 + days * DAY, 30), keys=[timed + b"1"])
    assert commit(store, again) == []
    store.hold_keys(None)
    forgotten = at(1 + days * DAY, 31)
    assert commit(store, append(forgotten, keys=[timed + b"1"])) == [forgotten]
    forget(store)
    assert timed + b"2" not in backend.remembered_keys()


def test_what_is_held_does_not_cost_the_usual_way_a_look_up(backend: Backend) -> None:
    """Live traffic is past every key of before, the held ones too."""
    store = backend.open()
    commit(store, append(at(1, 1), keys=[b"c1"]))
    store.hold_keys(hours(0))
    commit(store, append(at(10 * DAY, 2), keys=[b"c2"]))
    fresh = append(at(10 * DAY, 3), keys=[b"c3"])
    assert len(commit(store, fresh)) == 1 and fresh.outcomes is None
    old = append(at(10 * DAY, 4), keys=[b"c1"])
    assert commit(store, old) == [] and old.outcomes == [Duplicate(at(1).arrived_us)]
