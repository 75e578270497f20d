"""What is counted behind the commits over PostgreSQL: the steward's fold, the totals of sessions, and pages.

    python -m benchmarks.counting [--events 200000]

One replica does this for all, so what it can do a second is a wall (docs/scaling.md). Processor time is that of the
thread that counts; the server's is that of all of its processes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.commits import Traffic, made, processor_seconds, server
from otel_bridge import config, journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append, Position, Segment
from otel_bridge.journal.postgres import totals
from otel_bridge.journal.postgres.connection import connect
from otel_bridge.metrics.state import MetricState
from otel_bridge.ops import snapshot
from tests.harness.bridge import GUIDE_EVENT, OPENMETRICS, ROOT, Bridge
from tests.harness.fleet import Fleet
from tests.harness.postgres import Cluster

SEGMENTS = 500
"""That the steward reads at once."""
Row = tuple[str, str, str]


def fill(url: str, appends: Callable[[Traffic], list[Append]], events: int) -> int:
    """Journals so many events of sessions that have ten; returns how many records that is."""
    traffic = Traffic(200)
    with closing(journal.open(url, CONSUMER)) as store:
        store.begin_service()
        assert store.replicas is not None
        assert store.replicas.claim_key(b"of the benchmark")
        written = opened = 0
        while written < events:
            if written >= opened:
                opened += 2_000
                store.write_alone(traffic.opened())
            group = appends(traffic)
            store.write_alone(group)
            written += sum(len(append.records) for append in group)
        return store.last


class Work:
    """Processor time of this thread, and of the server, over something done."""

    def __init__(self, cluster: Cluster) -> None:
        assert cluster.process is not None
        self._pid = cluster.process.pid
        self.own = self.server = 0.0

    def __enter__(self) -> Work:
        self.own, self.server = time.thread_time(), processor_seconds(self._pid)
        return self

    def __exit__(self, *_: object) -> None:
        self.own, self.server = time.thread_time() - self.own, processor_seconds(self._pid) - self.server


def fold_alone(url: str, records: int) -> float:
    """Seconds of processor time that the fold itself takes, of segments that are read already."""
    state = MetricState(config.load(str(ROOT / "otel-bridge.toml"), {}).gpts)
    with closing(journal.open_reader(url, CONSUMER)) as reader:
        after, segments = 0, list[Segment]()
        while found := reader.segments(after, SEGMENTS):
            segments += found
            after = found[-1].last
    began = time.thread_time()
    for segment in segments:
        snapshot.fold(state, segment)
    assert after == records
    return time.thread_time() - began


def followed(url: str, records: int, cluster: Cluster) -> Work:
    """Folds all of a journal as the steward does."""
    state = MetricState(config.load(str(ROOT / "otel-bridge.toml"), {}).gpts)

    def fold(segments: list[Segment]) -> None:
        for segment in segments:
            snapshot.fold(state, segment)

    with closing(journal.open(url, CONSUMER)) as store:
        assert store.replicas is not None
        with closing(store.replicas.steward()) as steward:
            assert steward.hold()
            position: Position = {}
            with Work(cluster) as work:
                while steward.follow(position, fold):
                    pass
            assert position == {0: records}
    return work


def steward(cluster: Cluster, events: int) -> Iterator[Row]:
    """The fold and the totals, of commits of both sizes."""
    for name, appends in (("batches of 1,000", Traffic.batch), ("groups of 64", Traffic.group)):
        url = made(cluster)
        records = fill(url, appends, events)
        # Before the journal is opened, which adds them, too.
        with connect(url) as db, Work(cluster) as work:
            began = time.perf_counter()
            added = totals.catch_up(db)
            took = time.perf_counter() - began
        assert added == records
        yield (
            f"totals of sessions and usage, {name}: records/s of one core",
            f"{records / work.own:,.0f}",
            f"{work.own / records * 1e6:.2f} µs each, the server's {work.server / records * 1e6:.2f} µs; "
            f"{records / took:,.0f}/s on the clock",
        )
        alone = fold_alone(url, records)
        yield (
            f"fold, {name}: records/s of one core",
            f"{records / alone:,.0f}",
            f"{alone / records * 1e6:.2f} µs each: decode and count",
        )
        work = followed(url, records, cluster)
        yield (
            f"  the steward's, {name}, read from the server: records/s of one core",
            f"{records / work.own:,.0f}",
            f"{work.own / records * 1e6:.2f} µs each, the server's {work.server / records * 1e6:.2f} µs",
        )


def pages(folder: Path, cluster: Cluster) -> Iterator[Row]:
    """A page over PostgreSQL (saved before it is shown) and over SQLite."""
    for gpts in (1, 20):
        names = [f"gpt-{i}" for i in range(gpts)]
        text = "\n".join(f'[gpts.{name}]\nmodel = "gpt-6.2-sol"' for name in names)
        for backend in ("PostgreSQL", "SQLite"):
            place = folder / f"{backend}{gpts}"
            place.mkdir()
            if backend == "SQLite":
                bridge = Bridge(place, text)
            else:
                bridge = Fleet(place, cluster.dsn(cluster.database()), 1, text).bridges[0]
            bridge.start()
            try:
                bytes_, took = _page(bridge, names)
            finally:
                bridge.close()
            yield (
                f"a page, {gpts} GPT{'s' * (gpts > 1)} × 8 types, {backend}",
                f"{took * 1e3:.0f} ms",
                f"{bytes_ / 1024:,.0f} KiB, a new event in each GPT before it",
            )


def _page(bridge: Bridge, gpts: list[str]) -> tuple[int, float]:
    types = config.load(str(ROOT / "otel-bridge.toml"), {}).gpts["devops-expert"].event_types
    sessions = [bridge.session(gpt_id=gpt) for gpt in gpts]
    for session in sessions:
        many = [{**GUIDE_EVENT, "sesion_id": session, "tipo": kind} for kind in (*types, "otra")]
        assert bridge.post("/events", many).status_code == 201
    times, size = [], 0
    for _ in range(9):
        for session in sessions:
            assert bridge.event(session).status_code == 201
        began = time.perf_counter()
        size = len(bridge.http.get(bridge.metrics_url, headers=OPENMETRICS, timeout=30).content)
        times.append(time.perf_counter() - began)
    return size, median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    arguments = parser.parse_args()
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        for what, figure, note in run(Path(folder), arguments.events):
            print(f"| {what} | {figure} | {note} |", flush=True)


def run(folder: Path, events: int) -> Iterator[Row]:
    # Without autovacuum, which would be at work in some of the figures and not in others.
    with server(autovacuum="off") as cluster:
        yield from steward(cluster, events)
        yield from pages(folder, cluster)


if __name__ == "__main__":
    main()
