"""Connections to the server, and PostgreSQL's errors as the store's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from otel_bridge.journal.postgres import arrays
from otel_bridge.journal.postgres.patience import Patience, Patient
from otel_bridge.journal.store import DamagedPart, StoreDamaged, StoreError, StoreFull, StoreUnavailable

Connection = psycopg.Connection[tuple[Any, ...]]

CONNECT_SECONDS = 3
DEAD_SECONDS = 10
"""A server that does not acknowledge what is sent to it for so long is taken for gone."""
IDLE_SECONDS = 10
"""For which a transaction may wait for its client: of a process that stands still, or a machine that is gone, the
server lets go what others wait for. Shorter than a lease, so that a lane's locks are gone when its lease is over."""
CANCELLED = "01000"
"""The warning with which a commit «succeeds» whose wait for its standby was cancelled: it may be lost in a failover."""
CONFIRM = "SELECT pg_logical_emit_message(true, 'otel-bridge', '')"
"""A write of nothing: a note in the log that nobody reads. Its commit waits for the synchronous standby."""
LANE = "#lane="
"""Behind a URL: the lane that a process of this replica reads."""

_DEFAULTS = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "otel-bridge",
    "keepalives_idle": DEAD_SECONDS,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": DEAD_SECONDS * 1000,
    # Of several hosts the one that takes writes, whichever that is now.
    "target_session_attrs": "read-write",
}

_SESSION = f"""SELECT set_config('statement_timeout', '0', false), set_config('transaction_timeout', '0', false),
    set_config('lock_timeout', '0', false), set_config('default_transaction_isolation', 'read committed', false),
    set_config('idle_in_transaction_session_timeout', '{IDLE_SECONDS}s', false),
    set_config('tcp_keepalives_idle', '{DEAD_SECONDS}', false), set_config('tcp_keepalives_interval', '3', false),
    set_config('tcp_keepalives_count', '3', false),
    set_config('tcp_user_timeout', '{DEAD_SECONDS}s', false),
    set_config('synchronous_commit',
        CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'
        ELSE current_setting('synchronous_commit') END, false)"""
"""What a role or a database may have set and a promise does not survive: a commit that is cancelled has been taken all
the same, one that does not wait for the disk has not, and totals wait for each other and go on from what is there then.
And how soon the server notices that we are gone. A transaction that it ends before its COMMIT has come was not taken.
"""


def split(url: str) -> tuple[str, int | None]:
    """(the URL as libpq takes it, the lane behind it)."""
    dsn, mark, lane = url.rpartition(LANE)
    return (dsn, int(lane)) if mark else (url, None)


def place(url: str) -> str:
    """Where the journal is, as a log line names it: without a password."""
    parts = conninfo_to_dict(split(url)[0])
    host, port = str(parts.get("host") or "localhost"), parts.get("port")
    user = f"{parts['user']}@" if parts.get("user") else ""
    return f"postgresql://{user}{host}{f':{port}' if port else ''}/{parts.get('dbname') or ''}"


def connect(url: str, patience: Patience | None = None, seconds: float = 0.0, **parameters: Any) -> Connection:
    """A connection in autocommit mode. `patience`: how long an answer is waited for; `seconds`: longer on this one.
    Raises psycopg.Error."""
    dsn = split(url)[0]
    given = conninfo_to_dict(dsn)
    wanted = {name: value for name, value in {**_DEFAULTS, **parameters}.items() if name not in given}
    connection = Patient.connect(make_conninfo(dsn, **wanted), autocommit=True, prepare_threshold=0)
    if patience is not None:
        connection.patience, connection.seconds = patience, seconds or patience.seconds
    try:
        server = connection.info.server_version
        session = (
            _SESSION if server >= 170000 else _SESSION.replace("set_config('transaction_timeout', '0', false),", "")
        )
        connection.execute(session)
        arrays.register(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def is_lost(error: BaseException | None) -> bool:
    """Whether the connection went with it: what was sent last may have been carried out."""
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate or ""
    if state.startswith("25P"):  # the server ends a session whose transaction waits for long
        return True
    # 57P01 to 57P05: the server ends the session; 08: the connection itself.
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        not state or state.startswith(("08", "57P"))
    )


_UNAVAILABLE = ("08", "53", "57", "25006", "40", "55", "58", "XX000", "28")
"""Of the server, or of this moment: connections, resources, operators, read-only, serialisation, locks, the system, and
who may enter."""


@contextmanager
def translated(part: DamagedPart = DamagedPart.ANY) -> Iterator[None]:
    """PostgreSQL's errors → the store's. `part`: what it reads or writes."""
    try:
        yield
    except psycopg.Error as error:
        raise store_error(error, part) from error


def store_error(error: psycopg.Error, part: DamagedPart = DamagedPart.ANY) -> StoreError:
    """As what a store raises it."""
    state = error.sqlstate or ""
    what = words(error)
    if state == "53100":
        return StoreFull("the disk of the PostgreSQL server is full", f"diario: {what}. Haz sitio en el servidor.")
    if state in ("XX001", "XX002"):
        advice = "El servidor dice que sus datos están dañados: restáuralos, o pasa a un secundario."
        return StoreDamaged(f"the journal is damaged ({part}): {what}", part, f"diario: {what}. {advice}")
    if is_lost(error) or state.startswith(_UNAVAILABLE):
        return StoreUnavailable(f"PostgreSQL cannot be used now: {what}", f"diario: {what}. {_advice(state)}")
    return StoreError(f"PostgreSQL refuses: {what}", f"diario: {what}. {_advice(state)}")


def words(error: psycopg.Error) -> str:
    """What the server says, in one line. libpq's words of a failed connection hold no password."""
    said = (error.diag.message_primary or str(error)).strip().replace("\n", "; ")
    return f"{said} ({error.sqlstate})" if error.sqlstate else said


def _advice(state: str) -> str:
    if state in ("3F000", "42P01", "42703"):
        return "Crea o actualiza sus tablas: otel-bridge journal migrate."
    if state == "42501":
        return "Al rol le faltan derechos: otel-bridge journal migrate --grant ROL."
    return "`otel-bridge check` dice qué falla en el servidor."
