"""Whether there is room for more, and how far the journal can grow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from otel_bridge.ops.space import Space


def space(free: int | None, used: int = 0, max_size: int = 100, min_free: int = 10) -> Space:
    store: Any = SimpleNamespace(free_space=lambda: free)
    config: Any = SimpleNamespace(journal_max_size=max_size, disk_min_free=min_free)
    reader: Any = SimpleNamespace(bytes_used=lambda: used)
    made = Space(store, config)
    made.measure(reader)
    return made


@pytest.mark.parametrize(
    ("free", "used", "full", "limit"),
    [
        (1000, 0, None, 100),
        (50, 20, None, 60),
        (9, 20, "disk_min_free", 20),
        (0, 20, "disk_min_free", 20),  # the place is gone
        (None, 20, None, 100),  # a backend that knows no such number
        (1000, 101, "journal_max_size", 100),
    ],
)
def test_room_is_what_the_limit_and_the_place_leave(free: int | None, used: int, full: str | None, limit: int) -> None:
    found = space(free, used)
    why = found.why_full()
    assert (why is None) if full is None else (why is not None and full in why)
    assert found.byte_limit() == limit


def test_a_new_limit_counts_from_the_next_measure() -> None:
    made = space(1000, used=50)
    config: Any = SimpleNamespace(journal_max_size=40, disk_min_free=0)
    reader: Any = SimpleNamespace(bytes_used=lambda: 50)
    made.configure(config)
    made.measure(reader)
    assert made.why_full() is not None
