"""Three replicas, a server that is theirs, clients, and scrapers that watch: what every scenario here starts from."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from otel_bridge.journal.postgres import inspection
from tests.chaos.lanes import LONG
from tests.chaos.ledger import Account, Forgetful, Ledger
from tests.chaos.replicas.accounts import Sql, account, totals
from tests.chaos.replicas.load import Load, Target
from tests.chaos.replicas.scraping import Scraper
from tests.harness.bridge import Bridge
from tests.harness.fleet import Fleet
from tests.harness.otlp import OtlpReceiver
from tests.harness.waiting import wait_for

CONNECTIONS = inspection.CONNECTIONS + 1
"""Of a replica, at the most: one more than it opens, for a client may be gone before the server's process is."""
PAUSE = 0.004 if LONG else 0.02
"""Between two posts of a client."""
SOON = {"OTEL_BRIDGE_WINDOWS_INTERVAL_SECONDS": "1"}
"""So that what is counted on a timer is counted within a scenario."""
COMMITS = r"UPDATE otel_bridge\.lane SET last|^COMMIT$"
"""Statements that are a commit, or of one."""


class World:
    """Everything acknowledged within it is in one ledger, whichever scenario posted it."""

    database = ""

    def __init__(self, folder: Path, dsn: str, sql: Sql, replicas: int = 3, **environ: str) -> None:
        self.receiver = OtlpReceiver().start()
        self.receiver.spans = Forgetful()
        self.ledger = Ledger()
        self.sql = sql
        self.fleet = Fleet(folder, dsn, replicas, **{**self.receiver.environ, **SOON, **environ})
        self.scraper = Scraper(self.fleet, 0.1 if LONG else 0.4)
        self.repeated = 0
        self._loads: list[Load] = []

    def start(self) -> World:
        self.fleet.start()
        self.scraper.start()
        return self

    @contextmanager
    def load(self, clients: int = 4, seed: int = 1, at: list[Target] | None = None, **options: Any) -> Iterator[Load]:
        """Clients, of which each has been answered once before the scenario begins, and again after it ended."""
        where = at or [("127.0.0.1", bridge.port) for bridge in self.fleet.bridges]
        with Load(where, clients, seed, self.ledger, **options) as load:
            self._loads.append(load)
            self.wait_taken(clients, 90)
            yield load
            self.wait_taken(clients, 90)
        self._loads.remove(load)
        self.repeated += load.repeated

    def wait(self, condition: Callable[[], object], what: str, timeout: float = 60) -> None:
        """As `wait_for`, but for a client that was told what it must not be told: that ends the test."""
        failed: list[Load] = []

        def met() -> object:
            failed.extend(load for load in self._loads if load.failed)
            return failed or condition()

        wait_for(met, what, timeout)
        for load in failed:
            load.check_alive()

    def refused(self, before: int = 0) -> int:
        """503 until now."""
        return self.ledger.statuses[503] - before

    def wait_refused(self, timeout: float = 30) -> None:
        """Until somebody is told that nothing can be taken."""
        before = self.refused()
        self.wait(lambda: self.refused(before) > 0, "a post that is refused", timeout)

    def wait_taken(self, count: int = 20, timeout: float = 60) -> None:
        """Until so many more are acknowledged."""
        before = self.ledger.acknowledged
        self.wait(lambda: self.ledger.acknowledged >= before + count, f"{count} more that are taken", timeout)

    def ready(self, timeout: float = 60) -> None:
        """Every replica is."""
        for bridge in self.fleet.bridges:
            bridge.wait_ready(timeout)

    def check(self) -> Account:
        """Acknowledged = journaled = counted = delivered; no counter fell; one replica at a time counted for all."""
        self.ready()
        found = account(self.fleet, self.sql, self.ledger, self.receiver)
        found.check()
        assert found.delivered == found.acknowledged, str(found)
        events = len(self.ledger.events)
        wait_for(lambda: totals(self.sql) == (events, events), f"totals of {events} events", 30)
        self.scraper.check()
        epoch = self.sql("SELECT epoch FROM otel_bridge.steward")[0][0]
        assert self.scraper.reigns < epoch, (self.scraper.reigns, epoch)
        return found

    def figures(self, found: Account) -> str:
        return (
            f"{found}; {self.scraper.pages} pages, {self.scraper.reigns} changes of the steward seen; "
            f"{self.ledger.unanswered} posts got no answer, {self.ledger.statuses[503]} a 503 "
            f"({self.ledger.unknown} of unknown outcome), {self.ledger.statuses[200]} were recognised as repeats"
        )

    def close(self) -> None:
        self.scraper.close()
        self.fleet.close()
        self.receiver.close()


def processes(bridge: Bridge) -> list[psutil.Process]:
    """The replica's, with its export process."""
    assert bridge.process is not None
    main = psutil.Process(bridge.process.pid)
    return [main, *main.children(recursive=True)]


@contextmanager
def standing_still(bridge: Bridge) -> Iterator[None]:
    """As a machine that hangs, or that is halted and goes on later."""
    here = processes(bridge)
    try:
        for one in here:
            one.send_signal(signal.SIGSTOP)
        yield
    finally:
        for one in here:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)


Say = Callable[[str], None]
