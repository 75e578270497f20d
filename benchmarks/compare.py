"""Revisions in one run, in alternation: what a change gained or lost.

    python -m benchmarks.compare 57ff894 -                            # a commit and the working tree, every figure
    python -m benchmarks.compare --rounds 8 --figures single HEAD~1 HEAD
    python -m benchmarks.compare --figures batch,drain v1 v2 -        # tags and branches are revisions, too
    python -m benchmarks.compare --figures p99 HEAD HEAD              # twice the same: how far the noise goes

Each revision runs its own package and configuration file with this tree's dependencies. Figures:

    single   posts of one event: a second, in relation to the bare endpoint, processor time each
    batch    events a second, in posts of 1,000; the same with texts of which a tenth holds something to redact
    drain    spans a second from a full journal to a local receiver that only parses
    p99      time to answer at half of the maximum: that of the slowest revision, the same pace for all

A ratio is the median of the rounds' ratios to the first revision, with the least and the greatest of them. Processor
time a post says more than posts a second on a machine that others share: it is what the bridge spent, whoever else had
the processors meanwhile.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import psutil

from benchmarks import stages
from benchmarks.drivers import CONNECTIONS, HERE, Load, answers, bare, drained, open_sessions, post_all, process, wrk
from benchmarks.orders import ORDERS, RISING
from tests.harness.bridge import ROOT, Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

WORKING_TREE = "-"
FIGURES = ("single", "batch", "drain", "p99")
BATCH = 1_000
BATCH_CONNECTIONS = 3
SPANS_A_SECOND = 60_000
"""The backlog of a drain, a second of its load."""


@dataclass
class Tree:
    """A revision's package and configuration file."""

    revision: str
    config: str
    environ: dict[str, str] = field(default_factory=dict)

    def bridge(self, folder: Path, **environ: str) -> Bridge:
        folder.mkdir(exist_ok=True)
        return Bridge(folder, self.config, **self.environ, **environ)


def checked_out(revision: str, folder: Path) -> Tree:
    """Raises SystemExit for what git does not know."""
    if revision == WORKING_TREE:
        return Tree(revision, (ROOT / "otel-bridge.toml").read_text(encoding="utf-8"))
    archive = ["git", "archive", revision, "otel_bridge", "otel-bridge.toml"]
    made = subprocess.run(archive, cwd=ROOT, capture_output=True)
    if made.returncode != 0:
        raise SystemExit(f"{revision}: {made.stderr.decode().strip()}")
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as tar:
        tar.extractall(folder, filter="data")
    config = (folder / "otel-bridge.toml").read_text(encoding="utf-8")
    return Tree(revision, config, {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(folder)})


@dataclass
class Row:
    """A figure's values: of each revision, in each round."""

    what: str
    form: str
    seen: list[list[float]]

    def cells(self) -> list[str]:
        values = [self.form.format(median(mine)) for mine in self.seen]
        return [self.what, *values, *map(self._ratio, self.seen[1:])]

    def _ratio(self, mine: list[float]) -> str:
        pairs = [one / first for one, first in zip(mine, self.seen[0], strict=True)]
        return f"{median(pairs):.2f} ({min(pairs):.2f}–{max(pairs):.2f})"


def table(revisions: list[str], rows: list[Row]) -> str:
    names = ["working tree" if one == WORKING_TREE else one for one in revisions]
    lines = [
        ["figure", *names, *(f"{name} / {names[0]}" for name in names[1:])],
        ["---", *["---:"] * (2 * len(names) - 1)],
        *(row.cells() for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Comparison:
    def __init__(self, trees: list[Tree], folder: Path, rounds: int, seconds: int, order: str = RISING) -> None:
        self.rows: list[Row] = []
        self._trees = trees
        self._folder = folder
        self._rounds = rounds
        self._seconds = seconds
        self._order = order

    def single(self) -> None:
        with self._bridges("single") as bridges, bare() as port:
            sessions = [bridge.session() for bridge in bridges]
            yardstick = 0.0
            for bridge, session in zip(bridges, sessions, strict=True):
                wrk(bridge.port, session, self._seconds)

            def measure(i: int) -> list[float]:
                nonlocal yardstick
                if i == 0:
                    yardstick = self._load(port, sessions[0]).rate
                before = _processor_seconds(bridges[i])
                load = self._load(bridges[i].port, sessions[i])
                spent = _processor_seconds(bridges[i]) - before
                return [load.rate, load.rate / yardstick, spent / load.requests * 1e6]

            self._alternate(
                {
                    "single, posts/s": "{:,.0f}",
                    "single, of the bare endpoint's posts/s": "{:.2f}",
                    "single, processor time a post": "{:.0f} µs",
                },
                measure,
            )

    def batch(self) -> None:
        with self._bridges("batch") as bridges:
            sessions = [",".join(map(str, open_sessions(bridge, 20))) for bridge in bridges]
            load = partial(self._load, connections=BATCH_CONNECTIONS, size=BATCH)
            for bridge, some in zip(bridges, sessions, strict=True):
                load(bridge.port, some)

            def measure(i: int) -> list[float]:
                rate = load(bridges[i].port, sessions[i]).rate * BATCH
                # As many events as came of clean texts, so that a round takes as long on any machine.
                bodies = stages.batches(
                    round(rate * self._seconds / BATCH),
                    BATCH,
                    list(map(uuid.UUID, sessions[i].split(","))),
                    stages.REALISTIC,
                )
                before = _processor_seconds(bridges[i])
                seconds = post_all(bridges[i].port, bodies, BATCH_CONNECTIONS)
                events = len(bodies) * BATCH
                return [rate, events / seconds, (_processor_seconds(bridges[i]) - before) / events * 1e6]

            self._alternate(
                {
                    "batch, events/s": "{:,.0f}",
                    "batch, realistic texts, events/s": "{:,.0f}",
                    "batch, realistic texts, processor time an event": "{:.1f} µs",
                },
                measure,
            )

    def drain(self) -> None:
        count = SPANS_A_SECOND * self._seconds
        # Filled by each revision itself, over HTTP: the formats of their journals may differ.
        with self._bridges("full") as bridges:
            for tree, bridge in zip(self._trees, bridges, strict=True):
                _say(f"drain: {count:,} events into the journal of {tree.revision}")
                post_all(bridge.port, stages.batches(count // BATCH, BATCH, open_sessions(bridge, 20)))
                bridge.stop()
            self._alternate(
                {"drain, spans/s": "{:,.0f}"}, lambda i: [self._drain(self._trees[i], bridges[i].folder, count)]
            )

    def _drain(self, tree: Tree, full: Path, count: int) -> float:
        folder = self._folder / "drain"
        shutil.copytree(full, folder)
        port = free_port()
        with process(str(HERE / "sink.py"), str(port)):
            wait_for(partial(answers, port), "receiver")
            bridge = tree.bridge(folder, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}")
            try:
                bridge.start()
                told = wait_for(partial(drained, port, count), "drained journal", 300, 0.2)
            finally:
                bridge.close()
        shutil.rmtree(folder)
        return told["spans"] / (told["last"] - told["first"])

    def p99(self) -> None:
        with self._bridges("p99") as bridges:
            sessions = [bridge.session() for bridge in bridges]
            maximum = min(
                self._load(bridge.port, session).rate for bridge, session in zip(bridges, sessions, strict=True)
            )
            _say(f"p99: at {maximum / 2:,.0f} posts/s, half of the slowest one's maximum")
            delay = max(1, round(CONNECTIONS / (maximum / 2) * 1000) - 1)

            def measure(i: int) -> list[float]:
                load = self._load(bridges[i].port, sessions[i], delay_ms=delay)
                return [load.p50, load.p99]

            self._alternate(
                {
                    f"p50 at {maximum / 2:,.0f} posts/s": "{:.1f} ms",
                    f"p99 at {maximum / 2:,.0f} posts/s": "{:.1f} ms",
                },
                measure,
            )

    @contextmanager
    def _bridges(self, name: str) -> Iterator[list[Bridge]]:
        """One of each revision, with an empty journal and nowhere to export to."""
        bridges = [tree.bridge(self._folder / f"{name}{i}") for i, tree in enumerate(self._trees)]
        try:
            yield [bridge.start() for bridge in bridges]
        finally:
            for bridge in bridges:
                bridge.close()

    def _load(self, port: int, sessions: str, delay_ms: int = 0, connections: int = CONNECTIONS, size: int = 1) -> Load:
        load = wrk(port, sessions, self._seconds, delay_ms, connections, size, self._order)
        if load.failed:
            raise SystemExit(f"{load.failed} of {load.requests} posts failed: the figure would mean nothing")
        return load

    def _alternate(self, forms: Mapping[str, str], measure: Callable[[int], list[float]]) -> None:
        """Rounds of `measure`, which gives the values of one revision, for each of `forms` in turn."""
        rows = [Row(what, form, [[] for _ in self._trees]) for what, form in forms.items()]
        for number in range(1, self._rounds + 1):
            for i, tree in enumerate(self._trees):
                values = measure(i)
                for row, value in zip(rows, values, strict=True):
                    row.seen[i].append(value)
                told = "; ".join(f"{row.what} {row.form.format(row.seen[i][-1])}" for row in rows)
                _say(f"round {number} of {self._rounds}, {tree.revision}: {told}")
        self.rows += rows


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _processor_seconds(bridge: Bridge) -> float:
    """What the bridge's own process has spent, without its export process."""
    assert bridge.process is not None
    times = psutil.Process(bridge.process.pid).cpu_times()
    return float(times.user + times.system)


def figures_of(text: str) -> list[str]:
    """`single,p99` as a list, in the order of FIGURES."""
    asked = set(text.split(","))
    if unknown := asked - set(FIGURES):
        raise argparse.ArgumentTypeError(f"no figure: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    return [figure for figure in FIGURES if figure in asked]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("revisions", nargs="+", help="commits, or - for the working tree")
    parser.add_argument(
        "--figures", type=figures_of, default=list(FIGURES), metavar="FIGURE,…", help=f"of {', '.join(FIGURES)}"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load; a drain's backlog grows with it")
    parser.add_argument(
        "--order", choices=ORDERS, default=RISING, help="of the times of events, but for a drain's (default rising)"
    )
    arguments = parser.parse_args()
    # Beside the project, not in a memory file system: an fsync must reach a disk.
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as made:
        folder = Path(made)
        trees = [checked_out(revision, folder / f"tree{i}") for i, revision in enumerate(arguments.revisions)]
        comparison = Comparison(trees, folder, arguments.rounds, arguments.seconds, arguments.order)
        for figure in arguments.figures:
            getattr(comparison, figure)()
    print(
        f"Medians of {arguments.rounds} alternating rounds, loads of {arguments.seconds} s, {ORDERS[arguments.order]}"
    )
    print(f"{CONNECTIONS} connections, for batches {BATCH_CONNECTIONS}\n")
    print(table(arguments.revisions, comparison.rows))


if __name__ == "__main__":
    main()
