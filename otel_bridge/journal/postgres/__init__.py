"""The journal in PostgreSQL (15 or later): all of its SQL. Any number of replicas append to it at once.

Tables: `schema.py`, made and upgraded by `migrations.py` and by nothing at run time. `visiting.py` is the connection of
an operator's command, `inspection.py` says what is wrong with a server, `describing.py` who shares
the journal. `dump.py` is a whole journal's
rows, for a backup or another backend, `load.py` puts such in a database, `moving.py` does both.

Reading: `reading.py` is a reader for any thread or process, `segments.py` the records of a lane in order and over what
is damaged of them, `balance.py` the ledger, `lookup.py` finds an event by its id, `sizes.py` says what room is taken.
What a commit leaves to others: `totals.py` adds to sessions and usage (`journal/tallies.py` says what), `idle.py` lets
sessions fall idle, `trimming.py` deletes, `ahead.py` mends what a wrong clock has left. `consumer.py` is where delivery
stands, `replay.py` the operator's wish that it sends again, `erasing.py` takes a user out.

A URL of it is `postgresql://user:password@host1,host2/name?…`, as libpq reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from otel_bridge.config.postgres_url import shown
from otel_bridge.errors import StartRefused
from otel_bridge.journal.findings import Finding
from otel_bridge.journal.postgres import inspection, migrations
from otel_bridge.journal.postgres.connection import split
from otel_bridge.journal.postgres.describing import describe
from otel_bridge.journal.postgres.erasing import PostgresErasing
from otel_bridge.journal.postgres.moving import archive, backup, load, restore
from otel_bridge.journal.postgres.reading import PostgresReader
from otel_bridge.journal.postgres.replay import mark_replay as _mark_replay
from otel_bridge.journal.postgres.visiting import visit
from otel_bridge.journal.postgres.writing import PostgresStore

__all__ = [
    "archive",
    "backup",
    "carried_key",
    "describe",
    "erasing",
    "exists",
    "inspect",
    "load",
    "mark_replay",
    "migrate",
    "open",
    "open_reader",
    "readers",
    "restore",
]


def exists(url: str) -> bool:
    """Whether a bridge has served this journal: the tables are made before that. Raises StartRefused where this release
    cannot work on what is there, StoreError where nobody answers."""
    with visit(url) as connection:
        unfit = migrations.unfit(migrations.found(connection))
        if unfit is not None:
            raise StartRefused(f"diario {shown(url)}: {unfit}.")
        row = connection.execute("SELECT key_fingerprint IS NOT NULL FROM otel_bridge.journal").fetchone()
    return bool(row and row[0])


def open(url: str, consumer: str) -> PostgresStore:
    return PostgresStore(url, consumer)


def open_reader(url: str, consumer: str) -> PostgresReader:
    lane = _existing(url)
    return PostgresReader(url, consumer, lambda: lane)


def readers(url: str, consumer: str) -> Iterator[PostgresReader]:
    only = _existing(url)
    lanes = [lane.lane for lane in describe(url, consumer).lanes] if only is None else [only]
    for lane in sorted(lanes):
        yield _of_lane(split(url)[0], consumer, lane)


def _of_lane(url: str, consumer: str, lane: int) -> PostgresReader:
    return PostgresReader(url, consumer, lambda: lane)


def mark_replay(url: str, seqs: Sequence[int] | None) -> int:
    _existing(url)
    return _mark_replay(url, seqs)


def erasing(url: str, consumer: str) -> PostgresErasing:
    _existing(url)
    return PostgresErasing(split(url)[0], consumer)


def _existing(url: str) -> int | None:
    """The lane that the URL names, of a journal that there is."""
    dsn, lane = split(url)
    if not exists(dsn):
        raise StartRefused(
            f"diario {shown(dsn)}: aún no existe. Arranca `otel-bridge serve`, o nombra uno con --journal."
        )
    return lane


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
