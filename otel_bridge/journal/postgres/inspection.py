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

KEPT = 8
"""Connections that a replica keeps: its writer, 4 readers, what counts, the steward's, and its export process."""
CONNECTIONS = KEPT + 4 + 1
"""Of one replica, at the most: 4 more while it delivers what another one has left (the first of them also looks for
that, once a second), and 1 for a moment where its keys begin a new generation."""
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
        yield Finding(STOPS, "versión", f"PostgreSQL {version}", "Hace falta la 15 o posterior.")


def _state(asked: Asked) -> Iterator[Finding]:
    recovering, read_only = asked.row("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'")
    several = "postgresql://user@host1,host2/name?target_session_attrs=read-write"
    if recovering:
        yield Finding(
            STOPS, "secundario", "el servidor que responde está en recuperación",
            f"Nombra todos los servidores: {several}.",
        )  # fmt: skip
    elif read_only:
        yield Finding(
            STOPS, "default_transaction_read_only", "on",
            "Desactívalo para este rol o esta base, o averigua por qué alguien lo activó (¿un disco lleno?).",
        )  # fmt: skip
    encoding = asked.connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        yield Finding(
            STOPS, "codificación", f"{encoding}",
            "Crea la base de nuevo: CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0.",
        )  # fmt: skip
    isolation = asked.settings("default_transaction_isolation")["default_transaction_isolation"]
    if isolation != "read committed":
        yield Finding(
            WRONG, "default_transaction_isolation", isolation,
            "Ponlo a 'read committed' para este rol: los commits que coincidan fallarían en lugar de esperar.",
        )  # fmt: skip


def _schema(asked: Asked) -> Iterator[Finding]:
    try:
        found = migrations.found(asked.connection)
    except psycopg.errors.InsufficientPrivilege:
        return  # the rights say so
    unfit = migrations.unfit(found)
    if unfit is not None:
        yield Finding(STOPS, "esquema", unfit.partition(". ")[0], f"{unfit.partition('. ')[2]}.")
    elif found is not None and found.version < schema.VERSION:
        yield Finding(
            WARNING, "esquema", f"versión {found.version}, este otel-bridge conoce la {schema.VERSION}",
            "Ejecuta `otel-bridge journal migrate`.",
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
            STOPS, "tablas", f"faltan: {', '.join(missing)}",
            "Alguien las ha borrado: restaura la base de una copia de seguridad.",
        )  # fmt: skip


def _rights(asked: Asked) -> Iterator[Finding]:
    role = asked.connection.info.user
    todo = f"Como quien creó las tablas: otel-bridge journal migrate --grant {role}"
    usage = asked.connection.execute(
        "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'otel_bridge'"
    ).fetchone()
    if usage is None:
        return
    if not usage[0]:
        yield Finding(STOPS, "derechos", f"{role} no puede usar el esquema otel_bridge", todo)
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
        yield Finding(STOPS, "derechos", f"a {role} le faltan derechos sobre {'; '.join(missing)}", todo)


def _durability(asked: Asked) -> Iterator[Finding]:
    found = asked.settings("fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
    if found["fsync"] == "off":
        yield Finding(WRONG, "fsync", "off", "Actívalo: lo que se confirmó no sobrevive a una caída de la máquina.")
    if found["full_page_writes"] == "off":
        yield Finding(
            WRONG, "full_page_writes", "off",
            "Actívalo, salvo que el sistema de archivos nunca parta una página (ZFS): una caída puede dañar las "
                "tablas.",
        )  # fmt: skip
    standbys = _standbys(asked)
    commit = found["synchronous_commit"]
    if commit == "off" or (commit == "local" and (standbys or asked.hosts > 1)):
        yield Finding(
            WARNING, "synchronous_commit", commit,
            "El puente lo pone a on en sus propias conexiones, porque un commit debe esperar al disco y al "
            f"secundario; ponlo para el rol: ALTER ROLE {asked.connection.info.user} SET "
            "synchronous_commit = on.",
        )  # fmt: skip
    elif commit == "remote_write" and (standbys or asked.hosts > 1):
        yield Finding(
            WRONG, "synchronous_commit", commit,
            "Ponlo a on: un commit vuelve antes de que el secundario lo tenga en su disco.",
        )  # fmt: skip
    if not found["synchronous_standby_names"] and (standbys or asked.hosts > 1):
        seen = f"{standbys} secundario(s)" if standbys else f"{asked.hosts} servidores en la URL"
        yield Finding(
            WRONG if asked.hosts > 1 else WARNING, "synchronous_standby_names", f"vacío, con {seen}",
            "Nómbralos, por ejemplo 'ANY 1 (*)' con dos secundarios o más: a uno asíncrono le faltan los "
            "últimos registros confirmados cuando pasa a primario (el puente dice entonces que el diario volvió "
            "atrás). No hace falta donde nunca se promueve ninguno, o donde el almacenamiento se replica por "
            "debajo del servidor.",
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
        yield Finding(
            WRONG, name, "off", "Actívalo: las tablas crecen sin fin, y los identificadores de transacción se acaban."
        )
    age = int(asked.row("SELECT max(age(datfrozenxid)) FROM pg_database")[0])
    limit = int(found["autovacuum_freeze_max_age"])
    if age > OLD_AGE:
        yield Finding(
            WRONG, "identificadores de transacción",
            f"hay {age:,} en uso, y con 2147 millones el servidor deja de aceptar escrituras",
            "Haz VACUUM (FREEZE) ahora en las tablas más antiguas, y termina lo que lo frena: transacciones "
                "viejas y preparadas, slots.",
        )  # fmt: skip
    if limit < FREEZE_MAX_AGE:
        yield Finding(
            WARNING, "autovacuum_freeze_max_age", f"{limit:,} (el identificador más antiguo está {age:,} atrás)",
            f"Ponlo a {FREEZE_MAX_AGE} (pide un reinicio): cada commit gasta un identificador, así que con 5,000 "
            f"commits por segundo cada tabla se lee entera cada {limit / 5_000 / 3_600:.0f} horas.",
        )  # fmt: skip


def _clock(asked: Asked) -> Iterator[Finding]:
    apart = min((_apart(asked) for _ in range(3)), key=abs)
    if abs(apart) > CLOCK_SECONDS:
        yield Finding(
            WARNING, "reloj",
            f"el del servidor va {abs(apart):,.1f} s {'por delante' if apart > 0 else 'por detrás'} del de aquí",
            "Pon NTP (chrony, systemd-timesyncd) en los dos.",
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
    rooms = {"max_connections": most - sum(reserved) - int(others), "CONNECTION LIMIT del rol": of_role,
             "CONNECTION LIMIT de la base": of_database}  # fmt: skip
    name, room = min(((name, room) for name, room in rooms.items() if room >= 0), key=lambda pair: pair[1])
    replicas = room // CONNECTIONS
    if replicas < 2 * REPLICAS:
        yield Finding(
            STOPS if replicas == 0 else WARNING, name,
            f"sitio para {replicas} réplica(s), de {CONNECTIONS} conexiones cada una",
            f"Permite {2 * REPLICAS * CONNECTIONS} o más para {REPLICAS} réplicas: un reinicio escalonado tiene "
                "el doble a la vez.",
        )  # fmt: skip


def _timeouts(asked: Asked) -> Iterator[Finding]:
    role = asked.connection.info.user
    names = ("statement_timeout", "transaction_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
    for name, value in sorted(asked.settings(*names).items()):
        if int(value):
            why = (
                "corta las conexiones de un puente sin tráfico, que abre otras después"
                if name == "idle_session_timeout"
                else (
                    "un commit que espera a su réplica no se debe cancelar. El puente lo pone a 0 en sus propias "
                    "conexiones, y un pooler intermedio puede no permitirlo"
                )
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
            STOPS, "pooler", "algo entre este equipo y el servidor comparte las conexiones por transacción",
            "Nombra el servidor mismo, o pon el pooler en modo sesión (PgBouncer: pool_mode = session): las "
            "sentencias preparadas y las barreras necesitan una conexión propia.",
        )  # fmt: skip


def _encryption(asked: Asked) -> Iterator[Finding]:
    try:
        address = ipaddress.ip_address(asked.connection.info.hostaddr)
    except ValueError:
        return  # a socket of this machine
    if address.is_global and not asked.connection.pgconn.ssl_in_use:
        yield Finding(
            WARNING, "sslmode", f"la conexión con {address} no está cifrada",
            "Añade ?sslmode=verify-full a la URL (con sslrootcert=system, o el archivo de tu autoridad).",
        )  # fmt: skip


_CHECKS: tuple[Callable[[Asked], Iterator[Finding]], ...] = (
    _state, _schema, _rights, _durability, _vacuum, _clock, _connections, _timeouts, _pooler, _encryption
)  # fmt: skip
