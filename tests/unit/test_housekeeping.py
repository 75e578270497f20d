"""What housekeeping has done in the writer's transactions, and in how many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from otel_bridge import config, journal
from otel_bridge.clock import CLOCK
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.journal import Journal, Store
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.ops import housekeeping
from otel_bridge.ops.alone import Alone
from otel_bridge.ops.housekeeping import Housekeeping
from otel_bridge.ops.space import Space
from tests.harness.bridge import ROOT
from tests.journal.stores import append, commit
from tests.unit.samples import session


class Counted(Journal):
    """Counts the transactions that it is given."""

    transactions = 0

    def transact(self, run: Callable[[Store], Any]) -> Any:
        self.transactions += 1
        return super().transact(run)


def test_many_sessions_fall_idle_a_few_in_a_transaction(tmp_path: Path) -> None:
    """Answers wait for each: 500 in one took 12 ms."""
    arrived_us = time.time_ns() // 1000 - 7_200_000_000
    store = journal.open(f"sqlite:///{tmp_path}/journal.db", CONSUMER)
    count = 2 * housekeeping.IDLE_ROWS + 1
    commit(store, *(append(session(n, arrived_us=arrived_us)) for n in range(1, count + 1)))
    settings = config.load(str(ROOT / "otel-bridge.toml"), {})
    counting = Alone(settings, store, SelfMetrics((), ()))
    written = Counted(store, counting.fold)
    counting.begin(written)
    reader = store.reader()
    keeper = Housekeeping(
        written, reader, Space(store, settings), counting, settings, threading.Event(),
        refuse=lambda ids: True, readmit=lambda ids: True, keep_key=lambda: None, tend=lambda: None,
    )  # fmt: skip
    written.start()
    assert CLOCK.believed
    keeper._fall_idle()
    assert written.transactions == 3
    assert store.last == 2 * count, "each is journaled"
    reader.close()
    counting.close()
    written.stop()
