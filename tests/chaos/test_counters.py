"""What scrapers see of every counter, whatever happens: it is at 0 first, never falls, and ends at what was posted.

A real bridge, and scrapers that keep their connection or open one a page, that give up before a page or in the middle
of it. Between their pages: events with new codes and models, refusals, kills, restarts, a bridge that stands still, a
journal that is full, a GPT that a reload adds; and the same where another process writes the pages, which dies, hangs
and is overtaken by reloads.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import random
import re
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from otel_bridge import catalog
from otel_bridge.cores import has_second_core
from tests.chaos.lanes import LONG
from tests.harness.bridge import ROOT, Bridge
from tests.harness.waiting import wait_for

STEPS = int(os.environ.get("COUNTERS_STEPS", "40"))
SEEDS = [int(seed) for seed in os.environ.get("COUNTERS_SEEDS", "").split()] or range(20 if LONG else 3)
COUNTERS = tuple(
    f"{metric.name}{ending}"
    for metric in catalog.METRICS
    if metric.type in ("counter", "histogram")
    for ending in (("_bucket{", "_count{", "_sum{") if metric.type == "histogram" else ("{", " "))
)
EVENTS = "gen_ai_client_operation_duration_seconds_count"


@dataclass
class Seen:
    """What one Prometheus has stored."""

    name: str
    keeps: bool
    """Whether it keeps its connection."""
    values: dict[str, float] = field(default_factory=dict)
    pages: int = 0
    problems: list[str] = field(default_factory=list)
    connection: socket.socket | None = None

    def request(self, bridge: Bridge) -> socket.socket:
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", bridge.metrics_port), timeout=20)
        close = "" if self.keeps else "Connection: close\r\n"
        self.connection.sendall(
            f"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: {self.name}\r\nAccept-Encoding: gzip\r\n{close}"
            "X-Prometheus-Scrape-Timeout-Seconds: 4\r\n\r\n".encode()
        )
        return self.connection

    def scrape(self, bridge: Bridge) -> bool:
        """Whether there was a page."""
        for _ in range(2):  # a kept connection may have ended with the bridge
            fresh = self.connection is None
            try:
                page = _read(self.request(bridge))
            except OSError:
                page = None
            if page is None or not self.keeps:
                self.hang_up()
            if page is not None:
                self.store(page)
                return True
            if fresh:
                return False
        return False

    def give_up(self, bridge: Bridge, rng: random.Random) -> None:
        """It asks, and leaves before the page or in the middle of it."""
        try:
            connection = self.request(bridge)
            if rng.random() < 0.5:
                connection.recv(rng.choice([1, 200, 5000]))  # less than a page in gzip
            if rng.random() < 0.5:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.hang_up()

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def store(self, page: str) -> None:
        self.pages += 1
        for line in page.splitlines():
            if not line.startswith(COUNTERS):
                continue
            series, _, text = line.rpartition(" ")
            value, before = float(text), self.values.get(series)
            if before is None and value and self.pages > 1:
                self.problems.append(f"page {self.pages}: {series} began at {value}")
            elif before is not None and value < before:
                self.problems.append(f"page {self.pages}: {series} fell from {before} to {value}")
            self.values[series] = value

    def events(self) -> dict[tuple[str, str, str, str], float]:
        """Counts above 0 by GPT, type, model and code."""
        found = {}
        for series, value in self.values.items():
            if value and series.startswith(EVENTS):
                labels = dict(pair.split('="') for pair in series.partition("{")[2].rstrip('"}').split('",'))
                key = ("gen_ai_agent_id", "event_type", "gen_ai_request_model", "error_type")
                found[tuple(labels[name] for name in key)] = value
        return found  # type: ignore[return-value]


def _read(connection: socket.socket) -> str | None:
    with connection.makefile("rb") as stream:
        if not stream.readline().startswith(b"HTTP/1.1 200"):
            return None
        length = None
        while (line := stream.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if length is None:
            return None
        body = stream.read(length)
        return gzip.decompress(body).decode() if len(body) == length else None


class World:
    def __init__(self, folder: Path, seed: int, pages_apart: bool) -> None:
        self.rng = random.Random(seed)
        self.text = (ROOT / "otel-bridge.toml").read_text("utf-8")
        self.bridge = Bridge(
            folder, self.text, OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS="1", OTEL_BRIDGE_IDLE_AFTER_SECONDS="2"
        )
        self.pages_apart = pages_apart
        self.processes: set[int] = set()
        """That have written pages, as far as they were seen."""
        if pages_apart:
            self.bridge.customised(CHAOS_PAGES_APART="1")
        self.bridge.start()
        self.scrapers = [Seen("Prometheus/a", True), Seen("Prometheus/b", True), Seen("Prometheus/c", False)]
        self.posted: Counter[tuple[str, str, str, str]] = Counter()
        self.gpts = ["devops-expert"]
        self.sessions: dict[str, str] = {}
        self.told: list[str] = []
        for scraper in self.scrapers:
            assert scraper.scrape(self.bridge)

    def post(self) -> None:
        rng, gpt = self.rng, self.rng.choice(self.gpts)
        if gpt not in self.sessions:
            try:
                self.sessions[gpt] = self.bridge.session(gpt_id=gpt)
            except AssertionError:
                return
        for _ in range(rng.choice([1, 1, 2, 5])):
            type_ = rng.choice(["consulta", "monitoreo", "inventado"])
            model = rng.choice(["", "", "gpt-6.2-sol", "uno", "dos", "tres"])
            code = rng.choice(["", "", "timeout", "limite", "cupo", "otro"])
            fields = ({"modelo": model} if model else {}) | ({"error": code} if code else {})
            answer = self.bridge.event(
                self.sessions[gpt], tipo=type_, latency_ms=rng.choice([3, 700, 12_000]), **fields
            )
            if answer.status_code == 201:
                shown = "otro" if type_ == "inventado" else type_
                self.posted[gpt, shown, model or "gpt-6.2-sol", code] += 1
            else:
                assert answer.status_code == 503, answer.text

    def refuse(self) -> None:
        for _ in range(self.rng.randrange(1, 4)):
            self.bridge.post("/sessions", {"gpt_id": self.rng.choice(["nadie", 3]), "usuario_id": "u"})
        self.bridge.http.get(f"{self.bridge.url}/{self.rng.choice(['readyz', 'healthz', 'nada'])}", timeout=30)

    def scrape(self) -> None:
        self._one().scrape(self.bridge)
        self.processes.update(one.pid for one in self._page_process())

    def _page_process(self) -> list[psutil.Process]:
        assert self.bridge.process is not None
        found = []
        for one in psutil.Process(self.bridge.process.pid).children():
            with contextlib.suppress(psutil.Error):  # it ends meanwhile
                if "otel_bridge.metrics.page_process" in one.cmdline():
                    found.append(one)
        return found

    def kill_page_process(self) -> None:
        for one in self._page_process():
            with contextlib.suppress(psutil.Error):
                one.kill()

    def hang_page_process(self) -> None:
        """Until after the next page."""
        for one in self._page_process():
            with contextlib.suppress(psutil.Error):
                one.suspend()
            self.scrape()
            with contextlib.suppress(psutil.Error):  # one that had not started yet is not waited for
                one.resume()

    def _one(self) -> Seen:
        one = self.rng.choice(self.scrapers)
        self.told[-1:] = [f"{self.told[-1]} {one.name} ({one.pages})"]
        return one

    def give_up(self) -> None:
        self._one().give_up(self.bridge, self.rng)

    def give_up_on_a_slow_page(self) -> None:
        """Its time is over before the page is made."""
        assert self.bridge.process is not None
        scraper = self._one()
        self.bridge.process.send_signal(signal.SIGSTOP)
        try:
            scraper.request(self.bridge)
        except OSError:
            pass
        scraper.hang_up()
        self.bridge.process.send_signal(signal.SIGCONT)
        if self.rng.random() < 0.5:
            time.sleep(0.1)

    def stranger(self) -> None:
        other = Seen(self.rng.choice(["curl", f"curl/{self.rng.random()}"]), False)
        other.scrape(self.bridge)

    def kill(self) -> None:
        self.bridge.kill()
        self.bridge.start()

    def restart(self) -> None:
        assert self.bridge.stop() == 0
        self.bridge.start()

    def _reload(self, text: str) -> None:
        assert self.bridge.process is not None
        self.text = text
        told = self.bridge.output().count("read again")
        self.bridge.config.write_text(text, "utf-8")
        self.bridge.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.bridge.output().count("read again") > told, "a reload", 20)

    def add_gpt(self) -> None:
        new = f"gpt-{len(self.gpts)}"
        if len(self.gpts) < 4:
            self._reload(self.text + f'\n[gpts.{new}]\nname = "{new}"\nprovider = "openai"\nmodel = "gpt-6.2-sol"\n')
            self.gpts.append(new)

    def remove_gpt(self) -> None:
        """Its sessions fall idle all the same."""
        if len(self.gpts) > 1:
            gone = self.gpts.pop()
            self.sessions.pop(gone, None)
            head = self.text.index(f"\n[gpts.{gone}]")
            tail = self.text.find("\n[gpts.", head + 2)
            self._reload(self.text[:head] + ("" if tail < 0 else self.text[tail:]))

    def change_objective(self) -> None:
        """What was counted as good stays good."""
        objective = self.rng.choice(["0.5", "5.0", "20.0"])
        text = re.sub(r"\nlatency_objective_seconds = [\d.]+", f"\nlatency_objective_seconds = {objective}", self.text)
        if text != self.text:
            self._reload(text)

    def full(self) -> None:
        """For a while there is no room for records; pages go on."""
        before = self.text
        self._reload('disk_min_free = "900TiB"\n' + before)
        for _ in range(4):
            self.rng.choice([self.post, self.scrape, self.refuse, self.kill_while_full])()
        self._reload(before)

    def kill_while_full(self) -> None:
        if self.rng.random() < 0.3:
            self.bridge.kill()
            self.bridge.start(wait=False)
            wait_for(lambda: self.bridge.http.get(f"{self.bridge.url}/healthz", timeout=2), "an answer")

    def run(self) -> None:
        steps: dict[Callable[[], None], int] = {
            self.post: 8, self.scrape: 14, self.refuse: 3, self.give_up: 2, self.give_up_on_a_slow_page: 2,
            self.stranger: 2, self.kill: 2, self.restart: 1, self.add_gpt: 1, self.remove_gpt: 1,
            self.full: 1,
        }  # fmt: skip
        if self.pages_apart:
            steps |= {self.kill_page_process: 2, self.hang_page_process: 1, self.change_objective: 2}
        for step in self.rng.choices(list(steps), list(steps.values()), k=STEPS):
            self.told.append(step.__name__)
            step()

    def close(self) -> None:
        for scraper in self.scrapers:
            scraper.hang_up()
        self.bridge.close()


@pytest.fixture(params=SEEDS, ids=str)
def world(tmp_path: Path, request: pytest.FixtureRequest, pages_apart: bool) -> Iterator[World]:
    started = World(tmp_path, request.param, pages_apart)
    yield started
    started.close()


@pytest.mark.parametrize("pages_apart", [False, True] if has_second_core() else [False], ids=["here", "apart"])
def test_every_counter_is_at_zero_first_never_falls_and_ends_at_what_was_posted(
    world: World, pages_apart: bool
) -> None:
    world.run()
    assert bool(world.processes) is pages_apart
    for scraper in world.scrapers:
        for _ in range(3):  # a page that was given up on, the zeros, the values
            scraper.scrape(world.bridge)
        if scraper.problems:
            pytest.fail("\n".join([scraper.name, *scraper.problems[:3], *world.told]))
        assert scraper.events() == world.posted, (scraper.name, world.told)
