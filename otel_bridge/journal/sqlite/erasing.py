"""Everything of one user is taken out of a journal's file, while a bridge serves it or not; also what is no row now.

Like `replay.py` this writes from a process of its own: short transactions, between which the bridge's go on. Deleted
bytes are overwritten (`secure_delete`); pages that were free already are taken once, as zeros, and given back; the
write-ahead log is what the bridge moves into the file, so it is asked to (`PURGE`) where one serves. What of the hash
is still in the file's bytes after that is counted, and where nobody serves it the file is written anew.
"""

from __future__ import annotations

import mmap
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.blanking import NOBODY, Which, blanked
from otel_bridge.journal.erasure import ErasedSession, Remains
from otel_bridge.journal.parts import fill_of, parts_of
from otel_bridge.journal.sqlite import schema
from otel_bridge.journal.sqlite.database import connect, failed_to_sync, translated
from otel_bridge.journal.sqlite.identity import PURGE, put_row
from otel_bridge.journal.sqlite.lock import Lock
from otel_bridge.journal.sqlite.names import Place, log_of
from otel_bridge.journal.sqlite.segments import Segments
from otel_bridge.journal.sqlite.totals import write_behind, written
from otel_bridge.journal.sqlite.wal import abandon
from otel_bridge.journal.store import DamagedPart, OutcomeUnknown, Parked, Segment, StoreUnavailable

TOTALS_SECONDS = 30.0
"""For the bridge that serves the journal to write the totals that wait, which it does once a second."""
PURGE_SECONDS = 30.0
SCRATCH_BYTES = 4 << 20
"""Of free pages that one transaction takes and gives back."""
WORDS = "(borrado a petición de la persona)"
"""In place of the endpoint's message about a parked record, which may repeat what it was sent."""


class SqliteErasing:
    """An `erasure.Place`."""

    def __init__(self, place: Place, consumer: str) -> None:
        """Of a journal that exists. Raises StartRefused, StoreError."""
        self.path = place.path
        self._consumer = consumer
        self._held = ExitStack()
        self._lost = False
        self.served = False
        try:
            self._held.callback(Lock(place, to_serve=False).release)
        except StartRefused:
            self.served = True
        try:
            with translated(self.path):
                self._open()
                self._refuse_another_release()
                if not self.served:
                    write_behind(self._db, self.path)
        except BaseException:
            self._held.close()
            raise

    def _refuse_another_release(self) -> None:
        schema.examine(self._db, self.path)
        if not schema.is_current(self._db):
            self._db.close()
            raise StartRefused(
                f"el diario {self.path} es de una versión anterior: arranca una vez el puente de esta, que lo "
                "actualiza, y ejecuta esto otra vez. No se ha cambiado nada."
            )

    def _open(self) -> None:
        self._db = connect(self.path, "rw")
        self._db.execute("PRAGMA wal_autocheckpoint = 0")  # that is the bridge's
        self._db.execute("PRAGMA secure_delete = ON")
        self._segments = Segments(self._db, self.path, self._consumer)

    @contextmanager
    def _writing(self, part: DamagedPart = DamagedPart.ANY) -> Iterator[None]:
        """One transaction, all of it or nothing."""
        try:
            with translated(self.path, part):
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
        except OutcomeUnknown:
            raise
        except BaseException as error:
            if failed_to_sync(error.__cause__):
                self._lost = True
                raise OutcomeUnknown(
                    f"the disk failed while this was written ({error}): whether it was is not known. Check the disk "
                    "and run it again: run twice is as run once."
                ) from error
            with suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def lanes(self) -> dict[int, int]:
        with translated(self.path, DamagedPart.CURSOR):
            row = self._db.execute("SELECT cursor FROM sink WHERE name = ?", (self._consumer,)).fetchone()
        return {0: row[0] if row else 0}

    def segments(self, after: int, limit: int) -> list[Segment]:
        with translated(self.path, DamagedPart.SEGMENTS):
            return self._segments.read(after, limit)

    def blank(self, lasts: Sequence[int], which: Which) -> int:
        self._await_totals(max(lasts))
        count = 0
        with self._writing(DamagedPart.SEGMENTS):
            for last in lasts:
                count += blank_segment(self._db, last, which)
        return count

    def parked(self, after: int, limit: int) -> list[Parked]:
        sql = "SELECT seq, body, reason, words, parked_us, spans FROM parked WHERE seq > ? ORDER BY seq LIMIT ?"
        with translated(self.path, DamagedPart.PARKED):
            return [Parked(*row) for row in self._db.execute(sql, (after, limit))]

    def blank_parked(self, seqs: Sequence[int], which: Which) -> int:
        count = 0
        with self._writing(DamagedPart.PARKED):
            for seq in seqs:
                row = self._db.execute("SELECT body FROM parked WHERE seq = ?", (seq,)).fetchone()
                body = blanked(row[0], which) if row else None
                if body is not None:
                    self._db.execute("UPDATE parked SET body = ?, words = ? WHERE seq = ?", (body, WORDS, seq))
                    count += 1
        return count

    def sessions(self, which: Which) -> list[ErasedSession]:
        where, values = _of(which)
        sql = f"SELECT id, gpt, started_us, fill, events FROM session WHERE {where}"
        with translated(self.path, DamagedPart.SESSIONS):
            return [
                ErasedSession(id_, gpt, started_us, parts_of(fill_of(fill, events)))
                for id_, gpt, started_us, fill, events in self._db.execute(sql, values)
            ]

    def usage(self, which: Which) -> int:
        where, values = _of(which)
        with translated(self.path, DamagedPart.USAGE):
            return int(self._db.execute(f"SELECT count(*) FROM usage WHERE {where}", values).fetchone()[0])

    def blank_totals(self, which: Which) -> tuple[int, int]:
        where, values = _of(which)
        with translated(self.path, DamagedPart.SEGMENTS):
            newest = self._segments.last()
        self._await_totals(newest)
        with translated(self.path, DamagedPart.SESSIONS):
            # Read before the transaction, which answers wait for: by no index, through all of them.
            ids = self._db.execute(f"SELECT id FROM session WHERE {where}", values).fetchall()
            hours = self._db.execute(f"SELECT hour, gpt, user FROM usage WHERE {where}", values).fetchall()
        if not ids and not hours:
            return 0, 0
        usage = 0
        with self._writing():
            for key in hours:
                row = self._db.execute(
                    "DELETE FROM usage WHERE hour = ? AND gpt = ? AND user = ? RETURNING events, tokens", key
                ).fetchone()
                if row is not None:
                    self._db.execute(
                        "INSERT INTO usage (hour, gpt, user, events, tokens) VALUES (?, ?, ?, ?, ?) ON CONFLICT "
                        "(hour, gpt, user) DO UPDATE SET events = events + excluded.events, "
                        "tokens = tokens + excluded.tokens",
                        (key[0], key[1], NOBODY, *row),
                    )
                    usage += 1
            update = f"UPDATE session SET user = ? WHERE id = ? AND {where}"
            sessions = sum(self._db.execute(update, (NOBODY, id_, *values)).rowcount for (id_,) in ids)
        return usage, sessions

    def _await_totals(self, last: int) -> None:
        """Those up to this record are written. What the bridge keeps of a blanked one in memory would be written under
        its user; and a round is kept by its keys, so that a start after a kill, which reads nobody in place of a user,
        would not know which of them are written. Raises StoreUnavailable."""
        deadline = time.monotonic() + TOTALS_SECONDS
        while True:
            with translated(self.path, DamagedPart.SNAPSHOT):
                at = written(self._db)
            if at is None or at.last >= last:
                return
            if time.monotonic() > deadline:
                raise StoreUnavailable(
                    "the bridge that serves the journal has not written its totals",
                    f"diario {self.path}: el puente que lo sirve no escribe los totales de sesiones y uso. Comprueba "
                    "que funciona (GET /readyz), o páralo, y ejecuta esto mismo otra vez.",
                )
            time.sleep(0.05)

    # --- bytes that are no rows any more ----------------------------------------------------------------------------

    def purge(self, user: str | None) -> Remains:
        self._overwrite_free()
        emptied = self._empty_log()
        self._close_connection()
        places = 0 if user is None else traces_in(self.path, user)
        if user is not None and places and not self.served:
            with translated(self.path):
                self._open()
                self._db.execute("VACUUM")
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._close_connection()
            places = traces_in(self.path, user)
        advice = ""
        if places:
            advice = (
                "para el puente y ejecuta esto mismo otra vez: con el puente parado se escribe el archivo de nuevo"
                if self.served
                else "copia el diario a otro disco con `otel-bridge journal copy`, o espera a `retention_days`"
            )
        if not emptied and not advice:
            advice = "el registro de escritura (-wal) no se ha podido vaciar: ejecuta esto mismo otra vez"
        return Remains(places, advice)

    def _overwrite_free(self) -> None:
        """Free pages hold what stood in them last: each is taken, as zeros, and given back."""
        with translated(self.path):
            size = self._db.execute("PRAGMA page_size").fetchone()[0]
            self._db.execute("DROP TABLE IF EXISTS purge")  # of a run that was killed
            free = self._db.execute("PRAGMA freelist_count").fetchone()[0]
        if not free:
            return
        with self._writing():
            self._db.execute("CREATE TABLE purge (body BLOB)")
        while free > 0:
            pages = min(free, SCRATCH_BYTES // size)
            with self._writing():
                self._db.execute("INSERT INTO purge VALUES (zeroblob(?))", (pages * (size - 4),))
            free -= pages
        with self._writing():
            self._db.execute("DROP TABLE purge")

    def _empty_log(self) -> bool:
        """Whether the write-ahead log is in the file, and is empty."""
        if not self.served:
            with translated(self.path):
                return not self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        with self._writing():
            put_row(self._db, PURGE, b"")
        deadline = time.monotonic() + PURGE_SECONDS
        while time.monotonic() < deadline:
            with translated(self.path):
                if self._db.execute("SELECT 1 FROM meta WHERE name = ?", (PURGE,)).fetchone() is None:
                    return True
            time.sleep(0.1)
        return False

    def _close_connection(self) -> None:
        if self._lost:
            abandon(self._db)
        else:
            self._db.close()

    def close(self) -> None:
        self._close_connection()
        self._held.close()


def blank_segment(db: sqlite3.Connection, last: int, which: Which) -> int:
    """Blanks what is chosen of a segment, in the transaction that is open; returns 1 where there was something."""
    row = db.execute("SELECT crc, body FROM segment WHERE last = ?", (last,)).fetchone()
    if row is None or not isinstance(row[1], bytes) or zlib.crc32(row[1]) != row[0]:
        return 0  # trimmed meanwhile, or damaged: that stays as it is
    body = blanked(row[1], which)
    if body is None:
        return 0
    db.execute("UPDATE segment SET body = ?, crc = ? WHERE last = ?", (body, zlib.crc32(body), last))
    return 1


def traces_in(path: Path, user: str) -> int:
    """How often a hash stands in the bytes of a journal's file and its log. No connection of this process is open."""
    needle, count = user.encode(), 0
    for file in (path, log_of(path)):
        with suppress(FileNotFoundError), file.open("rb") as opened:
            if not opened.seek(0, 2):
                continue
            with closing(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)) as content:
                at = content.find(needle)
                while at >= 0:
                    count += 1
                    at = content.find(needle, at + len(needle))
    return count


def _of(which: Which) -> tuple[str, list[str]]:
    """Rows of the user, as a condition and its values."""
    assert which.user is not None
    if which.gpts is None:
        return "user = ?", [which.user]
    return f"user = ? AND gpt IN ({', '.join('?' * len(which.gpts))})", [which.user, *sorted(which.gpts)]
