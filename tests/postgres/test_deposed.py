"""A primary that stood still while its standby took its place, and goes on: what it lacks is not «not there»."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal.postgres import migrations
from otel_bridge.journal.store import OutcomeUnknown, Reader, Store, StoreUnavailable
from tests.harness.hurry import hurried
from tests.harness.pair import Pair
from tests.harness.postgres import Cluster
from tests.harness.waiting import wait_for
from tests.journal.stores import append, held
from tests.unit.samples import SESSION_ID, event, session, uid


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair(synchronous=True)
    yield made
    made.close()


@pytest.fixture
def database(pair: Pair) -> str:
    name = pair.primary.database()
    with psycopg.connect(pair.dsn(name), autocommit=True) as connection:
        migrations.migrate(connection, lambda _: None)
    return name


def _finds_nothing(reader: Reader, told: bool) -> None:
    """Whether the reader says that what it does not find is not there."""
    for asks in (
        lambda: reader.sessions([uid(9)]) == {},
        lambda: reader.session(uid(9)) is None,
        lambda: reader.arrivals([b"key"]) == [],
        lambda: reader.event_near(uid(8), event(8).arrived_us) is None,
    ):
        if told:
            assert asks()
        else:
            with pytest.raises(StoreUnavailable):
                asks()


def _cancel(server: Cluster, database: str, ended: threading.Event) -> None:
    """Ends every wait for a standby."""
    while not ended.wait(0.02):
        server.terminate(database, "%", "SyncRep", "cancel")


def _written(store: Store) -> bool:
    """As the writer does it."""
    try:
        store.write_alone([append(event(3))])
    except OutcomeUnknown:
        return wait_for(lambda: [taken for taken in [store.resolve_outcome()] if taken is not None], "it")[0]
    except StoreUnavailable:
        store.rollback()
        return False
    return True


@pytest.fixture
def deposed(pair: Pair, database: str) -> Iterator[Store]:
    """A store that was open while the primary stood still and its standby took over. The old primary goes on now."""
    store = journal.open(pair.dsn(database), CONSUMER)
    store.write_alone([append(session(), event(1), keys=[None, b"first"])])
    with pair.primary.stopped():
        assert pair.standby is not None
        pair.standby.alter(synchronous_standby_names="''")
        pair.standby.promote()
        with hurried(store), pytest.raises(OutcomeUnknown):
            store.write_alone([append(event(2))])
        assert store.resolve_outcome() is False
        store.write_alone([append(session(7), event(2))])
    yield store
    store.close()


def test_a_primary_that_was_followed_by_its_standby_has_no_say_any_more(
    pair: Pair, database: str, deposed: Store
) -> None:
    old = pair.primary
    reader = deposed.reader()
    assert reader._db.info.port == old.port  # type: ignore[attr-defined]
    # What it has is so. What it lacks is not told as «not there», also where the wait for its standby is cancelled.
    assert list(reader.sessions([SESSION_ID])) == [SESSION_ID]
    with hurried(deposed, reader):
        _finds_nothing(reader, False)
        ended = threading.Event()
        cancels = threading.Thread(target=_cancel, args=(old, database, ended))
        cancels.start()
        _finds_nothing(reader, False)
        # A replica that comes to it takes nothing there, and does not take the journal for one that went back.
        deposed._holding.db.close()  # type: ignore[attr-defined]
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                deposed.write_alone([append(event(3))])
            deposed.rollback()
        ended.set()
        cancels.join()
    reader.close()
    old.crash()
    wait_for(lambda: _written(deposed), "the primary that is left", 20)
    reader = deposed.reader()
    _finds_nothing(reader, True)
    assert held(deposed) == [session(), event(1), session(7), event(2), event(3)]
    reader.close()
