"""Pages of the server that are damaged on its disk: what is told, and what goes on around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from otel_bridge import journal
from otel_bridge.ids import DAY_US
from otel_bridge.journal import Append, DamagedPart, Reader, Store, StoreDamaged
from otel_bridge.records import Event, decode
from tests.harness.postgres import LAX, Cluster
from tests.unit.samples import START_US, event, uid

SECOND_US = 1_000_000
SMALL, LARGE, LARGE_EVENTS = 300, 10, 100
"""Segments of one event, which stand in the table's pages, and of many, whose bodies stand beside it."""
EVENTS = 2 * SMALL + LARGE * LARGE_EVENTS
PAGE = 8192


def at(number: int) -> Event:
    """The event of this number: one a second, but for those that come together."""
    together = SMALL <= number < EVENTS - SMALL
    arrived_us = START_US + (number - number % LARGE_EVENTS * together) * SECOND_US
    return event(number, arrived_us=arrived_us, end_us=arrived_us)


def fill(url: str) -> None:
    with closing(journal.open(url, "otlp")) as store:
        assert store.replicas is not None and store.replicas.claim_key(b"of the tests")
        for n in range(SMALL):
            store.write_alone([Append([at(n)], [None])])
        for n in range(SMALL, EVENTS - SMALL, LARGE_EVENTS):
            store.write_alone([Append([at(n + i) for i in range(LARGE_EVENTS)], [None] * LARGE_EVENTS)])
        for n in range(EVENTS - SMALL, EVENTS):
            store.write_alone([Append([at(n)], [None])])


def spoil(cluster: Cluster, database: str, table: str, page: int) -> None:
    """Writes garbage over a page, as a disk may: the server is stopped meanwhile, for it has the page in memory."""
    path = cluster.sql(f"SELECT pg_relation_filepath({table})", database=database)[0][0]
    cluster.sql("CHECKPOINT")
    cluster.stop()
    with (cluster.data / path).open("r+b") as file:
        file.seek(page * PAGE)
        file.write(b"\xa5" * PAGE)
    cluster.start()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Without checksums, as Debian makes one: a page that says nothing sensible is found all the same."""
    started = Cluster(LAX).start()
    yield started
    started.close()


def _damaged(cluster: Cluster, table: str, page: int) -> str:
    name = cluster.database()
    url = cluster.dsn(name)
    journal.migrate(url, None, lambda line: None)
    fill(url)
    spoil(cluster, name, table, page)
    return url


@pytest.fixture(scope="module")
def rows_damaged(cluster: Cluster) -> str:
    """The URL of a journal of which one page of rows is damaged."""
    return _damaged(cluster, "'otel_bridge.segment'", 4)


@pytest.fixture(scope="module")
def body_damaged(cluster: Cluster) -> str:
    """The URL of a journal of which one page of bodies is damaged."""
    table = "(SELECT reltoastrelid FROM pg_class WHERE oid = 'otel_bridge.segment'::regclass)"
    return _damaged(cluster, table, 20)


@pytest.fixture
def copy(cluster: Cluster) -> Callable[[str], str]:
    """Makes a copy of a journal, damage and all; its URL."""

    def made(url: str) -> str:
        return cluster.dsn(cluster.database(f"{url.rpartition('/')[2]} STRATEGY file_copy"))

    return made


def reading(url: str) -> closing[Reader]:
    return closing(journal.open_reader(url, "otlp"))


def walk(reader: Reader) -> tuple[list[int], list[tuple[int, int, bool]]]:
    """Numbers of the events that can be read, and (last, records, exact) of what cannot."""
    found: list[int] = []
    lost: list[tuple[int, int, bool]] = []
    position = 0
    while segments := reader.segments(position, 50):
        for segment in segments:
            assert segment.last - segment.size == position
            position = segment.last
            if segment.damaged:
                assert segment.body == b"" and segment.spans == segment.size
                lost.append((segment.last, segment.size, segment.exact))
            else:
                found += [int.from_bytes(one.id, "big") for one in decode(segment.body)]  # type: ignore[union-attr]
    return found, lost


def test_rows_on_a_damaged_page_are_one_segment_and_those_about_it_are_read(rows_damaged: str) -> None:
    with reading(rows_damaged) as reader:
        found, ((last, records, exact),) = walk(reader)
    assert exact and 10 < records < 60
    assert found == [n for n in range(EVENTS) if not last - records <= n < last]


def test_a_body_on_a_damaged_page_is_one_segment_and_the_others_are_read(body_damaged: str) -> None:
    with reading(body_damaged) as reader:
        found, lost = walk(reader)
    assert {records for _, records, _ in lost} == {LARGE_EVENTS} and len(lost) <= 2
    assert len(found) == EVENTS - LARGE_EVENTS * len(lost)


def test_the_ledger_counts_what_cannot_be_read(rows_damaged: str) -> None:
    with reading(rows_damaged) as reader:
        _, ((_, records, _),) = walk(reader)
        reader.begin_snapshot()
        ledger = reader.ledger()
    assert (ledger.last, ledger.pending, ledger.unreadable) == (EVENTS, EVENTS, records)


@pytest.mark.parametrize("kind", ["rows_damaged", "body_damaged"])
def test_an_event_about_the_damage_is_found_and_one_in_it_is_told(kind: str, request: pytest.FixtureRequest) -> None:
    with reading(request.getfixturevalue(kind)) as reader:
        found, lost = walk(reader)
        last, records, _ = lost[0]
        for number in (last - records - 1, found[found.index(last - records - 1) + 1]):
            near = reader.event_near(uid(number), at(number).arrived_us)
            assert near is not None and near.id == uid(number)
        with pytest.raises(StoreDamaged) as told:
            reader.event_near(uid(last - 1), at(last - 1).arrived_us)
        assert told.value.part == DamagedPart.LOOKED_FOR
        assert reader.event_near(uid(99_999), START_US + 30 * DAY_US) is None


@pytest.mark.parametrize("kind", ["rows_damaged", "body_damaged"])
def test_totals_and_trimming_go_around_the_damage(
    kind: str, request: pytest.FixtureRequest, copy: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    url = copy(request.getfixturevalue(kind))
    with reading(url) as reader:
        found, _ = walk(reader)
    with closing(journal.open(url, "otlp")) as store:
        with closing(store.reader()) as reader:
            assert sum(one.events for one in reader.top_users(START_US + DAY_US, 2 * 86_400, 1)) == len(found)
        assert "the totals of their sessions lack them" in caplog.text
        _deliver_all(store)
        refused = 0
        for _ in range(60):
            try:
                store.begin()
                store.trim(0, START_US + 30 * DAY_US, 100, [], make_room=True)
                store.commit()
            except StoreDamaged as error:
                assert error.part == DamagedPart.OLD
                refused += 1
                store.rollback()
        assert 1 <= refused < 5
        assert "are damaged, cannot be deleted, and stay" in caplog.text
        store.write_alone([Append([at(EVENTS)], [None])])
        with closing(store.reader()) as reader:
            assert reader.ledger().pending == 1
            reader.check()
            left = reader.segments(0, 50)
        assert [segment.damaged for segment in left] == [True] * (len(left) - 1) + [False]


def _deliver_all(store: Store) -> None:
    store.begin()
    store.advance(store.last, store.last, [])
    store.save_snapshot(store.last, b"state")
    store.commit()
