"""The limit: a batch is decoded with msgspec into the types of the contract, and its bytes are written with one fsync;
nothing else. How near the bridge is to it, by stage, and served.

    python -m benchmarks.yardstick [--rounds 40] [--posts 100]
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.drivers import answers, open_sessions, post_all, process
from benchmarks.stages import batches, stages
from otel_bridge.contract import EventIn
from tests.harness.bridge import ROOT, Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

Row = tuple[str, str, str]
EVENTS = 1_000
STAGES = (
    "decode JSON and check types",
    "prepare (time, redact, identity, record)",
    "journal: write and fsync",
    "count (metrics)",
    "answer",
)
"""Those that a batch goes through before it is answered, each once: the others are parts of them, or come later."""


def run(folder: Path, rounds: int, posts: int) -> Iterator[Row]:
    yield from _in_process(folder, rounds)
    yield from _served(folder, max(3, rounds // 10), posts)


def _in_process(folder: Path, rounds: int) -> Iterator[Row]:
    """Microseconds an event: in each round the limit and each stage of ours, of a batch of the same size."""
    decode = msgspec.json.Decoder(list[EventIn]).decode
    bodies = batches(rounds, EVENTS, [uuid.uuid4() for _ in range(20)])
    file = os.open(folder / "limit", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def write(body: bytes) -> None:
        os.write(file, body)
        os.fsync(file)

    decoded, written = list[float](), list[float]()
    ours: dict[str, list[float]] = {name: [] for name in STAGES}
    with stages(EVENTS, rounds, 20) as all_of_them:
        way = [stage for stage in all_of_them if stage.name in STAGES]
        assert [stage.name for stage in way] == list(STAGES)

        def at_limit(i: int) -> None:
            decoded.append(_micros(decode, bodies[i]))
            written.append(_micros(write, bodies[i]))

        def bridge(i: int) -> None:
            for stage in way:
                ours[stage.name].append(_micros(stage.step, i))

        for i in range(rounds):
            for side in (at_limit, bridge) if i % 2 else (bridge, at_limit):
                side(i)
    os.close(file)
    limits = [sum(pair) for pair in zip(decoded, written, strict=True)]
    sums = [sum(each) for each in zip(*ours.values(), strict=True)]
    times = [one / limit for one, limit in zip(sums, limits, strict=True)]
    yield (
        "limit: decode a batch of 1,000 and write its bytes with one fsync, an event",
        f"{median(limits):.2f} µs",
        f"decode {median(decoded):.2f}, write and fsync {median(written):.2f}; medians of {rounds} rounds, one thread",
    )
    yield (
        "ours in one thread, an event",
        f"{median(sums):.2f} µs",
        f"{median(times):.1f} times the limit ({min(times):.1f}–{max(times):.1f}); "
        "served, the writer's part runs beside the rest",
    )
    for name, micros in ours.items():
        share = median(one / whole for one, whole in zip(micros, sums, strict=True))
        limit = median(one / limit for one, limit in zip(micros, limits, strict=True))
        yield f"  of it: {name}", f"{median(micros):.2f} µs", f"{share:.0%} of ours, {limit:.1f} times the limit"


def _micros(step: Callable[..., object], given: object) -> float:
    started = time.perf_counter()
    step(given)
    return (time.perf_counter() - started) / EVENTS * 1e6


def _served(folder: Path, rounds: int, posts: int) -> Iterator[Row]:
    """The limit behind Starlette and a bridge, in alternation: 3 connections."""
    place = folder / "limited"
    place.mkdir()
    bridge = Bridge(place).start()
    port = free_port()
    with process("-m", "benchmarks.durable", str(port), str(place / "batches")):
        wait_for(lambda: answers(port), "durable server")
        sessions = open_sessions(bridge, 20)
        limits, ours = list[float](), list[float]()
        for i in range(rounds + 1):
            bodies = batches(posts, EVENTS, sessions)
            rates = [posts * EVENTS / post_all(to, bodies) for to in (port, bridge.port)]
            if i:  # the first one warms both up
                limits.append(rates[0])
                ours.append(rates[1])
    bridge.stop()
    shares = [one / limit for one, limit in zip(ours, limits, strict=True)]
    yield (
        "limit, served by Starlette: batches of 1,000, events/s",
        f"{median(limits):,.0f}",
        f"{min(limits):,.0f}–{max(limits):,.0f}, 3 connections, an fsync each",
    )
    yield "  ours beside it, events/s", f"{median(ours):,.0f}", f"{min(ours):,.0f}–{max(ours):,.0f}, all promises on"
    yield "  ours of the limit", f"{median(shares):.2f}", f"{min(shares):.2f}–{max(shares):.2f} in {rounds} pairs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="of the stages; a tenth of them of the served ones")
    parser.add_argument("--posts", type=int, default=100, help="batches that a served round posts")
    arguments = parser.parse_args()
    # Beside the project, not in a memory file system: an fsync must reach a disk.
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        for what, figure, note in run(Path(folder), arguments.rounds, arguments.posts):
            print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
