"""What is counted of a whole journal, from the rows that are there."""

from __future__ import annotations

from otel_bridge.journal.archive import Sums
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.migrations import EMPTIED


def sums(db: Connection) -> Sums:
    """Of all lanes."""

    def values(statement: str) -> tuple[int, ...]:
        row = db.execute(statement).fetchone()
        assert row is not None
        return tuple(int(value or 0) for value in row)

    seen = " UNION ALL ".join(f"SELECT key FROM otel_bridge.{table}" for table in EMPTIED)
    return Sums(
        *values("SELECT count(*), sum(count), sum(spans), sum(length(body)) FROM otel_bridge.segment"),
        *values(f"SELECT count(*) FROM (SELECT DISTINCT key FROM ({seen}) every) one"),
        *values("SELECT count(*), sum(events), sum(tokens_in + tokens_out), count(*) FILTER (WHERE live) "
                "FROM otel_bridge.session"),
        *values("SELECT count(*), sum(events), sum(tokens) FROM otel_bridge.usage"),
        *values("SELECT count(*), sum(spans) FROM otel_bridge.parked"),
    )  # fmt: skip
