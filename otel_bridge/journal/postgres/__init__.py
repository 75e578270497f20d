"""The journal in PostgreSQL (15 or later): all of its SQL. Any number of replicas append to it at once.

Tables: `schema.py`, made and upgraded by `migrations.py` and by nothing at run time. `visiting.py` is the connection of
an operator's command, `inspection.py` says what is wrong with a server.

A URL of it is `postgresql://user:password@host1,host2/name?…`, as libpq reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_bridge.config.postgres_url import shown
from otel_bridge.errors import StartRefused
from otel_bridge.journal.findings import Finding
from otel_bridge.journal.postgres import inspection, migrations
from otel_bridge.journal.postgres.connection import split
from otel_bridge.journal.postgres.reading import PostgresReader
from otel_bridge.journal.postgres.replay import mark_replay as _mark_replay
from otel_bridge.journal.postgres.visiting import visit
from otel_bridge.journal.postgres.writing import PostgresStore


def exists(url: str) -> bool:
    """Whether a bridge has served this journal: the tables are made before that. Raises StartRefused where this release
    cannot work on what is there, StoreError where nobody answers."""
    with visit(url) as connection:
        unfit = migrations.unfit(migrations.found(connection))
        if unfit is not None:
            raise StartRefused(f"journal {shown(url)}: {unfit}.")
        row = connection.execute("SELECT key_fingerprint IS NOT NULL FROM otel_bridge.journal").fetchone()
    return bool(row and row[0])


def _existing(url: str) -> str:
    if not exists(url):
        raise StartRefused(f"journal {shown(url)}: there is none yet. Start `otel-bridge serve`, or name another.")
    return url


def open(url: str, consumer: str) -> PostgresStore:
    return PostgresStore(url, consumer)


def open_reader(url: str, consumer: str) -> PostgresReader:
    dsn, lane = split(_existing(url))
    return PostgresReader(dsn, consumer, lambda: lane or 0)


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    return _mark_replay(_existing(url), seqs)


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
