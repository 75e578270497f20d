"""An archive as the journal of a database: in lane 0, and all of it or nothing, since it is one transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from psycopg import errors, sql

from otel_bridge import clock
from otel_bridge.errors import StartRefused
from otel_bridge.journal.archive import Archive, Forms, Progress, refuse_other, told
from otel_bridge.journal.postgres import migrations
from otel_bridge.journal.postgres.connection import Connection, place
from otel_bridge.journal.postgres.identity import encoded
from otel_bridge.journal.postgres.served import refuse_served
from otel_bridge.journal.postgres.sums import sums
from otel_bridge.journal.postgres.visiting import visit
from otel_bridge.journal.store import WentBack

_SEGMENT = "last int8, count int4, spans int4, arrived_us int8, crc int8, total int8, body bytea, epoch int8"
_SEEN = "key bytea, arrived_us int8, digest bytea, part int4"
_SESSION = (
    'id bytea, gpt text, "user" text, started_us int8, last_us int8, first_event_us int8, last_event_us int8, '
    "events int8, failed int8, tokens_in int8, tokens_out int8, stretch_us int8, stretch_events int8, live bool, "
    "digest bytea, stretch_last_us int8, active_us int8, fill int8, unmeasured_latency int8, unmeasured_in int8, "
    "unmeasured_out int8"
)
_USAGE = 'hour int8, gpt text, "user" text, events int8, tokens int8'
_PARKED = "seq int8, body bytea, spans int4, reason text, words text, parked_us int8, replay bool"
_HOLD = ("segment", "session", "usage", "parked", *migrations.EMPTIED)
"""Tables that are empty as long as nothing was accepted."""
_KEEP = ("lane", "sink", "snapshot", "counted", "folded", "turn")
"""Tables that a bridge writes that has accepted nothing."""


class Target(NamedTuple):
    url: str
    fingerprint: bytes | None
    """Of the key that users were hashed with."""
    replace: bool = False
    """Moves aside what is there."""
    backup_us: int | None = None
    """When the backup was made that it is: the next start is to know that the journal went back."""


def load(archive: Archive, target: Target, forms: Forms, progress: Progress) -> list[str]:
    """Returns where that is which was there before. Raises StartRefused, StoreError: then nothing has changed."""
    with visit(target.url) as db:
        try:
            with db.transaction():
                db.execute("SET LOCAL lock_timeout = '10s'")
                aside, before = _make_room(db, target)
                _put(db, archive, progress)
                went_back = None
                if target.backup_us is not None:
                    now_us = clock.now_us()
                    went_back = WentBack("backup", archive.last, before, now_us if before else target.backup_us, now_us)
                _put_rest(db, archive, target.fingerprint, went_back, forms)
                refuse_other(archive.sums, sums(db))
        except errors.InsufficientPrivilege as error:
            raise StartRefused(
                f"diario {place(target.url)}: {error.diag.message_primary}. Ejecuta esto con el rol que creó las "
                "tablas. No se cambió nada."
            ) from None
        for table in _HOLD:  # else the first questions are answered by plans for empty tables
            db.execute(f"ANALYZE otel_bridge.{table}")
    return aside


def _make_room(db: Connection, target: Target) -> tuple[list[str], int]:
    """Tables without a row but those of a new journal. Returns the name of what was moved aside, and how many records
    that had."""
    unfit = migrations.unfit(migrations.found(db))
    if unfit is not None:
        raise StartRefused(f"diario {place(target.url)}: {unfit}.")
    refuse_served(db, place(target.url))
    holds = [table for table in _HOLD if db.execute(f"SELECT 1 FROM otel_bridge.{table} LIMIT 1").fetchone()]
    if holds and not target.replace:
        raise StartRefused(
            f"diario {place(target.url)}: no está vacío ({', '.join(holds)}), y queda como está. Nombra otra "
            "base, o pon una copia en su lugar con `otel-bridge journal restore ARCHIVO --replace`."
        )
    if not holds:
        for table in _KEEP:
            db.execute(f"DELETE FROM otel_bridge.{table}")
        db.execute("UPDATE otel_bridge.steward SET owner = NULL, lease_until = '-infinity', body = NULL")
        return [], 0
    row = db.execute("SELECT coalesce(sum(last - (lane::bigint << 40)), 0)::bigint FROM otel_bridge.lane").fetchone()
    aside = f"otel_bridge_before_{time.strftime('%Y%m%dt%H%M%Sz', time.gmtime())}"
    roles = [role for (role,) in db.execute(
        "SELECT DISTINCT pg_get_userbyid(acl.grantee) FROM pg_class c, aclexplode(c.relacl) acl WHERE "
        "c.oid = 'otel_bridge.lane'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee NOT IN (0, c.relowner)"
    ).fetchall()]  # fmt: skip
    db.execute(sql.SQL("ALTER SCHEMA otel_bridge RENAME TO {}").format(sql.Identifier(aside)))
    migrations.make(db)
    db.execute("DELETE FROM otel_bridge.turn")
    for role in roles:
        for statement in migrations.grants(role):
            db.execute(statement)
    return [f"el esquema {aside}"], int(row[0]) if row else 0


def _put(db: Connection, archive: Archive, progress: Progress) -> None:
    def put(table: str, columns: str, rows: Iterable[Sequence[Any]]) -> None:
        names, types = zip(*(column.split() for column in columns.split(", ")), strict=True)
        with db.cursor().copy(f"COPY otel_bridge.{table} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)") as copy:
            copy.set_types(types)
            for row in told(rows, table, progress):
                copy.write_row(row)

    put("segment", _SEGMENT, ((*row, 0) for row in archive.segments()))
    put("seen_1", _SEEN, archive.seen())
    put("session", _SESSION, archive.sessions())
    put("usage", _USAGE, archive.usage())
    # What an endpoint said may hold a character that PostgreSQL's texts cannot.
    put("parked", _PARKED, (row._replace(words=row.words.replace("\0", "�")) for row in archive.parked()))


def _put_rest(
    db: Connection, archive: Archive, fingerprint: bytes | None, went_back: WentBack | None, forms: Forms
) -> None:
    db.execute(
        "INSERT INTO otel_bridge.lane (lane, last, total, turn, doubled) VALUES (0, %s, %s, 1, false)",
        (archive.last, archive.total),
    )
    for sink in archive.sinks:
        db.execute(
            "INSERT INTO otel_bridge.sink (name, lane, cursor, exported) VALUES (%s, 0, %s, %s)",
            (sink.name, sink.cursor, sink.exported),
        )
    # Sessions and usage of a file have all of its records.
    db.execute("INSERT INTO otel_bridge.counted (lane, seq) VALUES (0, %s)", (archive.last,))
    if archive.snapshot is not None:
        seq, body = archive.snapshot
        try:
            shared, own = forms.parted(body)
        except ValueError as error:
            raise StartRefused(f"la foto de las métricas no se puede leer: {error}. No se cambió nada.") from None
        db.execute("UPDATE otel_bridge.steward SET body = %s", (shared,))
        db.execute("INSERT INTO otel_bridge.folded (lane, seq) VALUES (0, %s)", (seq,))
        db.execute("INSERT INTO otel_bridge.snapshot (lane, seq, body) VALUES (0, %s, %s)", (seq, own))
    # Keys are known for a horizon at the least from here on: those of the file are in one turn.
    db.execute("INSERT INTO otel_bridge.turn (turn, started_us) VALUES (1, %s)", (clock.now_us(),))
    db.execute(
        "UPDATE otel_bridge.journal SET turn = 1, doubled = false, key_fingerprint = %s, went_back = %s",
        (fingerprint, None if went_back is None else encoded(went_back)),
    )
