"""Real bridges on one journal in PostgreSQL, each with a folder and ports of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.harness.bridge import OPENMETRICS, Bridge
from tests.harness.waiting import wait_for

KEY = "k" * 64
"""Of the user hash: replicas share it."""
PAGE_SECONDS = 5
STEWARD = "otel_bridge_steward"
Page = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Fleet:
    """`replicas` bridges, not started yet. `dsn`: where the journal is; its tables are made here."""

    def __init__(self, folder: Path, dsn: str, replicas: int = 3, config: str | None = None, **environ: str) -> None:
        self._folder = folder
        self._config = config
        self.environ = {"OTEL_BRIDGE_JOURNAL": dsn, "OTEL_BRIDGE_USER_HASH_KEY": KEY, **environ}
        self.bridges: list[Bridge] = []
        for _ in range(replicas):
            self.add()
        made = self.bridges[0].run("journal", "migrate", timeout=60)
        assert made.returncode == 0, made.stdout + made.stderr

    def add(self) -> Bridge:
        folder = self._folder / f"replica{len(self.bridges)}"
        folder.mkdir(parents=True)
        self.bridges.append(Bridge(folder, self._config, **self.environ))
        return self.bridges[-1]

    def start(self) -> Fleet:
        for bridge in self.bridges:
            bridge.start(wait=False)
        for bridge in self.bridges:
            bridge.wait_ready(60)
        wait_for(self.steward, "a steward", 60)
        return self

    def steward(self) -> Bridge | None:
        """Whose page says that it counts for all."""
        for bridge in self.bridges:
            if bridge.process is not None and bridge.process.poll() is None:
                try:
                    if page(bridge).get((STEWARD, ())) == 1:
                        return bridge
                except OSError:
                    continue
        return None

    def scrape(self) -> Page:
        """The steward's page: of the second scrape, for a new label set stands at 0 on its first."""

        def shown() -> Page | None:
            steward = self.steward()
            found = {} if steward is None else page(steward)
            return found if found.get((STEWARD, ())) == 1 else None

        return wait_for(shown, "a page of the steward's", 60)

    def metric(self, name: str, **labels: str) -> float:
        """Sum of a metric's samples on the steward's page that carry these labels."""
        want = labels.items()
        return sum(v for (found, have), v in self.scrape().items() if found == name and want <= dict(have).items())

    def stop(self) -> None:
        """In order: the last of them finds everything delivered."""
        for bridge in self.bridges:
            assert bridge.stop(60) == 0, bridge.output()[-3000:]

    def output(self) -> str:
        return "\n".join(bridge.output() for bridge in self.bridges)

    def close(self) -> None:
        for bridge in self.bridges:
            bridge.close()


def page(bridge: Bridge) -> Page:
    """One scrape of this replica."""
    answer = requests.get(bridge.metrics_url, headers=OPENMETRICS, timeout=PAGE_SECONDS)
    answer.raise_for_status()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        for sample in family.samples
    }


@contextmanager
def fleet_of(folder: Path, dsn: str, replicas: int = 3, **environ: str) -> Iterator[Fleet]:
    made = Fleet(folder, dsn, replicas, **environ)
    try:
        yield made.start()
    finally:
        made.close()
