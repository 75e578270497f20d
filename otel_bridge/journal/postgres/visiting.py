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
from otel_bridge.journal.store import StoreUnavailable

CONNECT_SECONDS = 10

Connection = psycopg.Connection[tuple[Any, ...]]


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
                advice = f"did you mean {nearest[0]!r}?" if nearest else "PostgreSQL's documentation of libpq has them."
                raise StartRefused(f"journal: the URL has an unknown parameter {name!r}; {advice}") from None
        raise StartRefused(
            "journal: the URL cannot be read. Expected postgresql://user@host/database, with several hosts "
            "postgresql://user@host1,host2/database?target_session_attrs=read-write, and %40 for an @ in a name or "
            "password (%2F for a /, %25 for a %)."
        ) from None


@contextmanager
def visit(url: str, for_writing: bool = False) -> Iterator[Connection]:
    """`for_writing`: of several hosts, the one that takes writes. Raises StartRefused, StoreUnavailable."""
    asked = parameters(url)
    asked.setdefault("connect_timeout", CONNECT_SECONDS)
    asked.setdefault("application_name", "otel-bridge journal")
    if for_writing and "," in str(asked.get("host", "")):
        asked.setdefault("target_session_attrs", "read-write")
    try:
        connection = psycopg.connect(**asked, autocommit=True)
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        raise StoreUnavailable(f"the journal's database cannot be reached: {said}", f"journal: {said}") from None
    except psycopg.Error as error:
        raise StartRefused(f"journal: {' '.join(str(error).split())}") from None
    try:
        yield connection
    except errors.InsufficientPrivilege as error:
        role = connection.info.user
        raise StartRefused(
            f"journal: {error.diag.message_primary}. As who made the tables: otel-bridge journal migrate --grant {role}"
        ) from None
    except (psycopg.OperationalError, psycopg.InterfaceError, errors.InternalError) as error:
        said = " ".join(str(error).split())
        raise StoreUnavailable(f"the journal's database failed: {said}", f"journal: {said}") from error
    except psycopg.Error as error:
        said = error.diag.message_primary or " ".join(str(error).split())
        raise StoreUnavailable(f"the journal's database refused: {said}", f"journal: {said}") from error
    finally:
        connection.close()
