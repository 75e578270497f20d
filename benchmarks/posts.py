"""What a bridge answers a second beside a bare Starlette POST served the same way: single events and batches, with
their times in each order, and sessions. The two sides alternate.

    python -m benchmarks.posts [--rounds 5] [--seconds 3] [--keys 1000000]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks import stages
from benchmarks.commits import processor_seconds
from benchmarks.drivers import CONNECTIONS, Load, bare, open_sessions, post_all, wrk, wrk_sessions
from benchmarks.orders import ORDERS, RISING, remember
from tests.harness.bridge import ROOT, Bridge

Row = tuple[str, str, str]
BATCHES = 100
SIZE = 1_000
REALISTIC = "realistic"
"""Times that rise, and texts of which a tenth holds something."""
PARTS = ("single", "batch", "sessions")


class Side:
    """One of the two, over the rounds."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.micros: list[float] = []
        """Of processor time a record."""

    @property
    def rate(self) -> float:
        return median(self.rates)

    def of(self, other: Side) -> str:
        return f"{median(self._pairs(other)):.2f}"

    def spread(self, other: Side) -> str:
        pairs = self._pairs(other)
        return f"{min(pairs):.2f}–{max(pairs):.2f} in {len(pairs)} pairs"

    def _pairs(self, other: Side) -> list[float]:
        return [one / another for one, another in zip(self.rates, other.rates, strict=True)]

    def told(self) -> str:
        return f"{min(self.rates):,.0f}–{max(self.rates):,.0f}; {median(self.micros):.1f} µs of processor time each"


class Posts:
    """`maximum` and `bare_rate`: single events a second, of times that rise, and the bare server's posts, once `single`
    has run."""

    maximum: float
    bare_rate: float

    def __init__(self, make: Callable[[], Bridge], rounds: int, seconds: float, keys: int = 0) -> None:
        self._make = make
        self._rounds = rounds
        self._seconds = seconds
        self._keys = keys
        self._beside = f", {keys:,} keys remembered" if keys else ""

    def single(self) -> Iterator[Row]:
        """Single events, in each order of their times."""
        yardstick, sides = Side(), {order: Side() for order in ORDERS}
        with self._bridge() as bridge, bare() as port:
            session = bridge.session()
            for round_ in range(self._rounds + 1):
                # The first one, short, warms both up and is forgotten.
                seconds = self._seconds if round_ else 1
                loads = {order: self._load(bridge, session, order, seconds) for order in _turned([*ORDERS], round_)}
                load = wrk(port, session, seconds)
                if round_:
                    yardstick.rates.append(load.rate)
                    for order, (rate, micros) in loads.items():
                        sides[order].rates.append(rate)
                        sides[order].micros.append(micros)
        self.maximum, self.bare_rate = sides[RISING].rate, yardstick.rate
        yield f"bare Starlette POST, requests/s{self._beside}", f"{yardstick.rate:,.0f}", "same server settings"
        for order, what in ORDERS.items():
            side = sides[order]
            yield f"single events, {what}, requests/s{self._beside}", f"{side.rate:,.0f}", side.told()
            yield "  of bare (wanted ≥ 0.90)", side.of(yardstick), side.spread(yardstick)
        yield from self._orders("single events", sides)

    def batch(self) -> Iterator[Row]:
        """Batches of distinct events, in each order of their times, and with realistic texts."""
        yardstick, sides = Side(), {order: Side() for order in (*ORDERS, REALISTIC)}
        with self._bridge() as bridge, bare() as port:
            before = bridge.metric("otel_bridge_records_total", result="accepted", kind="event")
            for round_ in range(self._rounds):
                for order in _turned([*sides], round_):
                    # Of their own: times of two turns may meet, and an event that is posted twice is counted once.
                    side, sessions = sides[order], open_sessions(bridge, 20)
                    if order == REALISTIC:
                        bodies = stages.batches(BATCHES, SIZE, sessions, stages.REALISTIC)
                    else:
                        bodies = stages.batches(BATCHES, SIZE, sessions, order=order)
                    spent = _spent(bridge)
                    side.rates.append(BATCHES * SIZE / post_all(bridge.port, bodies))
                    side.micros.append((_spent(bridge) - spent) / (BATCHES * SIZE) * 1e6)
                yardstick.rates.append(wrk(port, str(sessions[0]), 2).rate)
            counted = bridge.metric("otel_bridge_records_total", result="accepted", kind="event") - before
        posted = self._rounds * len(sides) * BATCHES * SIZE
        assert counted == posted, f"{counted} counted of {posted}"
        for order, what in ORDERS.items():
            side = sides[order]
            wanted = " (wanted ≥ 150,000)" if order == RISING and not self._keys else ""
            yield f"batches of 1,000, {what}, events/s{self._beside}{wanted}", f"{side.rate:,.0f}", side.told()
            per = "  events per bare request (wanted ≥ 150,000 / 22,000 = 6.8)"
            yield per, side.of(yardstick), side.spread(yardstick)
        side = sides[REALISTIC]
        yield (
            f"batches of 1,000, a tenth with e-mail, telephone or key, events/s{self._beside} (wanted ≥ 100,000)",
            f"{side.rate:,.0f}",
            side.told(),
        )
        per = "  events per bare request (wanted ≥ 100,000 / 22,000 = 4.5)"
        yield per, side.of(yardstick), side.spread(yardstick)
        yield from self._orders("batches of 1,000", sides)

    def sessions(self) -> Iterator[Row]:
        """Posts that open a session each."""
        yardstick, ours = Side(), Side()
        with self._bridge() as bridge, bare() as port:
            for round_ in range(self._rounds + 1):
                seconds = self._seconds if round_ else 1
                rate, micros = self._spent_on(bridge, lambda port, s=seconds: wrk_sessions(port, s))  # type: ignore[misc]
                load = wrk_sessions(port, seconds)
                if round_:
                    ours.rates.append(rate)
                    ours.micros.append(micros)
                    yardstick.rates.append(load.rate)
        yield "sessions, requests/s", f"{ours.rate:,.0f}", ours.told()
        yield "  of bare (wanted ≥ 0.90)", ours.of(yardstick), ours.spread(yardstick)

    def _orders(self, of: str, sides: dict[str, Side]) -> Iterator[Row]:
        for order in ORDERS:
            if order != RISING:
                what = f"{of}, {ORDERS[order]} / {ORDERS[RISING]}{self._beside} (wanted ≥ 0.95)"
                yield what, sides[order].of(sides[RISING]), sides[order].spread(sides[RISING])

    @contextmanager
    def _bridge(self) -> Iterator[Bridge]:
        bridge = self._make()
        if self._keys:
            remember(bridge.journal, self._keys)
        bridge.start(wait=False)
        try:
            bridge.wait_ready(600)
            yield bridge
            bridge.stop()
        finally:
            bridge.close()

    def _load(self, bridge: Bridge, session: str, order: str, seconds: float) -> tuple[float, float]:
        return self._spent_on(bridge, lambda port: wrk(port, session, seconds, order=order))

    def _spent_on(self, bridge: Bridge, load: Callable[[int], Load]) -> tuple[float, float]:
        """Requests a second, and microseconds of processor time each."""
        spent = _spent(bridge)
        seen = load(bridge.port)
        assert seen.failed == 0, f"{seen.failed} answers were no 201"
        return seen.rate, (_spent(bridge) - spent) / seen.requests * 1e6


def _turned(orders: list[str], by: int) -> list[str]:
    """Another one comes first in each round: what the load before has left to do meets all of them."""
    by %= len(orders)
    return orders[by:] + orders[:by]


def _spent(bridge: Bridge) -> float:
    assert bridge.process is not None
    return processor_seconds(bridge.process.pid)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--keys", type=int, default=0, metavar="N", help="that are remembered before it begins")
    parser.add_argument(
        "--only", nargs="+", choices=("single", "batch", "sessions"), default=("single", "batch", "sessions")
    )
    arguments = parser.parse_args()
    print(f"{CONNECTIONS} connections, for batches 3")
    # Beside the project, not in a memory file system: an fsync must reach a disk.
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as made:

        def make() -> Bridge:
            return Bridge(Path(tempfile.mkdtemp(dir=made)))

        posts = Posts(make, arguments.rounds, arguments.seconds, arguments.keys)
        for part in arguments.only:
            for what, figure, note in getattr(posts, part)():
                print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
