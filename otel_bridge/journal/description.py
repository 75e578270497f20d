"""What `otel-bridge journal status` tells of a journal that replicas share."""

from __future__ import annotations

from typing import NamedTuple

from otel_bridge.journal.store import Lane


class Description(NamedTuple):
    server: str
    """Its name and version."""
    schema: int
    """Version of the tables."""
    serves_from: int
    """The oldest release, by the schema that it knows, that can work on them."""
    steward: str | None
    """The process that counts for all; None: there is none."""
    steward_lease_seconds: float
    lanes: list[Lane]
    tables: dict[str, int]
    """Bytes of each, with its indexes."""
    oldest_transaction_id: int
    """How many ids back it is, of all databases of the server."""
    freeze_at: int
    """From how many on tables are read through against wraparound."""
