"""The bridge's writing side: what is accepted, where sinks stand, what is forgotten."""

from __future__ import annotations

import fcntl
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite import grouping
from otel_bridge.journal.sqlite.database import BUSY_MS, HOUR_US, SCHEMA, SCHEMA_VERSION, connect, translated
from otel_bridge.journal.sqlite.grouping import Keys
from otel_bridge.journal.sqlite.reading import SqliteReader
from otel_bridge.journal.store import (
    CONFLICT,
    DEDUP_HORIZON_US,
    SEGMENT_RECORDS,
    Append,
    Duplicate,
    Outcome,
    Parked,
    Trimmed,
    generation_of,
)
from otel_bridge.records import Event, Idle, Record, Session, encode

PAST_TIMED = b"d"
"""Sorts after every key that starts with its event's time ("c…"): a generation of them is passed once and for all."""
TRIM_BYTES = 4 << 20
"""Of segments that are deleted at once: every page of a deleted row is read, and answers wait meanwhile."""


class SqliteStore:
    """The writing side. One process holds it at a time (a lock beside the file)."""

    def __init__(self, path: Path) -> None:
        """Opens the journal, or makes it where there is none. Raises StartRefused: a journal that cannot be
        used is never started afresh, for it holds what was promised."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            try:
                self._db = connect(path)
                self._prepare()
            except BaseException:
                if hasattr(self, "_db"):
                    self._db.close()
                self._lock.close()
                raise
        except sqlite3.Error as error:
            raise StartRefused(self.advice(error)) from error
        except OSError as error:
            raise StartRefused(
                f"journal {path}: {error.strerror}: the directory must exist and be writable by this user"
            ) from error

    def advice(self, error: sqlite3.Error) -> str:
        """What is wrong with the file, and what to do."""
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        what = f"journal {self.path}: {error}"
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return (
                f"{what}. The file is damaged and is left as it is. Restore it from a backup, or save what can be "
                f"read with `sqlite3 {self.path} .recover`, or move it away to start with an empty journal: what "
                "it held and was not exported is then lost."
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return f"{what}. Make the file and its directory writable by this user."
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return f"{what}. Another program holds the file; close it and start again."
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            return f"{what}. Make room on the disk, or check it, and start again."
        return what

    def _take_lock(self) -> Any:
        lock = self.path.with_name(self.path.name + ".lock").open("a+")  # held until close
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise StartRefused(
                f"journal {self.path}: another otel-bridge serves it. Stop it, or give this one its own --journal."
            ) from None
        return lock

    def _prepare(self) -> None:
        db = self._db
        version = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StartRefused(
                f"journal {self.path}: its schema is version {version}, this otel-bridge knows {SCHEMA_VERSION}. "
                "It was written by a newer release: run that one."
            )
        if version == 0 and tables:
            raise StartRefused(
                f"journal {self.path}: a SQLite file that is no otel-bridge journal. Name another with --journal."
            )
        if version == 0:
            db.execute("PRAGMA page_size = 8192")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -65536")
        db.execute("PRAGMA temp_store = MEMORY")
        # The maintenance worker moves the log into the file, off the way of the next answer.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        row = db.execute("SELECT last, crc, body FROM segment ORDER BY last DESC LIMIT 1").fetchone()
        if row is not None and zlib.crc32(row[2]) != row[1]:
            raise sqlite3.DatabaseError(f"the newest segment ({row[0]}) does not match its checksum")
        cursor = db.execute("SELECT coalesce(max(cursor), 0) FROM sink").fetchone()[0]
        saved = db.execute("SELECT coalesce(max(seq), 0) FROM meta").fetchone()[0]
        self.last: int = max(row[0] if row else 0, cursor, saved)
        self.generation: int = db.execute("SELECT coalesce(max(generation), 0) FROM seen").fetchone()[0]
        self._searched: tuple[int, bytes | None] = (-1, None)
        self._trim_from = b""
        grouping.prepare(db)

    # --- transactions -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        with translated():
            self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        with translated():
            self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself (full disk, I/O error)
                pass

    def _insert(self, head: str, width: int, values: list[Any]) -> None:
        """Inserts rows of `width` values that stand one after another."""
        one = "(" + "?, " * (width - 1) + "?)"
        for rows in grouping.portions(len(values) // width):
            sql = head + ", ".join([one] * (rows.stop - rows.start))
            self._db.execute(sql, values[rows.start * width : rows.stop * width])

    def _select_in(self, head: str, fixed: tuple[Any, ...], keys: list[bytes]) -> Iterator[tuple[Any, ...]]:
        for rows in grouping.portions(len(keys)):
            part = keys[rows]
            yield from self._db.execute(f"{head} IN ({', '.join('?' * len(part))})", [*fixed, *part])

    # --- accepting ----------------------------------------------------------------------------------------------

    def write(self, appends: list[Append]) -> list[Record]:
        with translated():
            return self._take(appends)

    def write_alone(self, appends: list[Append]) -> list[Record]:
        with translated():
            new = self._take(appends)
            if self._db.in_transaction:
                self._db.execute("COMMIT")
            return new

    def _take(self, appends: list[Append]) -> list[Record]:
        """In the transaction that is open. Where none is, it is left open if it took more than one statement."""
        found = self._all_new(appends)
        if found is not None:
            new, keys = found
            before = self.last
            try:
                self._put(keys, new, {})
            except sqlite3.IntegrityError as error:
                self.last = before
                if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
                    raise  # what came before it in the transaction stands: the caller undoes the whole
                # A key is known after all. Only the first statement can find that, and has undone itself.
            else:
                for append in appends:
                    append.outcomes = None
                return new
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        new, digests = self._sort_out(appends)
        self._put(None, new, digests)
        return new

    def _put(self, keys: Keys | None, records: list[Record], digests: dict[bytes, bytes]) -> None:
        if not records:
            return
        statements = list(grouping.statements(keys, self._segments(records), _accounts(records, digests)))
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

    def _all_new(self, appends: list[Append]) -> tuple[list[Record], Keys | None] | None:
        """The usual case at the usual price: the records, and keys of which none should be known. To insert them proves
        it without a look-up. None: something may be known, look closer."""
        keys: list[bytes] = []
        arrived: list[int] = []
        new: list[Record] = []
        newest = self.generation
        for append in appends:
            # The first of a generation, or one that waited while it changed: its key may stand in either.
            if append.digests or (self._generation(append) != newest and any(append.keys)):
                return None
            new += append.records
            for key, record in zip(append.keys, append.records, strict=True):
                if key is not None:
                    keys.append(key)
                    arrived.append(record.arrived_us)
        if not keys:
            return new, None
        before, width = self._before(newest), len(keys[0])
        if max(keys) >= PAST_TIMED or (before is not None and min(keys) <= before):
            return None
        if any(len(key) != width for key in keys):
            return None
        return new, Keys(newest, width, b"".join(keys), f"[{','.join(map(str, arrived))}]")

    def _generation(self, append: Append) -> int:
        return max(generation_of(append.records[0].arrived_us), self.generation) if append.records else 0

    def _before(self, newest: int) -> bytes | None:
        """The greatest key of the generation before: keys start with their event's time, so live traffic is past it."""
        if self._searched[0] != newest:
            # Keys that clients choose sort after the timed ones, and would hide them.
            row = self._db.execute(
                "SELECT max(key) FROM seen WHERE generation = ? AND key < ?", (newest - 1, PAST_TIMED)
            ).fetchone()
            self._searched = (newest, row[0])
        return self._searched[1]

    def _sort_out(self, appends: list[Append]) -> tuple[list[Record], dict[bytes, bytes]]:
        """Looks every key up; returns the new records, and digests of new sessions whose id the client chose."""
        known = self._known(appends)
        new: list[Record] = []
        seen: list[Any] = []
        session_digests: dict[bytes, bytes] = {}
        for append in appends:
            outcomes: list[Outcome] | None = None
            keys, digests, generation = append.keys, append.digests, self._generation(append)
            for i, record in enumerate(append.records):
                key = keys[i]
                digest = digests.get(i)
                if key is None:
                    if digest is None:
                        new.append(record)
                        continue
                    assert isinstance(record, Session)
                    key = b"S" + record.id
                before = known.get(key)
                if before is None:
                    new.append(record)
                    known[key] = (generation, record.arrived_us, digest)
                    if isinstance(record, Session) and keys[i] is None:
                        assert digest is not None
                        session_digests[record.id] = digest
                    else:
                        seen += (generation, key, record.arrived_us, digest)
                    continue
                if outcomes is None:
                    outcomes = [None] * len(append.records)
                outcomes[i] = CONFLICT if before[2] != digest else Duplicate(before[1])
            append.outcomes = outcomes
        if seen:
            self.generation = max(self.generation, *seen[::4])
            if min(seen[::4]) < self.generation:
                self._searched = (-1, None)  # the generation before has grown
            # OR REPLACE: a key older than the horizon may still stand in its generation.
            self._insert("INSERT OR REPLACE INTO seen (generation, key, arrived_us, digest) VALUES ", 4, seen)
        return new, session_digests

    def _known(self, appends: list[Append]) -> dict[bytes, tuple[int, int, bytes | None]]:
        """What is remembered of the keys that these appends carry: key → (generation, arrived, digest)."""
        keys: list[bytes] = []
        chosen: list[bytes] = []
        now_us = 0
        for append in appends:
            keys.extend([key for key in append.keys if key is not None])
            for i in append.digests:
                if append.keys[i] is None:
                    chosen.append(append.records[i].id)  # type: ignore[union-attr]
            if append.records:
                now_us = append.records[0].arrived_us
        known: dict[bytes, tuple[int, int, bytes | None]] = {}
        if keys:
            newest = max(self.generation, max(self._generation(append) for append in appends))
            horizon = now_us - DEDUP_HORIZON_US
            for generation in (newest, newest - 1):
                for key, arrived_us, digest in self._select_in(
                    "SELECT key, arrived_us, digest FROM seen WHERE generation = ? AND key",
                    (generation,),
                    keys,
                ):
                    if arrived_us > horizon:
                        known[key] = (generation, arrived_us, digest)
        if chosen:
            for session_id, started_us, digest in self._select_in(
                "SELECT id, started_us, coalesce(digest, x'') FROM session WHERE id", (), chosen
            ):
                known[b"S" + session_id] = (0, started_us, digest)
        return known

    def _segments(self, records: list[Record]) -> list[tuple[Any, ...]]:
        rows = []
        for start in range(0, len(records), SEGMENT_RECORDS):
            part = records[start : start + SEGMENT_RECORDS]
            body = encode(part)
            self.last += len(part)
            spans = sum(1 for record in part if record.__class__ is not Idle)
            rows.append((self.last, len(part), spans, part[0].arrived_us, zlib.crc32(body), body))
        return rows

    def fall_idle(self, idles: list[Idle], before_us: int) -> list[Record]:
        fallen: list[Record] = []
        with translated():
            for idle in idles:
                changed = self._db.execute(
                    "UPDATE session SET live = 0, stretch_us = NULL, stretch_events = 0 "
                    "WHERE id = ? AND live = 1 AND last_us < ?",
                    (idle.session, before_us),
                )
                if changed.rowcount:
                    fallen.append(idle)
            if fallen:
                self._put(None, fallen, {})
        return fallen

    # --- sinks ----------------------------------------------------------------------------------------------------

    def advance(self, sink: str, cursor: int, exported: int, parked: Sequence[Parked]) -> None:
        with translated():
            self._db.execute(
                "INSERT INTO sink (name, cursor, exported) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "cursor = max(cursor, excluded.cursor), "
                # A report that comes twice is counted once.
                "exported = exported + CASE WHEN excluded.cursor > cursor THEN excluded.exported ELSE 0 END",
                (sink, cursor, exported),
            )
        self.repark(parked)

    def repark(self, parked: Sequence[Parked]) -> None:
        with translated():
            for one in parked:
                self._db.execute(
                    "INSERT INTO parked (seq, body, spans, reason, words, parked_us) VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, words = excluded.words, "
                    "parked_us = excluded.parked_us, replay = 0",
                    (one.seq, one.body, one.spans, one.reason, one.words, one.parked_us),
                )

    def unpark(self, seqs: Sequence[int], sink: str) -> None:
        with translated():
            for seq in seqs:
                row = self._db.execute("DELETE FROM parked WHERE seq = ? RETURNING spans", (seq,)).fetchone()
                if row:
                    self._db.execute("UPDATE sink SET exported = exported + ? WHERE name = ?", (row[0], sink))

    # --- checkpoint, retention ----------------------------------------------------------------------------------------

    def checkpoint(self) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._db.execute(
            "SELECT seq, body FROM meta WHERE name = 'checkpoint'"
        ).fetchone()
        return row

    def save_checkpoint(self, seq: int, state: bytes) -> None:
        with translated():
            self._db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES ('checkpoint', ?, ?)", (seq, state))

    def trim(self, before_us: int, limit: int, sink: str) -> Trimmed:
        """Deletes up to `limit` rows of each table that are past retention and done with."""
        with translated():
            cursor = self._db.execute("SELECT coalesce(max(cursor), 0) FROM sink WHERE name = ?", (sink,)).fetchone()[0]
            saved = self._db.execute("SELECT coalesce(max(seq), 0) FROM meta").fetchone()[0]
            safe = min(cursor, saved)
            # Only the oldest rows are looked at: a clock that stepped must not make this a scan.
            oldest = self._db.execute(
                "SELECT last, arrived_us, length(body) FROM segment ORDER BY last LIMIT ?", (limit,)
            ).fetchall()
            upto = size = 0
            for last, arrived_us, length in oldest:
                size += length
                if last > safe or arrived_us >= before_us or (upto and size > TRIM_BYTES):
                    break
                upto = last
            gone = self._db.execute("DELETE FROM segment WHERE last <= ?", (upto,)).rowcount if upto else 0
            sessions = self._trim_sessions(before_us, limit)
            gone += self._db.execute(
                "DELETE FROM usage WHERE (hour, gpt, user) IN "
                "(SELECT hour, gpt, user FROM usage WHERE hour < ? LIMIT ?)",
                (before_us // HOUR_US, limit),
            ).rowcount
        return Trimmed(gone + len(sessions), sessions)

    def _trim_sessions(self, before_us: int, limit: int) -> list[bytes]:
        """Walks the sessions round and round, `limit` at a time: no index on their age is kept for it."""
        rows = self._db.execute(
            "SELECT id, last_us, live FROM session WHERE id > ? ORDER BY id LIMIT ?", (self._trim_from, limit)
        ).fetchall()
        self._trim_from = rows[-1][0] if len(rows) == limit else b""
        old = [row[0] for row in rows if row[1] < before_us and not row[2]]
        if old:
            self._db.executemany("DELETE FROM session WHERE id = ?", [(session,) for session in old])
        return old

    def forget(self, limit: int) -> int:
        with translated():
            return self._db.execute(
                "DELETE FROM seen WHERE (generation, key) IN "
                "(SELECT generation, key FROM seen WHERE generation < ? LIMIT ?)",
                (self.generation - 1, limit),
            ).rowcount

    def finish_log(self) -> None:
        """Moves what has come while a reader's `move_log` was moving the rest: the next commit then begins the log
        anew, unless somebody still reads it. Waits for nobody."""
        with translated():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def restart_log(self) -> None:
        """Moves the whole write-ahead log into the file and starts it anew; for when it has grown long."""
        with translated():
            # Answers wait for it, and it for readers: not for long. The next second tries again.
            self._db.execute("PRAGMA busy_timeout = 250")
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def reader(self) -> SqliteReader:
        return SqliteReader(self.path)

    def close(self) -> None:
        self._db.close()
        self._lock.close()


def _accounts(records: list[Record], digests: dict[bytes, bytes]) -> list[list[Any]]:
    """What the records add to their sessions: a row each, however many records."""
    sessions: dict[bytes, list[Any]] = {}
    for record in records:
        if record.__class__ is Event:
            row = sessions.get(record.session)
            end_us = record.end_us
            if row is None:
                sessions[record.session] = [
                    record.session, record.gpt, record.user, end_us, record.arrived_us, end_us, end_us, 1,
                    record.error is not None, record.tokens_in, record.tokens_out, end_us, 1, 1, None,
                ]  # fmt: skip
                continue
            first = row[5]
            if first is None or end_us < first:
                row[5] = end_us
            if first is None or end_us > row[6]:
                row[6] = end_us
            row[7] += 1
            row[9] += record.tokens_in
            row[10] += record.tokens_out
            if record.error is not None:
                row[8] += 1
        elif record.__class__ is Session:
            sessions[record.id] = [
                record.id, record.gpt, record.user, record.started_us, record.arrived_us, None, None, 0, 0,
                0, 0, record.started_us, 0, 1, digests.get(record.id),
            ]  # fmt: skip
    for row in sessions.values():
        row[12] = row[7]
    return list(sessions.values())
