"""Time to answer at half of the maximum, while a page is scraped each second and old segments are trimmed, beside the
bare server at the same pace, to which neither happens. The two sides alternate.

    python -m benchmarks.latency [--rounds 3] [--seconds 10] [--pace 5000]
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import bounded
from benchmarks.drivers import CONNECTIONS, Load, bare, wrk
from tests.harness.bridge import ROOT, Bridge

Row = tuple[str, str, str]
OLD = 12_000
"""Records a second of load that wait to be trimmed, delivered long ago and in small segments: what half an hour of
single events leaves behind goes in a minute."""


def run(folder: Path, rounds: int, seconds: float, maximum: float | None) -> Iterator[Row]:
    """`maximum`: single events a second; None measures it."""
    old = Bridge(_made(folder / "old"))
    bounded.fill(old.journal, round(OLD * (seconds + 5)), per_segment=10, age_days=2)
    bounded.fill(old.journal, 10)  # of today: a bridge that finds nothing newer than a day believes no clock
    maximum = maximum or _maximum(folder)
    delay = max(1, round(CONNECTIONS / (maximum / 2) * 1000) - 1)
    ours, yardstick, trimmed = list[Load](), list[Load](), 0
    for i in range(rounds):
        load, gone = _ours(folder / f"round{i}", old.journal, seconds, delay)
        ours.append(load)
        trimmed += gone
        with bare() as port:
            wrk(port, "0", 1)
            yardstick.append(wrk(port, "0", seconds, delay_ms=delay))
    assert trimmed > 0, "nothing was trimmed meanwhile"

    def times(name: str) -> str:
        pairs = [getattr(one, name) / getattr(other, name) for one, other in zip(ours, yardstick, strict=True)]
        return f"{median(pairs):.1f} ({min(pairs):.1f}–{max(pairs):.1f})"

    def of(loads: list[Load], name: str) -> str:
        return f"{median(getattr(load, name) for load in loads):.1f}"

    note = f"a scrape a second, {trimmed // rounds:,} old rows trimmed meanwhile; {rounds} pairs of {seconds:g} s"
    rate = median(load.rate for load in ours)
    yield "time to answer at half the maximum, p50", f"{of(ours, 'p50')} ms", f"{rate:,.0f} requests/s"
    yield "  p99", f"{of(ours, 'p99')} ms", note
    yield "  p99.9", f"{of(ours, 'p999')} ms", ""
    figures = ", ".join(of(yardstick, name) for name in ("p50", "p99", "p999"))
    yield "bare Starlette POST at that pace, p50, p99, p99.9", f"{figures} ms", "without scrapes: what the machine does"
    yield "p99, times bare's (wanted ≤ 2.5)", times("p99"), f"p50 {times('p50')}, p99.9 {times('p999')}"


def _maximum(folder: Path) -> float:
    bridge = Bridge(_made(folder / "maximum")).start()
    try:
        session = bridge.session()
        return max(wrk(bridge.port, session, 3).rate for _ in range(2))
    finally:
        bridge.close()


def _ours(folder: Path, old: Path, seconds: float, delay_ms: int) -> tuple[Load, int]:
    """What was seen, and how many old segments went meanwhile."""
    bridge = Bridge(_made(folder), OTEL_BRIDGE_RETENTION_DAYS="1")
    shutil.copytree(old.parent, bridge.journal.parent, dirs_exist_ok=True)
    bridge.start()
    try:
        session = bridge.session()
        wrk(bridge.port, session, 1)
        with _scraped(bridge):
            before = _old_segments(bridge)
            load = wrk(bridge.port, session, seconds, delay_ms=delay_ms)
            gone = before - _old_segments(bridge)
        bridge.stop()
    finally:
        bridge.close()
    assert load.failed == 0, f"{load.failed} answers were no 201"
    shutil.rmtree(folder)
    return load, gone


@contextmanager
def _scraped(bridge: Bridge) -> Iterator[None]:
    address, path = bridge.metrics_url.removeprefix("http://").split("/", 1)
    command = [sys.executable, str(Path(__file__).with_name("scraper.py")), address, f"/{path}"]
    scraper = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert scraper.stdout is not None and scraper.stdout.readline().startswith("200 ")
        yield
        assert scraper.poll() is None, "the scraper has ended"
    finally:
        scraper.kill()
        pages = scraper.communicate()[0].splitlines()
        assert pages and all(page.startswith("200 ") for page in pages), pages


def _old_segments(bridge: Bridge) -> int:
    before_us = (time.time() - 86_400) * 1e6
    with closing(sqlite3.connect(f"file:{bridge.journal}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM segment WHERE arrived_us < ?", (before_us,)).fetchone()[0])


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--pace", type=float, metavar="N", help="requests a second (default: half of the maximum)")
    arguments = parser.parse_args()
    # Beside the project, not in a memory file system: an fsync must reach a disk.
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        maximum = 2 * arguments.pace if arguments.pace else None
        for what, figure, note in run(Path(folder), arguments.rounds, arguments.seconds, maximum):
            print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
