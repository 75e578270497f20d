"""Single events on several commits in one run, alternating, beside the bare endpoint: what a change gained.

    python -m benchmarks.compare 6f62cc7 8c9ec70 -      # two commits and the working tree
    python -m benchmarks.compare --rounds 8 HEAD~1 HEAD

Processor time a request says more than requests a second on a machine that others share: it is what the bridge spent,
whoever else had the processors meanwhile.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path
from statistics import median

import psutil

from benchmarks.drivers import CONNECTIONS, HERE, Load, answers, process, wrk
from tests.harness.bridge import ROOT, Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

WORKING_TREE = "-"


def _environ(revision: str, folder: Path) -> dict[str, str]:
    """What makes a bridge run another commit's package with this tree's dependencies."""
    if revision == WORKING_TREE:
        return {}
    tree = folder / f"tree-{revision.replace('/', '_')}"
    tar = subprocess.run(["git", "archive", revision, "otel_bridge"], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        archive.extractall(tree, filter="data")
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(tree)}


def _measure(pid: int, port: int, session: str, seconds: int) -> tuple[Load, float]:
    """A load, and microseconds of processor time that the process spent on each of its requests."""
    before = psutil.Process(pid).cpu_times()
    load = wrk(port, session, seconds)
    after = psutil.Process(pid).cpu_times()
    return load, (after.user + after.system - before.user - before.system) / load.requests * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="+", help="commits, or - for the working tree")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each load")
    arguments = parser.parse_args()
    (ROOT / ".run").mkdir(exist_ok=True)
    port = free_port()
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder, process(str(HERE / "bare.py"), str(port)) as bare:
        wait_for(lambda: answers(port), "bare server")
        bridges: list[tuple[str, Bridge, str]] = []
        for revision in arguments.revisions:
            home = Path(folder) / f"bridge{len(bridges)}"
            home.mkdir()
            bridge = Bridge(home, **_environ(revision, Path(folder))).start()
            bridges.append((revision, bridge, bridge.session()))
        seen: dict[str, list[tuple[Load, float]]] = {revision: [] for revision, *_ in bridges}
        yardstick: list[tuple[Load, float]] = []
        for _, bridge, session in bridges:
            wrk(bridge.port, session, 5)
        for _ in range(arguments.rounds):
            yardstick.append(_measure(bare.pid, port, bridges[0][2], arguments.seconds))
            for revision, bridge, session in bridges:
                assert bridge.process is not None
                seen[revision].append(_measure(bridge.process.pid, bridge.port, session, arguments.seconds))
        for _, bridge, _ in bridges:
            bridge.stop()
    print(f"{CONNECTIONS} connections, medians of {arguments.rounds} alternating rounds of {arguments.seconds} s\n")
    print("| tree | requests/s | of bare, in pairs | processor time a request | p50 | p99 |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, rows in {"bare Starlette POST": yardstick, **seen}.items():
        share = median(mine.rate / bare.rate for (mine, _), (bare, _) in zip(rows, yardstick, strict=True))
        print(
            f"| {name} | {median(load.rate for load, _ in rows):,.0f} | {share:.2f} "
            f"| {median(micros for _, micros in rows):.0f} µs | {median(load.p50 for load, _ in rows):.1f} ms "
            f"| {median(load.p99 for load, _ in rows):.1f} ms |"
        )


if __name__ == "__main__":
    main()
