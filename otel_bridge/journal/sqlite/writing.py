"""The bridge's writing side: what is accepted, where the consumer stands, what is forgotten."""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from otel_bridge.errors import StartRefused
from otel_bridge.journal.accounts import accounts
from otel_bridge.journal.append import CONFLICT, Append, Duplicate, Outcome
from otel_bridge.journal.archive import KeyRow
from otel_bridge.journal.parts import Parts, fill_of
from otel_bridge.journal.sqlite import ahead, folder, grouping, schema
from otel_bridge.journal.sqlite.checkpoints import Checkpoints
from otel_bridge.journal.sqlite.database import (
    advice,
    connect,
    failed_to_sync,
    reading,
    translated,
)
from otel_bridge.journal.sqlite.identity import PURGE
from otel_bridge.journal.sqlite.key_rows import pack_keys
from otel_bridge.journal.sqlite.known_keys import KnownKeys
from otel_bridge.journal.sqlite.lock import Lock
from otel_bridge.journal.sqlite.names import Place, url
from otel_bridge.journal.sqlite.reading import SqliteReader
from otel_bridge.journal.sqlite.rescue import Rescue
from otel_bridge.journal.sqlite.segments import Segments
from otel_bridge.journal.sqlite.totals import Totals
from otel_bridge.journal.sqlite.trimming import Trimming
from otel_bridge.journal.sqlite.wal import WriteAheadLog, abandon
from otel_bridge.journal.sqlite.watch import Watch
from otel_bridge.journal.sqlite.witness import Witness
from otel_bridge.journal.store import (
    NONE_OF_THEIR_OWN,
    SEGMENT_RECORDS,
    DamagedPart,
    OutcomeUnknown,
    Parked,
    StoreDamaged,
    StoreError,
    StoreLost,
    StoreUnavailable,
    Trimmed,
    WentBack,
)
from otel_bridge.records import Event, Idle, Record, Session, encode

_ALWAYS = 1 << 62
NewSessions = list[tuple[Any, ...]]
"""Rows of sessions that a commit makes."""


class SqliteStore:
    """The writing side. One process holds it at a time (`lock.py`)."""

    backend = "sqlite"
    replicas = None

    def __init__(self, place: Place, consumer: str) -> None:
        """Opens the journal, or makes it where there is none. Raises StartRefused: a journal that cannot be
        used is never started afresh, for it holds what was promised."""
        path = self.path = place.path
        self.place = str(path)
        self.url = url(path)
        self._consumer = consumer
        self.parts = Parts()
        self._log = WriteAheadLog(path)
        self._abandoned = False
        """Whether what is in the log is left to the next start."""
        self._closed = False
        try:
            folder.make(path.parent)
            self._lock = Lock(place)
            try:
                self._witness = Witness(path)
                self._db = connect(path)
                self._checkpoints = Checkpoints(path, self._db, self._abandon)
                self._prepare()
                self._watch_over(place)
            except BaseException as error:
                if failed_to_sync(error):
                    self._abandon()
                self._close()
                raise
        except sqlite3.Error as error:
            raise StartRefused(advice(path, error)) from error
        except StoreDamaged as error:
            raise StartRefused(error.advice) from error
        except OSError as error:
            raise StartRefused(
                f"diario {path}: {error.strerror}. Permite a este usuario escribir el archivo y su carpeta, o nombra "
                "otro lugar con --journal."
            ) from error

    def _watch_over(self, place: Place) -> None:
        """Raises StartRefused, OSError."""
        self._checkpoints.open()
        self._watch = Watch(place, self._lock.descriptor)
        if self._watch.displaced is not None:
            raise StartRefused(
                f"diario {self.path}: sus archivos se movieron, borraron o reemplazaron durante el arranque. "
                "Arranca otra vez."
            )
        self._rescue = Rescue(self.path, self._watch, self._checkpoints)

    def _prepare(self) -> None:
        db = self._db
        exists = schema.examine(db, self.path)
        if not exists:
            db.execute(f"PRAGMA page_size = {schema.PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -65536")
        db.execute("PRAGMA temp_store = MEMORY")
        # `maintain` moves the log into the file, off the way of the next answer.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        # What is deleted is overwritten, also where the SQLite that is linked does not do that by itself.
        db.execute("PRAGMA secure_delete = ON")
        self._renew_log()
        schema.upgrade(db) if exists else schema.make(db)
        segments = Segments(db, self.path, self._consumer)
        row = segments.newest()
        cursor = db.execute("SELECT coalesce(max(cursor), 0) FROM sink").fetchone()[0]
        saved = db.execute("SELECT coalesce(max(seq), 0) FROM meta").fetchone()[0]
        self.last: int = max(row.last if row else 0, cursor, saved)
        self._total = segments.total_of_all(row)
        """Spans of all records up to `last`."""
        self._committed = self.last, self._total
        self._trimming = Trimming(db, self.path, self._consumer)
        self._known = KnownKeys(db, self.path)
        self._known.move()
        self._totals = Totals(db, segments, self.parts, self.last)
        grouping.prepare(db)
        self._witness.recognise(db, self.last)

    def _renew_log(self) -> None:
        """What an fsync of the process before may not have put on the disk is put there, before it is called safe."""
        self._db.execute("BEGIN IMMEDIATE")  # nobody writes to the log meanwhile, in any process
        try:
            self._log.renew()
        except OSError as error:
            self._abandon()
            raise StartRefused(
                f"diario {self.path}: el disco no admite lo que se lee de su log de escritura: {error.strerror}. "
                "Comprueba el disco, haz sitio en él, y arranca otra vez; el diario queda como está."
            ) from error
        self._db.execute("ROLLBACK")

    @property
    def went_back(self) -> WentBack | None:
        return self._witness.went_back

    @property
    def warnings(self) -> Sequence[str]:
        return self._witness.warnings

    # --- transactions -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        self._rescue.refuse()
        with suppress(StoreUnavailable):  # what makes room must not wait for it
            self._bound_totals()
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        try:
            with translated(self.path):
                self._db.execute("COMMIT")
        except StoreError as error:
            raise self._failed_commit(error) from error.__cause__
        self._settle()

    def _settle(self) -> None:
        self._committed = self.last, self._total
        self.parts.settle()
        self._known.settle()
        self._totals.settle(self.last)

    def _failed_commit(self, error: StoreError) -> StoreError:
        """The error as what it says of the commit."""
        if not self._log.may_hold(error.__cause__):
            return error
        self._abandon()
        return OutcomeUnknown(str(error), error.advice)

    def resolve_outcome(self) -> bool | None:
        raise StoreLost(
            "the disk has failed in a commit: what is left of it in the journal's log decides, at the start"
        )

    def rollback(self) -> None:
        self.last, self._total = self._committed
        self.parts.undo()
        self._known.undo()
        self._totals.undo()
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself (full disk, I/O error)
                pass

    def _select_in(self, head: str, fixed: tuple[Any, ...], keys: list[bytes]) -> Iterator[tuple[Any, ...]]:
        for rows in grouping.portions(len(keys)):
            part = keys[rows]
            yield from self._db.execute(f"{head} IN ({', '.join('?' * len(part))})", [*fixed, *part])

    # --- accepting ----------------------------------------------------------------------------------------------

    def write(self, appends: list[Append]) -> list[Record]:
        with translated(self.path):
            return self._take(appends)

    def write_alone(self, appends: list[Append]) -> list[Record]:
        self._rescue.refuse()
        self._bound_totals()
        try:
            with translated(self.path):
                new = self._take(appends)
                if self._db.in_transaction:
                    self._db.execute("COMMIT")
        except StoreError as error:
            raise self._failed_commit(error) from error.__cause__
        self._settle()
        return new

    def _take(self, appends: list[Append]) -> list[Record]:
        """In the transaction that is open. Where none is, it is left open if it took more than one statement."""
        all_new = self._all_new(appends)
        if all_new is not None:
            new, keys, sessions = all_new
            for append in appends:
                append.outcomes = None
        else:
            if not self._db.in_transaction:
                self._db.execute("BEGIN IMMEDIATE")
            new, keys, sessions = self._sort_out(appends)
        self._put(keys, new, sessions)
        return new

    def _put(self, keys: list[tuple[Any, ...]], records: list[Record], sessions: NewSessions) -> None:
        if not records:
            return
        statements = list(grouping.statements(keys, self._segments(records), sessions))
        if len(statements) > 1 and not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        for sql, values in statements:
            try:
                self._db.execute(sql, values)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise
                # "No such table", perhaps of a schema that another connection has changed since: SQLite looks again
                # for a statement's own tables, and not for those that its triggers name.
                self._db.execute("SELECT 1 FROM meta LIMIT 1").fetchone()
                self._db.execute(sql, values)

    def _account(self, records: list[Record], digests: dict[bytes, bytes]) -> NewSessions:
        """Keeps what new records add to their sessions and to the usage, and sets the parts of the events among them;
        returns the sessions that they make."""
        sessions, late, unmeasured, created = accounts(records, digests, self.parts.event_bytes, self.parts.tool_bytes)
        fills = self.parts.assign(records, {row[0]: row[17] for row in sessions}, created, self._fills)
        for row in sessions:
            row[17] = fills[row[0]]
        if not created:
            self._totals.add((sessions, late, unmeasured))
            return []
        # One without events is written whole.
        self._totals.add(([row for row in sessions if row[7] or row[0] not in created], late, unmeasured))
        return [(*row[:5], row[14], row[16]) for row in sessions if row[0] in created]

    def _fills(self, sessions: list[bytes]) -> Iterator[tuple[bytes, int]]:
        for session, fill, events in self._select_in("SELECT id, fill, events FROM session WHERE id", (), sessions):
            yield session, fill_of(fill, events)
        yield from self._totals.fills(sessions)

    def _all_new(self, appends: list[Append]) -> tuple[list[Record], list[tuple[Any, ...]], NewSessions] | None:
        """The usual case at the usual price: the records, the row of their keys, none of which is known, and the
        sessions that they make. None: something may be known, look closer."""
        keys: list[bytes] = []
        keyed: list[Record] = []
        new: list[Record] = []
        for append in appends:
            if append.digests:
                return None
            new += append.records
            for key, record in zip(append.keys, append.records, strict=True):
                if key is not None:
                    keys.append(key)
                    keyed.append(record)
        if not keys:
            return new, [], self._account(new, {})
        if len(set(map(len, keys))) > 1:
            return None
        arrived = [record.arrived_us for record in keyed]
        row = self._known.admit(keys, arrived)
        if row is None:
            return None
        sessions = self._account(new, {})
        parts = [_part_of(record) for record in keyed] if self.parts.marked else None
        packed = pack_keys(keys, arrived, None, parts)
        return new, [(row, self._known.generations.newest, *packed)], sessions

    def _sort_out(self, appends: list[Append]) -> tuple[list[Record], list[tuple[Any, ...]], NewSessions]:
        """Looks every key up; returns the new records, the rows of their keys and the sessions that they make."""
        times = [
            record.arrived_us
            for append in appends
            for key, record in zip(append.keys, append.records, strict=True)
            if key is not None
        ]
        if times:
            self._known.generations.reach(max(times))
        remembered = self._look_up(appends)
        new: list[Record] = []
        taken: list[tuple[bytes, Record, bytes | None]] = []
        repeats: list[tuple[list[Outcome], int, Event]] = []
        """Of events of this very group, whose parts are not known yet."""
        here: dict[bytes, Record] = {}
        session_digests: dict[bytes, bytes] = {}
        for append in appends:
            outcomes: list[Outcome] | None = None
            keys, digests = append.keys, append.digests
            for i, record in enumerate(append.records):
                key = keys[i]
                digest = digests.get(i)
                if key is None:
                    if digest is None:
                        new.append(record)
                        continue
                    assert isinstance(record, Session)
                    key = b"S" + record.id
                before = remembered.get(key)
                if before is None and self._known.has_unscoped and key[:1] == b"g":
                    before = remembered.get(_unscoped(record))
                if before is None:
                    new.append(record)
                    remembered[key] = (record.arrived_us, digest, 0)
                    if isinstance(record, Session) and keys[i] is None:
                        assert digest is not None
                        session_digests[record.id] = digest
                    else:
                        taken.append((key, record, digest))
                        here[key] = record
                    continue
                if outcomes is None:
                    outcomes = [None] * len(append.records)
                outcomes[i] = CONFLICT if before[1] != digest else Duplicate(before[0], before[2])
                first = here.get(key)
                if first.__class__ is Event and outcomes[i] is not CONFLICT:
                    repeats.append((outcomes, i, first))
            append.outcomes = outcomes
        sessions = self._account(new, session_digests)
        for outcomes, i, first in repeats:
            outcomes[i] = Duplicate(first.arrived_us, first.part)
        rows = self._known.rows_of([KeyRow(k, one.arrived_us, digest, _part_of(one)) for k, one, digest in taken])
        return new, [(row, generation, *packed) for row, generation, packed in rows], sessions

    def _look_up(self, appends: list[Append]) -> dict[bytes, tuple[int, bytes | None, int]]:
        """What is remembered of the keys that these appends carry: key → (arrived, digest, part)."""
        keys: list[bytes] = []
        chosen: list[bytes] = []
        now_us = 0
        for append in appends:
            keys.extend([key for key in append.keys if key is not None])
            if self._known.has_unscoped:
                named = [r for r, key in zip(append.records, append.keys, strict=True) if key and key[:1] == b"g"]
                keys.extend([_unscoped(record) for record in named])
            for i in append.digests:
                if append.keys[i] is None:
                    chosen.append(append.records[i].id)  # type: ignore[union-attr]
            if append.records:
                now_us = append.records[0].arrived_us
        remembered: dict[bytes, tuple[int, bytes | None, int]] = {}
        if keys:
            for key, found in self._known.look_up(keys, now_us).items():
                remembered[key] = (found.arrived_us, found.digest, found.part or 0)
        if chosen:
            for session_id, started_us, digest in self._select_in(
                "SELECT id, started_us, coalesce(digest, x'') FROM session WHERE id", (), chosen
            ):
                remembered[b"S" + session_id] = (started_us, digest, 0)
            for session_id in chosen:  # one that its first event has made
                if b"S" + session_id not in remembered and (row := self._totals.row(session_id)) is not None:
                    remembered[b"S" + session_id] = (row[3], b"", 0)
        return remembered

    def _segments(self, records: list[Record]) -> list[tuple[Any, ...]]:
        rows = []
        for start in range(0, len(records), SEGMENT_RECORDS):
            part = records[start : start + SEGMENT_RECORDS]
            body = encode(part)
            self.last += len(part)
            spans = sum(1 for record in part if record.__class__ is not Idle)
            self._total += spans
            rows.append((self.last, len(part), spans, part[0].arrived_us, zlib.crc32(body), self._total, body))
        return rows

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        fallen: list[Record] = []
        with translated(self.path, DamagedPart.SESSIONS):
            for idle in idles:
                fallen += self._fall(idle.session, before_us, idle.arrived_us)
            self._put([], fallen, [])
        return fallen

    def end(self, session: bytes, now_us: int) -> list[Record]:
        with translated(self.path, DamagedPart.SESSIONS):
            ended = self._fall(session, _ALWAYS, now_us)
            self._put([], ended, [])
        return ended

    def _fall(self, session: bytes, before_us: int, now_us: int) -> list[Record]:
        """Ends the session's period, where it is live and was not heard of since then."""
        row = self._totals.row(session)
        if row is None or not row[13] or row[4] >= before_us:
            return []
        self._totals.rest(session)
        seconds = 0.0 if row[15] is None else (row[15] - row[11]) / 1e6
        return [Idle(session, row[1], seconds, row[12], now_us)]

    # --- the consumer ---------------------------------------------------------------------------------------------

    def advance(self, cursor: int, exported: int, parked: Sequence[Parked]) -> None:
        with translated(self.path, DamagedPart.CURSOR):
            self._db.execute(
                "INSERT INTO sink (name, cursor, exported) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "cursor = max(cursor, excluded.cursor), "
                # A report that comes twice is counted once.
                "exported = exported + CASE WHEN excluded.cursor > cursor THEN excluded.exported ELSE 0 END",
                (self._consumer, cursor, exported),
            )
        self.repark(parked)

    def repark(self, parked: Sequence[Parked]) -> None:
        with translated(self.path, DamagedPart.PARKED):
            for record in parked:
                self._db.execute(
                    "INSERT INTO parked (seq, body, spans, reason, words, parked_us) VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, words = excluded.words, "
                    "parked_us = excluded.parked_us, replay = 0",
                    (record.seq, record.body, record.spans, record.reason, record.message, record.parked_us),
                )

    def unpark(self, seqs: Sequence[int]) -> None:
        with translated(self.path, DamagedPart.PARKED):
            for seq in seqs:
                row = self._db.execute("DELETE FROM parked WHERE seq = ? RETURNING spans", (seq,)).fetchone()
                if row:
                    self._db.execute("UPDATE sink SET exported = exported + ? WHERE name = ?", (row[0], self._consumer))

    # --- snapshot, retention ------------------------------------------------------------------------------------------

    @reading(DamagedPart.SNAPSHOT)
    def snapshot(self) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._db.execute(
            "SELECT seq, body FROM meta WHERE name = 'checkpoint'"
        ).fetchone()
        return row

    def save_snapshot(self, seq: int, state: bytes) -> None:
        with translated(self.path, DamagedPart.SNAPSHOT):
            self._db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES ('checkpoint', ?, ?)", (seq, state))

    def trim(
        self,
        before_us: int,
        now_us: int,
        limit: int,
        sessions: Sequence[bytes],
        make_room: bool = False,
        own: Mapping[str, int] = NONE_OF_THEIR_OWN,
    ) -> Trimmed:
        waiting = [session for session in sessions if self._totals.waits(session)]  # heard of just now
        old = [session for session in sessions if session not in waiting]
        for session in old:
            self.parts.forget(session)
        trimmed = self._trimming.trim(before_us, now_us, limit, old, self._totals.counted, make_room, own)
        return trimmed._replace(kept_sessions=trimmed.kept_sessions + waiting)

    def mend(self, now_us: int, sessions: Sequence[bytes], limit: int) -> int:
        with translated(self.path):
            self._known.generations.mend(now_us)
            return self._totals.mend(now_us) + ahead.mend(self._db, now_us, sessions, limit)

    def hold_keys(self, since_us: int | None) -> None:
        self._known.generations.hold(since_us)

    def forget(self, limit: int) -> int:
        return self._trimming.forget(self._known, limit)

    # --- maintenance --------------------------------------------------------------------------------------------------

    def rewrite_newest(self) -> None:
        # What changes a row writes all of its page, as this connection has it; the same value again writes nothing.
        with translated(self.path, DamagedPart.SEGMENTS):
            for change in (1, -1):
                self._db.execute(
                    "UPDATE segment SET arrived_us = arrived_us + ? WHERE last = (SELECT max(last) FROM segment)",
                    (change,),
                )

    def begin_service(self) -> None:
        self._rescue.refuse()
        try:
            with translated(self.path):
                self._witness.begin(self._db, self._committed[0], self._watch.age)
        except StoreError as error:
            failed = self._failed_commit(error)
            if self._abandoned:
                raise StoreLost(str(error), error.advice) from error.__cause__
            raise failed from error.__cause__
        with suppress(StoreUnavailable):  # what a kill has left; else it is done behind the commits
            self._count_all(lambda run: run())

    def maintain(self, max_bytes: int, between_commits: Callable[[Callable[[], None]], None]) -> None:
        self._checkpoints.step(max_bytes, between_commits)
        if self._checkpoints.is_to_purge():
            between_commits(self._purge)
        if not self._witness.begun:
            between_commits(self.begin_service)
        if not self.displaced:  # else another's mark may stand there
            self._witness.keep(self._committed[0], self._watch.age)
            self._count_all(between_commits)

    def _count_all(self, between_commits: Callable[[Callable[[], None]], None]) -> None:
        """What was committed until now is in its tables, slice by slice: commits go on between two of them."""
        totals, until = self._totals, self._committed[0]
        while totals.counted < until:
            before = totals.progress
            between_commits(self._count)
            if totals.progress == before:
                break  # nobody has run it
        damaged, totals.damaged = totals.damaged, 0
        if damaged:
            raise StoreDamaged(
                f"the journal is damaged ({DamagedPart.SESSIONS}): {damaged} totals could not be written",
                DamagedPart.SESSIONS,
            )

    def _bound_totals(self) -> None:
        """As many rows as the commits before have added, once too many wait: a commit of 64 events waits for one slice
        in two commits."""
        while (excess := self._totals.excess) > 0:
            self._count(excess)

    def _count(self, least: int = 0) -> None:
        """Writes a slice of the totals, between two commits."""
        self._rescue.refuse()
        try:
            with translated(self.path, DamagedPart.SESSIONS):
                self._totals.step(least)
        except StoreError as error:
            failed = self._failed_commit(error)
            if self._abandoned:
                raise StoreLost(str(error), error.advice) from error.__cause__
            raise failed from error.__cause__

    def _purge(self) -> None:
        """Somebody has taken a user out (`erasing.py`), and waits until the log has nothing of him."""
        if not self._checkpoints.truncate():
            return
        try:
            with translated(self.path):
                self._db.execute("DELETE FROM meta WHERE name = ?", (PURGE,))
        except StoreError as error:
            failed = self._failed_commit(error)
            if self._abandoned:
                raise StoreLost(str(error), error.advice) from error.__cause__
            raise failed from error.__cause__

    @property
    def displaced(self) -> bool:
        return self._watch.displaced is not None

    def keep_in_place(self) -> None:
        self._rescue.keep()

    def free_space(self) -> int | None:
        try:
            stat = os.fstatvfs(self._lock.descriptor)
        except OSError:
            return None
        return stat.f_bavail * stat.f_frsize

    def reader(self) -> SqliteReader:
        return SqliteReader(self.path, self._consumer, self._known.places, self.parts)

    def close(self) -> None:
        if self._closed:
            return  # its descriptors are somebody else's by now
        self._closed = True
        if not self._abandoned:
            with suppress(StoreLost):  # then it is abandoned
                self._rescue.step(last=True)
        if not self._abandoned:
            self._end_service()
        self._close()

    def _end_service(self) -> None:
        """A file that is not in its place, or is another's now, is not written to. (A log that was taken away is all in
        the file.)"""
        if self._watch.displaced is None:
            self._witness.keep(self._committed[0], self._watch.age)
        elif self._watch.spoilt is not None or not self._watch.is_here():
            return
        try:
            self._totals.write_all()
            self._witness.end(self._db)
        except sqlite3.Error as error:
            if failed_to_sync(error):
                self._abandon()

    def _close(self) -> None:
        """What has been opened, the lock last."""
        if self._abandoned:
            return
        if hasattr(self, "_checkpoints"):
            self._checkpoints.close()
        if hasattr(self, "_trimming"):
            self._trimming.close()
        if hasattr(self, "_db"):
            self._db.close()
        self._log.close()
        self._lock.release()

    def _abandon(self) -> None:
        """Leaves everything to the next process as a kill would. It begins when this one has ended."""
        self._abandoned = True
        for held in (self._db, getattr(self._checkpoints, "connection", None), self._lock):
            abandon(held)


def _part_of(record: Record) -> int | None:
    """The part as it is kept with the key."""
    return (record.part or None) if record.__class__ is Event else None


def _unscoped(record: Record) -> bytes:
    """The key that 0.1.0 gave an event whose id the client chose."""
    assert record.__class__ is Event
    return b"i" + record.id
