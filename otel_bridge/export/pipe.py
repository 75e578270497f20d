"""The messages between the bridge and its delivery process, in frames (frames.py).

The bridge writes a `Setup` when the process starts and a `Stop` when it shall end; the process writes `Report`s.
"""

from __future__ import annotations

from typing import Any

import msgspec

from otel_bridge.config import Gpt
from otel_bridge.journal.store import DamagedPart, Parked

CONSUMER = "otlp"
"""The name that delivery has in the journal."""


class Setup(msgspec.Struct):
    """What the process is told when it starts."""

    journal: str
    """Its URL."""
    otlp: dict[str, Any]
    """Fields of `config.Otlp`."""
    gpts: dict[str, Gpt]
    resource: list[tuple[str, str]]
    """Resource attributes, as configured."""


class Report(msgspec.Struct, omit_defaults=True):
    """What the process has done since its last report."""

    cursor: int = 0
    """Sequence number of the last record that is delivered or parked; 0 where the cursor has not moved."""
    exported: int = 0
    """Spans delivered."""
    parked: list[Parked] = []
    replayed: list[int] = []
    """Sequence numbers of parked records that have been delivered now."""
    reparked: list[Parked] = []
    """Parked records that were sent again and refused again."""
    attempts: dict[str, int] = {}
    """Requests by the kind of their result."""
    state: str = "ok"
    """Kind of the last result."""
    message: str = ""
    """The endpoint's text."""
    damaged: DamagedPart | None = None
    """This part of the journal is damaged, says `message`; the report says nothing else."""


class Stop(msgspec.Struct):
    """Deliver what can be delivered within `seconds`, then end."""

    seconds: float
