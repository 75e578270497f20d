"""Whatever replicas do to the same sessions at once, and whichever connection is cut: each event is in the totals once,
and in one period of its session."""

from __future__ import annotations

import itertools
import random
import threading
from collections import Counter
from contextlib import closing

from otel_bridge import journal
from otel_bridge.journal import Append, OutcomeUnknown, Store, StoreUnavailable
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.records import Event, Idle, Record, decode
from tests.chaos.lanes import LONG
from tests.harness.postgres import Cluster
from tests.unit.samples import START_US, event, session, uid

SESSIONS = 40
STEPS = 3_000 if LONG else 100
"""Of each replica."""


class Replica(threading.Thread):
    """Writes, ends, lets fall idle, mends, trims and maintains, in an order of its own."""

    def __init__(self, store: Store, number: int, ticks: itertools.count[int]) -> None:
        super().__init__()
        self.store, self.drawn, self.ticks = store, random.Random(number), ticks
        self.steps = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with closing(self.store.reader()) as reader:
                self.reader = reader
                for self.steps in range(STEPS):
                    try:
                        self.step(START_US + 1_000 * next(self.ticks))
                    except OutcomeUnknown:
                        while self.store.resolve_outcome() is None:
                            pass
                    except (
                        StoreUnavailable
                    ):  # its connection was cut, or the database saw that two waited for each other
                        self.store.rollback()
        except BaseException as error:
            self.error = error

    def step(self, now_us: int) -> None:
        drawn, store = self.drawn, self.store
        kind = drawn.choices(("write", "end", "idle", "mend", "trim", "maintain"), (70, 10, 10, 3, 3, 4))[0]
        if kind == "write":
            self.write(now_us)
        elif kind == "maintain":
            store.maintain(1 << 60, lambda run: run())
        else:
            before_us = now_us - drawn.choice([0, 20_000])
            idles = self.reader.idle_candidates(before_us, 10) if kind == "idle" else []
            store.begin()
            if kind == "idle":
                store.fall_idle(idles, before_us)
            elif kind == "end":
                store.end(self.session(), now_us)
            elif kind == "mend":
                store.mend(now_us - 5_000, [self.session() for _ in range(3)], 10)
            else:
                store.trim(0, now_us, 50, [])
            store.commit()

    def session(self) -> bytes:
        return uid(self.drawn.randrange(SESSIONS))

    def write(self, now_us: int) -> None:
        count = self.drawn.choice([1, 3, 20])
        records: list[Record] = [
            event(now_us + i, session=self.session(), arrived_us=now_us, end_us=now_us) for i in range(count)
        ]
        keys = [b"k%d" % self.drawn.randrange(300) if self.drawn.random() < 0.2 else None for _ in records]
        self.store.write_alone([Append([one], [key]) for one, key in zip(records, keys, strict=True)])


def test_each_event_is_added_once_and_to_one_period(cluster: Cluster, url: str) -> None:
    stores: list[Store] = [journal.open(url, "otlp") for _ in range(3)]
    stores[0].write_alone([Append([session(n)], [None]) for n in range(SESSIONS)])
    ticks = itertools.count(1)
    replicas = [Replica(store, number, ticks) for number, store in enumerate(stores)]
    for replica in replicas:
        replica.start()
    cuts = cut_at = 0
    while alive := [replica for replica in replicas if replica.is_alive()]:
        alive[0].join(0.02)
        done = sum(replica.steps for replica in replicas)
        if done < cut_at + 20:  # a busy machine takes fewer steps in a time, and no more of them are to be lost
            continue
        cut_at = done
        cuts += len(
            cluster.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND state <> 'idle' "
                "ORDER BY random() LIMIT 1",
                url.rpartition("/")[2],
            )
        )
    assert [replica.error for replica in replicas] == [None] * 3
    with closing(stores[0].reader()) as reader:
        reader.windows(START_US, {"1d": 86_400})
    written, ended = Counter[bytes](), Counter[bytes]()
    with connect(url) as connection:
        for (body,) in connection.execute("SELECT body FROM otel_bridge.segment", binary=True):
            for record in decode(body):
                if isinstance(record, Event):
                    written[record.session] += 1
                elif isinstance(record, Idle):
                    ended[record.session] += record.events
        rows = connection.execute("SELECT id, events, stretch_events FROM otel_bridge.session", binary=True).fetchall()
        usage = connection.execute("SELECT sum(events)::int FROM otel_bridge.usage").fetchall()
    for store in stores:
        store.close()
    assert {id_: (events, events) for id_, events, _ in rows} == {
        id_: (written[id_], ended[id_] + open_) for id_, _, open_ in rows
    }
    assert usage == [(written.total(),)] and written.total() > 10 * STEPS and ended.total() > STEPS
    assert cuts
