"""Keys of the last moments of a day and the first of the next, raced by three replicas whose clocks differ a little."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import DAY_US
from otel_bridge.journal import Append
from otel_bridge.journal.postgres import generations, migrations
from otel_bridge.journal.store import OutcomeUnknown, Store, StoreUnavailable
from otel_bridge.records import Event
from tests.chaos.lanes import LONG
from tests.chaos.ledger import Say
from tests.harness.postgres import Cluster

KEYS = int(os.environ.get("CHAOS_KEYS", "6000" if LONG else "600"))
DAYS = 5 if LONG else 1
STORES = 3
GROUP = 48
MIDNIGHT = 20_000 * DAY_US


@pytest.fixture
def url(cluster: Cluster) -> Iterator[str]:
    database = cluster.database()
    with psycopg.connect(cluster.dsn(database), autocommit=True) as connection:
        migrations.migrate(connection, lambda _: None)
    yield cluster.dsn(database)


class Step(threading.Barrier):
    """Where the replicas wait for each other, so that the same keys are under way at all of them."""

    def __init__(self, parties: int, at: int, run: Callable[[], None]) -> None:
        super().__init__(parties, self._passed)
        self._left, self._run = at, run

    def _passed(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._run()


class Replica(threading.Thread):
    """Takes keys in groups and an order of its own, by a clock that differs a little from the others'."""

    def __init__(self, url: str, keys: list[tuple[bytes, int]], number: int, step: Step) -> None:
        super().__init__(daemon=True)
        self.store: Store = journal.open(url, CONSUMER)
        self.store.begin_service()
        self.taken: list[bytes] = []
        self.refused = 0
        self.failure: BaseException | None = None
        self._keys = keys
        self._random = random.Random(number)
        self._ahead = self._random.randrange(-200_000, 200_000)
        self._step = step

    def run(self) -> None:
        try:
            for i in range(0, len(self._keys), GROUP):
                self._step.wait(60)
                part = self._keys[i : i + GROUP]
                self._random.shuffle(part)
                while part:
                    count = self._random.choice([1, 1, 2, 3, 8])
                    self._take(part[:count])
                    part = part[count:]
        except BaseException as failure:
            self.failure = failure
            self._step.abort()
        self.store.close()

    def _take(self, group: list[tuple[bytes, int]]) -> None:
        appends = [
            Append([Event(key[:16], bytes(16), "g", "u", "consulta", "", 1.0, 1, 1, at, at + self._ahead)], [key])
            for key, at in group
        ]
        while True:
            try:
                self.store.write_alone(appends)
                break
            except StoreUnavailable:  # as the writer answers it: nothing was taken, posted again
                self.store.rollback()
                self.refused += 1
            except OutcomeUnknown:
                if self.store.resolve_outcome():
                    break
        for append, (key, _) in zip(appends, group, strict=True):
            if append.outcomes is None or append.outcomes[0] is None:
                self.taken.append(key)


SLOW = """CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({}); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE OF turn ON otel_bridge.lane FOR EACH ROW EXECUTE FUNCTION slow()"""
"""So that lanes are told of a step of the turn one after the other, and race meanwhile."""


@pytest.mark.parametrize("by", ["whoever is first past midnight", "another replica"])
@pytest.mark.timeout(1200)
def test_keys_raced_at_midnight_are_taken_once(cluster: Cluster, url: str, say: Say, by: str) -> None:
    everything: list[bytes] = []
    refused = 0
    with psycopg.connect(url, autocommit=True) as db:
        for day in range(1, DAYS + 1):
            midnight = MIDNIGHT + day * DAY_US
            keys = _keys(day, midnight - DAY_US // 2 if by == "another replica" else midnight)
            half = threading.Event()
            step = Step(STORES, KEYS // GROUP // 3, half.set)
            replicas = [Replica(url, keys, number, step) for number in range(STORES)]
            if by == "another replica" and day == 1:
                db.execute(SLOW.format(0.1))
            for replica in replicas:
                replica.start()
            if by == "another replica":
                assert half.wait(60)
                generations.advance(db, midnight + 1, midnight - DAY_US)
            for replica in replicas:
                replica.join(600)
                assert replica.failure is None, replica.failure
            taken = [key for replica in replicas for key in replica.taken]
            assert len(taken) == len(set(taken)), f"{len(taken) - len(set(taken))} keys were taken twice"
            assert set(taken) == {key for key, _ in keys}
            assert min(len(replica.taken) for replica in replicas) > 0  # there was a race
            everything += taken
            refused += sum(replica.refused for replica in replicas)
        turns = db.execute("SELECT turn, emptied FROM otel_bridge.turn ORDER BY turn").fetchall()
        records = db.execute("SELECT sum(count) FROM otel_bridge.segment").fetchone()
        lanes = db.execute("SELECT DISTINCT turn, doubled FROM otel_bridge.lane").fetchall()
    assert records == (len(everything),) and len(turns) > DAYS and lanes == [(turns[-1][0], False)]
    say(f"{len(everything)} keys around {DAYS} midnights, none twice; {refused} groups refused once; turns {turns}")


def _keys(day: int, midnight: int) -> list[tuple[bytes, int]]:
    """Keys, and when each arrives: half of them before midnight, half of them after it."""
    drawn = random.Random(day)
    return [(drawn.randbytes(16), midnight + (i - KEYS // 2) * 2_000_000 // KEYS) for i in range(KEYS)]
