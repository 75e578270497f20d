"""A GPT's own, shorter retention: nobody and no text is left of it in segments that others need yet. Both backends."""

from __future__ import annotations

from otel_bridge.ids import DAY_US
from otel_bridge.journal import Store
from otel_bridge.records import Event
from tests.journal.backends import Backend
from tests.journal.stores import append, commit, held, ledger, transact
from tests.unit.samples import SESSION_ID, START_US, event, feedback, idle, session, uid

HOUR_US = 3_600_000_000
NOW_US = START_US + DAY_US
JOURNAL_US = START_US - 30 * DAY_US
"""What is older goes: nothing here."""
SHORT = "otro"
TEXT = "lo que se dijo en el otro"


def fill(store: Store, deliver: bool = True) -> None:
    """Twelve commits, an hour apart, each of both GPTs; the last one's sessions are idle."""
    commit(store, append(session(), session(2, gpt=SHORT, arrived_us=START_US)))
    for number in range(12):
        arrived_us = START_US + number * HOUR_US
        mine = event(100 + number, session=uid(2), gpt=SHORT, content=TEXT, arrived_us=arrived_us, end_us=arrived_us)
        commit(store, append(event(number + 10, arrived_us=arrived_us, end_us=arrived_us), mine))
    comment = feedback(40, session=uid(2), gpt=SHORT, comment=TEXT, arrived_us=START_US + 11 * HOUR_US)
    commit(store, append(comment))
    if deliver:
        fold(store)


def fold(store: Store) -> None:
    """All of it is delivered, and in the snapshot."""
    transact(store, lambda: store.advance(store.last, 26, []))
    reader = store.reader()
    reader.windows(NOW_US, {"1d": 86_400})
    reader.close()
    transact(store, lambda: store.save_snapshot(store.last, b"state"))
    idle_ = idle(2, gpt=SHORT)
    transact(store, lambda: store.fall_idle([idle_], NOW_US))
    transact(store, lambda: store.advance(store.last, 26, []))
    transact(store, lambda: store.save_snapshot(store.last, b"state"))


def trim(store: Store, own_us: int, limit: int = 100, make_room: bool = False, before_us: int = JOURNAL_US) -> int:
    own = {SHORT: own_us}
    reader = store.reader()
    steps = 0
    while True:
        sessions = reader.old_sessions(before_us, 100, own)
        done = transact(
            store,
            lambda s=sessions: store.trim(before_us, NOW_US, limit, s, make_room, own),  # type: ignore[misc]
        )
        steps += 1
        if not done.rows:
            reader.close()
            return steps


def said(store: Store) -> list[tuple[str | None, str]]:
    """(content, user) of the events of the GPT, in order."""
    return [(one.content, one.user) for one in held(store) if isinstance(one, Event) and one.gpt == SHORT]


def test_what_is_older_is_blanked_and_the_rest_stays_as_it_is(backend: Backend, store: Store) -> None:
    fill(store)
    before = ledger(store)
    others = [one for one in held(store) if isinstance(one, Event) and one.gpt != SHORT]
    trim(store, START_US + 5 * HOUR_US)
    assert said(store)[:5] == [(None, "")] * 5
    assert all(content == TEXT and user for content, user in said(store)[5:])
    assert [one for one in held(store) if isinstance(one, Event) and one.gpt != SHORT] == others
    assert ledger(store) == before and all(not one.damaged for one in store.reader().segments(0, 100))


def test_its_usage_goes_by_its_own_age_and_others_stays(backend: Backend, store: Store) -> None:
    fill(store)
    trim(store, START_US + 5 * HOUR_US)
    table = "usage" if backend.exclusive else "otel_bridge.usage"
    rows = dict(backend.sql(f"SELECT gpt, count(*) FROM {table} GROUP BY gpt"))
    assert rows == {SHORT: 7, "devops-expert": 12}


def test_its_sessions_go_by_its_own_age(backend: Backend, store: Store) -> None:
    fill(store)
    trim(store, START_US + 5 * HOUR_US)
    assert store.reader().session(uid(2)) is not None
    trim(store, START_US + 12 * HOUR_US)
    assert store.reader().session(uid(2)) is None and store.reader().session(SESSION_ID) is not None
    assert said(store) == [(None, "")] * 12


def test_what_is_not_delivered_yet_is_left(backend: Backend, store: Store) -> None:
    fill(store, deliver=False)
    trim(store, START_US + 12 * HOUR_US)
    assert said(store) == [(TEXT, said(store)[0][1])] * 12 and said(store)[0][1]
    fold(store)
    trim(store, START_US + 12 * HOUR_US)
    assert said(store) == [(None, "")] * 12


def test_it_goes_on_where_it_was_step_by_step_and_after_a_start(backend: Backend, store: Store) -> None:
    fill(store)
    assert trim(store, START_US + 3 * HOUR_US, limit=1) > 3
    backend.close() if backend.exclusive else store.close()
    again = backend.open()
    trim(again, START_US + 9 * HOUR_US, limit=2)
    assert [content for content, _ in said(again)] == [None] * 9 + [TEXT] * 3


def test_a_transaction_that_is_undone_is_done_again(backend: Backend, store: Store) -> None:
    fill(store)
    for _ in range(3):
        store.begin()
        store.trim(JOURNAL_US, NOW_US, 100, [], False, {SHORT: START_US + 5 * HOUR_US})
        store.rollback()
    trim(store, START_US + 5 * HOUR_US)
    assert [content for content, _ in said(store)] == [None] * 5 + [TEXT] * 7
    table = "usage" if backend.exclusive else "otel_bridge.usage"
    assert dict(backend.sql(f"SELECT gpt, count(*) FROM {table} GROUP BY gpt"))[SHORT] == 7


def test_only_delivered_segments_make_room_and_blanking_goes_on(backend: Backend, store: Store) -> None:
    fill(store)
    commit(store, append(event(90, session=uid(2), gpt=SHORT, content=TEXT, arrived_us=START_US + 11 * HOUR_US)))
    trim(store, START_US + 5 * HOUR_US, make_room=True)
    assert said(store) == [(TEXT, said(store)[0][1])]  # what waits is all that is left
    fold(store)
    trim(store, START_US + 12 * HOUR_US)
    assert said(store) == [(None, "")]


def test_a_damaged_segment_is_stepped_over(backend: Backend, store: Store) -> None:
    fill(store)
    backend.damage_segment([one.last for one in store.reader().segments(0, 100)][3])
    trim(store, START_US + 5 * HOUR_US)
    records = [one for one in store.reader().segments(0, 100) if not one.damaged]
    assert len(records) == len(store.reader().segments(0, 100)) - 1
    assert backend.sql(f"SELECT count(*) FROM {'' if backend.exclusive else 'otel_bridge.'}segment")[0][0] >= 13


def test_what_a_clock_ahead_has_written_goes_with_what_is_behind_it(backend: Backend, store: Store) -> None:
    commit(store, append(session(2, gpt=SHORT)))
    for number, hours in enumerate((1, 500, 2, 3)):
        arrived_us = START_US + hours * HOUR_US
        mine = event(number + 10, session=uid(2), gpt=SHORT, content=TEXT, arrived_us=arrived_us, end_us=START_US)
        commit(store, append(mine))
    fold(store)
    trim(store, START_US + 3 * HOUR_US)
    assert [content for content, _ in said(store)] == [None, None, None, TEXT]
