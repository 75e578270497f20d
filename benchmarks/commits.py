"""What the journal's part of an event costs: the writer's commits over PostgreSQL and over SQLite, in alternation.

    python -m benchmarks.commits [--rounds 7] [--seconds 2]

Without HTTP: a store, and groups of records as the writer hands them to it. A session has ten events. Groups of 64 hold
posts of one record each, of which six open sessions; a batch of 1,000 is one post of 100 sessions that are open. The
writer's processor time is that of its thread; the server's is that of all processes of the server, its background ones
too. PostgreSQL has fsync on, and full_page_writes. What follows a commit in another thread, once a second, stands
apart: the totals of sessions and usage are added, and SQLite's log goes into its file.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
import psycopg

from otel_bridge import ids, journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append, Store
from otel_bridge.journal.postgres import migrations
from otel_bridge.records import Event, Session
from tests.harness.bridge import ROOT
from tests.harness.postgres import Cluster

CONTENT = "¿Cómo configuro un pipeline CI/CD con Docker?"
USER = "ab12cd34ef56ab12"
EVENTS_A_SESSION = 10
SETTINGS = {"shared_buffers": "'256MB'", "max_wal_size": "'4GB'"}
"""What docs/scaling.md asks for; everything else as PostgreSQL comes."""
Row = tuple[str, str, str]


@contextmanager
def server(**settings: str) -> Iterator[Cluster]:
    """A PostgreSQL of its own, whose commits reach the disk."""
    cluster = Cluster({**SETTINGS, **settings})
    try:
        yield cluster.start()
    finally:
        cluster.close()


def made(cluster: Cluster) -> str:
    """The URL of a new journal."""
    url = cluster.dsn(cluster.database())
    with psycopg.connect(url, autocommit=True) as connection:
        migrations.migrate(connection, lambda _: None)
    return url


def processor_seconds(pid: int) -> float:
    """What a process and all that it has started have spent."""
    main = psutil.Process(pid)
    own = main.cpu_times()
    total = own.user + own.system + own.children_user + own.children_system
    for child in main.children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return float(total)


class Traffic:
    """Records as they come: sessions, and ten events in each, of many sessions at a time."""

    def __init__(self, open_at_once: int) -> None:
        self._open_at_once = open_at_once
        self._now_us = time.time_ns() // 1000
        self.sessions: list[bytes] = []
        """That are open."""
        self._count = 0

    def session(self) -> Session:
        self._now_us += 1
        session = Session(ids.new_uuid(self._now_us), "devops-expert", USER, self._now_us, self._now_us)
        self.sessions.append(session.id)
        return session

    def event(self, session: bytes) -> tuple[Event, bytes]:
        """An event, and its key as its content gives it."""
        self._now_us += 1
        now_us = self._now_us
        key = b"c" + (now_us // 1000).to_bytes(6, "big") + os.urandom(10)
        event = Event(ids.derived_uuid(key, now_us), session, "devops-expert", USER, "consulta", CONTENT, 1500.0, 25,
                      150, now_us, now_us)  # fmt: skip
        return event, key

    def opened(self) -> list[Append]:
        """Posts that open the sessions which the next events are of."""
        self.sessions.clear()
        return [Append([self.session()], [None]) for _ in range(self._open_at_once)]

    def group(self, size: int = 64) -> list[Append]:
        """Posts of one record each. Every eleventh opens a session; one goes on in whichever has waited longest."""
        appends = []
        for _ in range(size):
            self._count += 1
            if self._count % (EVENTS_A_SESSION + 1) == 0:
                appends.append(Append([self.session()], [None]))
                self.sessions.pop(0)
            else:
                event, key = self.event(self.sessions[self._count % len(self.sessions)])
                appends.append(Append([event], [key]))
        return appends

    def batch(self, size: int = 1_000) -> list[Append]:
        """One post of `size` events."""
        sessions = size // EVENTS_A_SESSION
        pairs = [self.event(self.sessions[-1 - i % sessions]) for i in range(size)]
        return [Append([event for event, _ in pairs], [key for _, key in pairs])]


class Costs(NamedTuple):
    """Of one record, and of one commit."""

    writer_us: float
    server_us: float
    behind_us: float
    """What is done behind the commits, server and all."""
    commit_ms: float
    rate: float
    """Records a second, of a writer that does nothing else."""


class Side:
    """A store, and what its server spends."""

    def __init__(self, store: Store, server_seconds: Callable[[], float]) -> None:
        self._store = store
        self._server_seconds = server_seconds
        self._traffic = Traffic(200)

    def measure(self, batches: bool, seconds: float) -> Costs:
        store, traffic = self._store, self._traffic
        store.write_alone(traffic.opened())
        records, commits, writer, wall = 0, 0, 0.0, 0.0
        served = self._server_seconds()
        while wall < seconds:
            # Made before they are timed, and a few at a time: what is timed finds the memory of a bridge under load.
            if batches:
                store.write_alone(traffic.opened())
            groups = [traffic.batch()] if batches else [traffic.group() for _ in range(8)]
            before, spent = time.perf_counter(), time.thread_time()
            for group in groups:
                store.write_alone(group)
            writer += time.thread_time() - spent
            wall += time.perf_counter() - before
            commits += len(groups)
            records += sum(len(append.records) for group in groups for append in group)
        between = self._server_seconds()
        spent = time.thread_time()
        store.maintain(0, lambda run: run())
        behind = time.thread_time() - spent + self._server_seconds() - between
        served = between - served
        each = 1e6 / records
        return Costs(writer * each, served * each, behind * each, wall / commits * 1e3, records / wall)


def run(rounds: int, seconds: float) -> Iterator[Row]:
    with server() as cluster, tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        assert cluster.process is not None
        pid = cluster.process.pid
        stores = [journal.open(made(cluster), CONSUMER), journal.open(f"sqlite:///{folder}/journal.db", CONSUMER)]
        sides = [Side(stores[0], lambda: processor_seconds(pid)), Side(stores[1], lambda: 0.0)]
        for store in stores:
            store.begin_service()
        for batches, name, wanted in ((False, "groups of 64", 5), (True, "a batch of 1,000", 2)):
            for side in sides:
                side.measure(batches, seconds / 4)
            seen = [[side.measure(batches, seconds) for side in sides] for _ in range(rounds)]
            postgres, sqlite = [list(costs) for costs in zip(*seen, strict=True)]
            yield from _rows(name, wanted, postgres, sqlite)
        for store in stores:
            store.close()


def _rows(name: str, wanted: int, postgres: list[Costs], sqlite: list[Costs]) -> Iterator[Row]:
    def of(costs: list[Costs], field: str) -> float:
        return float(median(getattr(one, field) for one in costs))

    def ratio(whole: Callable[[Costs], float]) -> str:
        pairs = [whole(one) / whole(other) for one, other in zip(postgres, sqlite, strict=True)]
        return f"{median(pairs):.2f} ({min(pairs):.2f}–{max(pairs):.2f})"

    least = min(one.writer_us for one in postgres)
    yield (
        f"PostgreSQL, {name}: writer's processor time an event (wanted ≤ {wanted})",
        f"{of(postgres, 'writer_us'):.1f} µs",
        f"least {least:.1f}; SQLite {of(sqlite, 'writer_us'):.1f} µs, and ratio to it {ratio(lambda c: c.writer_us)}",
    )
    yield (
        f"  {name}: server's processor time an event",
        f"{of(postgres, 'server_us'):.1f} µs",
        f"with the writer's, ratio to SQLite {ratio(lambda c: c.writer_us + c.server_us)}",
    )
    yield (
        f"  {name}: behind the commits, writer's process and server",
        f"{of(postgres, 'behind_us'):.1f} µs",
        f"SQLite {of(sqlite, 'behind_us'):.1f} µs; of all, ratio to SQLite "
        f"{ratio(lambda c: c.writer_us + c.server_us + c.behind_us)}",
    )
    yield (
        f"  {name}: a commit",
        f"{of(postgres, 'commit_ms'):.1f} ms",
        f"SQLite {of(sqlite, 'commit_ms'):.1f} ms, ratio to it {ratio(lambda c: c.commit_ms)}",
    )
    yield (
        f"  {name}: events/s of one writer",
        f"{of(postgres, 'rate'):,.0f}",
        f"SQLite {of(sqlite, 'rate'):,.0f}, ratio to it {ratio(lambda c: c.rate)}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    Path(ROOT / ".run").mkdir(exist_ok=True)
    for what, figure, note in run(arguments.rounds, arguments.seconds):
        print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
