"""Statements that a connection has prepared (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from otel_bridge.journal.postgres.connection import Connection, connect
from otel_bridge.journal.postgres.prepared import MOST, Prepared
from tests.journal.backends import PostgresBackend

TURN = "INSERT INTO otel_bridge.turn (turn, started_us, emptied) VALUES (%b, %b, %b)"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Connection]:
    backend = PostgresBackend(tmp_path)
    with connect(backend.url) as connection:
        yield connection
    backend.close()


def test_numbers_are_sent_as_the_columns_take_them(db: Connection) -> None:
    Prepared(db).run(TURN, [7, 1 << 60, True])
    assert db.execute("SELECT turn, started_us, emptied FROM otel_bridge.turn WHERE turn = 7").fetchone() == (
        7,
        1 << 60,
        True,
    )


def test_a_statement_is_prepared_once_whatever_the_size_of_its_numbers(db: Connection) -> None:
    prepared = Prepared(db)
    for turn, started_us in ((7, 1), (8, 1 << 20), (9, 1 << 60)):
        prepared.run(TURN, [turn, started_us, False])
    rows = db.execute("SELECT name FROM pg_prepared_statements WHERE statement LIKE 'INSERT%'").fetchall()
    assert len(rows) == 1


def test_what_is_refused_is_raised_as_a_cursor_raises_it_and_the_connection_goes_on(db: Connection) -> None:
    prepared = Prepared(db)
    prepared.run(TURN, [7, 1, False])
    with pytest.raises(psycopg.errors.UniqueViolation, match="turn_pkey"):
        prepared.run(TURN, [7, 1, False])
    with pytest.raises(psycopg.errors.UndefinedTable):
        prepared.run("INSERT INTO otel_bridge.nothing VALUES (%b)", [1])
    prepared.run(TURN, [8, 1, False])


def test_a_connection_that_is_gone_is_told_as_lost(db: Connection) -> None:
    prepared = Prepared(db)
    prepared.run(TURN, [7, 1, False])
    with connect(db.info.dsn) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (db.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        prepared.run(TURN, [8, 1, False])
    assert db.closed


def test_the_server_keeps_no_more_plans_than_a_few(db: Connection) -> None:
    prepared = Prepared(db)
    for number in range(MOST + 20):
        prepared.run(f"SELECT {number}, %b::bigint", [number])
    count = "SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'commit_%'"
    assert db.execute(count).fetchone() == (MOST,)
    prepared.run("SELECT 0, %b::bigint", [0])  # prepared anew
    assert db.execute(count).fetchone() == (MOST,)


def test_a_statement_that_psycopg_has_forgotten_is_prepared_again(db: Connection) -> None:
    """After a ROLLBACK its cursors deallocate everything, also what they have not prepared."""
    prepared = Prepared(db)
    prepared.run(TURN, [7, 1, True])
    db.execute("BEGIN")
    db.execute("SELECT 1")
    db.execute("ROLLBACK")
    db.execute("SELECT 1")
    assert db.execute("SELECT count(*) FROM pg_prepared_statements WHERE name LIKE 'commit%'").fetchone() == (0,)
    prepared.run(TURN, [8, 1, True])
    assert db.execute("SELECT count(*) FROM otel_bridge.turn WHERE turn > 6").fetchone() == (2,)
