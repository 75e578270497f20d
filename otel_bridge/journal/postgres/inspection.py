"""What is wrong with a server for a journal: asked by `otel-bridge check` and `doctor`, and by a start for its log.

Each check is a function that yields what it finds. They read settings as a bridge's own connections get them: those of
the role and of the database, too.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import psycopg

from otel_bridge.journal.findings import Finding, Severity
from otel_bridge.journal.postgres import migrations, schema
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.visiting import parameters, visit

CONNECTIONS = 12
"""Of one replica, at the most: 8 (tests/postgres/test_inspection.py counts them), and 4 while it delivers what another
one has left."""
REPLICAS = 3
"""There should be room for so many, and for as many beside them during a rolling restart."""
FREEZE_MAX_AGE = 1_500_000_000
OLD_AGE = 1_800_000_000
"""Transaction ids of 2,147,000,000 at which a server stops: it takes no writes any more."""
CLOCK_SECONDS = 2.0

STOPS, WRONG, WARNING = Severity.STOPS, Severity.WRONG, Severity.WARNING


class Asked(NamedTuple):
    """What the checks read from."""

    connection: Connection
    url: str
    hosts: int
    """How many the URL names."""

    def settings(self, *names: str) -> dict[str, str]:
        """Those that this server knows."""
        rows = self.connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", (list(names),))
        return dict(rows.fetchall())

    def row(self, statement: str, *values: Any) -> tuple[Any, ...]:
        row = self.connection.execute(statement, values or None).fetchone()
        assert row is not None
        return row


def inspect(url: str) -> list[Finding]:
    """The worst first. Raises StartRefused, StoreUnavailable: nobody answers there."""
    asked = parameters(url)
    with visit(url, as_configured=True) as connection:
        hosts = len(str(asked.get("host") or "").split(","))
        source = Asked(connection, url, hosts)
        found = list(_version(source))
        if not found:
            for check in _CHECKS:
                found += check(source)
    return sorted(found, key=lambda one: one.severity)


def _version(asked: Asked) -> Iterator[Finding]:
    if asked.connection.info.server_version < migrations.OLDEST_SERVER:
        version = asked.connection.info.parameter_status("server_version")
        yield Finding(STOPS, "version", f"PostgreSQL {version}", "15 or later is needed.")


def _state(asked: Asked) -> Iterator[Finding]:
    recovering, read_only = asked.row("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'")
    several = "postgresql://user@host1,host2/name?target_session_attrs=read-write"
    if recovering:
        yield Finding(STOPS, "standby", "the server that answers is in recovery", f"Name all hosts: {several}.")
    elif read_only:
        yield Finding(
            STOPS, "default_transaction_read_only", "on",
            "Switch it off for this role or database, or find out why somebody switched it on (a full disk?).",
        )  # fmt: skip
    encoding = asked.connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        yield Finding(
            STOPS, "encoding", f"{encoding}",
            "Make the database anew: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )  # fmt: skip
    isolation = asked.settings("default_transaction_isolation")["default_transaction_isolation"]
    if isolation != "read committed":
        yield Finding(
            WRONG, "default_transaction_isolation", isolation,
            "Set it to 'read committed' for this role: commits that meet would fail instead of waiting.",
        )  # fmt: skip


def _schema(asked: Asked) -> Iterator[Finding]:
    try:
        found = migrations.found(asked.connection)
    except psycopg.errors.InsufficientPrivilege:
        return  # the rights say so
    unfit = migrations.unfit(found)
    if unfit is not None:
        yield Finding(STOPS, "schema", unfit.partition(". ")[0], f"{unfit.partition('. ')[2]}.")
    elif found is not None and found.version < schema.VERSION:
        yield Finding(
            WARNING, "schema", f"version {found.version}, this release knows {schema.VERSION}",
            "Run `otel-bridge journal migrate`.",
        )  # fmt: skip
    if found is None:
        return
    there = {name for (name,) in asked.connection.execute(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'otel_bridge' AND c.relkind IN ('r', 'p')"
    )}  # fmt: skip
    missing = [name for name in schema.tables(min(found.version, schema.VERSION)) if name not in there]
    if missing:
        yield Finding(
            STOPS, "tables", f"missing: {', '.join(missing)}",
            "Somebody has dropped them: restore the database from a backup.",
        )  # fmt: skip


def _rights(asked: Asked) -> Iterator[Finding]:
    role = asked.connection.info.user
    todo = f"As who made the tables: otel-bridge journal migrate --grant {role}"
    usage = asked.connection.execute(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'otel_bridge'"
    ).fetchone()
    if usage is None:
        return
    if not usage[0]:
        yield Finding(STOPS, "rights", f"{role} may not use the schema otel_bridge", todo)
        return
    missing: list[str] = []
    for table, oid in asked.connection.execute(
        "SELECT c.relname, c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = 'otel_bridge' AND c.relkind IN ('r', 'p') ORDER BY c.relname"
    ).fetchall():
        wanted = [*migrations.RIGHTS, *(["TRUNCATE"] if table in migrations.EMPTIED else [])]
        lacks = [right for right in wanted if not asked.row("SELECT has_table_privilege(%s::oid, %s)", oid, right)[0]]
        if lacks:
            missing.append(f"{table} ({', '.join(lacks)})")
    if missing:
        yield Finding(STOPS, "rights", f"{role} lacks rights on {'; '.join(missing)}", todo)


def _durability(asked: Asked) -> Iterator[Finding]:
    found = asked.settings("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
    if found["fsync"] == "off":
        yield Finding(
            WRONG, "fsync", "off", "Switch it on: what was acknowledged does not survive a crash of the machine."
        )
    if found["full_page_writes"] == "off":
        yield Finding(
            WRONG, "full_page_writes", "off",
            "Switch it on, unless the file system never tears a page (ZFS): a crash can damage the tables.",
        )  # fmt: skip
    standbys = _standbys(asked)
    commit = found["synchronous_commit"]
    if commit == "off" or (commit == "local" and (standbys or asked.hosts > 1)):
        yield Finding(
            WARNING, "synchronous_commit", commit,
            "The bridge sets it to on for its own connections, since a commit has to wait for the disk and the "
            f"standby; set it for the role: ALTER ROLE {asked.connection.info.user} SET synchronous_commit = on.",
        )  # fmt: skip
    elif commit == "remote_write" and (standbys or asked.hosts > 1):
        yield Finding(
            WRONG, "synchronous_commit", commit,
            "Set it to on: a commit returns before the standby has it on its disk.",
        )  # fmt: skip
    if not found["synchronous_standby_names"] and (standbys or asked.hosts > 1):
        seen = f"{standbys} standby(s)" if standbys else f"{asked.hosts} hosts in the URL"
        yield Finding(
            WRONG if asked.hosts > 1 else WARNING, "synchronous_standby_names", f"empty, with {seen}",
            "Name them, such as 'ANY 1 (*)' with two standbys or more: one that is asynchronous lacks the last "
            "acknowledged records when it is promoted (the bridge then says that the journal went back). Not needed "
            "where none is ever promoted, or where the storage is replicated below the server.",
        )  # fmt: skip


def _standbys(asked: Asked) -> int:
    """Servers that follow this one, or have a place kept: what follows rows (a logical slot) is none."""
    return int(asked.row(
        "SELECT greatest((SELECT count(*) FROM pg_stat_replication WHERE coalesce(application_name, '') <> "
        "'pg_basebackup' AND pid NOT IN (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND "
        "active_pid IS NOT NULL)), (SELECT count(*) FROM pg_replication_slots WHERE slot_type = 'physical' AND "
        "NOT temporary))"
    )[0])  # fmt: skip


def _vacuum(asked: Asked) -> Iterator[Finding]:
    found = asked.settings("autovacuum", "track_counts", "autovacuum_freeze_max_age")
    if "off" in (found["autovacuum"], found["track_counts"]):
        name = "autovacuum" if found["autovacuum"] == "off" else "track_counts"
        yield Finding(WRONG, name, "off", "Switch it on: tables grow without end, and transaction ids run out.")
    age = int(asked.row("SELECT max(age(datfrozenxid)) FROM pg_database")[0])
    limit = int(found["autovacuum_freeze_max_age"])
    if age > OLD_AGE:
        yield Finding(
            WRONG, "transaction ids", f"{age:,} are in use, and at 2,147,000,000 the server takes no writes any more",
            "VACUUM (FREEZE) the oldest tables now, and end what holds it back: old and prepared transactions, slots.",
        )  # fmt: skip
    if limit < FREEZE_MAX_AGE:
        yield Finding(
            WARNING, "autovacuum_freeze_max_age", f"{limit:,} (the oldest id is {age:,} back)",
            f"Set it to {FREEZE_MAX_AGE} (a restart): each commit takes an id, so that at 5,000 commits a second every "
            f"table is read through against wraparound each {limit / 5_000 / 3_600:.0f} hours.",
        )  # fmt: skip


def _clock(asked: Asked) -> Iterator[Finding]:
    apart = min((_apart(asked) for _ in range(3)), key=abs)
    if abs(apart) > CLOCK_SECONDS:
        yield Finding(
            WARNING, "clock", f"the server's is {abs(apart):,.1f} s {'ahead of' if apart > 0 else 'behind'} this one's",
            "Run NTP (chrony, systemd-timesyncd) on both.",
        )  # fmt: skip


def _apart(asked: Asked) -> float:
    """Seconds that the server's clock is ahead, by what its answer's way may have taken at the least."""
    before = time.time()
    server = float(asked.row("SELECT extract(epoch FROM clock_timestamp())")[0])
    after = time.time()
    return server - after if server > after else min(0.0, server - before)


def _connections(asked: Asked) -> Iterator[Finding]:
    """Whether replicas find room beside whoever else is connected."""
    found = asked.settings("max_connections", "superuser_reserved_connections", "reserved_connections")
    most, *reserved = (int(found.get(name, 0)) for name in
                       ("max_connections", "superuser_reserved_connections", "reserved_connections"))  # fmt: skip
    of_role, of_database, others = asked.row(
        "SELECT (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), "
        "(SELECT datconnlimit FROM pg_database WHERE datname = current_database()), "
        "(SELECT count(*) FROM pg_stat_activity WHERE usename <> current_user "
        "AND pid NOT IN (SELECT pid FROM pg_stat_replication))"
    )
    rooms = {"max_connections": most - sum(reserved) - int(others), "the role's CONNECTION LIMIT": of_role,
             "the database's CONNECTION LIMIT": of_database}  # fmt: skip
    name, room = min(((name, room) for name, room in rooms.items() if room >= 0), key=lambda pair: pair[1])
    replicas = room // CONNECTIONS
    if replicas < 2 * REPLICAS:
        yield Finding(
            STOPS if replicas == 0 else WARNING, name,
            f"room for {replicas} replica(s), of {CONNECTIONS} connections each",
            f"Allow {2 * REPLICAS * CONNECTIONS} or more for {REPLICAS} replicas: a rolling restart has both at once.",
        )  # fmt: skip


def _timeouts(asked: Asked) -> Iterator[Finding]:
    role = asked.connection.info.user
    names = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
    for name, value in sorted(asked.settings(*names).items()):
        if int(value):
            why = (
                "it ends the connections of a bridge that is quiet, which then opens new ones"
                if name == "idle_session_timeout"
                else "a commit that waits for its standby must not be cancelled. The bridge sets it to 0 for its own "
                "connections, and a pooler between may not let it"
            )
            yield Finding(WARNING, name, f"{int(value):,} ms", f"ALTER ROLE {role} SET {name} = 0: {why}.")


def _pooler(asked: Asked) -> Iterator[Finding]:
    """A pooler that gives a connection's server to another between two transactions: then it gives ours to the second
    one here, which begins while the first is at rest."""
    pids = {asked.row("SELECT pg_backend_pid()")[0] for _ in range(2)}
    with visit(asked.url, as_configured=True) as other, other.transaction():
        pid = other.execute("SELECT pg_backend_pid()").fetchone()
    if len(pids) > 1 or (pid and pid[0] in pids):
        yield Finding(
            STOPS, "pooler", "something between here and the server shares connections by transaction",
            "Name the server itself, or set the pooler to session mode (PgBouncer: pool_mode = session): prepared "
            "statements and fences need a connection of one's own.",
        )  # fmt: skip


def _encryption(asked: Asked) -> Iterator[Finding]:
    try:
        address = ipaddress.ip_address(asked.connection.info.hostaddr)
    except ValueError:
        return  # a socket of this machine
    if address.is_global and not asked.connection.pgconn.ssl_in_use:
        yield Finding(
            WARNING, "sslmode", f"the connection to {address} is not encrypted",
            "Add ?sslmode=verify-full (with sslrootcert=system, or your authority's file) to the URL.",
        )  # fmt: skip


_CHECKS: tuple[Callable[[Asked], Iterator[Finding]], ...] = (
    _state, _schema, _rights, _durability, _vacuum, _clock, _connections, _timeouts, _pooler, _encryption
)  # fmt: skip
