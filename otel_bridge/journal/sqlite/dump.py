"""A journal's file as an archive: one state of it. Nothing in it is changed, but that totals are written which a kill
has left behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.archive import KeyRow, ParkedRow, SegmentRow, SessionRow, SinkRow, Sums, UsageRow
from otel_bridge.journal.sqlite import schema
from otel_bridge.journal.sqlite.database import advice, connect, damage, uri
from otel_bridge.journal.sqlite.key_rows import unpacked
from otel_bridge.journal.sqlite.reading import wal_bytes
from otel_bridge.journal.sqlite.totals import write_behind
from otel_bridge.journal.store import StoreError


@contextmanager
def archive(path: Path, is_backup: bool = False) -> Iterator[SqliteArchive]:
    """Of a journal that nobody writes meanwhile; `is_backup`: of a file that has nothing beside it. Raises StoreError,
    StartRefused: it is damaged, or an earlier release's."""
    try:
        source = (
            sqlite3.connect(uri(path, "ro") + "&immutable=1", uri=True, isolation_level=None)
            if is_backup
            else connect(path, "ro")
        )
        with closing(source) as db:
            db.execute("BEGIN")
            schema.examine(db, path)
            if not schema.is_current(db):
                raise StartRefused(
                    f"diario {path}: lo escribió una versión anterior. Arranca una vez con él el puente de esta, "
                    "que lo actualiza, y páralo."
                )
            found = damage(db)
            if found is not None:
                raise StartRefused(
                    f"diario {path}: el archivo está dañado ({found}), y a una copia le faltaría lo que no se "
                    "puede leer. No se cambió nada; docs/respaldo.md dice qué se puede salvar."
                )
            if not is_backup:
                db.execute("ROLLBACK")
                with closing(connect(path, "rw")) as behind:
                    write_behind(behind, path)
                db.execute("BEGIN")
            yield SqliteArchive(db, path)
    except sqlite3.Error as error:
        raise StoreError(f"the journal cannot be read: {error}", advice(path, error)) from error


class SqliteArchive:
    """An `Archive`, of a connection with a transaction open."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self.sinks = [SinkRow(*row) for row in db.execute("SELECT name, cursor, exported FROM sink")]
        row = db.execute("SELECT seq, body FROM meta WHERE name = 'checkpoint'").fetchone()
        self.snapshot: tuple[int, bytes] | None = row
        self.last = max(self._value("SELECT coalesce(max(last), 0) FROM segment"), *(s.cursor for s in self.sinks), 0)
        self._base = self._total_before()
        self.total = self._base + self._value("SELECT coalesce(sum(spans), 0) FROM segment")
        self.size = self._value("PRAGMA page_size") * self._value("PRAGMA page_count") + wal_bytes(path)

    def _value(self, sql: str) -> int:
        return int(self._db.execute(sql).fetchone()[0])

    def _total_before(self) -> int:
        """Spans before the first segment that is there: from the first row that tells, which one of an earlier release
        does not; else from the ledger."""
        known = self._db.execute(
            "SELECT last, total FROM segment WHERE total IS NOT NULL ORDER BY last LIMIT 1"
        ).fetchone()
        if known is not None:
            spans = self._db.execute("SELECT sum(spans) FROM segment WHERE last <= ?", (known[0],)).fetchone()[0]
            return int(known[1] - spans)
        cursor = max((sink.cursor for sink in self.sinks), default=0)
        done = max((sink.exported for sink in self.sinks), default=0)
        parked = self._value("SELECT coalesce(sum(spans), 0) FROM parked")
        kept = self._db.execute("SELECT coalesce(sum(spans), 0) FROM segment WHERE last <= ?", (cursor,)).fetchone()[0]
        return int(done + parked - kept)

    @cached_property
    def sums(self) -> Sums:
        def values(sql: str) -> tuple[int, ...]:
            return tuple(int(value or 0) for value in self._db.execute(sql).fetchone())

        return Sums(
            *values("SELECT count(*), sum(count), sum(spans), sum(length(body)) FROM segment"),
            *values(f"SELECT count(*) FROM {self._keys}"),
            *values("SELECT count(*), sum(events), sum(tokens_in + tokens_out), sum(live) FROM session"),
            *values("SELECT count(*), sum(events), sum(tokens) FROM usage"),
            *values("SELECT count(*), sum(spans) FROM parked"),
        )

    def segments(self) -> Iterator[SegmentRow]:
        total = self._base
        for row in self._db.execute(
            "SELECT last, count, spans, arrived_us, crc, total, body FROM segment ORDER BY last"
        ):
            last, count, spans, arrived_us, crc, known, body = row
            total = total + spans if known is None else known
            yield SegmentRow(last, count, spans, arrived_us, crc, total, body)

    def seen(self) -> Iterator[KeyRow]:
        for row in self._db.execute(f"SELECT key, arrived_us, digest, part FROM {self._keys} ORDER BY key"):
            yield KeyRow._make(row)

    @cached_property
    def _keys(self) -> str:
        """A table of the keys: a key that was taken again after its horizon stands in two rows, and the newer is the
        one that is known."""
        self._db.execute(
            "CREATE TEMP TABLE known (key BLOB PRIMARY KEY, arrived_us INTEGER, digest BLOB, part INTEGER) "
            "WITHOUT ROWID"
        )
        for columns in self._db.execute("SELECT width, keys, arrived, rest FROM key ORDER BY row"):
            rows = ((*one[:3], one.part or None) for one in unpacked(columns))
            self._db.executemany("INSERT OR REPLACE INTO known VALUES (?, ?, ?, ?)", rows)
        return "known"

    def sessions(self) -> Iterator[SessionRow]:
        for row in self._db.execute(f"SELECT {', '.join(SessionRow._fields)} FROM session ORDER BY id"):
            found = SessionRow(*row)
            yield found._replace(
                live=bool(found.live),
                fill=found.fill or 0,
                unmeasured_latency=found.unmeasured_latency or 0,
                unmeasured_in=found.unmeasured_in or 0,
                unmeasured_out=found.unmeasured_out or 0,
            )

    def usage(self) -> Iterator[UsageRow]:
        for row in self._db.execute("SELECT hour, gpt, user, events, tokens FROM usage ORDER BY hour, gpt, user"):
            yield UsageRow(*row)

    def parked(self) -> Iterator[ParkedRow]:
        for row in self._db.execute(
            "SELECT seq, body, spans, reason, words, parked_us, replay FROM parked ORDER BY seq"
        ):
            yield ParkedRow._make((*row[:6], bool(row[6])))
