"""What an operator is told of the server and of who shares the journal."""

from __future__ import annotations

from otel_bridge.journal.description import Description
from otel_bridge.journal.postgres import migrations, steward
from otel_bridge.journal.postgres.connection import split
from otel_bridge.journal.postgres.visiting import visit


def describe(url: str, consumer: str) -> Description:
    """Raises StartRefused, StoreError."""
    with visit(split(url)[0]) as db:
        found = migrations.found(db)
        assert found is not None  # whoever asks has opened a reader
        row = db.execute(
            "SELECT name, greatest(0, extract(epoch FROM lease_until - clock_timestamp()))::float8 "
            "FROM otel_bridge.steward WHERE owner IS NOT NULL AND lease_until > clock_timestamp()"
        ).fetchone()
        sizes = db.execute(
            "SELECT c.relname, pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON "
            "n.oid = c.relnamespace WHERE n.nspname = 'otel_bridge' AND c.relkind = 'r' ORDER BY 2 DESC, 1"
        ).fetchall()
        ids = db.execute(
            "SELECT max(age(datfrozenxid)), current_setting('autovacuum_freeze_max_age')::bigint FROM pg_database"
        ).fetchone()
        assert ids is not None
        return Description(
            server=f"PostgreSQL {db.info.parameter_status('server_version')}",
            schema=found.version,
            serves_from=found.serves_from,
            steward=None if row is None else row[0],
            steward_lease_seconds=0.0 if row is None else row[1],
            lanes=steward.lanes(db, consumer),
            tables=dict(sizes),
            oldest_transaction_id=ids[0],
            freeze_at=ids[1],
        )
