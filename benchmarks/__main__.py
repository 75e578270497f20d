"""`make bench`: starts what it needs, drives it from another process, prints one table, writes RESULTS.md.

    python -m benchmarks [--short] [--only single batch drain sustained latency memory growth commits replicas counting
        sizes peers stages redaction]

Ratios are taken in one run, the two sides alternating, so that a machine that is slow today is slow for both. The
promises stay on in every figure: fsync before the answer, counted once, redacted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import bounded, commits, counting, replicas, sizes, stages
from benchmarks.drivers import CONNECTIONS, HERE, answers, bare, drained, open_sessions, post_all, process, wrk
from benchmarks.peers import peers
from benchmarks.redaction.corpus import corpus
from benchmarks.redaction.packages import NoApt
from benchmarks.redaction.report import figures
from tests.harness.bridge import ROOT, Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for


class Bench:
    def __init__(self, folder: Path, short: bool) -> None:
        self.folder = folder
        self.short = short
        self.rows: list[tuple[str, str, str]] = []
        self._made = 0

    def row(self, what: str, figure: str, note: str = "") -> None:
        self.rows.append((what, figure, note))
        print(f"  {what:58} {figure:>16}   {note}", flush=True)

    def bridge(self, **environ: str) -> Bridge:
        self._made += 1
        folder = self.folder / f"bridge{self._made}"
        folder.mkdir()
        return Bridge(folder, **environ)

    # 1 --------------------------------------------------------------------------------------------------------------

    def single(self) -> None:
        """Single events, 64 connections, against a bare Starlette POST served the same way."""
        rounds, seconds = (3, 3) if self.short else (7, 6)
        bridge = self.bridge().start()
        session = bridge.session()
        ratios, rates, yardstick = [], [], []
        with bare() as bare_port:
            wrk(bare_port, session, 1)
            wrk(bridge.port, session, 1)
            for _ in range(rounds):
                yardstick.append(wrk(bare_port, session, seconds).rate)
                load = wrk(bridge.port, session, seconds)
                assert load.failed == 0, f"{load.failed} answers were no 201"
                rates.append(load.rate)
                ratios.append(load.rate / yardstick[-1])
        self.maximum = median(rates)
        bridge.stop()
        spread = f"{min(ratios):.2f}–{max(ratios):.2f} in {rounds} pairs"
        self.row("single events, requests/s", f"{median(rates):,.0f}", f"{CONNECTIONS} connections, wrk")
        self.row("bare Starlette POST, requests/s", f"{median(yardstick):,.0f}", "same server settings")
        self.row("ratio (wanted ≥ 0.60, aim 0.80)", f"{median(ratios):.2f}", spread)
        self.bare_rate = median(yardstick)

    # 2 --------------------------------------------------------------------------------------------------------------

    def batch(self) -> None:
        """Batches of 1,000 distinct events, one bridge process."""
        rounds = 3 if self.short else 7
        bridge = self.bridge().start()
        sessions = open_sessions(bridge, 20)
        clean: list[float] = []
        realistic: list[float] = []
        for _ in range(rounds):
            for rates, contents in ((clean, (stages.CONTENT,)), (realistic, stages.REALISTIC)):
                bodies = stages.batches(100, 1000, sessions, contents)
                rates.append(100_000 / post_all(bridge.port, bodies))
        counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
        assert counted == 2 * rounds * 100_000, f"{counted} counted of {2 * rounds * 100_000}"
        bridge.stop()
        for what, rates, wanted in (
            ("batches of 1,000, events/s acknowledged", clean, 150_000),
            ("  the same, realistic texts: a tenth holds something", realistic, 100_000),
        ):
            spread = f"{min(rates):,.0f}–{max(rates):,.0f}, 3 connections"
            self.row(f"{what} (wanted ≥ {wanted:,})", f"{median(rates):,.0f}", spread)
            if hasattr(self, "bare_rate"):
                ratio = median(rates) / self.bare_rate
                self.row(f"  per bare request (wanted ≥ {wanted:,} / 22,000 = {wanted / 22_000:.1f})", f"{ratio:.1f}")

    # 3 --------------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """From a full journal to a local receiver that only parses."""
        count = 200_000 if self.short else 600_000
        for label, compression in (("", "none"), (", gzip", "gzip")):
            bridge = self.bridge()
            bounded.fill(bridge.journal, count, per_segment=1000)
            port = free_port()
            with process(str(HERE / "sink.py"), str(port)):
                wait_for(partial(answers, port), "receiver")
                bridge.environ |= {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                    "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
                }
                bridge.start()
                told = wait_for(partial(drained, port, count), "drained journal", 300, 0.2)
                wait_for(partial(_shows, bridge, "otel_bridge_ledger_gap", 0), "closed ledger")
                bridge.stop()
            rate = told["spans"] / (told["last"] - told["first"])
            self.row(f"drain, spans/s{label} (wanted ≥ 60,000)", f"{rate:,.0f}", f"{count:,} spans")

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
        seconds = 10 if self.short else 30
        bridge = self.bridge(OTEL_BRIDGE_RETENTION_DAYS="1")
        # Delivered long ago, and small: what half an hour of single events leaves behind goes in a minute.
        bounded.fill(bridge.journal, 12_000 * seconds, per_segment=10, age_days=2)
        bridge.start()
        session = bridge.session()
        warm = wrk(bridge.port, session, 3).rate
        delay = max(1, round(CONNECTIONS / ((getattr(self, "maximum", None) or warm) / 2) * 1000) - 1)
        scraper = subprocess.Popen(
            [
                "bash",
                "-c",
                f"while sleep 1; do curl -s -H 'Accept: application/openmetrics-text' {bridge.metrics_url}; done",
            ],
            stdout=subprocess.DEVNULL,
        )
        trimmed = _rows(bridge)
        load = wrk(bridge.port, session, seconds, delay_ms=delay)
        trimmed -= _rows(bridge)
        scraper.kill()
        bridge.stop()
        with bare() as port:
            wrk(port, session, 2)
            yardstick = wrk(port, session, seconds, delay_ms=delay)
        assert trimmed > 0, "nothing was trimmed meanwhile"
        note = f"with a scrape a second, and {trimmed:,} old rows trimmed meanwhile"
        self.row("time to answer at half the maximum, p50", f"{load.p50:.1f} ms", f"{load.rate:,.0f} requests/s")
        self.row("  p99 (wanted < 15 ms)", f"{load.p99:.1f} ms", note)
        self.row("  p99.9", f"{load.p999:.1f} ms")
        figures = f"{yardstick.p50:.1f}, {yardstick.p99:.1f}, {yardstick.p999:.1f} ms"
        self.row("bare Starlette POST at that pace, p50, p99, p99.9", figures, "what the machine itself does")

    # 6 --------------------------------------------------------------------------------------------------------------

    def memory(self) -> None:
        """Resident memory, bytes a record, and a scrape with 50 GPTs of 8 types."""
        for what, figure, note in bounded.memory(self.bridge, 200_000 if self.short else 1_000_000):
            self.row(what, figure, note)

    def growth(self) -> None:
        """Cost an event as the journal ages and sessions multiply."""
        for what, figure, note in bounded.growth(self.folder, 400_000 if self.short else 2_000_000):
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
        for what, figure, note in peers(self.folder, 2 if self.short else 5):
            self.row(what, figure, note)

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

PARTS = (
    "single",
    "batch",
    "drain",
    "sustained",
    "latency",
    "memory",
    "growth",
    "commits",
    "replicas",
    "counting",
    "sizes",
    "peers",
    "stages",
    "redaction",
)


def _rows(bridge: Bridge) -> int:
    """Old segments of a journal."""
    before_us = (time.time() - 86_400) * 1e6
    with closing(sqlite3.connect(f"file:{bridge.journal}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM segment WHERE arrived_us < ?", (before_us,)).fetchone()[0])


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
    arguments = parser.parse_args()
    # Beside the project, not in a memory file system: an fsync must reach a disk.
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        bench = Bench(Path(folder), arguments.short)
        for part in arguments.only:
            run: Callable[[], None] = getattr(bench, part)
            print(f"{part}: {(run.__doc__ or '').strip()}", flush=True)
            run()
    load = os.getloadavg()[0]
    lines = [
        "# Results", "",
        f"- machine: {_machine()}; load average at the end {load:.1f}",
        f"- date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"- commit: {_commit()}",
        f"- command: `python -m benchmarks{' --short' * arguments.short} --only {' '.join(arguments.only)}`", "",
        "Written by `make bench`; what each row means is in `benchmarks/__main__.py`.", "",
        "| what | figure | note |", "|---|---:|---|",
        *(f"| {what} | {figure} | {note} |" for what, figure, note in bench.rows),
        "",
    ]  # fmt: skip
    if arguments.write or (not arguments.short and tuple(arguments.only) == PARTS):
        (HERE / "RESULTS.md").write_text("\n".join(lines), encoding="utf-8")
        print("written: benchmarks/RESULTS.md")
    else:
        print(json.dumps({what: figure for what, figure, _ in bench.rows}, ensure_ascii=False))


if __name__ == "__main__":
    main()
