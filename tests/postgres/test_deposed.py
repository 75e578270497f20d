"""A primary that stood still while its standby took its place, and goes on: what it lacks is not «not there»."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal.postgres import holding, migrations, reading
from otel_bridge.journal.store import Reader, StoreUnavailable
from tests.harness.pair import Pair
from tests.harness.postgres import Cluster
from tests.journal.stores import append
from tests.unit.samples import SESSION_ID, event, session, uid


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    made = Pair(synchronous=True)
    yield made
    made.close()


@pytest.fixture
def database(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(reading, "PATIENCE_SECONDS", 0.7)
    monkeypatch.setattr(holding, "PATIENCE_SECONDS", 0.5)
    name = pair.primary.database()
    with psycopg.connect(pair.dsn(name), autocommit=True) as connection:
        migrations.migrate(connection, lambda _: None)
    return name


def _finds_nothing(reader: Reader, told: bool) -> None:
    """Whether the reader says that what it does not find is not there."""
    for asks in (
        lambda: reader.sessions([uid(7)]) == {},
        lambda: reader.session(uid(7)) is None,
        lambda: reader.arrivals([(b"key", b"key")]) == [],
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


def test_what_a_deposed_primary_lacks_may_be_there(pair: Pair, database: str) -> None:
    store = journal.open(pair.dsn(database), CONSUMER)
    store.write_alone([append(session())])
    reader = store.reader()
    _finds_nothing(reader, True)
    old = pair.primary
    with old.stopped():
        assert pair.standby is not None
        pair.standby.alter(synchronous_standby_names="''")
        pair.standby.promote()
        other = journal.open(pair.standby.dsn(database), CONSUMER)
        other.write_alone([append(session(7))])
        other.close()
    assert list(reader.sessions([SESSION_ID])) == [SESSION_ID]  # what it has is so
    _finds_nothing(reader, False)
    ended = threading.Event()
    cancels = threading.Thread(target=_cancel, args=(old, database, ended))
    cancels.start()
    _finds_nothing(reader, False)
    ended.set()
    cancels.join()
    reader.close()
    old.crash()
    reader = store.reader()  # of the one that is left
    assert list(reader.sessions([uid(7)])) == [uid(7)]
    assert reader.session(uid(9)) is None
    reader.close()
    store.close()
