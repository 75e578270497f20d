"""The bridge's writing side: what is accepted, where the consumer stands, what is forgotten."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from otel_bridge.errors import StartRefused
from otel_bridge.ids import DAY_US
from otel_bridge.journal.append import CONFLICT, Append, Duplicate, Outcome
from otel_bridge.journal.sqlite import grouping
from otel_bridge.journal.sqlite.database import (
    ADDED,
    BUSY_MS,
    HOUR_US,
    SCHEMA,
    SCHEMA_VERSION,
    advice,
    connect,
    generation_of,
    reading,
    translated,
)
from otel_bridge.journal.sqlite.grouping import Keys
from otel_bridge.journal.sqlite.reading import SqliteReader, wal_bytes
from otel_bridge.journal.sqlite.witness import Witness
from otel_bridge.journal.store import (
    DEDUP_HORIZON_US,
    SEGMENT_RECORDS,
    Parked,
    Trimmed,
    WentBack,
)
from otel_bridge.records import Event, Idle, Record, Session, encode

PAST_TIMED = b"d"
"""Sorts after every key that starts with its event's time ("c…"): a generation of them is passed once and for all."""
TRIM_BYTES = 4 << 20
"""Of segments that are deleted at once: every page of a deleted row is read, and answers wait meanwhile."""
PAGE_BYTES = 8192
WAL_PAGES = 500
"""A write-ahead log of so many pages is begun anew, which takes a few milliseconds between two commits. Left alone
under load, it grows to its limit every few seconds, and that step holds answers up for 50 ms."""
WAL_BYTES = 64 << 20
"""A write-ahead log longer than this, or than an eighth of what the journal may take, is moved into the file although
answers wait for it: its bytes count, and a small limit must not be used up by the log alone."""


class SqliteStore:
    """The writing side. One process holds it at a time (a lock beside the file)."""

    backend = "sqlite"

    def __init__(self, path: Path, consumer: str) -> None:
        """Opens the journal, or makes it where there is none. Raises StartRefused: a journal that cannot be
        used is never started afresh, for it holds what was promised."""
        self.path = path
        self.place = str(path)
        self._consumer = consumer
        self._maintainer: sqlite3.Connection | None = None
        """The housekeeping thread's connection."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self._take_lock()
            try:
                self._witness = Witness(path)
                self._db = connect(path)
                self._prepare()
            except BaseException:
                if hasattr(self, "_db"):
                    self._db.close()
                self._lock.close()
                raise
        except sqlite3.Error as error:
            raise StartRefused(advice(path, error)) from error
        except OSError as error:
            raise StartRefused(
                f"journal {path}: {error.strerror}: the directory must exist and be writable by this user. Make it so, "
                "or name another place with --journal."
            ) from error

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
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA cache_size = -65536")
        db.execute("PRAGMA temp_store = MEMORY")
        # `maintain` moves the log into the file, off the way of the next answer.
        db.execute("PRAGMA wal_autocheckpoint = 0")
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        elif "active_us" not in [column[1] for column in db.execute("PRAGMA table_info(session)")]:
            db.executescript(f"BEGIN IMMEDIATE; {ADDED} COMMIT;")
        row = db.execute("SELECT last, crc, body FROM segment ORDER BY last DESC LIMIT 1").fetchone()
        if row is not None and zlib.crc32(row[2]) != row[1]:
            raise sqlite3.DatabaseError(f"the newest segment ({row[0]}) does not match its checksum")
        cursor = db.execute("SELECT coalesce(max(cursor), 0) FROM sink").fetchone()[0]
        saved = db.execute("SELECT coalesce(max(seq), 0) FROM meta").fetchone()[0]
        self.last: int = max(row[0] if row else 0, cursor, saved)
        self._committed = self.last
        self._generation: int = db.execute("SELECT coalesce(max(generation), 0) FROM seen").fetchone()[0]
        """The newest: new keys belong to it. It never goes back, whatever the wall clock does."""
        self._unscoped = self._has_unscoped_ids()
        """Whether 0.1.0 wrote ids that are still remembered: their keys say nothing of a GPT."""
        self._searched: tuple[int, bytes | None] = (-1, None)
        grouping.prepare(db)
        self._witness.open(db, self.last)

    def _has_unscoped_ids(self) -> bool:
        newest = self._generation
        sql = "SELECT 1 FROM seen WHERE generation = ? AND key >= x'69' AND key < x'6a' LIMIT 1"
        return any(self._db.execute(sql, (generation,)).fetchone() for generation in (newest, newest - 1))

    @property
    def went_back(self) -> WentBack | None:
        return self._witness.went_back

    @property
    def warnings(self) -> Sequence[str]:
        return self._witness.warnings

    # --- transactions -----------------------------------------------------------------------------------------

    def begin(self) -> None:
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        with translated(self.path):
            self._db.execute("COMMIT")
        self._committed = self.last

    def resolve_outcome(self) -> bool | None:
        raise NotImplementedError("a commit to a local file has no unknown outcome")

    def rollback(self) -> None:
        self.last = self._committed
        if self._db.in_transaction:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:  # SQLite has rolled back by itself (full disk, I/O error)
                pass

    def _insert(self, head: str, width: int, values: list[Any]) -> None:
        """Inserts rows of `width` values that stand one after another."""
        row = "(" + "?, " * (width - 1) + "?)"
        for rows in grouping.portions(len(values) // width):
            sql = head + ", ".join([row] * (rows.stop - rows.start))
            self._db.execute(sql, values[rows.start * width : rows.stop * width])

    def _select_in(self, head: str, fixed: tuple[Any, ...], keys: list[bytes]) -> Iterator[tuple[Any, ...]]:
        for rows in grouping.portions(len(keys)):
            part = keys[rows]
            yield from self._db.execute(f"{head} IN ({', '.join('?' * len(part))})", [*fixed, *part])

    # --- accepting ----------------------------------------------------------------------------------------------

    def write(self, appends: list[Append]) -> list[Record]:
        with translated(self.path):
            return self._take(appends)

    def write_alone(self, appends: list[Append]) -> list[Record]:
        with translated(self.path):
            new = self._take(appends)
            if self._db.in_transaction:
                self._db.execute("COMMIT")
        self._committed = self.last
        return new

    def _take(self, appends: list[Append]) -> list[Record]:
        """In the transaction that is open. Where none is, it is left open if it took more than one statement."""
        all_new = self._all_new(appends)
        if all_new is not None:
            new, keys = all_new
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
        statements = list(grouping.statements(keys, self._segments(records), *_accounts(records, digests)))
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
        for append in appends:
            if append.digests:
                return None
            new += append.records
            for key, record in zip(append.keys, append.records, strict=True):
                if key is not None:
                    keys.append(key)
                    arrived.append(record.arrived_us)
        if not keys:
            return new, None
        newest = self._generation
        if generation_of(max(arrived)) > newest:  # the first of a generation
            return None
        before, width = self._before(newest), len(keys[0])
        if max(keys) >= PAST_TIMED or (before is not None and min(keys) <= before):
            return None
        if any(len(key) != width for key in keys):
            return None
        return new, Keys(newest, width, b"".join(keys), f"[{','.join(map(str, arrived))}]")

    def _before(self, newest: int) -> bytes | None:
        """The greatest timed key of the generation before: keys start with their event's time, so live traffic is past
        it. That generation grows no more, so it is looked up once."""
        if self._searched[0] != newest:
            # Keys that clients choose sort after the timed ones, and would hide them.
            row = self._db.execute(
                "SELECT max(key) FROM seen WHERE generation = ? AND key < ?", (newest - 1, PAST_TIMED)
            ).fetchone()
            self._searched = (newest, row[0])
        return self._searched[1]

    def _sort_out(self, appends: list[Append]) -> tuple[list[Record], dict[bytes, bytes]]:
        """Looks every key up; returns the new records, and digests of new sessions whose id the client chose."""
        times = [
            record.arrived_us
            for append in appends
            for key, record in zip(append.keys, append.records, strict=True)
            if key is not None
        ]
        if times:
            self._generation = max(self._generation, generation_of(max(times)))
        remembered = self._look_up(appends)
        new: list[Record] = []
        rows: list[Any] = []
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
                if before is None and self._unscoped and key[:1] == b"g":
                    before = remembered.get(_unscoped(record))
                if before is None:
                    new.append(record)
                    remembered[key] = (record.arrived_us, digest)
                    if isinstance(record, Session) and keys[i] is None:
                        assert digest is not None
                        session_digests[record.id] = digest
                    else:
                        rows += (self._generation, key, record.arrived_us, digest)
                    continue
                if outcomes is None:
                    outcomes = [None] * len(append.records)
                outcomes[i] = CONFLICT if before[1] != digest else Duplicate(before[0])
            append.outcomes = outcomes
        if rows:
            # OR REPLACE: a key older than the horizon may still stand in its generation.
            self._insert("INSERT OR REPLACE INTO seen (generation, key, arrived_us, digest) VALUES ", 4, rows)
        return new, session_digests

    def _look_up(self, appends: list[Append]) -> dict[bytes, tuple[int, bytes | None]]:
        """What is remembered of the keys that these appends carry: key → (arrived, digest)."""
        keys: list[bytes] = []
        chosen: list[bytes] = []
        now_us = 0
        for append in appends:
            keys.extend([key for key in append.keys if key is not None])
            if self._unscoped:
                named = [r for r, key in zip(append.records, append.keys, strict=True) if key and key[:1] == b"g"]
                keys.extend([_unscoped(record) for record in named])
            for i in append.digests:
                if append.keys[i] is None:
                    chosen.append(append.records[i].id)  # type: ignore[union-attr]
            if append.records:
                now_us = append.records[0].arrived_us
        remembered: dict[bytes, tuple[int, bytes | None]] = {}
        if keys:
            horizon = now_us - DEDUP_HORIZON_US
            for generation in (self._generation, self._generation - 1):
                for key, arrived_us, digest in self._select_in(
                    "SELECT key, arrived_us, digest FROM seen WHERE generation = ? AND key",
                    (generation,),
                    keys,
                ):
                    if arrived_us > horizon:
                        remembered[key] = (arrived_us, digest)
        if chosen:
            for session_id, started_us, digest in self._select_in(
                "SELECT id, started_us, coalesce(digest, x'') FROM session WHERE id", (), chosen
            ):
                remembered[b"S" + session_id] = (started_us, digest)
        return remembered

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
        with translated(self.path):
            for idle in idles:
                changed = self._db.execute(
                    "UPDATE session SET live = 0, stretch_us = NULL, stretch_last_us = NULL, stretch_events = 0 "
                    "WHERE id = ? AND live = 1 AND last_us < ?",
                    (idle.session, before_us),
                )
                if changed.rowcount:
                    fallen.append(idle)
            if fallen:
                self._put(None, fallen, {})
        return fallen

    # --- the consumer ---------------------------------------------------------------------------------------------

    def advance(self, cursor: int, exported: int, parked: Sequence[Parked]) -> None:
        with translated(self.path):
            self._db.execute(
                "INSERT INTO sink (name, cursor, exported) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "cursor = max(cursor, excluded.cursor), "
                # A report that comes twice is counted once.
                "exported = exported + CASE WHEN excluded.cursor > cursor THEN excluded.exported ELSE 0 END",
                (self._consumer, cursor, exported),
            )
        self.repark(parked)

    def repark(self, parked: Sequence[Parked]) -> None:
        with translated(self.path):
            for record in parked:
                self._db.execute(
                    "INSERT INTO parked (seq, body, spans, reason, words, parked_us) VALUES (?, ?, ?, ?, ?, ?) "
                    "ON CONFLICT (seq) DO UPDATE SET reason = excluded.reason, words = excluded.words, "
                    "parked_us = excluded.parked_us, replay = 0",
                    (record.seq, record.body, record.spans, record.reason, record.message, record.parked_us),
                )

    def unpark(self, seqs: Sequence[int]) -> None:
        with translated(self.path):
            for seq in seqs:
                row = self._db.execute("DELETE FROM parked WHERE seq = ? RETURNING spans", (seq,)).fetchone()
                if row:
                    self._db.execute("UPDATE sink SET exported = exported + ? WHERE name = ?", (row[0], self._consumer))

    # --- snapshot, retention ------------------------------------------------------------------------------------------

    @reading
    def snapshot(self) -> tuple[int, bytes] | None:
        row: tuple[int, bytes] | None = self._db.execute(
            "SELECT seq, body FROM meta WHERE name = 'checkpoint'"
        ).fetchone()
        return row

    def save_snapshot(self, seq: int, state: bytes) -> None:
        with translated(self.path):
            self._db.execute("INSERT OR REPLACE INTO meta (name, seq, body) VALUES ('checkpoint', ?, ?)", (seq, state))

    def trim(self, before_us: int, limit: int, sessions: Sequence[bytes]) -> Trimmed:
        with translated(self.path):
            cursor = self._db.execute(
                "SELECT coalesce(max(cursor), 0) FROM sink WHERE name = ?", (self._consumer,)
            ).fetchone()[0]
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
            kept = [session for session in sessions if not self._delete_session(session, before_us)]
            gone += self._db.execute(
                "DELETE FROM usage WHERE (hour, gpt, user) IN "
                "(SELECT hour, gpt, user FROM usage WHERE hour < ? LIMIT ?)",
                (before_us // HOUR_US, limit),
            ).rowcount
        return Trimmed(gone + len(sessions) - len(kept), kept)

    def _delete_session(self, session: bytes, before_us: int) -> bool:
        sql = "DELETE FROM session WHERE id = ? AND last_us < ? AND live = 0"
        return self._db.execute(sql, (session, before_us)).rowcount > 0

    def forget(self, limit: int) -> int:
        with translated(self.path):
            return self._db.execute(
                "DELETE FROM seen WHERE (generation, key) IN "
                "(SELECT generation, key FROM seen WHERE generation < ? LIMIT ?)",
                (self._generation - 1, limit),
            ).rowcount

    # --- maintenance --------------------------------------------------------------------------------------------------

    def maintain(self, max_bytes: int, between_commits: Callable[[Callable[[], None]], None]) -> None:
        """Checkpoints the write-ahead log: most of it in the caller's thread, the end of it between two commits."""
        with translated(self.path):
            if self._maintainer is None:
                self._maintainer = connect(self.path)
            # Waits for nobody.
            _, pages, moved = self._maintainer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if not self._witness.begun:
            between_commits(lambda: self._witness.begin(self._db, self._committed))
        self._witness.keep(self._committed)
        if pages > WAL_PAGES:
            between_commits(self._finish_checkpoint)
        long = min(WAL_BYTES, max_bytes // 8)
        # What stays behind that far is held by somebody who reads for long (a backup): answers would wait in vain.
        if wal_bytes(self.path) > long and (pages - moved) * PAGE_BYTES <= long // 2:
            between_commits(self._truncate_wal)

    def _finish_checkpoint(self) -> None:
        """Moves what has come while `maintain` was moving the rest: the next commit then begins the log anew, unless
        somebody still reads it. Waits for nobody."""
        with translated(self.path):
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _truncate_wal(self) -> None:
        """Moves the whole write-ahead log into the file and starts it anew; for when it has grown long."""
        with translated(self.path):
            # Answers wait for it, and it for readers: not for long. The next second tries again.
            self._db.execute("PRAGMA busy_timeout = 250")
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                self._db.execute(f"PRAGMA busy_timeout = {BUSY_MS}")

    def free_space(self) -> int | None:
        try:
            stat = os.statvfs(self.path.parent)
        except OSError:
            return 0
        return stat.f_bavail * stat.f_frsize

    def reader(self) -> SqliteReader:
        return SqliteReader(self.path, self._consumer)

    def close(self) -> None:
        if self._maintainer is not None:
            self._maintainer.close()
        self._witness.close(self._db, self._committed)
        self._db.close()
        self._lock.close()


def _accounts(
    records: list[Record], digests: dict[bytes, bytes]
) -> tuple[list[list[Any]], list[tuple[int, str, str, int, int]]]:
    """What the records add to their sessions, a row each, however many records; and what of that is no usage of its
    hour, since it happened more than a day before it arrived."""
    sessions: dict[bytes, list[Any]] = {}
    late: dict[bytes, list[Event]] = {}
    for record in records:
        if record.__class__ is Event:
            row = sessions.get(record.session)
            end_us, arrived_us = record.end_us, record.arrived_us
            if end_us < arrived_us - DAY_US:
                late.setdefault(record.session, []).append(record)
            if row is None:
                sessions[record.session] = [
                    record.session, record.gpt, record.user, end_us, arrived_us, end_us, end_us, 1,
                    record.error is not None, record.tokens_in, record.tokens_out, end_us, 1, 1, None,
                    end_us, end_us if end_us < arrived_us else arrived_us,
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
            # The first and the last event of the period, as `grouping` merges those of two commits.
            last, a_day_ago = row[15], arrived_us - DAY_US
            if last is None or (last <= a_day_ago < end_us):
                row[11] = row[15] = end_us
            elif end_us > a_day_ago or (last <= a_day_ago and max(last, end_us) - min(row[11], end_us) <= DAY_US):
                if end_us > last:
                    row[15] = end_us
                elif end_us < row[11]:
                    row[11] = end_us
            elif last < end_us:
                row[11] = row[15] = end_us
            if end_us > row[16]:
                row[16] = end_us if end_us < arrived_us else arrived_us
        elif record.__class__ is Session:
            sessions[record.id] = [
                record.id, record.gpt, record.user, record.started_us, record.arrived_us, None, None, 0, 0,
                0, 0, None, 0, 1, digests.get(record.id), None, record.arrived_us,
            ]  # fmt: skip
    for row in sessions.values():
        row[12] = row[7]
    return list(sessions.values()), [_late_usage(sessions[session], events) for session, events in late.items()]


def _late_usage(row: list[Any], events: list[Event]) -> tuple[int, str, str, int, int]:
    """Usage (hour, GPT, user, events, tokens) within what a session's row adds."""
    return row[4] // HOUR_US, row[1], row[2], len(events), sum(e.tokens_in + e.tokens_out for e in events)


def _unscoped(record: Record) -> bytes:
    """The key that 0.1.0 gave an event whose id the client chose."""
    assert record.__class__ is Event
    return b"i" + record.id
