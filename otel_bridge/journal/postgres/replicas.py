"""What replicas share, as this one asks for it. Any thread: each call has a connection of its own."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import psycopg

from otel_bridge.journal.postgres import lane, steward
from otel_bridge.journal.postgres.connection import connect, translated
from otel_bridge.journal.postgres.steward import PostgresSteward
from otel_bridge.journal.postgres.writing import PostgresStore
from otel_bridge.journal.store import Lane, Steward, Store


class PostgresReplicas:
    def __init__(self, dsn: str, consumer: str, own_lane: Callable[[], int]) -> None:
        self._dsn = dsn
        self._consumer = consumer
        self._own_lane = own_lane

    @property
    def lane(self) -> int:
        return self._own_lane()

    def steward(self) -> Steward:
        return PostgresSteward(self._dsn, self._consumer)

    def adopt(self) -> Store | None:
        owner = uuid.uuid4()
        with translated():
            db = connect(self._dsn)
            try:
                held = lane.claim(db, owner, only_orphans=True)
            except psycopg.Error:
                db.close()
                raise
        if held is None:
            db.close()
            return None
        return PostgresStore(self._dsn, self._consumer, (db, held, owner))

    def lanes(self) -> list[Lane]:
        with translated(), connect(self._dsn) as db:
            return steward.lanes(db, self._consumer)

    def claim_key(self, fingerprint: bytes) -> bool:
        with translated(), connect(self._dsn) as db:
            return steward.claim_key(db, fingerprint)
