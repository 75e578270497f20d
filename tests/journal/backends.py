"""The backends of the journal, as the suite opens, breaks and looks into them: one class each, all of one shape."""

from __future__ import annotations

import atexit
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from otel_bridge import journal
from otel_bridge.journal import Reader, Store
from otel_bridge.journal.postgres import migrations, schema
from otel_bridge.journal.sqlite import SqliteStore
from otel_bridge.journal.sqlite import schema as sqlite_schema
from otel_bridge.journal.sqlite.key_rows import unpacked
from tests.harness.postgres import LAX, Cluster

CONSUMER = "otlp"
BEHIND = ("windows", "top_users", "idle_candidates", "old_sessions", "sessions_ahead")
"""What a reader tells about a second behind the commits."""
R = TypeVar("R")


def behind(store: Store, function: Callable[..., R]) -> Callable[..., R]:
    """The same a second later: totals are written, which housekeeping asks for."""
    assert isinstance(store, SqliteStore)

    def later(*values: Any, **named: Any) -> R:
        count(store)
        return function(*values, **named)

    return later


def count(store: SqliteStore) -> None:
    """Writes the totals that wait, between two transactions."""
    if not store._db.in_transaction:
        store._count_all(lambda run: run())


class SqliteBackend:
    """A journal in a file of its own."""

    exclusive = True
    """Whether one process alone may serve it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "journal.db"
        self.url = f"sqlite:///{self.path}"
        self._opened: list[Store | Reader] = []

    def open(self) -> Store:
        store = journal.open(self.url, CONSUMER)
        self._opened.append(store)
        store.begin_service()
        open_reader = store.reader

        def reader() -> Reader:
            opened = open_reader()
            self._opened.append(opened)
            for name in BEHIND:
                setattr(opened, name, behind(store, getattr(opened, name)))
            return opened

        store.reader = reader  # type: ignore[method-assign]  # who reads closes: here for all of them, at the end
        return store

    def close(self) -> None:
        for opened in reversed(self._opened):
            opened.close()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """As somebody else with access to the data would."""
        connection = sqlite3.connect(self.path)
        try:
            rows = connection.execute(statement, values).fetchall()
            connection.commit()
            return rows
        finally:
            connection.close()

    def make_newer(self) -> None:
        """As a newer release would have written it."""
        self.sql("PRAGMA user_version = 99")

    def make_current(self) -> None:
        """What `make_newer` did, undone."""
        self.sql(f"PRAGMA user_version = {sqlite_schema.VERSION}")

    def damage_segment(self, last: int) -> None:
        self.sql("UPDATE segment SET body = x'00' WHERE last = ?", last)

    def break_writes(self, session: bytes | None = None) -> None:
        """An error that is nobody's outage: every write fails (that of this session alone)."""
        where = "segment" if session is None else f"session WHEN NEW.id = x'{session.hex()}'"
        self.sql(f"CREATE TRIGGER broken BEFORE INSERT ON {where} BEGIN SELECT RAISE (ABORT, 'broken'); END")

    def mend_writes(self) -> None:
        self.sql("DROP TRIGGER broken")

    def break_reads(self) -> None:
        """An error of what reads sessions."""
        self.sql("ALTER TABLE session RENAME TO gone")

    def remembered_keys(self) -> list[bytes]:
        """Every dedup key that takes room, in order."""
        rows = self.sql("SELECT width, keys, arrived, rest FROM key")
        return sorted(one.key for columns in rows for one in unpacked(columns))

    def replay(self, seqs: Sequence[int] | None) -> int:
        return journal.mark_replay(self.url, seqs)


class PostgresBackend:
    """A journal in a database of its own, on a server that all tests of this process share."""

    exclusive = False
    _cluster: Cluster | None = None
    _template = ""

    def __init__(self, folder: Path) -> None:
        self.cluster = self._server()
        self.database = self.cluster.database(self._template)
        self.url = self.cluster.dsn(self.database)
        self._opened: list[Store | Reader] = []

    @classmethod
    def _server(cls) -> Cluster:
        if cls._cluster is None:
            cluster = Cluster(LAX)
            atexit.register(cluster.close)
            cluster.start()
            cls._template = cluster.database()
            with psycopg.connect(cluster.dsn(cls._template), autocommit=True) as connection:
                migrations.migrate(connection, lambda _: None)
            cls._cluster = cluster
        return cls._cluster

    def open(self) -> Store:
        store = journal.open(self.url, CONSUMER)
        self._opened.append(store)
        store.begin_service()
        assert store.replicas is not None
        assert store.replicas.claim_key(b"of the tests")
        open_reader = store.reader

        def reader() -> Reader:
            opened = open_reader()
            self._opened.append(opened)
            return opened

        store.reader = reader  # type: ignore[method-assign]
        return store

    def close(self) -> None:
        for opened in reversed(self._opened):
            opened.close()
        self.cluster.sql(f"DROP DATABASE {self.database} WITH (FORCE)")

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """As somebody else with access to the data would."""
        return self.cluster.sql(statement, *values, database=self.database)

    def make_newer(self) -> None:
        self.sql("UPDATE otel_bridge.journal SET version = 99, serves_from = 99")

    def make_current(self) -> None:
        self.sql("UPDATE otel_bridge.journal SET version = %s, serves_from = 1", schema.VERSION)

    def damage_segment(self, last: int) -> None:
        self.sql("UPDATE otel_bridge.segment SET body = '\\x00' WHERE last = %s", last)

    def break_writes(self, session: bytes | None = None) -> None:
        """An error that is nobody's outage: every write of a session or event fails (of this session's alone)."""
        where = "true" if session is None else f"position('\\x{session.hex()}'::bytea IN NEW.body) > 0"
        self.sql(
            "CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF {where} THEN RAISE EXCEPTION 'broken'; END IF; RETURN NEW; END $$"
        )
        self.sql("CREATE TRIGGER broken BEFORE INSERT ON otel_bridge.segment FOR EACH ROW EXECUTE FUNCTION broken()")

    def mend_writes(self) -> None:
        self.sql("DROP TRIGGER broken ON otel_bridge.segment")

    def break_reads(self) -> None:
        self.sql("ALTER TABLE otel_bridge.session RENAME TO gone")

    def remembered_keys(self) -> list[bytes]:
        tables = " UNION ".join(f"SELECT key FROM otel_bridge.seen_{slot}" for slot in range(schema.RING))
        return [row[0] for row in self.sql(f"{tables} ORDER BY key")]

    def replay(self, seqs: Sequence[int] | None) -> int:
        return journal.mark_replay(self.url, seqs)


Backend = SqliteBackend | PostgresBackend
