"""The orders in which the times of events come: what a journal's index of keys may feel."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from otel_bridge import journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import new_uuid
from otel_bridge.journal import Append
from otel_bridge.records import Event, Record, Session

RISING, BURST, RANDOM = "rising", "burst", "random"
ORDERS = {
    RISING: "times that rise",
    BURST: "all of one millisecond",
    RANDOM: "random times within a day",
}
"""As events.lua names them, and what they are."""
DAY_US = 86_400_000_000
COMMIT = 5_000
"""Records a commit of those that are remembered."""


def times(order: str, start_us: int, step_us: int = 1_000) -> Iterator[int]:
    """Microseconds of events that come one after the other, the first not before `start_us` but where they are random:
    then they are of the day before it."""
    if order == RISING:
        yield from itertools.count(start_us, step_us)
    while True:
        yield start_us if order == BURST else start_us - random.randrange(DAY_US)


def remember(path: Path, count: int) -> None:
    """Journals so many events of the day until now through the store itself, so that their keys are remembered. All of
    them are delivered."""
    now_us = time.time_ns() // 1000
    opened = [Session(new_uuid(now_us - DAY_US), "devops-expert", f"{i:016x}", now_us, now_us) for i in range(1_000)]
    store = journal.open(f"sqlite:///{path}", CONSUMER)
    store.begin()
    store.write([Append(list[Record](opened), [None] * len(opened))])
    store.commit()
    for start in range(0, count, COMMIT):
        events, keys = list[Record](), list[bytes | None]()
        for i in range(start, min(start + COMMIT, count)):
            event_us = now_us - DAY_US + DAY_US * i // count
            key = b"c" + (event_us // 1000).to_bytes(6, "big") + os.urandom(10)
            session = opened[i % len(opened)]
            events.append(
                Event(
                    key[1:], session.id, session.gpt, session.user, "consulta", None, 1500.0, 25, 150, event_us, now_us
                )
            )
            keys.append(key)
        store.begin()
        store.write([Append(events, keys)])
        store.advance(store.last, len(events), [])
        store.commit()
        if start // COMMIT % 10 == 0:
            store.maintain(0, lambda run: run())
    store.close()
