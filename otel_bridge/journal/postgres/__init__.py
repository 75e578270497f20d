"""The journal in PostgreSQL (15 or later): all of its SQL. Any number of replicas append to it at once.

Tables: `schema.py`, made and upgraded by `migrations.py` and by nothing at run time. `visiting.py` is the connection of
an operator's command.

A URL of it is `postgresql://user:password@host1,host2/name?…`, as libpq reads it.
"""

from __future__ import annotations

from collections.abc import Callable

from otel_bridge.journal.postgres import migrations
from otel_bridge.journal.postgres.visiting import visit


def exists(url: str) -> bool:
    """Raises StartRefused where this release cannot work on what is there, StoreError where nobody answers."""
    with visit(url) as connection:
        found = migrations.found(connection)
    return found is not None


def carried_key(url: str) -> bytes | None:
    """A database holds no key: that would be beside what it protects."""
    return None


def migrate(url: str, role: str | None, tell: Callable[[str], None]) -> None:
    with visit(url, for_writing=True) as connection:
        migrations.migrate(connection, tell)
        if role is not None:
            migrations.grant(connection, role, tell)
