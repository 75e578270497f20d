"""Whether replicas serve the journal now."""

from __future__ import annotations

from otel_bridge.errors import StartRefused
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.lane import is_gone, process_name


def hold(db: Connection) -> None:
    """Until the transaction ends no replica commits, and no lane can be claimed or made."""
    db.execute("SELECT 1 FROM otel_bridge.journal FOR UPDATE")
    db.execute("SELECT 1 FROM otel_bridge.lane ORDER BY lane FOR UPDATE")


def refuse_served(db: Connection, where: str) -> None:
    """Raises StartRefused where a replica serves, or may go on. In a transaction it stays so: no lane can be claimed or
    made until that ends."""
    hold(db)
    mine = process_name()
    alive = [
        (str(name).partition(" ")[0], seconds)
        for name, seconds in db.execute(
            "SELECT name, extract(epoch FROM lease_until - clock_timestamp())::float8 FROM otel_bridge.lane "
            "WHERE owner IS NOT NULL AND lease_until > clock_timestamp() ORDER BY lane"
        ).fetchall()
        if not is_gone(name, mine)
    ]
    if alive:
        raise StartRefused(
            f"diario {where}: réplicas que lo sirven: {len(alive)}, en "
            f"{', '.join(sorted({host for host, _ in alive}))}. Páralas antes; si una murió de golpe, hay que "
            f"esperar por ella ({max(seconds for _, seconds in alive):.0f} s)."
        )
