"""The journal's promises (otel_bridge/journal/__init__.py), one suite over every backend.

A backend joins with a class of the shape of `SqliteBackend` and a parameter of the fixture `backend`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import errors
from otel_bridge.errors import Problem, StartRefused
from otel_bridge.journal import (
    DEDUP_HORIZON_US,
    Append,
    Journal,
    Parked,
    Store,
    StoreFull,
    StoreUnavailable,
    Taken,
    generation_of,
)
from otel_bridge.journal.sqlite import SqliteReader, SqliteStore, grouping, mark_replay
from otel_bridge.journal.store import CONFLICT
from otel_bridge.records import Idle, Record, decode
from tests.unit.samples import START_US, event, idle, session, uid

SINK = "otlp"
HOUR_US = 3_600_000_000
GENERATION = generation_of(START_US)


class SqliteBackend:
    """A journal in a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self._opened: list[SqliteStore | SqliteReader] = []

    def open(self) -> SqliteStore:
        store = SqliteStore(self.path)
        self._opened.append(store)
        open_reader = store.reader

        def reader() -> SqliteReader:
            opened = open_reader()
            self._opened.append(opened)
            return opened

        store.reader = reader  # type: ignore[method-assign]  # who reads closes: here for all of them, at the end
        return store

    def close(self) -> None:
        for one in reversed(self._opened):
            one.close()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """As somebody else with access to the data would."""
        connection = sqlite3.connect(self.path)
        try:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    def make_newer(self) -> None:
        self.sql("PRAGMA user_version = 99")

    def make_foreign(self) -> None:
        self.sql("CREATE TABLE recipes (name TEXT)")

    def damage_last_segment(self) -> None:
        self.sql("UPDATE segment SET body = x'00' WHERE last = (SELECT max(last) FROM segment)")

    def break_writes(self) -> None:
        """An error that is nobody's outage: every write of a session or event fails."""
        self.sql("CREATE TRIGGER broken BEFORE INSERT ON session BEGIN SELECT RAISE (ABORT, 'broken'); END")

    def mend_writes(self) -> None:
        self.sql("DROP TRIGGER broken")

    def replay(self, seqs: Sequence[int] | None) -> int:
        return mark_replay(self.path, seqs)


@pytest.fixture(params=[False, True], ids=["sqlite", "sqlite-alone"])
def backend(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteBackend]:
    """A journal that is written in both ways a store has: with a transaction around it, and alone."""
    monkeypatch.setattr(f"{__name__}.alone", request.param)
    made = SqliteBackend(tmp_path)
    yield made
    made.close()


alone = False
"""Whether `commit` writes alone."""


@pytest.fixture
def store(backend: SqliteBackend) -> Store:
    return backend.open()


def append(*records: Record, keys: Sequence[bytes | None] | None = None, **options: Any) -> Append:
    options.setdefault("generation", GENERATION)
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
    found = run()
    store.commit()
    return found


def held(store: Store) -> list[Record]:
    """Every record in the journal, in order."""
    reader = store.reader()
    try:
        return [record for segment in reader.segments(0, 10_000) for record in decode(segment.body)]
    finally:
        reader.close()


# --- durable, ordered ---------------------------------------------------------------------------------------------


def test_what_is_committed_is_there_after_a_restart(backend: SqliteBackend) -> None:
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


def test_what_was_committed_survives_kill_9(backend: SqliteBackend) -> None:
    """A process that commits and is gone the next instruction, without closing anything."""
    script = (
        "import os, sys; from pathlib import Path\n"
        "from tests.unit.test_journal import SqliteBackend, append, commit\n"
        "from tests.unit.samples import event, session\n"
        "store = SqliteBackend(Path(sys.argv[1])).open()\n"
        "commit(store, append(session(), event(1)))\n"
        "store.begin(); store.write([append(event(2))])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(backend.path.parent)], cwd=root, timeout=60)
    assert done.returncode == -9
    assert held(backend.open()) == [session(), event(1)]


def test_a_commit_is_an_fsync(backend: SqliteBackend) -> None:
    store = backend.open()
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


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


def test_a_rolled_back_commit_leaves_no_gap(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        await journal.append(append(session()))
        backend.break_writes()
        with pytest.raises(sqlite3.Error):
            await journal.append(append(event(1)))
        backend.mend_writes()
        await journal.append(append(event(2)))

    served(backend, scenario)
    store = backend.open()
    assert held(store) == [session(), event(2)] and store.last == 2


def test_a_commit_of_more_sessions_than_a_statement_takes_is_whole_or_not_at_all(backend: SqliteBackend) -> None:
    """Several statements, and so a transaction, whichever way it is written; a repeat among them is told alone."""
    store = backend.open()
    records: list[Record] = [session(n) for n in range(700)] + [event(1000 + n, session=uid(n)) for n in range(700)]
    keys = [None] * 700 + [b"c%03d" % n for n in range(700)]
    first = append(*records, keys=keys)
    commit(store, append(event(1), keys=[b"c700"]))  # the generation's first
    assert commit(store, first) == records and first.outcomes is None
    assert held(store) == [event(1), *records] and store.last == 1401
    assert backend.sql("SELECT count(*), sum(events), sum(tokens_in) FROM session")[0] == (701, 701, 701 * 25)
    assert backend.sql("SELECT sum(events), sum(tokens) FROM usage")[0] == (701, 701 * 175)
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
        assert append_.outcomes is not None and append_.outcomes[at_] == Taken(event(1).arrived_us, GENERATION)
    assert store.last == 1401 + 699 + 699 + 70
    assert [row[0] for row in backend.sql("SELECT sum(events) FROM usage")] == [701 + 699 + 699 + 70]


def test_an_error_in_a_later_statement_of_a_commit_undoes_all_of_it(backend: SqliteBackend) -> None:
    """A session past those of the first statement cannot be written: nothing of its commit may stay, nor be called a
    repeat; what comes next gets the next number."""
    backend.open().close()
    backend.sql(
        f"CREATE TRIGGER broken BEFORE INSERT ON session WHEN NEW.id = x'{uid(90).hex()}' "
        "BEGIN SELECT RAISE (ABORT, 'broken'); END"
    )

    async def scenario(journal: Journal) -> None:
        await journal.append(append(event(1, session=uid(500)), keys=[b"c500"]))
        many = append(*[event(n, session=uid(n)) for n in range(100)], keys=[b"c%03d" % n for n in range(100)])
        with pytest.raises(sqlite3.IntegrityError):
            await journal.append(many)
        assert journal.store.last == 1
        await journal.append(append(event(2, session=uid(501)), keys=[b"c501"]))

    fold = Fold()
    served(backend, scenario, fold)
    kept = [event(1, session=uid(500)), event(2, session=uid(501))]
    assert held(backend.open()) == kept == fold.records
    assert backend.sql("SELECT count(*) FROM seen")[0][0] == 2
    assert [row[0] for row in backend.sql("SELECT last FROM segment")] == [1, 2]


def test_few_texts_are_prepared_however_many_sessions_a_commit_has() -> None:
    row = [None] * 15
    texts = {sql for count in range(1, 1500) for sql, _ in grouping.statements(None, [[None] * 6], [row] * count)}
    assert len(texts) <= 200


def test_the_log_is_begun_anew_although_commits_never_pause(store: Store) -> None:
    assert isinstance(store, SqliteStore)
    reader, mover = store.reader(), store.reader()
    sizes, number = [], 0
    for _ in range(8):
        for _ in range(50):
            number += 1
            commit(store, append(event(number)))
        reader.pin()
        number += 1
        commit(store, append(event(number)))
        assert mover.move_log() >= 50  # and cannot move the last one, as if it had come meanwhile
        reader.ledger("")
        store.finish_log()
        sizes.append(reader.log_bytes())
    assert sizes[-1] <= 1.5 * sizes[0]
    assert len(held(store)) == number
    reader.close()
    mover.close()


# --- remembered ---------------------------------------------------------------------------------------------------


def test_a_key_seen_before_is_answered_with_what_was_taken(store: Store) -> None:
    first = append(event(1), keys=[b"key"])
    assert commit(store, first) == [event(1)] and first.outcomes is None
    again = append(event(2, arrived_us=START_US + HOUR_US), keys=[b"key"])
    assert commit(store, again) == []
    assert again.outcomes == [Taken(event(1).arrived_us, GENERATION)]


def test_a_key_is_remembered_across_a_restart(backend: SqliteBackend) -> None:
    store = backend.open()
    commit(store, append(event(1), keys=[b"key"]))
    store.close()
    again = append(event(2), keys=[b"key"])
    commit(backend.open(), again)
    assert again.outcomes == [Taken(event(1).arrived_us, GENERATION)]


def test_records_without_a_key_are_always_new(store: Store) -> None:
    assert len(commit(store, append(event(1)), append(event(1)))) == 2


def test_the_same_key_twice_in_one_append_is_taken_once(store: Store) -> None:
    both = append(event(1), event(2), keys=[b"key", b"key"])
    assert commit(store, both) == [event(1)]
    assert both.outcomes == [None, Taken(event(1).arrived_us, GENERATION)]


def test_the_same_key_in_two_appends_of_a_group_is_taken_once(store: Store) -> None:
    one, two, three = (append(event(n), keys=[b"key"]) for n in (1, 2, 3))
    assert commit(store, one, two, three) == [event(1)]
    assert one.outcomes is None
    assert two.outcomes == three.outcomes == [Taken(event(1).arrived_us, GENERATION)]


def test_a_repeat_among_new_records_leaves_the_others_new(store: Store) -> None:
    commit(store, append(event(1), keys=[b"a"]))
    mixed = append(event(2), event(3), event(4), keys=[b"b", b"a", None])
    assert commit(store, mixed) == [event(2), event(4)]
    assert mixed.outcomes == [None, Taken(event(1).arrived_us, GENERATION), None]


def test_an_id_with_the_same_content_is_a_repeat_and_with_other_content_a_conflict(store: Store) -> None:
    commit(store, append(event(1), keys=[b"i1"], digests={0: b"content"}))
    same = append(event(1), keys=[b"i1"], digests={0: b"content"})
    other = append(event(1), keys=[b"i1"], digests={0: b"other"})
    assert commit(store, same, other) == []
    assert same.outcomes == [Taken(event(1).arrived_us, GENERATION)]
    assert other.outcomes == [CONFLICT]


def test_conflicting_ids_within_one_append_are_told_apart(store: Store) -> None:
    three = append(event(1), event(2), event(3), keys=[b"i", b"i", b"i"], digests={0: b"x", 1: b"x", 2: b"y"})
    assert commit(store, three) == [event(1)]
    assert three.outcomes == [None, Taken(event(1).arrived_us, GENERATION), CONFLICT]


def test_a_session_whose_id_the_client_chose_remembers_itself(store: Store) -> None:
    assert commit(store, append(session(), digests={0: b"content"})) == [session()]
    same, other = append(session(), digests={0: b"content"}), append(session(), digests={0: b"other"})
    assert commit(store, same, other) == []
    assert isinstance(same.outcomes[0], Taken) and other.outcomes == [CONFLICT]  # type: ignore[index]


def test_a_chosen_session_id_that_the_bridge_gave_before_is_a_conflict(store: Store) -> None:
    commit(store, append(session()))
    stolen = append(session(), digests={0: b"content"})
    assert commit(store, stolen) == [] and stolen.outcomes == [CONFLICT]


def at(hours: float, number: int = 1) -> tuple[Any, int]:
    """An event that arrives so many hours after START_US, and the generation it belongs to."""
    arrived = START_US + int(hours * HOUR_US)
    return event(number, arrived_us=arrived), generation_of(arrived)


@pytest.mark.parametrize(
    ("hours", "known"), [(0.1, True), (12, True), (23.9, True), (24.1, False), (47, False), (72, False)]
)
def test_a_key_is_remembered_for_the_horizon_and_no_longer(store: Store, hours: float, known: bool) -> None:
    first, generation = at(0)
    commit(store, append(first, keys=[b"key"], generation=generation))
    late, generation = at(hours, 2)
    again = append(late, keys=[b"key"], generation=generation)
    assert commit(store, again) == ([] if known else [late])


def test_a_key_is_taken_anew_past_the_horizon_and_remembered_anew(store: Store) -> None:
    for hours in (0, 25, 50):
        record, generation = at(hours, int(hours) + 1)
        assert commit(store, append(record, keys=[b"key"], generation=generation)) == [record]
        again = append(record, keys=[b"key"], generation=generation)
        assert commit(store, again) == []
        assert again.outcomes == [Taken(record.arrived_us, generation)]


def test_a_group_that_spans_two_generations_takes_a_key_once(store: Store) -> None:
    """Two posts of the same body, one just before midnight UTC, one just after, committed together."""
    hours = (DEDUP_HORIZON_US - START_US % DEDUP_HORIZON_US) / HOUR_US
    before, old = at(hours - 0.0001, 1)
    after, new = at(hours + 0.0001, 2)
    assert new == old + 1
    one, two = append(before, keys=[b"key"], generation=old), append(after, keys=[b"key"], generation=new)
    assert commit(store, one, two) == [before]
    assert two.outcomes == [Taken(before.arrived_us, old)]


def test_a_key_that_joins_the_old_generation_late_is_still_found(store: Store) -> None:
    hours = (DEDUP_HORIZON_US - START_US % DEDUP_HORIZON_US) / HOUR_US
    before, old = at(hours - 0.0001, 1)
    after, new = at(hours + 0.0001, 2)
    for first, second in ((b"ca", b"cz"), (b"a", b"z")):
        commit(store, append(after, keys=[first], generation=new))
        commit(store, append(before, keys=[second], generation=old))
        again = append(after, keys=[second], generation=new)
        assert commit(store, again) == []
        assert again.outcomes == [Taken(before.arrived_us, old)]


def test_a_key_that_a_client_chose_yesterday_makes_no_key_of_today_a_suspect(store: Store) -> None:
    hours = (DEDUP_HORIZON_US - START_US % DEDUP_HORIZON_US) / HOUR_US
    before, old = at(hours - 0.0001, 1)
    after, new = at(hours + 0.0001, 2)
    commit(store, append(before, keys=[b"i1"], digests={0: b"content"}, generation=old))
    commit(store, append(after, keys=[b"c1"], generation=new))
    assert isinstance(store, SqliteStore)
    today = append(after, keys=[b"c2"], generation=new)
    found = store._all_new([today])
    assert found is not None and found[0] == today.records


def test_keys_past_the_horizon_are_forgotten_whole_and_no_others(backend: SqliteBackend) -> None:
    store = backend.open()
    for day in range(5):
        record, generation = at(24 * day, day + 1)
        commit(store, append(record, keys=[b"key%d" % day], generation=generation))
    while transact(store, lambda: store.forget(1)):
        pass
    assert sorted(row[0] for row in backend.sql("SELECT key FROM seen")) == [b"key3", b"key4"]


def test_the_generation_never_goes_back_with_the_clock(backend: SqliteBackend) -> None:
    record, generation = at(24)
    store = backend.open()
    commit(store, append(record, keys=[b"key"], generation=generation))
    store.close()
    journal = Journal(backend.open(), lambda records, seq: None)
    assert journal.generation(START_US) == generation
    assert journal.generation(START_US + 5 * DEDUP_HORIZON_US) == generation_of(START_US) + 5


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


def idles(store: Store, before_us: int) -> list[Idle]:
    reader = store.reader()
    found = [one for _, one in reader.idle_candidates(before_us, 100)]
    reader.close()
    return found


def test_a_session_falls_idle_once_and_its_stretch_is_what_is_observed(store: Store) -> None:
    commit(store, append(session(), event(1, end_us=START_US + 90_000_000)))
    before = session().arrived_us + HOUR_US
    (found,) = idles(store, before)
    assert (found.duration_s, found.events) == (90.0, 1)
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


def test_a_session_without_events_is_observed_as_empty(store: Store) -> None:
    commit(store, append(session()))
    (found,) = idles(store, START_US + HOUR_US)
    assert (found.duration_s, found.events) == (0.0, 0)


# --- windows ------------------------------------------------------------------------------------------------------


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


# --- a cursor a sink, the ledger ----------------------------------------------------------------------------------


def ledger(store: Store) -> tuple[int, int, int]:
    """(exported, pending, parked)."""
    reader = store.reader()
    reader.pin()
    found = reader.ledger(SINK)
    reader.close()
    return found.exported, found.pending, found.parked


def parked(seq: int, **changes: Any) -> Parked:
    return Parked(seq, b"body", "refused", "HTTP 400", START_US, 1)._replace(**changes)


def test_the_ledger_balances_at_every_step(store: Store) -> None:
    assert ledger(store) == (0, 0, 0)
    for n in range(4):
        commit(store, append(event(n + 1)))
    assert ledger(store) == (0, 4, 0)
    transact(store, lambda: store.advance(SINK, 2, 1, [parked(2)]))
    assert ledger(store) == (1, 2, 1)
    transact(store, lambda: store.advance(SINK, 4, 2, []))
    assert ledger(store) == (3, 0, 1)
    transact(store, lambda: store.unpark([2], SINK))
    assert ledger(store) == (4, 0, 0)


def test_an_idle_session_is_no_side_of_the_ledger(store: Store) -> None:
    commit(store, append(session()))
    before = START_US + HOUR_US
    transact(store, lambda: store.fall_idle(idles(store, before), before))
    assert ledger(store) == (0, 1, 0)


def test_the_cursor_never_goes_back_and_a_repeated_report_counts_once(store: Store) -> None:
    commit(store, append(event(1), event(2)))
    for _ in range(2):
        transact(store, lambda: store.advance(SINK, 2, 2, []))
    transact(store, lambda: store.advance(SINK, 1, 1, []))
    reader = store.reader()
    assert reader.cursor(SINK) == 2
    reader.close()
    assert ledger(store) == (2, 0, 0)


def test_the_ledger_is_one_snapshot(store: Store) -> None:
    commit(store, append(event(1)))
    reader = store.reader()
    reader.pin()
    commit(store, append(event(2)))
    assert reader.ledger(SINK).pending == 1
    reader.pin()
    assert reader.ledger(SINK).pending == 2
    reader.close()


def test_parked_records_keep_the_words_of_their_refusal_and_wait_for_a_replay(
    backend: SqliteBackend, store: Store
) -> None:
    commit(store, append(event(1), event(2)))
    transact(store, lambda: store.advance(SINK, 2, 0, [parked(1), parked(2, words="other")]))
    reader = store.reader()
    assert [(one.seq, one.words) for one in reader.parked(10)] == [(1, "HTTP 400"), (2, "other")]
    assert reader.parked(10, replay_only=True) == []
    assert backend.replay([2, 77]) == 1
    assert [one.seq for one in reader.parked(10, replay_only=True)] == [2]
    transact(store, lambda: store.repark([parked(2, words="again")]))
    assert reader.parked(10, replay_only=True) == []
    assert [one.words for one in reader.parked(10)] == ["HTTP 400", "again"]
    assert backend.replay(None) == 2
    reader.close()


# --- never trimmed before it is exported and counted --------------------------------------------------------------


def trim(store: Store, before_us: int = START_US + 10 * HOUR_US, limit: int = 100) -> int:
    return int(transact(store, lambda: store.trim(before_us, limit, SINK)).rows)


def three_segments(store: Store) -> None:
    for n in range(3):
        commit(store, append(event(n + 1)))


@pytest.mark.parametrize(
    ("cursor", "saved", "left"), [(0, 0, 3), (3, 0, 3), (0, 3, 3), (2, 3, 1), (3, 1, 2), (3, 3, 0)]
)
def test_only_what_is_exported_and_in_a_checkpoint_is_trimmed(store: Store, cursor: int, saved: int, left: int) -> None:
    three_segments(store)
    if cursor:
        transact(store, lambda: store.advance(SINK, cursor, cursor, []))
    if saved:
        transact(store, lambda: store.save_checkpoint(saved, b"state"))
    trim(store)
    assert len(held(store)) == left


def test_what_is_within_retention_is_kept(store: Store) -> None:
    three_segments(store)
    transact(store, lambda: store.advance(SINK, 3, 3, []))
    transact(store, lambda: store.save_checkpoint(3, b"state"))
    trim(store, before_us=START_US)
    assert len(held(store)) == 3


def test_an_empty_journal_goes_on_numbering_where_it_was(backend: SqliteBackend) -> None:
    store = backend.open()
    three_segments(store)
    transact(store, lambda: store.advance(SINK, 3, 3, []))
    transact(store, lambda: store.save_checkpoint(3, b"state"))
    trim(store)
    store.close()
    again = backend.open()
    commit(again, append(event(9)))
    assert again.last == 4 and ledger(again) == (3, 1, 0)


def test_trimming_goes_a_little_at_a_time(store: Store) -> None:
    three_segments(store)
    transact(store, lambda: store.advance(SINK, 3, 3, []))
    transact(store, lambda: store.save_checkpoint(3, b"state"))
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


# --- checkpoint ---------------------------------------------------------------------------------------------------


def test_the_newest_checkpoint_is_the_one_that_is_read(backend: SqliteBackend) -> None:
    store = backend.open()
    assert store.checkpoint() is None
    transact(store, lambda: store.save_checkpoint(1, b"one"))
    transact(store, lambda: store.save_checkpoint(2, b"two"))
    store.close()
    assert backend.open().checkpoint() == (2, b"two")


# --- a journal that cannot be used stops the start ----------------------------------------------------------------


def refused(backend: SqliteBackend) -> str:
    with pytest.raises(StartRefused) as caught:
        backend.open()
    return str(caught.value)


def test_a_second_process_is_refused(backend: SqliteBackend) -> None:
    backend.open()
    assert "another otel-bridge serves it" in refused(backend)


def test_a_newer_schema_is_refused(backend: SqliteBackend) -> None:
    backend.open().close()
    backend.make_newer()
    assert "written by a newer release" in refused(backend)


def test_somebody_elses_file_is_refused_and_left_alone(backend: SqliteBackend) -> None:
    backend.make_foreign()
    assert "no otel-bridge journal" in refused(backend)
    assert backend.sql("SELECT name FROM sqlite_master") == [("recipes",)]


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(backend: SqliteBackend) -> None:
    garbage = b"this is no database, but somebody may want it\n" * 100
    backend.path.write_bytes(garbage)
    said = refused(backend)
    assert "damaged" in said and "backup" in said
    assert backend.path.read_bytes() == garbage


def test_a_damaged_newest_segment_is_refused(backend: SqliteBackend) -> None:
    store = backend.open()
    commit(store, append(event(1)))
    store.close()
    backend.damage_last_segment()
    assert "checksum" in refused(backend)


def test_a_refused_start_gives_the_lock_back(backend: SqliteBackend) -> None:
    backend.open().close()
    backend.make_newer()
    refused(backend)
    backend.sql("PRAGMA user_version = 1")
    backend.open()


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused, match="directory must exist and be writable"):
        SqliteStore(tmp_path / "file" / "journal.db")


def test_a_damaged_segment_in_the_middle_is_told_and_the_rest_is_read(backend: SqliteBackend) -> None:
    store = backend.open()
    three_segments(store)
    backend.sql("UPDATE segment SET body = x'00' WHERE last = 2")
    reader = store.reader()
    assert [(one.last, one.damaged) for one in reader.segments(0, 10)] == [(1, False), (2, True), (3, False)]
    reader.close()


# --- the writer: group commit, folding, stopping ------------------------------------------------------------------

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


def served(backend: SqliteBackend, scenario: Scenario, fold: Fold | None = None, **options: Any) -> Any:
    """Runs a scenario on a journal that is stopped after it."""

    async def run() -> Any:
        journal = Journal(backend.open(), fold or Fold(), **options)
        journal.start()
        try:
            return await scenario(journal)
        finally:
            await asyncio.get_running_loop().run_in_executor(None, journal.stop)

    return asyncio.run(run())


def test_an_append_resolves_after_its_commit_and_fold(backend: SqliteBackend) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        done = await journal.append(append(session(), event(1)))
        assert fold.records == done.records and fold.seq == 2
        assert len(backend.sql("SELECT * FROM segment")) == 1

    served(backend, scenario, fold)
    assert fold.threads == {"journal-writer"}


def test_a_repeat_is_not_folded_again(backend: SqliteBackend) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        for _ in range(3):
            await journal.append(append(event(1), keys=[b"key"]))

    served(backend, scenario, fold)
    assert fold.records == [event(1)]


def test_what_one_turn_of_the_loop_appends_is_one_commit(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        for turn in range(5):
            await asyncio.gather(*(journal.append(append(event(100 * turn + n))) for n in range(20)))

    served(backend, scenario)
    assert [row[0] for row in backend.sql("SELECT count FROM segment")] == [20] * 5


@pytest.mark.parametrize("stop_at_once", [False, True], ids=["serving", "stopping"])
def test_what_a_group_leaves_behind_is_the_next_one(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, stop_at_once: bool
) -> None:
    monkeypatch.setattr("otel_bridge.journal.writer.GROUP_RECORDS", 3)

    async def scenario(journal: Journal) -> None:
        futures = [journal.append(append(event(n))) for n in range(10)]
        if stop_at_once:
            await asyncio.get_running_loop().run_in_executor(None, journal.stop)
        await asyncio.wait_for(asyncio.gather(*futures), 20)

    served(backend, scenario)
    assert [row[0] for row in backend.sql("SELECT count FROM segment")] == [3, 3, 3, 1]
    assert held(backend.open()) == [event(n) for n in range(10)]


def test_appends_that_wait_together_share_a_commit(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        release = threading.Event()
        journal.between(release.wait)  # the writer is busy: all of these wait
        futures = [journal.append(append(event(n + 1))) for n in range(50)]
        release.set()
        await asyncio.gather(*futures)

    served(backend, scenario)
    assert len(backend.sql("SELECT * FROM segment")) == 1


def test_one_bad_append_of_a_group_fails_alone(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> list[Any]:
        release = threading.Event()
        journal.between(release.wait)
        good = [journal.append(append(event(n))) for n in (1, 2)]
        bad = journal.append(append(event(3, gpt=object())))
        late = journal.append(append(event(4)))
        release.set()
        return await asyncio.gather(*good, bad, late, return_exceptions=True)

    fold = Fold()
    one, two, bad, late = served(backend, scenario, fold)
    assert isinstance(bad, Exception) and not isinstance(bad, Problem)
    assert all(isinstance(answer, Append) for answer in (one, two, late))
    assert [record.id for record in fold.records] == [uid(1), uid(2), uid(4)]
    store = backend.open()
    assert len(held(store)) == 3 and store.last == 3


def test_a_failing_transaction_does_not_take_the_appends_with_it(backend: SqliteBackend) -> None:
    def fails(store: Store) -> None:
        raise KeyError("mine alone")

    async def scenario(journal: Journal) -> None:
        release = threading.Event()
        journal.between(release.wait)
        waiting = journal.append(append(event(1)))
        task = journal.transact(fails)
        release.set()
        await waiting
        with pytest.raises(KeyError):
            await asyncio.wrap_future(task)

    served(backend, scenario)
    assert held(backend.open()) == [event(1)]


def test_what_a_transaction_journals_is_folded(backend: SqliteBackend) -> None:
    fold = Fold()

    async def scenario(journal: Journal) -> None:
        await journal.append(append(session()))
        found = idle(duration_s=0.0)
        await asyncio.wrap_future(journal.transact(lambda store: store.fall_idle([found], START_US + HOUR_US)))

    served(backend, scenario, fold)
    assert [type(record).__name__ for record in fold.records] == ["Session", "Idle"] and fold.seq == 2


def test_no_room_is_503_and_nothing_is_taken(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        journal.room = lambda: "no room"
        with pytest.raises(Problem) as caught:
            await journal.append(append(event(1)))
        assert caught.value.kind is errors.DISK_FULL and "Retry-After" in caught.value.headers
        assert journal.refusal == "no room"
        journal.room = lambda: None
        await journal.append(append(event(2)))
        assert journal.refusal is None

    served(backend, scenario)
    assert held(backend.open()) == [event(2)]


@pytest.mark.parametrize(
    ("error", "kind"), [(StoreFull("full"), errors.DISK_FULL), (StoreUnavailable("gone"), errors.JOURNAL_UNAVAILABLE)]
)
def test_a_store_that_cannot_write_is_503_for_all_who_wait(
    backend: SqliteBackend, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: errors.ErrorKind
) -> None:
    def fail(self: Any, appends: list[Append]) -> None:
        raise error

    async def scenario(journal: Journal) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SqliteStore, "write_alone", fail)
            answers = await asyncio.gather(*(journal.append(append(event(n))) for n in (1, 2)), return_exceptions=True)
        assert [answer.kind for answer in answers if isinstance(answer, Problem)] == [kind, kind]
        await journal.append(append(event(3)))

    served(backend, scenario)
    assert held(backend.open()) == [event(3)]


def test_more_than_may_wait_is_refused_at_once(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        release = threading.Event()
        journal.between(release.wait)
        first = journal.append(append(*(event(n) for n in range(8))))
        with pytest.raises(Problem) as caught:
            journal.append(append(*(event(n) for n in range(5))))
        assert caught.value.kind is errors.QUEUE_FULL and caught.value.headers["Retry-After"]
        second = journal.append(append(event(100), event(101)))
        assert journal.waiting_records == 10
        release.set()
        await asyncio.gather(first, second)
        assert journal.waiting_records == 0

    served(backend, scenario, max_waiting_records=10)


def test_a_batch_larger_than_the_queue_is_taken_when_nothing_else_waits(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        await journal.append(append(*(event(n) for n in range(20))))

    served(backend, scenario, max_waiting_records=10)


def test_stopping_commits_what_was_taken_on_and_refuses_what_comes_later(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        release = threading.Event()
        journal.between(release.wait)
        taken = journal.append(append(event(1)))
        stopping = asyncio.get_running_loop().run_in_executor(None, journal.stop)
        while not journal._closing:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        with pytest.raises(Problem) as caught:
            journal.append(append(event(2)))
        assert caught.value.kind is errors.SHUTTING_DOWN
        release.set()
        await stopping
        await taken

    async def run() -> None:
        journal = Journal(backend.open(), Fold())
        journal.start()
        await scenario(journal)
        with pytest.raises(StoreUnavailable):
            journal.transact(lambda store: None).result(1)

    asyncio.run(run())
    assert held(backend.open()) == [event(1)]


def test_a_writer_that_dies_answers_everyone_and_accepts_nothing_more(backend: SqliteBackend) -> None:
    def fold(records: Sequence[Record], seq: int) -> None:
        raise RuntimeError("the fold is broken")

    async def scenario(journal: Journal) -> None:
        release = threading.Event()
        journal.between(release.wait)
        waiting = [journal.append(append(event(n))) for n in (1, 2)]
        release.set()
        answers = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert {answer.kind for answer in answers if isinstance(answer, Problem)} == {errors.JOURNAL_UNAVAILABLE}
        assert journal.death is not None
        with pytest.raises(Problem):
            journal.append(append(event(3)))

    served(backend, scenario, fold)  # type: ignore[arg-type]


def test_a_cancelled_request_is_journaled_all_the_same(backend: SqliteBackend) -> None:
    async def scenario(journal: Journal) -> None:
        release = threading.Event()
        journal.between(release.wait)
        future = journal.append(append(event(1)))
        future.cancel()
        release.set()
        await journal.append(append(event(2)))
        assert journal.waiting_records == 0

    served(backend, scenario)
    assert held(backend.open()) == [event(1), event(2)]


def test_readers_read_while_the_writer_holds_a_transaction(store: Store) -> None:
    commit(store, append(event(1)))
    store.begin()
    store.write([append(event(2))])
    assert held(store) == [event(1)]
    store.commit()
    assert held(store) == [event(1), event(2)]
