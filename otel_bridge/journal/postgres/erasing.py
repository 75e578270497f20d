"""Everything of one user is taken out of a journal in PostgreSQL, while any number of replicas serve it or none.

Its rows are changed where they stand, in transactions of this command's own: replicas append, read and trim beside it.
The totals' lock is held while sessions and usage change hands, so that nobody writes them down as they were. What a row
was is kept by the server until it is vacuumed, and by backups and WAL archives for as long as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from otel_bridge.journal.blanking import NOBODY, Which, blanked
from otel_bridge.journal.erasure import ErasedSession, Remains
from otel_bridge.journal.parts import parts_of
from otel_bridge.journal.postgres.arrays import int8_array
from otel_bridge.journal.postgres.connection import Connection, connect, is_lost, translated, words
from otel_bridge.journal.postgres.schema import base
from otel_bridge.journal.postgres.segments import Segments
from otel_bridge.journal.postgres.totals import catch_up
from otel_bridge.journal.store import DamagedPart, OutcomeUnknown, Parked, Segment

WORDS = "(borrado a petición de la persona)"
"""In place of the endpoint's message about a parked record, which may repeat what it was sent."""
VACUUMED = ("segment", "session", "usage", "parked")

_LANES = """SELECT lane.lane, cursor FROM otel_bridge.lane
    LEFT JOIN otel_bridge.sink ON sink.name = %s AND sink.lane = lane.lane ORDER BY lane.lane"""
_BODIES = """SELECT last, crc, body FROM otel_bridge.segment WHERE last = ANY(%b::bigint[]) ORDER BY last FOR UPDATE"""
_PARKED = """SELECT seq, body, reason, words, parked_us, spans FROM otel_bridge.parked WHERE seq > %s
    ORDER BY seq LIMIT %s"""


class PostgresErasing:
    """An `erasure.Place`."""

    def __init__(self, url: str, consumer: str) -> None:
        """Raises StoreError."""
        self._consumer = consumer
        with translated():
            self._db = connect(url)

    @contextmanager
    def _writing(self, part: DamagedPart = DamagedPart.ANY) -> Iterator[None]:
        """One transaction, all of it or nothing."""
        with translated(part):
            try:
                with self._db.transaction():
                    yield
            except psycopg.Error as error:
                if not is_lost(error):
                    raise
                raise OutcomeUnknown(
                    f"the connection was lost while this was written ({words(error)}): whether it was is not known. "
                    "Run it again: run twice is as run once."
                ) from error

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, values, binary=True).fetchall()

    def lanes(self) -> dict[int, int]:
        with translated(DamagedPart.CURSOR):
            return {
                base(lane): base(lane) if cursor is None else cursor
                for lane, cursor in self._rows(_LANES, self._consumer)
            }

    def segments(self, after: int, limit: int) -> list[Segment]:
        with translated(DamagedPart.SEGMENTS):
            return Segments(self._db).read(after, limit)

    def blank(self, lasts: Sequence[int], which: Which) -> int:
        with self._writing(DamagedPart.SEGMENTS):
            return blank_segments(self._db, lasts, which)

    def parked(self, after: int, limit: int) -> list[Parked]:
        with translated(DamagedPart.PARKED):
            return [Parked(*row) for row in self._rows(_PARKED, after, limit)]

    def blank_parked(self, seqs: Sequence[int], which: Which) -> int:
        count = 0
        with self._writing(DamagedPart.PARKED):
            sql = "SELECT seq, body FROM otel_bridge.parked WHERE seq = ANY(%b::bigint[]) ORDER BY seq FOR UPDATE"
            for seq, held in self._rows(sql, int8_array(seqs)):
                body = blanked(held, which)
                if body is not None:
                    self._db.execute(
                        "UPDATE otel_bridge.parked SET body = %b, words = %s WHERE seq = %s", (body, WORDS, seq)
                    )
                    count += 1
        return count

    def sessions(self, which: Which) -> list[ErasedSession]:
        where, values = _of(which)
        with translated(DamagedPart.SESSIONS):
            catch_up(self._db)
            rows = self._rows(f"SELECT id, gpt, started_us, fill FROM otel_bridge.session WHERE {where}", *values)
        return [ErasedSession(id_, gpt, started_us, parts_of(fill)) for id_, gpt, started_us, fill in rows]

    def usage(self, which: Which) -> int:
        where, values = _of(which)
        with translated(DamagedPart.USAGE):
            return int(self._rows(f"SELECT count(*) FROM otel_bridge.usage WHERE {where}", *values)[0][0])

    def blank_totals(self, which: Which) -> tuple[int, int]:
        where, values = _of(which)
        with self._writing(DamagedPart.SESSIONS):
            catch_up(self._db)  # in this transaction: it holds the totals' lock until it ends
            rows = self._rows(
                f"""WITH gone AS (DELETE FROM otel_bridge.usage WHERE {where} RETURNING hour, gpt, events, tokens),
                added AS (INSERT INTO otel_bridge.usage AS kept (hour, gpt, "user", events, tokens)
                    SELECT hour, gpt, %s, sum(events), sum(tokens) FROM gone GROUP BY hour, gpt ORDER BY hour, gpt
                    ON CONFLICT (hour, gpt, "user") DO UPDATE
                    SET events = kept.events + excluded.events, tokens = kept.tokens + excluded.tokens)
                SELECT count(*) FROM gone""",
                *values, NOBODY,
            )  # fmt: skip
            sessions = self._db.execute(
                f'UPDATE otel_bridge.session SET "user" = %s WHERE {where}', (NOBODY, *values)
            ).rowcount
        return rows[0][0], sessions

    def purge(self, user: str | None) -> Remains:
        tables = ", ".join(f"otel_bridge.{table}" for table in VACUUMED)
        return Remains(
            0,
            "PostgreSQL guarda lo que una fila era hasta que pasa VACUUM (autovacuum lo hace solo): para no esperar, "
            f"el dueño de las tablas ejecuta «VACUUM {tables}»; el WAL archivado y las copias lo tienen hasta que "
            "caducan",
        )

    def close(self) -> None:
        self._db.close()


def blank_segments(connection: Connection, lasts: Sequence[int], which: Which) -> int:
    """Blanks what is chosen of these segments, in the transaction that is open; returns how many had something."""
    count = 0
    for last, crc, held in connection.execute(_BODIES, (int8_array(lasts),), binary=True).fetchall():
        if zlib.crc32(held) != crc:
            continue  # damaged: that stays as it is
        body = blanked(held, which)
        if body is not None:
            connection.execute(
                "UPDATE otel_bridge.segment SET body = %b, crc = %s WHERE last = %s", (body, zlib.crc32(body), last)
            )
            count += 1
    return count


def _of(which: Which) -> tuple[str, tuple[Any, ...]]:
    """Rows of the user, as a condition and its values."""
    assert which.user is not None
    if which.gpts is None:
        return '"user" = %s', (which.user,)
    return '"user" = %s AND gpt = ANY(%s)', (which.user, sorted(which.gpts))
