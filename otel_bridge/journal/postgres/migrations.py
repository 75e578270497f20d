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
        return "the database has no schema otel_bridge yet. Make it with `otel-bridge journal migrate`"
    if there.version < schema.OLDEST:
        return (
            f"the schema is version {there.version}, and this release works on {schema.OLDEST} or later. Upgrade it "
            "with `otel-bridge journal migrate`"
        )
    if there.serves_from > schema.VERSION:
        return (
            f"the schema is version {there.version}, written by a newer release; this one knows {schema.VERSION}, and "
            f"releases that know {there.serves_from} or later can work on it. Run a newer release"
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
                    f"the schema otel_bridge holds something that is not the bridge's ({error.diag.message_primary}). "
                    "Name another database with --journal."
                ) from None
            continue
        except errors.InsufficientPrivilege as error:
            raise StartRefused(f"{error.diag.message_primary}. {_grant_wanted(connection)}") from None
        if version is None:
            break
        tell(f"schema otel_bridge: {'made, ' if version == 1 else 'upgraded to '}version {version}")
        done = True
    if not done:
        tell(f"schema otel_bridge: version {schema.VERSION} already, nothing to do")


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
                        f"the schema is version {before.version}, written by a newer release; this one knows "
                        f"{schema.VERSION}. A schema is never taken back: run the newer release's `journal migrate`."
                    )
                if version > schema.VERSION:
                    return None
                connection.execute(f"SET LOCAL lock_timeout = {LOCK_WAIT_MS}")
                _take(connection, version)
                return version
        except errors.LockNotAvailable:
            if attempt + 1 == ATTEMPTS:
                raise StartRefused(
                    "the tables are in use all the time, and the upgrade would hold answers up. See who holds them "
                    "(SELECT pid, query, xact_start FROM pg_stat_activity ORDER BY xact_start), end it, and run this "
                    "again. Nothing was changed."
                ) from None
            if attempt == 0:
                tell("a table is in use: waiting for it, and letting commits by")
            time.sleep(1)
    raise AssertionError("unreachable")


def _refuse_server(connection: Connection) -> None:
    """Raises StartRefused where the schema cannot be made on this server, or had better not be."""
    if connection.info.server_version < OLDEST_SERVER:
        raise StartRefused(
            f"the server is PostgreSQL {connection.info.parameter_status('server_version')}; 15 or later is needed"
        )
    row = connection.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only')").fetchone()
    assert row is not None
    if row[0] or row[1] == "on":
        what = "a standby (it is in recovery)" if row[0] else "read-only (default_transaction_read_only is on)"
        raise StartRefused(
            f"the server is {what}. Name the primary, or all hosts: "
            "postgresql://user@host1,host2/name?target_session_attrs=read-write"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StartRefused(
            f"the database's encoding is {encoding}; UTF8 is needed. Make another: CREATE DATABASE otel_bridge "
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
        return f"Its owner or a superuser says: GRANT CREATE ON DATABASE {database} TO {user}"
    return f"Run this as {owner}, who made the schema, or have it say: GRANT {owner} TO {user}"


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
        raise StartRefused(f"there is no role {role}: CREATE ROLE {_quoted(role)} LOGIN PASSWORD '…'") from None
    except errors.InsufficientPrivilege as error:
        raise StartRefused(f"{error.diag.message_primary}. {_grant_wanted(connection)}") from None
    for statement in grants(role):
        tell(f"{statement};")
