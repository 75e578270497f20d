"""What a store and its readers promise (otel_bridge/journal/store.py), over every backend."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from otel_bridge.journal import (
    CONFLICT,
    DEDUP_HORIZON_US,
    Duplicate,
    Journal,
    Store,
    StoreError,
    TopUser,
)
from otel_bridge.journal.postgres import reading as postgres_reading
from otel_bridge.journal.sqlite import reading as sqlite_reading
from otel_bridge.records import Record
from tests.journal.backends import Backend
from tests.journal.stores import (
    FIRST,
    HOUR_US,
    Fold,
    append,
    at,
    commit,
    held,
    idles,
    ledger,
    parked,
    served,
    sizes,
    transact,
)
from tests.unit.samples import START_US, USER, event, session, uid

# --- durable, ordered ---------------------------------------------------------------------------------------------


def test_what_is_committed_is_there_after_a_restart(backend: Backend) -> None:
    store = backend.open()
    records: list[Record] = [session(), event(1), event(2)]
    commit(store, append(*records))
    store.close()
    again = backend.open()
    assert held(again) == records and again.last == 3


def test_what_is_rolled_back_was_never_there(store: Store) -> None:
    store.begin()
    store.write([append(session())])
    store.rollback()
    assert held(store) == []


def test_what_was_committed_survives_kill_9(backend: Backend) -> None:
    """A process that commits and is gone the next instruction, without closing anything."""
    script = (
        "import os, sys\n"
        "from otel_bridge import journal\n"
        "from tests.journal.stores import append, commit\n"
        "from tests.unit.samples import event, session\n"
        "store = journal.open(sys.argv[1], 'otlp')\n"
        "commit(store, append(session(), event(1)))\n"
        "store.begin(); store.write([append(event(2))])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, backend.url], cwd=root, timeout=60)
    assert done.returncode == -9
    assert held(backend.open()) == [session(), event(1)]


def test_sequence_numbers_have_no_gaps_whatever_shares_a_commit(store: Store) -> None:
    commit(store, append(session()), append(event(1), event(2)))
    commit(store, append(event(3)))
    commit(store, append(*(event(n) for n in range(10, 5_010))))
    reader = store.reader()
    at = 0
    for segment in reader.segments(0, 10_000):
        assert segment.last - segment.size == at
        at = segment.last
    reader.close()
    assert at == store.last == 5_004


def test_a_rolled_back_commit_leaves_no_gap(backend: Backend) -> None:
    async def scenario(journal: Journal) -> None:
        await journal.append(append(session()))
        backend.break_writes()
        with pytest.raises(StoreError):
            await journal.append(append(event(1)))
        backend.mend_writes()
        await journal.append(append(event(2)))

    served(backend, scenario)
    store = backend.open()
    assert held(store) == [session(), event(2)] and store.last == 2


def test_a_commit_of_more_sessions_than_a_statement_takes_is_whole_or_not_at_all(backend: Backend) -> None:
    """Several statements, and so a transaction, whichever way it is written; a repeat among them is told alone."""
    store = backend.open()
    records: list[Record] = [session(n) for n in range(700)] + [event(1000 + n, session=uid(n)) for n in range(700)]
    keys = [None] * 700 + [b"c%03d" % n for n in range(700)]
    first = append(*records, keys=keys)
    commit(store, append(event(1), keys=[b"c700"]))  # the generation's first
    assert commit(store, first) == records and first.outcomes is None
    assert held(store) == [event(1), *records] and store.last == 1401
    reader = store.reader()
    rows = [reader.session(id_) for id_ in (event(1).session, *(uid(n) for n in range(700)))]
    assert {(row.events, row.tokens_in) for row in rows if row is not None} == {(1, 25)} and None not in rows
    assert reader.top_users(START_US + HOUR_US, 86_400, 1) == [TopUser("devops-expert", USER, 701, 701 * 175)]
    more: list[Record] = [event(2000 + n, session=uid(n)) for n in range(700)]
    again = append(*more, keys=[b"d%03d" % n if n != 350 else b"c350" for n in range(700)])
    assert len(commit(store, again)) == 699
    mixed = append(*[event(3000 + n, session=uid(n)) for n in range(700)],
                   keys=[b"cc%03d" % n if n != 350 else b"c350" for n in range(700)])  # fmt: skip
    assert len(commit(store, mixed)) == 699
    repeated = append(*[event(4000 + n, session=uid(n)) for n in range(700)],
                      keys=[b"cd%02d" % n if n < 70 else b"c%03d" % n for n in range(700)])  # fmt: skip
    assert len(commit(store, repeated)) == 70
    for append_, at_ in ((again, 350), (mixed, 350), (repeated, 699)):
        assert append_.outcomes is not None and append_.outcomes[at_] == FIRST
    assert store.last == 1401 + 699 + 699 + 70
    (user,) = reader.top_users(START_US + HOUR_US, 86_400, 1)
    assert user.events == 701 + 699 + 699 + 70


def test_an_error_in_a_later_statement_of_a_commit_undoes_all_of_it(backend: Backend) -> None:
    """A session past those of the first statement cannot be written: nothing of its commit may stay, nor be called a
    repeat; what comes next gets the next number."""
    backend.open().close()
    backend.break_writes(uid(90))

    async def scenario(journal: Journal) -> None:
        await journal.append(append(event(1, session=uid(500)), keys=[b"c500"]))
        records: list[Record] = [session(n) for n in range(100)] + [event(n, session=uid(n)) for n in range(100)]
        many = append(*records, keys=[None] * 100 + [b"c%03d" % n for n in range(100)])
        with pytest.raises(StoreError):
            await journal.append(many)
        assert journal.store.last == 1
        await journal.append(append(event(2, session=uid(501)), keys=[b"c501"]))

    fold = Fold()
    served(backend, scenario, fold)
    kept = [event(1, session=uid(500)), event(2, session=uid(501))]
    store = backend.open()
    assert held(store) == kept == fold.records
    assert backend.remembered_keys() == [b"c500", b"c501"]
    assert sizes(store) == [1, 1]


# --- remembered ---------------------------------------------------------------------------------------------------


def test_a_key_seen_before_is_answered_with_what_was_taken(store: Store) -> None:
    first = append(event(1), keys=[b"key"])
    assert commit(store, first) == [event(1)] and first.outcomes is None
    again = append(event(2, arrived_us=START_US + HOUR_US), keys=[b"key"])
    assert commit(store, again) == []
    assert again.outcomes == [FIRST]


def test_a_key_is_remembered_across_a_restart(backend: Backend) -> None:
    store = backend.open()
    commit(store, append(event(1), keys=[b"key"]))
    store.close()
    again = append(event(2), keys=[b"key"])
    commit(backend.open(), again)
    assert again.outcomes == [FIRST]


def test_records_without_a_key_are_always_new(store: Store) -> None:
    assert len(commit(store, append(event(1)), append(event(1)))) == 2


def test_the_same_key_twice_in_one_append_is_taken_once(store: Store) -> None:
    both = append(event(1), event(2), keys=[b"key", b"key"])
    assert commit(store, both) == [event(1)]
    assert both.outcomes == [None, FIRST]


def test_the_same_key_in_two_appends_of_a_group_is_taken_once(store: Store) -> None:
    one, two, three = (append(event(n), keys=[b"key"]) for n in (1, 2, 3))
    assert commit(store, one, two, three) == [event(1)]
    assert one.outcomes is None
    assert two.outcomes == three.outcomes == [FIRST]


def test_a_repeat_among_new_records_leaves_the_others_new(store: Store) -> None:
    commit(store, append(event(1), keys=[b"a"]))
    mixed = append(event(2), event(3), event(4), keys=[b"b", b"a", None])
    assert commit(store, mixed) == [event(2), event(4)]
    assert mixed.outcomes == [None, FIRST, None]


def test_an_id_with_the_same_content_is_a_repeat_and_with_other_content_a_conflict(store: Store) -> None:
    commit(store, append(event(1), keys=[b"i1"], digests={0: b"content"}))
    same = append(event(1), keys=[b"i1"], digests={0: b"content"})
    other = append(event(1), keys=[b"i1"], digests={0: b"other"})
    assert commit(store, same, other) == []
    assert same.outcomes == [FIRST]
    assert other.outcomes == [CONFLICT]


def test_conflicting_ids_within_one_append_are_told_apart(store: Store) -> None:
    three = append(event(1), event(2), event(3), keys=[b"i", b"i", b"i"], digests={0: b"x", 1: b"x", 2: b"y"})
    assert commit(store, three) == [event(1)]
    assert three.outcomes == [None, FIRST, CONFLICT]


def test_a_session_whose_id_the_client_chose_remembers_itself(store: Store) -> None:
    assert commit(store, append(session(), digests={0: b"content"})) == [session()]
    same, other = append(session(), digests={0: b"content"}), append(session(), digests={0: b"other"})
    assert commit(store, same, other) == []
    assert isinstance(same.outcomes[0], Duplicate) and other.outcomes == [CONFLICT]  # type: ignore[index]


def test_a_chosen_session_id_that_the_bridge_gave_before_is_a_conflict(store: Store) -> None:
    commit(store, append(session()))
    stolen = append(session(), digests={0: b"content"})
    assert commit(store, stolen) == [] and stolen.outcomes == [CONFLICT]


@pytest.mark.parametrize(
    ("hours", "known"), [(0.1, True), (12, True), (23.9, True), (24.1, False), (47, False), (72, False)]
)
def test_a_key_is_remembered_for_the_horizon_and_no_longer(store: Store, hours: float, known: bool) -> None:
    commit(store, append(at(0), keys=[b"key"]))
    again = append(at(hours, 2), keys=[b"key"])
    assert commit(store, again) == ([] if known else [at(hours, 2)])


def test_a_key_is_taken_anew_past_the_horizon_and_remembered_anew(store: Store) -> None:
    for hours in (0, 25, 50):
        record = at(hours, int(hours) + 1)
        assert commit(store, append(record, keys=[b"key"])) == [record]
        again = append(record, keys=[b"key"])
        assert commit(store, again) == []
        assert again.outcomes == [Duplicate(record.arrived_us)]


MIDNIGHT = (DEDUP_HORIZON_US - START_US % DEDUP_HORIZON_US) / HOUR_US
"""Hours from START_US to the end of that day in UTC, where a store may begin to remember keys elsewhere."""


def test_a_group_that_spans_midnight_takes_a_key_once(store: Store) -> None:
    """Two posts of the same body, one just before midnight UTC, one just after, committed together."""
    before, after = at(MIDNIGHT - 0.0001, 1), at(MIDNIGHT + 0.0001, 2)
    one, two = append(before, keys=[b"key"]), append(after, keys=[b"key"])
    assert commit(store, one, two) == [before]
    assert two.outcomes == [Duplicate(before.arrived_us)]


def test_a_key_that_waited_past_midnight_is_still_found(store: Store) -> None:
    before, after = at(MIDNIGHT - 0.0001, 1), at(MIDNIGHT + 0.0001, 2)
    for first, second in ((b"ca", b"cz"), (b"a", b"z")):
        commit(store, append(after, keys=[first]))
        commit(store, append(before, keys=[second]))
        again = append(after, keys=[second])
        assert commit(store, again) == []
        assert again.outcomes == [Duplicate(before.arrived_us)]


def test_a_key_from_before_midnight_is_found_after_it(store: Store) -> None:
    commit(store, append(at(MIDNIGHT - 1, 1), keys=[b"ca"]))
    commit(store, append(at(MIDNIGHT + 1, 2), keys=[b"cz"]))
    again = append(at(MIDNIGHT + 2, 3), keys=[b"ca"])
    assert commit(store, again) == [] and again.outcomes == [Duplicate(at(MIDNIGHT - 1).arrived_us)]


@pytest.mark.parametrize("restart", [False, True], ids=["serving", "restarted"])
def test_what_is_remembered_outlives_a_clock_that_goes_back(backend: Backend, restart: bool) -> None:
    """A day ahead by mistake, and back: keys of both times are found, and new ones are remembered as long as ever."""
    store = backend.open()
    commit(store, append(at(0), keys=[b"ca"]))
    commit(store, append(at(24.5, 2), keys=[b"cb"]))
    if restart:
        store.close()
        store = backend.open()
    for hours, key in ((0.5, b"ca"), (0.5, b"cb")):
        again = append(at(hours, 3), keys=[key])
        assert commit(store, again) == []
    assert commit(store, append(at(1, 4), keys=[b"cc"])) == [at(1, 4)]
    while transact(store, lambda: store.forget(100)):
        pass
    assert commit(store, append(at(2, 5), keys=[b"cc"])) == []


def test_keys_past_the_horizon_are_forgotten_whole_and_no_others(backend: Backend) -> None:
    store = backend.open()
    for day in range(5):
        commit(store, append(at(24 * day, day + 1), keys=[b"key%d" % day]))
    while transact(store, lambda: store.forget(1)):
        pass
    assert backend.remembered_keys() == [b"key3", b"key4"]


# --- sessions -----------------------------------------------------------------------------------------------------


def test_a_sessions_row_sums_up_its_events(store: Store) -> None:
    commit(store, append(session()))
    commit(store, append(event(1, end_us=START_US + 5), event(2, end_us=START_US + 1, error="timeout")))
    commit(store, append(event(3, end_us=START_US + 3, tokens_in=0, tokens_out=1)))
    reader = store.reader()
    row = reader.session(session().id)
    assert row is not None
    assert (row.gpt, row.user, row.started_us) == ("devops-expert", session().user, START_US)
    assert (row.events, row.failed, row.tokens_in, row.tokens_out) == (3, 1, 50, 301)
    assert (row.first_event_us, row.last_event_us, row.live) == (START_US + 1, START_US + 5, True)
    assert reader.session(uid(99)) is None
    assert set(reader.sessions([uid(n) for n in range(2_000)] + [session().id])) == {session().id}
    reader.close()


def test_a_session_and_its_events_may_share_a_commit(store: Store) -> None:
    commit(store, append(session(), event(1), event(2)))
    reader = store.reader()
    row = reader.session(session().id)
    reader.close()
    assert row is not None and (row.events, row.started_us) == (2, START_US)


def test_a_session_falls_idle_once_and_its_stretch_is_what_is_observed(store: Store) -> None:
    commit(store, append(session(), event(1, end_us=START_US), event(2, end_us=START_US + 90_000_000)))
    before = session().arrived_us + HOUR_US
    (found,) = idles(store, before)
    assert (found.duration_s, found.events) == (90.0, 2)
    assert transact(store, lambda: store.fall_idle([found, found], before)) == [found]
    assert idles(store, before) == []
    assert transact(store, lambda: store.fall_idle([found], before)) == []
    assert held(store)[-1] == found


def test_a_session_that_wakes_starts_another_stretch(store: Store) -> None:
    commit(store, append(session(), event(1)))
    before = START_US + HOUR_US
    transact(store, lambda: store.fall_idle(idles(store, before), before))
    later = START_US + 2 * HOUR_US
    commit(
        store, append(event(2, end_us=later, arrived_us=later), event(3, end_us=later + 7_000_000, arrived_us=later))
    )
    (found,) = idles(store, later + HOUR_US)
    assert (found.duration_s, found.events) == (7.0, 2)


def test_a_session_that_woke_meanwhile_does_not_fall_idle(store: Store) -> None:
    commit(store, append(session()))
    before = START_US + HOUR_US
    candidates = idles(store, before)
    commit(store, append(event(1, arrived_us=before + 1)))
    assert transact(store, lambda: store.fall_idle(candidates, before)) == []


DAY_US = 24 * HOUR_US


@pytest.mark.parametrize("together", [True, False], ids=["one commit", "a commit each"])
@pytest.mark.parametrize(
    ("minutes", "length"),
    [
        ([0, 1, 3], 180.0),
        ([3, 0, 1], 180.0),
        ([1, 3, 0], 180.0),
        ([-400 * 1440, 0, 2], 120.0),
        ([0, -400 * 1440, 2], 120.0),
        ([0, 2, -400 * 1440], 120.0),
        ([-400 * 1440, -400 * 1440 + 5], 300.0),
        ([-400 * 1440 + 5, -400 * 1440, 10], 0.0),
        ([-1439, 0], 1439 * 60.0),
        ([0, -1439], 1439 * 60.0),
        ([-1380, -2760], 0.0),
        ([-2760, -1380], 0.0),
        ([0, -1380, -2760, -4140], 1380 * 60.0),
        ([-1440 * 9, -1440 * 8 - 60, -1440 * 7 - 120, -1440 * 7 - 90], 30 * 60.0),
    ],
)
def test_a_length_is_from_the_first_event_to_the_last_and_history_does_not_stretch_it(
    store: Store, minutes: list[int], length: float, together: bool
) -> None:
    """The session's own start, which a client claims, has no part in it."""
    commit(store, append(session(started_us=START_US - 500 * DAY_US)))
    events = [event(i, end_us=START_US + at * 60_000_000) for i, at in enumerate(minutes)]
    for group in [events] if together else [[one] for one in events]:
        commit(store, append(*group))
    (found,) = idles(store, START_US + HOUR_US)
    assert (found.duration_s, found.events) == (length, len(minutes))


def test_a_late_event_of_a_session_that_was_idle_has_a_length_of_its_own(store: Store) -> None:
    commit(store, append(session(), event(1), event(2, end_us=START_US + 60_000_000)))
    before = START_US + HOUR_US
    transact(store, lambda: store.fall_idle(idles(store, before), before))
    commit(store, append(event(3, end_us=START_US - HOUR_US, arrived_us=before)))
    (found,) = idles(store, before + HOUR_US)
    assert (found.duration_s, found.events) == (0.0, 1)


def test_a_session_without_events_is_observed_as_empty(store: Store) -> None:
    commit(store, append(session()))
    (found,) = idles(store, START_US + HOUR_US)
    assert (found.duration_s, found.events) == (0.0, 0)


# --- windows ------------------------------------------------------------------------------------------------------


def test_history_that_arrives_late_makes_nobody_active_today(store: Store) -> None:
    now = START_US + 1_000 * HOUR_US
    commit(store, append(session(user="a", arrived_us=now - 800 * HOUR_US)))
    commit(store, append(session(2, user="b", arrived_us=now - 800 * HOUR_US)))
    times = {"a": [now - 700 * HOUR_US, now - 50 * HOUR_US, now - 60 * HOUR_US], "b": [now + 20 * HOUR_US]}
    for user, ends in times.items():
        for i, end_us in enumerate(ends):
            of = session().id if user == "a" else uid(2)
            commit(store, append(event(100 * len(ends) + i, session=of, user=user, end_us=end_us, arrived_us=now)))
    reader = store.reader()
    found = {w.window: (w.sessions, w.users) for w in reader.windows(now, {"1d": 86_400, "7d": 604_800})}
    later = {w.window: w.users for w in reader.windows(now + 25 * HOUR_US, {"1d": 86_400})}
    top = reader.top_users(now, 86_400, 5)
    live = reader.session(session().id)
    reader.close()
    assert found == {"1d": (1, 1), "7d": (2, 2)}
    assert later == {"1d": 0}, "an event of tomorrow was active today"
    assert [(one.user, one.events) for one in top] == [("b", 1)]
    assert live is not None and live.live and live.events == 3, "it is heard of, and counted"


def test_windows_and_top_users_are_the_same_counted_in_many_pieces(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = START_US + 100 * HOUR_US
    for n in range(200):
        user, gpt, when = f"u{n % 37}", f"gpt-{n % 3}", now - n * HOUR_US
        commit(store, append(session(n, user=user, gpt=gpt, arrived_us=when)))
        commit(store, append(event(1000 + n, session=uid(n), user=user, gpt=gpt, end_us=when, arrived_us=when)))
    windows = {"1d": 86_400, "7d": 604_800}
    with closing(store.reader()) as reader:
        whole = sorted(reader.windows(now, windows)), sorted(reader.top_users(now, 7 * 86_400, 3))
        monkeypatch.setattr(sqlite_reading, "TURN_STEPS", 1)
        monkeypatch.setattr(sqlite_reading, "TURN_SECONDS", 0.0)
        monkeypatch.setattr(sqlite_reading, "PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(postgres_reading, "SLICE_BYTES", 2048)
        pieces = sorted(reader.windows(now, windows)), sorted(reader.top_users(now, 7 * 86_400, 3))
    assert pieces == whole
    assert len(whole[0]) == 6 and len(whole[1]) == 9


def test_windows_count_a_session_of_history_by_its_start(store: Store) -> None:
    now = START_US + 100 * HOUR_US
    began = {"arrived_us": now, "started_us": now - 30 * HOUR_US}
    commit(store, append(session(1, **began, historic=True)), append(session(2, **began)))
    reader = store.reader()
    found = {w.window: w.sessions for w in reader.windows(now, {"1d": 86400, "7d": 604800})}
    reader.close()
    assert found == {"1d": 1, "7d": 2}


def test_windows_count_sessions_and_distinct_users_by_their_arrival(store: Store) -> None:
    now = START_US + 100 * HOUR_US
    commit(
        store,
        append(session(1, user="a", arrived_us=now - HOUR_US // 4)),
        append(session(2, user="a", arrived_us=now - 2 * HOUR_US)),
        append(session(3, user="b", arrived_us=now - 30 * HOUR_US)),
        append(session(4, user="c", gpt="otro-gpt", arrived_us=now)),
    )
    reader = store.reader()
    found = {
        (w.gpt, w.window): (w.sessions, w.users) for w in reader.windows(now, {"30m": 1800, "1d": 86400, "7d": 604800})
    }
    reader.close()
    assert found == {
        ("devops-expert", "30m"): (1, 1),
        ("devops-expert", "1d"): (2, 1),
        ("devops-expert", "7d"): (3, 2),
        ("otro-gpt", "30m"): (1, 1),
        ("otro-gpt", "1d"): (1, 1),
        ("otro-gpt", "7d"): (1, 1),
    }


def test_top_users_are_the_busiest_of_each_gpt_and_no_more_than_asked(store: Store) -> None:
    records = [
        event(100 * user + n, session=uid(user), user=f"u{user}", gpt=gpt, tokens_in=user, tokens_out=0)
        for user, count, gpt in ((1, 3, "a"), (2, 2, "a"), (3, 1, "a"), (4, 1, "b"))
        for n in range(count)
    ]
    commit(store, append(*records))
    reader = store.reader()
    top = reader.top_users(START_US + HOUR_US, 86_400, 2)
    reader.close()
    assert sorted(top) == [("a", "u1", 3, 3), ("a", "u2", 2, 4), ("b", "u4", 1, 4)]


# --- the cursor, the ledger --------------------------------------------------------------------------------------


def test_the_ledger_balances_at_every_step(store: Store) -> None:
    assert ledger(store) == (0, 0, 0)
    for n in range(4):
        commit(store, append(event(n + 1)))
    assert ledger(store) == (0, 4, 0)
    transact(store, lambda: store.advance(2, 1, [parked(2)]))
    assert ledger(store) == (1, 2, 1)
    transact(store, lambda: store.advance(4, 2, []))
    assert ledger(store) == (3, 0, 1)
    transact(store, lambda: store.unpark([2]))
    assert ledger(store) == (4, 0, 0)


def test_an_idle_session_is_no_side_of_the_ledger(store: Store) -> None:
    commit(store, append(session()))
    before = START_US + HOUR_US
    transact(store, lambda: store.fall_idle(idles(store, before), before))
    assert ledger(store) == (0, 1, 0)


def test_the_cursor_never_goes_back_and_a_repeated_report_counts_once(store: Store) -> None:
    commit(store, append(event(1), event(2)))
    for _ in range(2):
        transact(store, lambda: store.advance(2, 2, []))
    transact(store, lambda: store.advance(1, 1, []))
    reader = store.reader()
    assert reader.cursor() == 2
    reader.close()
    assert ledger(store) == (2, 0, 0)


def test_the_ledger_is_one_snapshot(store: Store) -> None:
    commit(store, append(event(1)))
    reader = store.reader()
    reader.begin_snapshot()
    commit(store, append(event(2)))
    assert reader.ledger().pending == 1
    reader.begin_snapshot()
    assert reader.ledger().pending == 2
    reader.close()


def test_parked_records_keep_the_message_of_their_refusal_and_wait_for_a_replay(backend: Backend, store: Store) -> None:
    commit(store, append(event(1), event(2)))
    transact(store, lambda: store.advance(2, 0, [parked(1), parked(2, message="other")]))
    reader = store.reader()
    assert [(record.seq, record.message) for record in reader.parked(10)] == [(1, "HTTP 400"), (2, "other")]
    assert reader.parked(10, replay_only=True) == []
    assert backend.replay([2, 77]) == 1
    assert [record.seq for record in reader.parked(10, replay_only=True)] == [2]
    assert reader.replay_marks() == {1: False, 2: True}
    transact(store, lambda: store.repark([parked(2, message="again")]))
    assert reader.parked(10, replay_only=True) == [] and reader.replay_marks() == {1: False, 2: False}
    assert [record.message for record in reader.parked(10)] == ["HTTP 400", "again"]
    assert backend.replay(None) == 2
    reader.close()


# --- never trimmed before it is exported and counted --------------------------------------------------------------


def trim(store: Store, before_us: int = START_US + 10 * HOUR_US, limit: int = 100) -> int:
    reader = store.reader()
    sessions = reader.old_sessions(before_us, limit)
    reader.close()
    return int(transact(store, lambda: store.trim(before_us, before_us + DAY_US, limit, sessions)).rows)


def three_segments(store: Store) -> None:
    for n in range(3):
        commit(store, append(event(n + 1)))


@pytest.mark.parametrize(
    ("cursor", "saved", "left"), [(0, 0, 3), (3, 0, 3), (0, 3, 3), (2, 3, 1), (3, 1, 2), (3, 3, 0)]
)
def test_only_what_is_exported_and_in_a_snapshot_is_trimmed(store: Store, cursor: int, saved: int, left: int) -> None:
    three_segments(store)
    if cursor:
        transact(store, lambda: store.advance(cursor, cursor, []))
    if saved:
        transact(store, lambda: store.save_snapshot(saved, b"state"))
    trim(store)
    assert len(held(store)) == left


def test_what_is_within_retention_is_kept(store: Store) -> None:
    three_segments(store)
    transact(store, lambda: store.advance(3, 3, []))
    transact(store, lambda: store.save_snapshot(3, b"state"))
    trim(store, before_us=START_US)
    assert len(held(store)) == 3


def test_an_empty_journal_goes_on_numbering_where_it_was(backend: Backend) -> None:
    store = backend.open()
    three_segments(store)
    transact(store, lambda: store.advance(3, 3, []))
    transact(store, lambda: store.save_snapshot(3, b"state"))
    trim(store)
    store.close()
    again = backend.open()
    commit(again, append(event(9)))
    assert again.last == 4 and ledger(again) == (3, 1, 0)


def test_trimming_goes_a_little_at_a_time(store: Store) -> None:
    three_segments(store)
    transact(store, lambda: store.advance(3, 3, []))
    transact(store, lambda: store.save_snapshot(3, b"state"))
    trim(store, limit=1)
    assert len(held(store)) == 2


def test_a_live_session_is_never_trimmed_and_an_idle_one_is(store: Store) -> None:
    commit(store, append(session()), append(session(2)))
    before = START_US + HOUR_US
    first = next(one for one in idles(store, before) if one.session == uid(2))
    transact(store, lambda: store.fall_idle([first], before))
    for _ in range(3):
        trim(store)
    reader = store.reader()
    assert reader.session(session().id) is not None and reader.session(uid(2)) is None
    reader.close()


def test_a_session_that_was_heard_of_again_is_kept_and_named(store: Store) -> None:
    for n in (1, 2):
        commit(store, append(session(n)))
    before = START_US + HOUR_US
    transact(store, lambda: store.fall_idle(idles(store, before), before))
    reader = store.reader()
    assert sorted(reader.old_sessions(before, 10)) == [uid(1), uid(2)]
    commit(store, append(event(9, session=uid(2), arrived_us=before - 1)))
    assert transact(store, lambda: store.trim(before, before, 10, [uid(1), uid(2)])).kept_sessions == [uid(2)]
    assert (reader.session(uid(1)), reader.session(uid(2)) is None) == (None, False)
    reader.close()


# --- snapshot -----------------------------------------------------------------------------------------------------


def test_the_newest_snapshot_is_the_one_that_is_read(backend: Backend) -> None:
    store = backend.open()
    assert store.snapshot() is None
    transact(store, lambda: store.save_snapshot(1, b"one"))
    transact(store, lambda: store.save_snapshot(2, b"two"))
    store.close()
    assert backend.open().snapshot() == (2, b"two")


# --- errors, maintenance ------------------------------------------------------------------------------------------


def test_a_read_that_fails_is_an_error_of_the_store(backend: Backend) -> None:
    reader = backend.open().reader()
    backend.break_reads()
    for read in (
        lambda: reader.session(uid(1)),
        lambda: reader.sessions([uid(1)]),
        lambda: reader.windows(0, {"1d": 1}),
    ):
        with pytest.raises(StoreError) as caught:
            read()
        assert str(caught.value) and caught.value.advice


def test_maintenance_loses_nothing_and_may_run_between_two_commits(store: Store) -> None:
    runs = []
    for number in range(1, 700):
        commit(store, append(event(number)))
    store.maintain(1 << 40, lambda run: runs.append(run()))
    store.maintain(0, lambda run: runs.append(run()))
    assert len(held(store)) == 699
    commit(store, append(event(700)))
    assert held(store)[-1] == event(700)


def test_free_space_is_a_number_of_bytes_or_not_known(store: Store) -> None:
    free = store.free_space()
    assert free is None or free > 0


def test_a_ledger_without_a_snapshot_counts_what_is_newest(store: Store) -> None:
    commit(store, append(event(1)))
    reader = store.reader()
    assert reader.ledger().pending == 1
    commit(store, append(event(2)))
    assert reader.ledger().pending == 2
    reader.close()


def test_readers_read_while_the_writer_holds_a_transaction(store: Store) -> None:
    commit(store, append(event(1)))
    store.begin()
    store.write([append(event(2))])
    assert held(store) == [event(1)]
    store.commit()
    assert held(store) == [event(1), event(2)]
