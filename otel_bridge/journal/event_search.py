"""What every backend's search of an event by its id has: its bounds, and what is found in a segment's body.

A body is searched as bytes: it is decoded only where the id is in it.
"""

from __future__ import annotations

import math

from otel_bridge.journal.store import DamagedPart, StoreDamaged
from otel_bridge.records import Event, decode

SLACK_US = 60 * 1_000_000
"""How far from its arrival an event is looked for: what is drafted first may be committed later."""
STEPS = (1, 200, 2_000, 16_000)
"""Records that are looked at, to both sides of where it should be, in steps."""
SEARCH_SECONDS = 0.1
"""What a search takes at the most, but for a step that has begun."""
SURE_STEPS = 2
"""Steps that are taken however long they take: a machine that stands still finds what is where it should be."""


def until(deadline: float, taken: int) -> float:
    """When the step with this number (from 1) is to end (monotonic)."""
    return math.inf if taken <= SURE_STEPS else deadline


def event_in(body: bytes, event_id: bytes, gpt: str | None) -> Event | None:
    """The event with this id (`gpt`: of this GPT) in a segment's body."""
    if event_id in body:
        for record in decode(body):
            if isinstance(record, Event) and record.id == event_id and gpt in (None, record.gpt):
                return record
    return None


def damaged() -> StoreDamaged:
    """It was not found, and records about it cannot be read."""
    return StoreDamaged(
        "the journal is damaged where an event is looked for", DamagedPart.LOOKED_FOR,
        "No se puede buscar un evento que alguien valora: los registros sobre él están dañados. Están apartados "
        "o entregados (runbook BridgeRecordsParked), y nada más los necesita.",
    )  # fmt: skip
