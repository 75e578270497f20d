"""The row that says which journal it is."""

from __future__ import annotations

import msgspec

from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.store import Identity, WentBack


def identity(connection: Connection) -> Identity:
    """As `Reader.identity`."""
    ((id_, told),) = connection.execute("SELECT id, went_back FROM otel_bridge.journal").fetchall()
    return Identity(id_, None if told is None else _decoded(told))


def encoded(went_back: WentBack) -> str:
    """What the row holds of it."""
    return msgspec.json.encode(went_back).decode()


def _decoded(told: str) -> WentBack | None:
    """None: a later release has written what this one cannot read."""
    try:
        return msgspec.json.decode(told, type=WentBack)
    except msgspec.MsgspecError:
        return None
