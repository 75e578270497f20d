"""A user is taken out of a journal that replicas share: of every lane, whoever appends meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from otel_bridge import journal
from otel_bridge.journal import Append, Store, Which
from otel_bridge.records import Event, Record, decode
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.unit.samples import SESSION_ID, USER, event, session, uid

TEXT = "lo que dijo una persona"


@pytest.fixture
def stores(url: str) -> Iterator[list[Store]]:
    """Two replicas; a session of one, whose events come to both."""
    opened: list[Store] = [journal.open(url, "otlp") for _ in range(2)]
    write(opened[0], session(), session(2, user="f" * 16))
    for number in range(10, 20):
        write(opened[number % 2], event(number, content=TEXT), event(number + 10, session=uid(2), user="f" * 16))
    yield opened
    for store in opened:
        store.close()


def write(store: Store, *records: Record) -> None:
    store.write_alone([Append([record], [None]) for record in records])


def erase(url: str) -> None:
    place = journal.erasing(url, "otlp")
    try:
        journal.erase(place, Which(USER))
    finally:
        place.close()


@pytest.fixture
def served(url: str, cluster: Cluster) -> str:
    """As a bridge has begun to serve it."""
    cluster.sql("UPDATE otel_bridge.journal SET key_fingerprint = 'x'", database=url_database(url))
    return url


def url_database(url: str) -> str:
    return url.rpartition("/")[2].partition("?")[0]


def rows(cluster: Cluster, url: str, sql: str) -> list[tuple[Any, ...]]:
    return cluster.sql(sql, database=url_database(url))


def test_of_every_lane_with_totals_as_they_were(stores: list[Store], served: str, cluster: Cluster) -> None:
    erase(served)
    bodies = [bytes(body) for (body,) in rows(cluster, served, "SELECT body FROM otel_bridge.segment")]
    assert len(bodies) > 10 and not any(USER.encode() in body or TEXT.encode() in body for body in bodies)
    reader = stores[0].reader()
    mine, theirs = reader.session(SESSION_ID), reader.session(uid(2))
    reader.close()
    assert mine is not None and (mine.user, mine.events, mine.tokens_in) == ("", 10, 250)
    assert theirs is not None and (theirs.user, theirs.events) == ("f" * 16, 10)
    usage = dict(rows(cluster, served, 'SELECT "user", sum(events) FROM otel_bridge.usage GROUP BY 1'))
    assert usage == {"": 10, "f" * 16: 10}


def test_what_is_not_added_to_the_totals_yet_is_added_once_to_nobody(
    stores: list[Store], served: str, cluster: Cluster
) -> None:
    """The totals are added behind the commits: before, in the middle of and after an erasure."""
    place = journal.erasing(served, "otlp")
    blank = place.blank
    more = iter(range(100, 200))

    def meanwhile(lasts: Any, which: Which) -> int:
        count = blank(lasts, which)
        write(stores[1], event(next(more), content=TEXT))
        return count

    place.blank = meanwhile  # type: ignore[method-assign]
    journal.erase(place, Which(USER))
    place.close()
    erase(served)
    reader = stores[0].reader()
    found = reader.session(SESSION_ID)
    reader.close()
    count = rows(cluster, served, "SELECT sum(events) FROM otel_bridge.usage WHERE \"user\" = ''")[0][0]
    assert found is not None and found.events == count > 10
    assert rows(cluster, served, f"SELECT count(*) FROM otel_bridge.usage WHERE \"user\" = '{USER}'") == [(0,)]


def test_replicas_go_on_appending_beside_it(stores: list[Store], served: str, cluster: Cluster) -> None:
    done = threading.Event()
    written = 0

    def append() -> None:
        nonlocal written
        while not done.is_set():
            write(stores[1], event(1000 + written, session=uid(2), user="f" * 16))
            written += 1

    thread = threading.Thread(target=append)
    thread.start()
    try:
        wait_for(lambda: written, "the first of them")
        for _ in range(5):
            erase(served)
    finally:
        done.set()
        thread.join()
    reader = stores[0].reader()
    theirs = reader.session(uid(2))
    reader.close()
    assert theirs is not None and theirs.events == 10 + written and written > 0
    for crc_sound, body in rows(cluster, served, "SELECT crc IS NOT NULL, body FROM otel_bridge.segment"):
        assert crc_sound
        for record in decode(bytes(body)):
            assert not isinstance(record, Event) or record.user in ("", "f" * 16)
