"""A user is taken out of a journal: nobody and no text is left, and every number is what it was. Over both backends."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_bridge import journal
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Store, Which
from otel_bridge.journal.erasure import Place
from otel_bridge.journal.sqlite import SqliteStore
from otel_bridge.records import Event, Feedback, Session, decode, encode, part_trace_id
from tests.journal.backends import CONSUMER, Backend, count
from tests.journal.stores import append, commit, held, ledger, parked, transact
from tests.unit.samples import SESSION_ID, START_US, USER, event, feedback, idle, session, uid

OTHER = "fedcba9876543210"
TEXT = "¿Cómo borro lo que dije?"
HOUR_US = 3_600_000_000


@contextlib.contextmanager
def erasing(backend: Backend) -> Iterator[Place]:
    place = journal.erasing(backend.url, CONSUMER)
    serving = [opened for opened in backend._opened if isinstance(opened, SqliteStore) and not opened._closed]

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            for store in serving:  # as it does once a second
                count(store)
            return step(*arguments)

        return run

    place.blank = counted(place.blank)  # type: ignore[method-assign]
    place.blank_totals = counted(place.blank_totals)  # type: ignore[method-assign]
    try:
        yield place
    finally:
        place.close()


def fill(store: Store) -> None:
    """Two users in two sessions, one of them in two GPTs, rated, idle, parked, delivered and pending."""
    commit(store, append(session(), session(2, user=OTHER), session(3, gpt="otro")))
    for number in range(10, 16):
        mine = event(number, content=TEXT, arrived_us=START_US + number * HOUR_US // 4)
        theirs = event(number + 10, session=uid(2), user=OTHER, content="de otra persona")
        commit(store, append(mine, theirs))
    commit(store, append(event(30, session=uid(3), gpt="otro", content=TEXT)))
    commit(store, append(feedback(40, comment=TEXT), idle()))
    body = encode([event(10, content=TEXT)])
    transact(store, lambda: store.advance(store.last - 3, 13, [parked(4, body=body, message=f"no: {TEXT} {USER}")]))


def numbers(store: Store) -> Any:
    """What must not change."""
    reader = store.reader()
    try:
        segments = [(one.last, one.size, one.spans, one.arrived_us, one.damaged) for one in reader.segments(0, 1_000)]
        rows = [reader.session(id_) for id_ in (SESSION_ID, uid(2), uid(3))]
        sessions = [row and row._replace(user="") for row in rows]
        windows = [(one.gpt, one.sessions) for one in sorted(reader.windows(START_US + 8 * HOUR_US, {"1d": 86_400}))]
        return segments, sessions, windows, ledger(store), reader.cursor()
    finally:
        reader.close()


def usage(backend: Backend) -> list[tuple[Any, ...]]:
    schema = "" if backend.exclusive else "otel_bridge."
    return backend.sql(f"SELECT gpt, sum(events), sum(tokens) FROM {schema}usage GROUP BY gpt ORDER BY gpt")


def everything(backend: Backend) -> bytes:
    """All that SQL can see of the journal's personal columns."""
    schema, user = ("", "user") if backend.exclusive else ("otel_bridge.", '"user"')
    seen = [row[0] for row in backend.sql(f"SELECT body FROM {schema}segment")]
    for table in ("session", "usage"):
        seen += [row[0].encode() for row in backend.sql(f"SELECT {user} FROM {schema}{table}")]
    for body, words in backend.sql(f"SELECT body, words FROM {schema}parked"):
        seen += [body, words.encode()]
    return b"\n".join(bytes(one) for one in seen)


def test_a_survey_tells_what_there_is_and_changes_nothing(backend: Backend, store: Store) -> None:
    fill(store)
    store.reader().windows(START_US, {"1d": 86_400})
    before = everything(backend)
    with erasing(backend) as place:
        found = journal.survey(place, Which(USER))
    assert everything(backend) == before
    assert {one.id for one in found.sessions} == {SESSION_ID, uid(3)}
    assert (found.events, found.ratings, found.parked, found.damaged) == (7, 1, 1, 0)
    assert found.pending == 2 and found.usage == 3
    assert {(one.gpt, one.started_us) for one in found.sessions} == {("devops-expert", START_US), ("otro", START_US)}


def test_a_user_is_taken_out_and_every_number_stays(backend: Backend, store: Store) -> None:
    fill(store)
    store.reader().windows(START_US, {"1d": 86_400})  # totals are added, where that is done behind the commits
    before, used = numbers(store), usage(backend)
    with erasing(backend) as place:
        done = journal.erase(place, Which(USER))
    assert done.sessions == 2 and done.parked == 1 and done.records >= 8
    seen = everything(backend)
    assert USER.encode() not in seen and TEXT.encode() not in seen
    assert OTHER.encode() in seen and b"de otra persona" in seen
    assert numbers(store) == before and usage(backend) == used
    records = held(store)
    blanked = [one for one in records if isinstance(one, Session | Event | Feedback) and one.user == ""]
    assert len(blanked) == 10  # two sessions, seven events and a rating
    assert [one.latency_ms for one in blanked if isinstance(one, Event)] == [1500.0] * 7


def test_who_was_taken_out_is_no_distinct_user_and_no_top_user(backend: Backend, store: Store) -> None:
    fill(store)
    with erasing(backend) as place:
        journal.erase(place, Which(USER))
    reader, now_us = store.reader(), START_US + 5 * HOUR_US
    windows = {one.gpt: (one.sessions, one.users) for one in reader.windows(now_us, {"1d": 86_400})}
    assert windows == {"devops-expert": (2, 1), "otro": (1, 0)}
    assert {one.user for one in reader.top_users(now_us, 86_400, 10)} == {OTHER}


def test_run_again_it_finds_nothing(backend: Backend, store: Store) -> None:
    fill(store)
    with erasing(backend) as place:
        journal.erase(place, Which(USER))
        assert journal.survey(place, Which(USER)).empty
        assert not any(journal.erase(place, Which(USER)))


def test_one_gpt_alone(backend: Backend, store: Store) -> None:
    fill(store)
    with erasing(backend) as place:
        assert journal.erase(place, Which(USER, frozenset(["otro"]))).sessions == 1
        left = journal.survey(place, Which(USER))
    assert [one.id for one in left.sessions] == [SESSION_ID] and left.events == 6


def test_all_traces_of_a_long_session_are_told(backend: Backend, store: Store) -> None:
    text = "x" * 100_000
    commit(store, append(session()))
    for number in range(10, 60):
        commit(store, append(event(number, content=text)))
    parts = {one.part for one in held(store) if isinstance(one, Event)}
    assert len(parts) > 1
    with erasing(backend) as place:
        (found,) = journal.survey(place, Which(USER)).sessions
    told = {part_trace_id(found.id, part) for part in range(found.parts)}
    assert told >= {part_trace_id(SESSION_ID, part) for part in parts} and len(told) <= len(parts) + 1


def test_a_damaged_segment_is_told_and_left(backend: Backend, store: Store) -> None:
    fill(store)
    last = [one.last for one in store.reader().segments(0, 100)][1]
    backend.damage_segment(last)
    with erasing(backend) as place:
        assert journal.survey(place, Which(USER)).damaged == 1
        journal.erase(place, Which(USER))
    assert USER.encode() not in everything(backend)


def test_what_comes_afterwards_is_a_new_matter(backend: Backend, store: Store) -> None:
    fill(store)
    with erasing(backend) as place:
        journal.erase(place, Which(USER))
    commit(store, append(session(50), event(51, session=uid(50))))
    with erasing(backend) as place:
        found = journal.survey(place, Which(USER))
    assert [one.id for one in found.sessions] == [uid(50)] and found.events == 1


def test_a_retry_is_still_recognised(backend: Backend, store: Store) -> None:
    one = event(60)
    commit(store, append(session()), append(one, keys=[b"c" + bytes(16)]))
    with erasing(backend) as place:
        journal.erase(place, Which(USER))
    again = append(event(61), keys=[b"c" + bytes(16)])
    assert commit(store, again) == []


class Stopped(Exception):
    """As a kill between two steps."""


@pytest.mark.parametrize("step", range(1, 8))
def test_stopped_after_any_step_it_is_whole_and_goes_on(
    backend: Backend, store: Store, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    store.reader().windows(START_US, {"1d": 86_400})
    before, used = numbers(store), usage(backend)
    monkeypatch.setattr("otel_bridge.journal.erasure.STEP_SEGMENTS", 2)
    with erasing(backend) as place:
        sessions = journal.survey(place, Which(USER)).sessions
        steps = 0

        def count() -> None:
            nonlocal steps
            steps += 1
            if steps == step:
                raise Stopped

        for name in ("blank", "blank_parked", "blank_totals"):
            whole = getattr(place, name)
            monkeypatch.setattr(place, name, lambda *given, whole=whole: (whole(*given), count())[0])
        with pytest.raises(Stopped):
            journal.erase(place, Which(USER))
    assert numbers(store) == before and usage(backend) == used
    with erasing(backend) as place:
        if journal.survey(place, Which(USER)).sessions:
            assert journal.survey(place, Which(USER)).sessions == sessions  # all traces are told again
        journal.erase(place, Which(USER))
        assert journal.survey(place, Which(USER)).empty
    assert numbers(store) == before and usage(backend) == used
    assert USER.encode() not in everything(backend) and TEXT.encode() not in everything(backend)


def test_checksums_are_those_of_what_is_there(backend: Backend, store: Store) -> None:
    fill(store)
    with erasing(backend) as place:
        journal.erase(place, Which(USER))
    schema = "" if backend.exclusive else "otel_bridge."
    for crc, body in backend.sql(f"SELECT crc, body FROM {schema}segment"):
        assert zlib.crc32(body) == crc and decode(bytes(body))


def test_no_byte_of_a_file_has_the_user_or_the_text(backend: Backend, store: Store) -> None:
    if not backend.exclusive:
        pytest.skip("a server's files are its own: VACUUM is what it is told")
    fill(store)
    for number in range(100, 400):  # rows move, pages are freed and used again
        commit(store, append(event(number, content=TEXT + "·" * number)))
    transact(store, lambda: store.advance(store.last, 300, []))
    transact(store, lambda: store.save_snapshot(store.last - 100, b"state"))
    transact(store, lambda: store.trim(1 << 60, 1 << 60, 100, []))
    folder = backend.path.parent  # type: ignore[union-attr]
    assert any(TEXT.encode() in file.read_bytes() for file in folder.iterdir() if not file.name.endswith("-shm"))
    backend.close()
    with erasing(backend) as place:
        journal.erase(place, Which(USER))
        assert place.purge(USER).places == 0
    for file in folder.iterdir():
        content = file.read_bytes()
        assert USER.encode() not in content and TEXT.encode() not in content, file
    assert len(held(backend.open())) > 100


def test_a_journal_of_an_earlier_release_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "journal.db"
    file.write_bytes((Path(__file__).parent / "fixtures" / "journal-0.1.0.db").read_bytes())
    before = file.read_bytes()
    with pytest.raises(StartRefused, match="de una versión anterior"):
        journal.erasing(f"sqlite:///{file}", CONSUMER)
    assert file.read_bytes() == before
    store = journal.open(f"sqlite:///{file}", CONSUMER)  # upgrades it
    reader = store.reader()
    user = next(one.user for part in reader.segments(0, 10) for one in decode(part.body) if isinstance(one, Event))
    last = store.last
    reader.close()
    store.close()
    place = journal.erasing(f"sqlite:///{file}", CONSUMER)
    journal.erase(place, Which(user))
    assert place.purge(user).places == 0
    place.close()
    store = journal.open(f"sqlite:///{file}", CONSUMER)
    assert store.last == last and user.encode() not in file.read_bytes()
    store.close()
