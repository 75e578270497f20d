"""`otel-bridge journal migrate`: makes the schema, and brings it up to this release's version. Forward only.

A step and the version that it makes are one transaction. Two who migrate at once: one waits for the other's lock on the
row of `journal` (or, where that is still to be made, for the names that the other is about to take), and then finds it
done. A step waits only shortly for the tables' locks, for whoever commits would wait behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from psycopg import errors, sql

from otel_bridge.errors import StartRefused
from otel_bridge.journal.postgres import schema
from otel_bridge.journal.postgres.connection import Connection

LOCK_WAIT_MS = 2_000
"""How long a step waits for a table that is in use: commits wait behind it. Then it lets them by and tries again."""
ATTEMPTS = 30
OLDEST_SERVER = 150_000
"""PostgreSQL 15."""


class Found(NamedTuple):
    """The schema that is there."""

    version: int
    serves_from: int
    """The oldest release, by the schema that it knows, that can work on it."""


def found(connection: Connection) -> Found | None:
    """None: there is no schema. Raises psycopg.Error: InsufficientPrivilege where this role may not look."""
    # By the catalog, which every role may read: by name, a schema without rights looks like an error.
    there = connection.execute(
        "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'otel_bridge' AND c.relname = 'journal'"
    ).fetchone()
    if there is None:
        return None
    row = connection.execute("SELECT version, serves_from FROM otel_bridge.journal").fetchone()
    return None if row is None else Found._make(row)


def unfit(there: Found | None) -> str | None:
    """Why this release cannot work on the schema that is there, and what to do; None: it can."""
    if there is None:
        return "la base no tiene aún el esquema otel_bridge. Créalo con `otel-bridge journal migrate`"
    if there.version < schema.OLDEST:
        return (
            f"el esquema es de la versión {there.version}, y este otel-bridge trabaja con la {schema.OLDEST} o "
            "posterior. Actualízalo con `otel-bridge journal migrate`"
        )
    if there.serves_from > schema.VERSION:
        return (
            f"el esquema es de la versión {there.version}, escrito por un otel-bridge más nuevo; este conoce la "
            f"{schema.VERSION}, y pueden trabajar con él los que conozcan la {there.serves_from} o posterior. "
            "Usa uno más nuevo"
        )
    return None


def migrate(connection: Connection, tell: Callable[[str], None]) -> None:
    """`tell` is called with what is done, line by line. Raises StartRefused, psycopg.Error."""
    _refuse_server(connection)
    done = False
    taken = 0
    while True:
        try:
            version = _step(connection, tell)
        except (errors.UniqueViolation, errors.DuplicateSchema, errors.DuplicateTable) as error:
            # Another has made it meanwhile, and has it now: this one looks again.
            taken += 1
            if taken > 2:
                raise StartRefused(
                    f"el esquema otel_bridge contiene algo que no es del puente ({error.diag.message_primary}). "
                    "Nombra otra base con --journal."
                ) from None
            continue
        except errors.InsufficientPrivilege as error:
            raise StartRefused(f"{error.diag.message_primary}. {_grant_wanted(connection)}") from None
        if version is None:
            break
        tell(f"esquema otel_bridge: {'creado, ' if version == 1 else 'actualizado a la '}versión {version}")
        done = True
    if not done:
        tell(f"esquema otel_bridge: ya es la versión {schema.VERSION}, nada que hacer")


def make(connection: Connection) -> None:
    """All of it, in the transaction that is open, where no schema of the name is."""
    for version in sorted(schema.STEPS):
        _take(connection, version)


def _take(connection: Connection, version: int) -> None:
    connection.execute(schema.STEPS[version])
    connection.execute(
        "UPDATE otel_bridge.journal SET version = %s, serves_from = %s", (version, schema.SERVES_FROM[version])
    )


def _step(connection: Connection, tell: Callable[[str], None]) -> int | None:
    """Makes the next version; None: this release knows none after the one that is there."""
    for attempt in range(ATTEMPTS):
        try:
            with connection.transaction():
                connection.execute("SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0")
                before = found(connection)
                if before is not None:
                    connection.execute("SELECT 1 FROM otel_bridge.journal FOR UPDATE")
                    before = found(connection)  # as whoever had the lock has left it
                version = 1 if before is None else before.version + 1
                if before is not None and before.version > schema.VERSION:
                    raise StartRefused(
                        f"el esquema es de la versión {before.version}, escrito por un otel-bridge más nuevo; "
                        f"este conoce la {schema.VERSION}. Un esquema nunca vuelve atrás: ejecuta el `journal "
                        "migrate` del más nuevo."
                    )
                if version > schema.VERSION:
                    return None
                connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
                _take(connection, version)
                return version
        except errors.LockNotAvailable:
            if attempt + 1 == ATTEMPTS:
                raise StartRefused(
                    "las tablas están en uso todo el tiempo, y la actualización frenaría las respuestas. Mira quién "
                    "las tiene (SELECT pid, query, xact_start FROM pg_stat_activity ORDER BY xact_start), termínalo, y "
                    "ejecuta esto otra vez. No se cambió nada."
                ) from None
            if attempt == 0:
                tell("una tabla está en uso: se espera por ella, y se dejan pasar los commits")
            time.sleep(1)
    raise AssertionError("unreachable")


def _refuse_server(connection: Connection) -> None:
    """Raises StartRefused where the schema cannot be made on this server, or had better not be."""
    if connection.info.server_version < OLDEST_SERVER:
        raise StartRefused(
            f"el servidor es PostgreSQL {connection.info.parameter_status('server_version')}; hace falta la 15 o "
            "posterior"
        )
    row = connection.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')").fetchone()
    assert row is not None
    if row[0] or row[1] == "on":
        what = (
            "un secundario (está en recuperación)"
            if row[0]
            else "de solo lectura (default_transaction_read_only está activado)"
        )
        raise StartRefused(
            f"el servidor es {what}. Nombra el primario, o todos los servidores: "
            "postgresql://usuario@servidor1,servidor2/base?target_session_attrs=read-write"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StartRefused(
            f"la codificación de la base es {encoding}; hace falta UTF8. Crea otra: CREATE DATABASE otel_bridge "
            "ENCODING 'UTF8' TEMPLATE template0"
        )


def _grant_wanted(connection: Connection) -> str:
    """What would let this role migrate."""
    row = connection.execute(
        "SELECT current_user, current_database(), (SELECT pg_get_userbyid(nspowner) FROM pg_namespace "
        "WHERE nspname = 'otel_bridge')"
    ).fetchone()
    assert row is not None
    user, database, owner = map(_quoted, map(str, row))
    if row[2] is None:
        return f"Su dueño o un superusuario dice: GRANT CREATE ON DATABASE {database} TO {user}"
    return f"Ejecuta esto como {owner}, que creó el esquema, o que diga: GRANT {owner} TO {user}"


def _quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


# --- the role that serves ------------------------------------------------------------------------------------------


RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
EMPTIED = tuple(f"seen_{slot}" for slot in range(schema.RING))
"""Tables that a role which serves also empties."""


def grants(role: str) -> list[str]:
    """What a role needs to serve, and to look; it makes and changes no table."""
    to, rights = _quoted(role), ", ".join(RIGHTS)
    return [
        f"GRANT USAGE ON SCHEMA otel_bridge TO {to}",
        f"GRANT {rights} ON ALL TABLES IN SCHEMA otel_bridge TO {to}",
        f"GRANT TRUNCATE ON {', '.join(f'otel_bridge.{table}' for table in EMPTIED)} TO {to}",
        # Tables that a later release adds.
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA otel_bridge GRANT {rights} ON TABLES TO {to}",
    ]


def grant(connection: Connection, role: str, tell: Callable[[str], None]) -> None:
    """Raises StartRefused: there is no such role, or the one that asks may not grant."""
    try:
        with connection.transaction():
            for statement in grants(role):
                connection.execute(statement)
    except errors.UndefinedObject:
        raise StartRefused(f"no existe el rol {role}: CREATE ROLE {_quoted(role)} LOGIN PASSWORD '…'") from None
    except errors.InsufficientPrivilege as error:
        raise StartRefused(f"{error.diag.message_primary}. {_grant_wanted(connection)}") from None
    for statement in grants(role):
        tell(f"{statement};")
