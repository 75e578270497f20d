"""benchmarks/orders.py: events of each order are distinct, and their times are as it says."""

from __future__ import annotations

import uuid
from itertools import islice
from pathlib import Path

import pytest

from benchmarks.orders import BURST, DAY_US, ORDERS, RANDOM, RISING, remember, times
from benchmarks.stages import batches
from otel_bridge import contract, journal
from otel_bridge.export.pipe import CONSUMER

START_US = 1_764_300_000_123_456


@pytest.mark.parametrize("order", ORDERS)
def test_events_of_an_order_are_distinct(order: str) -> None:
    seen = {
        (event.sesion_id, event.latency_ms, event.tokens_entrada, event.tokens_salida, event.timestamp)
        for body in batches(5, 1_000, [uuid.uuid4() for _ in range(20)], order=order)
        for event in contract.decode_good_batch(body) or ()
        if isinstance(event, contract.EventIn)
    }
    assert len(seen) == 5_000


def test_times_come_as_the_order_says() -> None:
    rising, burst, within = (list(islice(times(order, START_US), 1_000)) for order in (RISING, BURST, RANDOM))
    assert rising == list(range(START_US, START_US + 1_000_000, 1_000))
    assert set(burst) == {START_US}
    assert START_US - DAY_US < min(within) < max(within) <= START_US
    assert within != sorted(within)


def test_what_is_remembered_is_delivered_and_counts(tmp_path: Path) -> None:
    remember(tmp_path / "journal.db", 7_500)
    store = journal.open(f"sqlite:///{tmp_path}/journal.db", CONSUMER)
    try:
        assert store.last == 1_000 + 7_500
    finally:
        store.close()
