"""A connection for one command of an operator's: short, and with words for whoever reads them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

import psycopg
from psycopg import conninfo, errors, pq

from otel_bridge.config import postgres_url
from otel_bridge.errors import StartRefused
from otel_bridge.journal.postgres.connection import Connection, connect, store_error
from otel_bridge.journal.store import StoreUnavailable

CONNECT_SECONDS = 10
_NAME: dict[str, Any] = {"application_name": "otel-bridge journal", "connect_timeout": CONNECT_SECONDS}


def parameters(url: str) -> dict[str, Any]:
    """What libpq reads in the URL. Raises StartRefused; libpq's own words could show a password."""
    try:
        return dict(conninfo.conninfo_to_dict(url))
    except psycopg.Error:
        found = postgres_url.parts(url)
        known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
        for name in (unquote(name) for name, _ in (found.parameters if found else ())):
            if name not in known:
                nearest = difflib.get_close_matches(name, known, n=1)
                advice = (
                    f"¿querías decir {nearest[0]!r}?"
                    if nearest
                    else "La documentación de libpq, en PostgreSQL, los tiene."
                )
                raise StartRefused(f"journal: la URL tiene un parámetro desconocido {name!r}; {advice}") from None
        raise StartRefused("journal: la URL no se puede leer. Se esperaba postgresql://usuario@servidor/base") from None


@contextmanager
def visit(url: str, as_configured: bool = False) -> Iterator[Connection]:
    """A connection like a bridge's; `as_configured`: with the settings of its role untouched, to whichever server
    answers. Raises StartRefused, StoreUnavailable."""
    asked = parameters(url)
    try:
        connection = _plain(asked) if as_configured else connect(url, **_NAME)
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise StoreUnavailable(
            f"the journal's database cannot be reached: {said}",
            f"diario {postgres_url.shown(url)}: no se puede llegar a él: {said}",
        ) from None
    connection.prepare_threshold = None  # nothing is asked twice, and a step is many statements at once
    try:
        yield connection
    except errors.InsufficientPrivilege as error:
        raise StartRefused(
            f"diario: {error.diag.message_primary}. Como quien creó las tablas: otel-bridge journal migrate "
            f"--grant {connection.info.user}"
        ) from None
    except psycopg.Error as error:
        raise store_error(error) from error
    finally:
        connection.close()


def _plain(asked: dict[str, Any]) -> Connection:
    """Of several hosts the one that takes writes, else whichever there is: what is wrong with that can be told."""
    settings = {**_NAME, **asked}
    if "target_session_attrs" not in asked:
        try:
            return psycopg.connect(**settings, target_session_attrs="read-write", autocommit=True)
        except psycopg.OperationalError:
            pass
    return psycopg.connect(**{**settings, "target_session_attrs": "any"}, autocommit=True)
