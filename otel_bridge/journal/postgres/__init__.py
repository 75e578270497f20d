"""The journal in PostgreSQL (15 or later): all of its SQL. Any number of replicas append to it at once.

Tables: `schema.py`, made and upgraded by `migrations.py` and by nothing at run time. `visiting.py` is the connection of
an operator's command, `inspection.py` says what is wrong with a server.

A URL of it is `postgresql://user:password@host1,host2/name?…`, as libpq reads it.
"""

from __future__ import annotations

from collections.abc import Callable

from otel_bridge.config.postgres_url import shown
from otel_bridge.errors import StartRefused
from otel_bridge.journal.findings import Finding
from otel_bridge.journal.postgres import inspection, migrations
from otel_bridge.journal.postgres.visiting import visit


def exists(url: str) -> bool:
    """Whether a bridge has served this journal: the tables are made before that. Raises StartRefused where this release
    cannot work on what is there, StoreError where nobody answers."""
    with visit(url) as connection:
        unfit = migrations.unfit(migrations.found(connection))
        if unfit is not None:
            raise StartRefused(f"journal {shown(url)}: {unfit}.")
        row = connection.execute("SELECT key_fingerprint IS NOT NULL FROM otel_bridge.journal").fetchone()
    return bool(row and row[0])


def carried_key(url: str) -> bytes | None:
    """A database holds no key: that would be beside what it protects."""
    return None


def inspect(url: str) -> list[Finding]:
    return inspection.inspect(url)


def migrate(url: str, role: str | None, tell: Callable[[str], None]) -> None:
    with visit(url) as connection:
        migrations.migrate(connection, tell)
        if role is not None:
            migrations.grant(connection, role, tell)
