"""What an event costs as work grows: events, sessions, GPTs, users, the journal's age; a decade at a time.

    python -m benchmarks.work [--axes events sessions users age gpts] [--events 7] [--sessions 6] [--users 6] [--age 3]
        [--gpts 3]

Each size is a power of ten, the largest of its axis. A figure is processor time of the whole process, which other
programs of the machine change little: of an event, what its share of a commit of 1,000 takes in SQLite, with what the
store does between commits. Over the decades it is as flat as its slope says: the exponent of a power law, and
microseconds a decade, both by least squares. A scrape is one of a served bridge, as Prometheus asks for it, with events
in every series; p99 is of single posts at half of the maximum, with and without a scrape a second, in alternation.
"""

from __future__ import annotations

import argparse
import http.client
import math
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import ClassVar
from urllib.parse import urlsplit

from benchmarks.drivers import CONNECTIONS, Load, wrk
from otel_bridge import catalog, config, ids, journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Append, Store
from otel_bridge.metrics.state import MetricState
from otel_bridge.records import Event, Session
from tests.harness.bridge import ROOT, Bridge

CONTENT = "¿Cómo configuro un pipeline CI/CD con Docker?"
GPT = "devops-expert"
COMMIT = 1_000
FEW_SESSIONS = 10_000
DAY_US = 86_400 * 1_000_000
Row = tuple[str, str, str]


@dataclass(frozen=True)
class Sizes:
    """The largest size of each axis, as a power of ten; events by which a size is measured, and rounds of the load."""

    events: int = 7
    sessions: int = 6
    users: int = 6
    age: int = 3
    gpts: int = 3
    measured: int = 100_000
    rounds: int = 3


SHORT = Sizes(events=5, sessions=4, users=4, age=2, gpts=2, measured=20_000, rounds=1)


class Work:
    """A journal, and events written into it as the writer's thread writes them."""

    def __init__(self, path: Path, sessions: int, users: int = 10, now_us: int | None = None) -> None:
        self.store: Store = journal.open(f"sqlite:///{path}", CONSUMER)
        self.now_us = time.time_ns() // 1000 if now_us is None else now_us
        self._rng = random.Random(20)
        self._users = [f"{n:016x}" for n in range(users)]
        self._sessions: list[Session] = []
        for start in range(0, sessions, COMMIT):
            opened = [self._session(n) for n in range(start, min(start + COMMIT, sessions))]
            self._commit(Append([*opened], [None] * len(opened)))
            self._sessions += opened

    def _session(self, n: int) -> Session:
        self.now_us += 1
        user = self._users[n % len(self._users)]
        return Session(ids.new_uuid(self.now_us), GPT, user, self.now_us, self.now_us)

    def _event(self, step_us: int) -> tuple[Event, bytes]:
        self.now_us += step_us
        session = self._rng.choice(self._sessions)
        key = b"c" + (self.now_us // 1000).to_bytes(6, "big") + os.urandom(10)
        event = Event(os.urandom(16), session.id, GPT, session.user, "consulta", CONTENT, 1500.0, 25, 150, self.now_us,
                      self.now_us)  # fmt: skip
        return event, key

    def _commit(self, append: Append) -> None:
        self.store.begin()
        self.store.write([append])
        self.store.commit()

    def write(self, count: int, step_us: int = 1, delivered: bool = False) -> float:
        """Microseconds of processor time an event. `delivered`: the cursor follows."""
        spent = 0.0
        for start in range(0, count, COMMIT):
            events, keys = zip(*(self._event(step_us) for _ in range(min(COMMIT, count - start))), strict=True)
            append = Append([*events], [*keys])
            began = time.process_time()
            self._commit(append)
            if delivered:
                self.store.begin()
                self.store.advance(self.store.last, len(events), [])
                self.store.commit()
            if start // COMMIT % 50 == 49:
                self.store.maintain(0, lambda run: run())
            spent += time.process_time() - began
        return spent / count * 1e6

    def close(self) -> None:
        self.store.close()


def decades(first: int, last: int) -> list[int]:
    return [10**power for power in range(first, last + 1)]


def slope(sizes: Sequence[float], figures: Sequence[float]) -> tuple[float, float]:
    """(exponent, figure a decade) by least squares over the logarithms of the sizes."""
    logs = [math.log10(size) for size in sizes]

    def fit(values: Sequence[float]) -> float:
        middle, centre = mean(logs), mean(values)
        spread = sum((x - middle) ** 2 for x in logs)
        return sum((x - middle) * (y - centre) for x, y in zip(logs, values, strict=True)) / spread if spread else 0.0

    return fit([math.log10(figure) for figure in figures]), fit(figures)


def row(what: str, sizes: Sequence[int], figures: Sequence[float], unit: str, note: str = "") -> Row:
    exponent, added = slope(sizes, figures)
    digits = 0 if max(figures) >= 100 else 1
    return (
        f"{what}, {_power(sizes[0])} → {_power(sizes[-1])}",
        " → ".join(f"{figure:,.{digits}f}" for figure in figures) + f" {unit}",
        f"exponent {exponent:+.2f}, {added:+.{digits + 1}f} {unit} a decade" + (f"; {note}" if note else ""),
    )


def _power(size: int) -> str:
    return f"10{str(round(math.log10(size))).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


# --- axes of the journal ----------------------------------------------------------------------------------------------


def events(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """One journal that grows. Of each decade its second half is measured."""
    ends, figures = decades(4, sizes.events), []
    with closing(Work(folder / "events.db", 1_000)) as work:
        written = 0
        for end in ends:
            work.write(end // 2 - written)
            figures.append(work.write(end - end // 2))
            written = end
    yield row("an event, by events in the journal", ends, figures, "µs")


def sessions(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Events at random over so many open sessions, of ten users; and the windows over them."""
    counts, figures, windows = decades(2, sizes.sessions), [], []
    for count in counts:
        with closing(Work(folder / f"sessions{count}.db", count)) as work:
            figures.append(work.write(sizes.measured))
            windows.append(_windows(work))
    yield row("an event, by sessions that are open", counts, figures, "µs", "each event of another one, at random")
    yield row("a count of windows and top users, by sessions", counts, windows, "ms", "processor time, in turns")


def users(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """Events of so many users, each of which has a session."""
    counts, figures, windows = decades(1, sizes.users), [], []
    for count in counts:
        with closing(Work(folder / f"users{count}.db", max(count, FEW_SESSIONS), count)) as work:
            figures.append(work.write(sizes.measured))
            windows.append(_windows(work))
    note = f"{FEW_SESSIONS:,} sessions, or one each"
    yield row("an event, by users", counts, figures, "µs", note)
    yield row("a count of windows and top users, by users", counts, windows, "ms", note)


def _windows(work: Work) -> float:
    """Milliseconds of processor time that windows and top users take."""
    with closing(work.store.reader()) as reader:
        began = time.process_time()
        reader.windows(work.now_us, catalog.WINDOWS)
        reader.top_users(work.now_us, catalog.WINDOWS["1d"], catalog.TOP_USERS)
        return (time.process_time() - began) * 1e3


def age(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """A journal of so many days, each with 2,000 events that were delivered, and nothing trimmed: what comes now."""
    counts, figures = decades(0, sizes.age), []
    a_day = 2_000
    for days in counts:
        now_us = time.time_ns() // 1000
        with closing(Work(folder / f"age{days}.db", 1_000, now_us=now_us - days * DAY_US)) as work:
            work.write(days * a_day, (DAY_US - 10_000) // a_day, delivered=True)
            work.now_us = max(work.now_us, now_us)
            figures.append(work.write(sizes.measured))
    yield row("an event, by days that the journal is old", counts, figures, "µs", f"{a_day:,} events a day")


# --- GPTs -------------------------------------------------------------------------------------------------------------


def gpts(folder: Path, sizes: Sizes) -> Iterator[Row]:
    """The fold of an event, a scrape, and what a scrape a second does to posts at half of the maximum."""
    counts, folds, scrapes, lines, last = decades(0, sizes.gpts), [], [], [], list[Row]()
    for count in counts:
        folds.append(_fold(count, sizes.measured))
        place = folder / f"gpts{count}"
        place.mkdir()
        names = "\n".join(f'[gpts.gpt-{n}]\nmodel = "gpt-6.2-sol"' for n in range(count))
        bridge = Bridge(place, f'rate_limit = "off"\n{names}').start()
        try:
            opened = _every_series(bridge, count)
            with closing(Scrapes(bridge)) as scraping:
                took = [scraping.once() for _ in range(9)]
                scrapes.append(median(took[2:]) * 1e3)
                lines.append(f"{scraping.lines():,}")
                if count == counts[-1]:
                    last += _beside(bridge, opened, scraping, sizes.rounds)
        finally:
            bridge.close()
    yield row("an event's fold, by GPTs", counts, folds, "µs")
    note = f"as Prometheus asks for it; {', '.join(lines)} lines"
    yield row("a scrape (wanted < 500 ms at 10³), by GPTs", counts, scrapes, "ms", note)
    yield from last


def _fold(count: int, measured: int) -> float:
    """Microseconds of processor time that an event takes to be counted, over so many GPTs."""
    now_us, rng = time.time_ns() // 1000, random.Random(20)
    registry = {f"gpt-{n}": config.Gpt(f"gpt-{n}", f"gpt-{n}", model="gpt-6.2-sol") for n in range(count)}
    state, types = MetricState(registry), [*next(iter(registry.values())).event_types]
    found = [
        Event(os.urandom(16), os.urandom(16), f"gpt-{rng.randrange(count)}", "u", rng.choice(types), CONTENT,
              rng.expovariate(1 / 1500), 25, 150, now_us, now_us)
        for _ in range(measured)
    ]  # fmt: skip
    spent = 0.0
    for turn in range(2):  # the second finds every series there
        began = time.process_time()
        for start in range(0, measured, COMMIT):
            state.apply(found[start : start + COMMIT], turn * measured + start)
        spent = time.process_time() - began
    return spent / measured * 1e6


def _every_series(bridge: Bridge, count: int) -> list[str]:
    """A session of each GPT, with events of each type and several latencies."""
    types = [*config.load(str(ROOT / "otel-bridge.toml"), {}).gpts[GPT].event_types, "otra"]
    opened = []
    for n in range(count):
        session = bridge.session(gpt_id=f"gpt-{n}")
        many = [
            {"sesion_id": session, "tipo": kind, "contenido": CONTENT, "latency_ms": 100 * place + 500 * more,
             "tokens_entrada": place + more, "tokens_salida": place * 9}
            for place, kind in enumerate(types) for more in range(3)
        ]  # fmt: skip
        assert bridge.post("/events", many).status_code == 201
        opened.append(session)
    return opened


class Scrapes:
    """Prometheus, as far as a page is concerned: one connection, OpenMetrics, gzip."""

    HEADERS: ClassVar = {"Accept": "application/openmetrics-text;version=1.0.0", "Accept-Encoding": "gzip"}

    def __init__(self, bridge: Bridge) -> None:
        url = urlsplit(bridge.metrics_url)
        self._bridge = bridge
        self._client = http.client.HTTPConnection(url.hostname or "", url.port, timeout=60)

    def once(self) -> float:
        """Seconds until the page is there."""
        began = time.perf_counter()
        self._client.request("GET", "/metrics", headers=self.HEADERS | {"X-Prometheus-Scrape-Timeout-Seconds": "60"})
        answer = self._client.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        return time.perf_counter() - began

    def lines(self) -> int:
        return self._bridge.http.get(self._bridge.metrics_url, headers=self.HEADERS, timeout=60).text.count("\n")

    def each_second(self, run: Callable[[], Load]) -> tuple[Load, list[float]]:
        """`run`, with a scrape a second beside it; how long each took."""
        ended, took = threading.Event(), list[float]()

        def scrape() -> None:
            while not ended.wait(1):
                took.append(self.once())

        thread = threading.Thread(target=scrape)
        thread.start()
        try:
            return run(), took
        finally:
            ended.set()
            thread.join()

    def close(self) -> None:
        self._client.close()


def _beside(bridge: Bridge, opened: list[str], scraping: Scrapes, rounds: int) -> Iterator[Row]:
    """p99 at half of the maximum, without and with a scrape a second, in alternation."""
    # As many as the command line takes.
    ids_ = ",".join(opened[:1_000])
    maximum = wrk(bridge.port, ids_, 3).rate
    delay = max(1, round(CONNECTIONS / (maximum / 2) * 1000) - 1)

    def load() -> Load:
        return wrk(bridge.port, ids_, 5, delay_ms=delay)

    without, beside, took = [], [], list[float]()
    for _ in range(rounds):
        without.append(load())
        with_scrapes, seconds = scraping.each_second(load)
        beside.append(with_scrapes)
        took += seconds
    for name in ("p50", "p99"):
        alone, both = (median(getattr(one, name) for one in found) for found in (without, beside))
        yield (
            f"posts at half of the maximum, {len(opened):,} GPTs: {name} without → with a scrape a second",
            f"{alone:.1f} → {both:.1f} ms",
            f"{median(one.rate for one in beside):,.0f} posts/s, {rounds} rounds; a scrape took {median(took):.2f} s",
        )


AXES: dict[str, Callable[[Path, Sizes], Iterator[Row]]] = {
    "events": events,
    "sessions": sessions,
    "users": users,
    "age": age,
    "gpts": gpts,
}


def run(folder: Path, sizes: Sizes, axes: Sequence[str] = tuple(AXES)) -> Iterator[Row]:
    for name in axes:
        yield from AXES[name](folder, sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES), metavar="AXIS")
    parser.add_argument("--short", action="store_true")
    for name in AXES:
        parser.add_argument(f"--{name}", type=int, metavar="POWER", help="the largest, as a power of ten")
    arguments = vars(parser.parse_args())
    sizes = SHORT if arguments["short"] else Sizes()
    sizes = Sizes(**{**vars(sizes), **{name: arguments[name] for name in AXES if arguments[name] is not None}})
    (ROOT / ".run").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / ".run") as folder:
        for what, figure, note in run(Path(folder), sizes, arguments["axes"]):
            print(f"| {what} | {figure} | {note} |", flush=True)


if __name__ == "__main__":
    main()
