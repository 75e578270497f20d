"""What an event takes in PostgreSQL: bytes in each table, and of the server's log.

    python -m benchmarks.sizes [--events 200000]

Events of sessions of ten. Without autovacuum: a session's row stands there twice, as it was made and with its totals.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

from benchmarks.commits import Traffic, made, server
from benchmarks.counting import fill
from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append
from otel_bridge.journal.postgres import totals
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.journal.postgres.schema import RING
from tests.harness.postgres import Cluster

Row = tuple[str, str, str]
SIZES = """SELECT relname, pg_total_relation_size(oid)::bigint FROM pg_class
    WHERE relnamespace = 'otel_bridge'::regnamespace AND relkind = 'r'"""
KEYS = """INSERT INTO otel_bridge.{table} (key, arrived_us)
    SELECT {key}, 0 FROM generate_series(1, %s) AS n ORDER BY 1"""
RANDOM_KEY = "'g'::bytea || decode(md5(random()::text), 'hex')"
TIMED_KEY = """'c'::bytea || decode(lpad(to_hex((extract(epoch FROM now()) * 1000 - n)::bigint), 12, '0')
    || left(md5(random()::text), 20), 'hex')"""
"""As those of contents: their event's time first, a millisecond apart."""


def _sizes(cluster: Cluster, database: str) -> dict[str, int]:
    found = {"keys": 0}
    for name, size in cluster.sql(SIZES, database=database):
        if name.startswith("seen_"):
            found["keys"] += size
        else:
            found[name] = size
    return found


def _random_ids(make: Callable[[Traffic], list[Append]], traffic: Traffic) -> list[Append]:
    """As from clients that choose random ids."""
    appends = make(traffic)
    for append in appends:
        append.keys = [key and b"g" + os.urandom(16) for key in append.keys]
        append.digests = {i: os.urandom(16) for i, key in enumerate(append.keys) if key is not None}
    return appends


def _remember(cluster: Cluster, database: str, count: int, random: bool) -> None:
    """Puts so many keys beside those that are remembered."""
    counts = {
        f"seen_{slot}": cluster.sql(f"SELECT count(*) FROM otel_bridge.seen_{slot}", database=database)[0][0]
        for slot in range(RING)
    }
    table = max(counts, key=lambda name: int(counts[name]))
    sql = KEYS.format(table=table, key=RANDOM_KEY if random else TIMED_KEY)
    cluster.sql(sql, count, database=database)


def run(events: int) -> Iterator[Row]:
    """Bytes an event, and of the server's log, with ten times as many keys remembered."""
    with server(autovacuum="off") as cluster:
        yield from _sides(cluster, events)
        yield from _totals(cluster, 2_000)


def _sides(cluster: Cluster, events: int) -> Iterator[Row]:
    for name, appends, random in (
        ("batches of 1,000", Traffic.batch, False),
        ("groups of 64", Traffic.group, False),
        ("groups of 64, random ids of clients", partial(_random_ids, Traffic.group), True),
    ):
        database = made(cluster).rpartition("/")[2]
        url = cluster.dsn(database)
        empty = _sizes(cluster, database)
        fill(url, appends, events)
        with connect(url) as db:
            totals.catch_up(db)
        full = _sizes(cluster, database)
        each = {table: (full[table] - empty[table]) / events for table in ("segment", "keys", "session", "usage")}
        yield (
            f"bytes an event, {name}",
            f"{sum(each.values()):.0f}",
            ", ".join(f"{table} {size:.1f}" for table, size in each.items()) + "; ten events a session",
        )
        _remember(cluster, database, 10 * events, random)
        cluster.sql("CHECKPOINT", database=database)
        before = _log_end(cluster)
        fill(url, appends, events)
        written = _log_since(cluster, before)
        yield (
            f"  of the server's log, {name}",
            f"{written / events:.0f}",
            f"{events:,} events from a checkpoint on, {10 * events:,} keys remembered before; without the totals",
        )


def _totals(cluster: Cluster, sessions: int) -> Iterator[Row]:
    """What the totals add to the log: where a session's events are added together, and where each is alone."""
    url = made(cluster)
    traffic = Traffic(sessions)
    with closing(journal.open(url, CONSUMER)) as store, connect(url) as db:
        store.begin_service()
        for start in range(0, sessions, 1_000):
            store.write_alone([Append([traffic.session()], [None]) for _ in range(min(1_000, sessions - start))])
        totals.catch_up(db)
        found = []
        for events in (10, 1, 1):  # of the last, every row has been there for a while
            for _ in range(events):
                pairs = [traffic.event(session) for session in traffic.sessions]
                store.write_alone([Append([event for event, _ in pairs], [key for _, key in pairs])])
            cluster.sql("CHECKPOINT")
            before = _log_end(cluster)
            totals.catch_up(db)
            found.append(_log_since(cluster, before) / (sessions * events))
    yield (
        "  of the log for the totals, ten events of a session added together",
        f"{found[0]:.0f}",
        f"each alone: {found[2]:.0f}; {sessions:,} sessions, from a checkpoint on",
    )


def _log_end(cluster: Cluster) -> str:
    return str(cluster.sql("SELECT pg_current_wal_lsn()::text")[0][0])


def _log_since(cluster: Cluster, before: str) -> int:
    return int(cluster.sql("SELECT (pg_current_wal_lsn() - %s::pg_lsn)::bigint", before)[0][0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    arguments = parser.parse_args()
    for what, figure, note in run(arguments.events):
        print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
