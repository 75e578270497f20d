"""Whole bridges over one PostgreSQL beside one over SQLite, in alternation: what they take, and what the processors do.

    python -m benchmarks.replicas [--rounds 5] [--seconds 5] [--replicas 1 2 3]

Everything is on one machine: bridges, PostgreSQL and wrk share its processors, so more replicas cannot take more than
there are processors for. What can be read off is what a post costs, and which process would be short of time first.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from benchmarks.commits import processor_seconds, server
from benchmarks.drivers import CONNECTIONS, Load, open_sessions, wrk
from tests.harness.bridge import ROOT, Bridge
from tests.harness.fleet import STEWARD, Fleet, page
from tests.harness.postgres import Cluster

BATCH = 1_000
BATCH_CONNECTIONS = 6
SINGLE_SESSIONS = 1_000
"""So many that none of them outgrows its first trace."""
BATCH_SESSIONS = 100
QUIET_REPLICAS = 3
PACE = 1_000
"""Single events a second that quiet replicas get."""
Row = tuple[str, str, str]


@dataclass
class Seen:
    """One load."""

    rate: float
    """Events a second."""
    bridges_us: float
    """Processor time an event, of all bridges."""
    server_us: float
    shares: dict[str, float]
    """Of all processors' time, by who had it."""
    p99_ms: float
    page_s: float
    """What a page took, at the end of the load."""


@dataclass
class Side:
    """One bridge over SQLite, or some over PostgreSQL."""

    name: str
    start: Callable[[], list[Bridge]]
    server_seconds: Callable[[], float]
    seen: dict[str, list[Seen]] = field(default_factory=lambda: {"single events": [], "batches of 1,000": []})
    bridges: list[Bridge] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)

    @contextmanager
    def served(self) -> Iterator[None]:
        self.bridges = self.start()
        try:
            if not self.sessions:
                self.sessions = [str(one) for one in open_sessions(self.bridges[0], SINGLE_SESSIONS)]
            yield
        finally:
            for bridge in self.bridges:
                bridge.stop()

    def measure(self, kind: str, seconds: float) -> Seen:
        single = kind == "single events"
        spent = [_seconds(bridge) for bridge in self.bridges]
        served, driven, began = self.server_seconds(), _children_seconds(), time.perf_counter()
        with ThreadPoolExecutor(len(self.bridges)) as threads:
            loads = list(threads.map(lambda bridge: self._load(bridge, single, seconds), self.bridges))
        took = time.perf_counter() - began
        by_bridge = [_seconds(one) - before for one, before in zip(self.bridges, spent, strict=True)]
        served, driven = self.server_seconds() - served, _children_seconds() - driven
        steward, page_s = self._page()
        events = sum(load.requests for load in loads) * (1 if single else BATCH)
        whole = took * (os.cpu_count() or 1)
        shares = {"steward": by_bridge[steward], "other bridges": sum(by_bridge) - by_bridge[steward],
                  "PostgreSQL": served, "wrk": driven}  # fmt: skip
        return Seen(
            sum(load.rate for load in loads) * (1 if single else BATCH),
            sum(by_bridge) / events * 1e6,
            served / events * 1e6,
            {name: seconds / whole for name, seconds in shares.items() if seconds},
            max(load.p99 for load in loads),
            page_s,
        )

    def _load(self, bridge: Bridge, single: bool, seconds: float) -> Load:
        of_all = CONNECTIONS if single else BATCH_CONNECTIONS
        sessions = self.sessions if single else self.sessions[:BATCH_SESSIONS]
        size = 1 if single else BATCH
        load = wrk(bridge.port, ",".join(sessions), seconds, connections=of_all // len(self.bridges), size=size)
        if load.failed:
            raise SystemExit(f"{load.failed} of {load.requests} posts failed: the figure would mean nothing")
        return load

    def _page(self) -> tuple[int, float]:
        """Which bridge counts for all, and what its page took."""
        for i, bridge in enumerate(self.bridges):
            began = time.perf_counter()
            if page(bridge).get((STEWARD, ())) == 1:
                return i, time.perf_counter() - began
        raise SystemExit("no bridge counts for all")


def _children_seconds() -> float:
    """Of the programs that have ended: wrk."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def _one(folder: Path) -> Callable[[], list[Bridge]]:
    folder.mkdir()
    bridge = Bridge(folder)
    return lambda: [bridge.start()]


def _many(folder: Path, cluster: Cluster, replicas: int) -> Callable[[], list[Bridge]]:
    folder.mkdir()
    fleet = Fleet(folder, cluster.dsn(cluster.database()), replicas)
    return lambda: fleet.start().bridges


def run(folder: Path, rounds: int, seconds: float, replicas: list[int]) -> Iterator[Row]:
    with server() as cluster:
        assert cluster.process is not None
        yield from quiet(folder / "quiet", cluster, 2 * seconds)
        pid = cluster.process.pid
        sides = [Side("SQLite", _one(folder / "sqlite"), lambda: 0.0)]
        for count in replicas:
            name = f"PostgreSQL, {count} replica{'s' * (count > 1)}"
            start = _many(folder / f"postgres{count}", cluster, count)
            sides.append(Side(name, start, lambda: processor_seconds(pid)))
        for _ in range(rounds):
            for side in sides:
                with side.served():
                    for kind, seen in side.seen.items():
                        side.measure(kind, 1)
                        seen.append(side.measure(kind, seconds))
        for kind in sides[0].seen:
            for side in sides:
                yield from _rows(kind, side, sides[0])


def quiet(folder: Path, cluster: Cluster, seconds: float) -> Iterator[Row]:
    """What replicas take that have nothing to do, and at a thousand single events a second."""
    assert cluster.process is not None
    pid = cluster.process.pid
    folder.mkdir()
    database = cluster.database()
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    fleet = Fleet(folder, cluster.dsn(database), QUIET_REPLICAS, **endpoint).start()
    bridges = fleet.bridges

    def spent() -> list[float]:
        return [processor_seconds(pid), *map(_seconds, bridges)]

    try:
        before = spent()
        time.sleep(seconds)
        served, *of_bridges = [(now - then) / seconds for now, then in zip(spent(), before, strict=True)]
        connections = cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", database)[0][0]
        yield (
            "a replica with nothing to do: resident memory",
            f"{median(map(_resident, bridges)):.0f} MiB",
            f"bridge and its export process; {connections / len(bridges):.1f} connections each",
        )
        yield (
            "  its processor time, of one core",
            f"{median(of_bridges):.1%}",
            f"the steward {max(of_bridges):.1%}; PostgreSQL {served / len(bridges):.1%} a replica",
        )
        sessions = ",".join(str(one) for one in open_sessions(bridges[0], SINGLE_SESSIONS))
        each = CONNECTIONS // len(bridges)
        pause = round(1_000 * each * len(bridges) / PACE)
        before, commits = spent(), _commits(cluster, database)
        with ThreadPoolExecutor(len(bridges)) as threads:
            loads = list(threads.map(lambda one: wrk(one.port, sessions, seconds, pause, each), bridges))
        served, *of_bridges = [(now - then) / seconds for now, then in zip(spent(), before, strict=True)]
        rate = sum(load.rate for load in loads)
        commits = (_commits(cluster, database) - commits) / seconds
        yield (
            f"{QUIET_REPLICAS} replicas at {rate:,.0f} single events/s: PostgreSQL, of one core",
            f"{served:.0%}",
            f"{commits:,.0f} commits/s, {served / rate * 1e6:.0f} µs an event; bridges {sum(of_bridges):.0%}; "
            f"p99 {max(load.p99 for load in loads):.0f} ms",
        )
    finally:
        fleet.close()


def _commits(cluster: Cluster, database: str) -> float:
    return float(cluster.sql("SELECT sum(commits) FROM otel_bridge.lane", database=database)[0][0] or 0)


def _seconds(bridge: Bridge) -> float:
    assert bridge.process is not None
    return processor_seconds(bridge.process.pid)


def _resident(bridge: Bridge) -> float:
    """MiB of the bridge and its export process."""
    assert bridge.process is not None
    main = psutil.Process(bridge.process.pid)
    return float(sum(one.memory_info().rss for one in (main, *main.children(recursive=True))) / (1 << 20))


def _rows(kind: str, side: Side, first: Side) -> Iterator[Row]:
    seen = side.seen[kind]
    pairs = [one.rate / other.rate for one, other in zip(seen, first.seen[kind], strict=True)]
    ratio = "" if side is first else f"ratio to SQLite {median(pairs):.2f} ({min(pairs):.2f}–{max(pairs):.2f}); "
    p99 = median(one.p99_ms for one in seen)
    yield f"{kind}, {side.name}, events/s", f"{median(one.rate for one in seen):,.0f}", f"{ratio}p99 {p99:.0f} ms"
    shares = {name: median(one.shares.get(name, 0.0) for one in seen) for one in seen for name in one.shares}
    told = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    if side is first:
        told = told.replace("steward", "bridge")
    bridges, served = median(one.bridges_us for one in seen), median(one.server_us for one in seen)
    what = f"{bridges:.1f} µs" if side is first else f"{bridges:.1f} + {served:.1f} µs"
    took = median(one.page_s for one in seen) * 1e3
    note = f"of all processors: {told}; a page at the end {took:.0f} ms"
    processor = f"  processor time an event{'' if side is first else ', bridges and server'}"
    yield f"{processor} ({kind}, {side.name})", what, note


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        for what, figure, note in run(Path(folder), arguments.rounds, arguments.seconds, arguments.replicas):
            print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
