"""`make bench`: starts what it needs, drives it from another process, prints one table, writes RESULTS.md.

    python -m benchmarks [--short] [--keys N] [--only single sessions batch limit drain sustained latency memory growth
        work commits replicas counting sizes peers stages redaction]

Ratios are taken in one run, the two sides alternating, so that a machine that is slow today is slow for both. The
promises stay on in every figure: fsync before the answer, counted once, redacted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from benchmarks import (
    bounded,
    commits,
    counting,
    draining,
    latency,
    replicas,
    sizes,
    stages,
    work,
    yardstick,
)
from benchmarks.drivers import HERE, answers, open_sessions, post_all, process, wrk
from benchmarks.peers import peers
from benchmarks.posts import Posts
from benchmarks.redaction.corpus import corpus
from benchmarks.redaction.packages import NoApt
from benchmarks.redaction.report import figures
from tests.harness.bridge import ROOT, Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for


class Bench:
    def __init__(self, folder: Path, short: bool, keys: int) -> None:
        self.folder = folder
        self.short = short
        self.keys = keys
        self.rows: list[tuple[str, str, str]] = []
        self._made = 0

    def row(self, what: str, figure: str, note: str = "") -> None:
        self.rows.append((what, figure, note))
        print(f"  {what:58} {figure:>16}   {note}", flush=True)

    def _rows(self, rows: Iterable[tuple[str, str, str]]) -> None:
        for what, figure, note in rows:
            self.row(what, figure, note)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A folder of a part's own, whose files go with it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield Path(folder)

    def bridge(self, **environ: str) -> Bridge:
        self._made += 1
        folder = self.folder / f"bridge{self._made}"
        folder.mkdir()
        return Bridge(folder, **environ)

    # 1 --------------------------------------------------------------------------------------------------------------

    def single(self) -> None:
        """Single events in each order of their times, 64 connections, against a bare Starlette POST."""
        posts = self._posts()
        self._rows(posts.single())
        self.maximum, self.bare_rate = posts.maximum, posts.bare_rate
        if self.keys:
            self._rows(self._posts(self.keys).single())

    def sessions(self) -> None:
        """Posts that open a session each, against the same."""
        self._rows(self._posts().sessions())

    def _posts(self, keys: int = 0) -> Posts:
        return Posts(self.bridge, *((3, 3) if self.short else (7, 6)), keys)

    # 2 --------------------------------------------------------------------------------------------------------------

    def batch(self) -> None:
        """Batches of 1,000 distinct events in each order of their times, one bridge process."""
        self._rows(self._posts().batch())
        if self.keys:
            self._rows(self._posts(self.keys).batch())

    def limit(self) -> None:
        """What decodes a batch and writes its bytes with one fsync, nothing else, and how near we are to it."""
        with self.place() as folder:
            self._rows(yardstick.run(folder, 40 if self.short else 200, 100))

    # 3 --------------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """From a full journal to a local receiver that only parses."""
        for what, figure, note in draining.run(self.bridge, 200_000 if self.short else 1_000_000):
            self.row(what, figure, note)

    # 4 --------------------------------------------------------------------------------------------------------------

    def sustained(self) -> None:
        """Ingest and export together: as fast as the clients can, with the lag watched."""
        seconds = 15 if self.short else 120
        for label, single in (("batches of 1,000", False), ("single events", True)):
            port = free_port()
            with process(str(HERE / "sink.py"), str(port)):
                wait_for(partial(answers, port), "receiver")
                bridge = self.bridge(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}").start()
                sessions = open_sessions(bridge, 20)
                lags, events, busy = [0.0], 0, 0.0
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    if single:
                        load = wrk(bridge.port, str(sessions[0]), 5)
                        events, busy = events + load.requests, busy + load.requests / load.rate
                    else:
                        bodies = stages.batches(100, 1000, sessions)
                        # Paced: what is asked is that 30,000/s go through both ends, not how far the ends can part.
                        took = post_all(bridge.port, bodies, connections=1)
                        time.sleep(max(0.0, 100_000 / PACE - took))
                        events, busy = events + 100_000, busy + max(took, 100_000 / PACE)
                    lags.append(bridge.metric("otel_bridge_export_lag_seconds"))
                exported = bridge.metric("otel_bridge_exported_records_total")
                wait_for(partial(_shows, bridge, "otel_bridge_pending_records", 0), "drained journal", 120)
                bridge.stop()
            wanted = 8_000 if single else 30_000
            self.row(f"sustained, {label}, events/s (wanted ≥ {wanted:,})", f"{events / busy:,.0f}",
                     f"{seconds} s; export lag at most {max(lags):.1f} s, last {lags[-1]:.1f} s; "
                     f"{exported / max(1, events):.0%} exported when the load ended")  # fmt: skip
            if single and hasattr(self, "bare_rate"):
                share = events / busy / self.bare_rate
                self.row("  of the bare endpoint's requests/s (wanted ≥ 8,000 / 21,000 = 0.38)", f"{share:.2f}")

    # 5 --------------------------------------------------------------------------------------------------------------

    def latency(self) -> None:
        """Time to answer at half of the maximum, while scrapes and trims run; the bare endpoint at the same pace."""
        rounds, seconds = (3, 8) if self.short else (5, 20)
        with self.place() as folder:
            self._rows(latency.run(folder, rounds, seconds, getattr(self, "maximum", None)))

    # 6 --------------------------------------------------------------------------------------------------------------

    def memory(self) -> None:
        """Resident memory, bytes a record, and a scrape with 50 GPTs of 8 types."""
        for what, figure, note in bounded.memory(self.bridge, 200_000 if self.short else 1_000_000):
            self.row(what, figure, note)

    def growth(self) -> None:
        """Cost an event as the journal ages and sessions multiply."""
        for what, figure, note in bounded.growth(self.folder, 400_000 if self.short else 2_000_000):
            self.row(what, figure, note)

    def work(self) -> None:
        """Processor time an event, a decade of events, sessions, users, days and GPTs at a time; scrapes."""
        for what, figure, note in work.run(self.folder, work.SHORT if self.short else work.Sizes()):
            self.row(what, figure, note)

    # 7 --------------------------------------------------------------------------------------------------------------

    def commits(self) -> None:
        """The journal's part of an event, over PostgreSQL and over SQLite."""
        for what, figure, note in commits.run(*((3, 0.5) if self.short else (7, 2.0))):
            self.row(what, figure, note)

    def replicas(self) -> None:
        """Whole bridges over one PostgreSQL, beside one over SQLite."""
        rounds, seconds = (1, 2.0) if self.short else (5, 5.0)
        for what, figure, note in replicas.run(self.folder, rounds, seconds, [1, 2, 3]):
            self.row(what, figure, note)

    def counting(self) -> None:
        """What one replica counts for all: the fold, totals, pages."""
        for what, figure, note in counting.run(self.folder, 60_000 if self.short else 200_000):
            self.row(what, figure, note)

    def sizes(self) -> None:
        """Bytes an event in PostgreSQL, and of its log."""
        for what, figure, note in sizes.run(50_000 if self.short else 200_000):
            self.row(what, figure, note)

    # 8 --------------------------------------------------------------------------------------------------------------

    def peers(self) -> None:
        """The same events at other programs, and what each promises when it answers."""
        with self.place() as folder:
            self._rows(peers(folder, *((3, 2) if self.short else (5, 5))))

    def stages(self) -> None:
        """Microseconds an event, each stage alone."""
        for name, micros in stages.run(1000, 40 if self.short else 100, 20).rows:
            self.row(f"stage: {name}", f"{micros:.2f} µs", "best of its rounds")

    def redaction(self) -> None:
        """False finds in real text, and misses of what was planted; which they are: python -m benchmarks.redaction."""
        try:
            lines = corpus(ROOT / ".run" / "redaction")
        except NoApt as why:
            self.row("redaction", "not measured", str(why))
            return
        for what, figure, note in figures(lines):
            self.row(what, figure, note)


PACE = 33_000
"""Events a second that the sustained batches offer."""

KEYS = 10_000_000

PARTS = (
    "single",
    "sessions",
    "batch",
    "limit",
    "drain",
    "sustained",
    "latency",
    "memory",
    "growth",
    "work",
    "commits",
    "replicas",
    "counting",
    "sizes",
    "peers",
    "stages",
    "redaction",
)


def _shows(bridge: Bridge, metric: str, value: float) -> bool:
    return bridge.metric(metric) == value


def _machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.processor())  # fmt: skip
    return f"{os.cpu_count()} × {model}, Python {platform.python_version()}"


def _commit() -> str:
    out = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    dirty = subprocess.run(["git", "status", "--porcelain", "otel_bridge"], cwd=ROOT, capture_output=True, text=True)
    return out.stdout.strip() + (" with changes" if dirty.stdout.strip() else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a few minutes, for a look; writes nothing unless --write")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md although it was short")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=" ".join(PARTS))
    parser.add_argument(
        "--keys",
        type=int,
        metavar="N",
        help=f"that are remembered before single events and batches are measured again (default {KEYS:,}; short: 0)",
    )
    arguments = parser.parse_args()
    keys = (0 if arguments.short else KEYS) if arguments.keys is None else arguments.keys
    # Beside the project, not in a memory file system: an fsync must reach a disk.
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        bench = Bench(Path(folder), arguments.short, keys)
        writes = arguments.write or (not arguments.short and tuple(arguments.only) == PARTS)
        for i, part in enumerate(arguments.only, 1):
            run: Callable[[], None] = getattr(bench, part)
            print(f"{part}: {(run.__doc__ or '').strip()}", flush=True)
            run()
            if writes:  # after each part: a run takes most of an hour, and what it has seen is seen
                command = f"python -m benchmarks{' --short' * arguments.short} --only {' '.join(arguments.only[:i])}"
                (HERE / "RESULTS.md").write_text(_results(bench.rows, command), encoding="utf-8")
    if writes:
        print("written: benchmarks/RESULTS.md")
    else:
        print(json.dumps({what: figure for what, figure, _ in bench.rows}, ensure_ascii=False))


def _results(rows: Iterable[tuple[str, str, str]], command: str) -> str:
    lines = [
        "# Results", "",
        f"- machine: {_machine()}; load average at the end {os.getloadavg()[0]:.1f}",
        f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- commit: {_commit()}",
        f"- command: `{command}`", "",
        "Written by `make bench`; what each row means is in `benchmarks/__main__.py`.", "",
        "| what | figure | note |", "|---|---:|---|",
        *(f"| {what} | {figure} | {note} |" for what, figure, note in rows),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
