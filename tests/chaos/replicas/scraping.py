"""A Prometheus that scrapes every replica all the time, and sees what no page may show."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import pairwise

import requests

from otel_bridge import catalog
from tests.harness.bridge import OPENMETRICS, Bridge
from tests.harness.fleet import STEWARD, Fleet

COUNTERS = ("_total", "_count", "_sum", "_bucket")
HEADERS = {**OPENMETRICS, "User-Agent": "Prometheus/chaos"}
OWN = tuple(catalog.OF_EACH_PROCESS)
"""What each replica shows of itself."""


@dataclass(frozen=True)
class Scrape:
    """One page of the steward's, as far as the order of stewards goes."""

    start: float
    end: float
    replica: int


def counters(text: str) -> dict[str, float]:
    """The shared counters of a page: series → value."""
    found = {}
    for line in text.splitlines():
        name = line.partition("{")[0].partition(" ")[0]
        if name.endswith(COUNTERS) and not name.startswith(OWN):
            series, _, rest = line.partition(" # ")[0].rpartition(" ")
            found[series] = float(rest)
    return found


class Scraper:
    """One thread a replica. A page that was asked for after another had come shows no shared counter lower than that,
    whichever replicas they are of, and lacks none."""

    def __init__(self, fleet: Fleet, pause: float = 0.1) -> None:
        self.pages = 0
        self.shared: list[Scrape] = []
        self.problems: list[str] = []
        self._floor: dict[str, tuple[float, int]] = {}
        """Of pages that have come: the greatest value, and whose it was."""
        self._lock = threading.Lock()
        self._pause = pause
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(i, bridge), daemon=True) for i, bridge in enumerate(fleet.bridges)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        self._ending.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(60)

    @property
    def reigns(self) -> int:
        """How often another replica than before showed the shared series. Pages that overlap those of another are left
        out: which was first nobody can tell."""
        pages = sorted(self.shared, key=lambda one: one.start)
        clear = [
            one
            for one in pages
            if not any(one.replica != two.replica and one.start < two.end and two.start < one.end for two in pages)
        ]
        return sum(1 for one, two in pairwise(clear) if one.replica != two.replica)

    def check(self) -> None:
        assert not self.problems, "\n".join(self.problems[:10])

    def _run(self, replica: int, bridge: Bridge) -> None:
        http = requests.Session()
        while not self._ending.is_set():
            with self._lock:
                floor = dict(self._floor)
            start = time.monotonic()
            try:
                answer = http.get(
                    bridge.metrics_url, headers={**OPENMETRICS, "User-Agent": "Prometheus/chaos"}, timeout=30
                )
                if answer.status_code == 200:
                    self._take(replica, start, time.monotonic(), answer.text, floor)
            except requests.RequestException:
                http.close()  # it is killed, or stands still
                http = requests.Session()
            self._ending.wait(self._pause)
        http.close()

    def _take(self, replica: int, start: float, end: float, text: str, floor: dict[str, tuple[float, int]]) -> None:
        found = counters(text)
        steward = f"\n{STEWARD} 1" in text
        with self._lock:
            self.pages += 1
            if not steward:
                if found:
                    self.problems.append(f"replica {replica}, which is not steward, shows {sorted(found)[:3]}")
                return
            self.shared.append(Scrape(start, end, replica))
            for series, (value, whose) in floor.items():
                now = found.get(series)
                if now is None or now < value:
                    self.problems.append(f"{series}: {value} of replica {whose}, then {now} of replica {replica}")
            for series, value in found.items():
                if series not in floor and value and floor and series not in self._floor:
                    self.problems.append(f"{series} began at {value} (replica {replica})")
                if value > self._floor.get(series, (-1.0, 0))[0]:
                    self._floor[series] = value, replica
