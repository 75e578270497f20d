"""The operator's wish that parked records be sent again."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from otel_bridge.journal.postgres.arrays import int8_array
from otel_bridge.journal.postgres.connection import connect, is_lost, translated, words
from otel_bridge.journal.store import OutcomeUnknown


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    """Asks for these parked records (None: all) to be sent again; returns how many there are. Raises StoreError,
    OutcomeUnknown."""
    with translated(), connect(url) as connection:
        try:
            if seqs is None:
                return connection.execute("UPDATE otel_bridge.parked SET replay = true").rowcount
            return connection.execute(
                "UPDATE otel_bridge.parked SET replay = true WHERE seq = ANY(%b::bigint[])", (int8_array(seqs),)
            ).rowcount
        except psycopg.Error as error:
            if not is_lost(error):
                raise
            raise OutcomeUnknown(
                f"se perdió la conexión mientras se escribía ({words(error)}): no se sabe si se escribió. Pídelo "
                "otra vez: pedirlo dos veces es como pedirlo una."
            ) from error
