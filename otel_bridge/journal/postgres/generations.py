"""Dedup keys by turns: new keys go into the current turn's table, and tables whose keys are all past the horizon are
emptied whole, so that forgetting costs nothing that grows with the journal.

All replicas must agree where a key goes, or two of them take it at once: one into the old table, one into the new. So
no replica goes by its own clock. The turn stands in every lane's row, a commit holds only while that row says what the
replica believes, and a turn changes in three steps, each of which is over when the one before it holds in every lane:

    turn t                  keys go into t
    turn t, doubled         keys go into t and t + 1, t first
    turn t + 1              keys go into t + 1; t does not grow any more

Two replicas that are one step apart write at least one table both. An update of a lane's row waits for the commit that
is under way there, so after a step no commit of before it is left.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import psycopg

from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.schema import RING
from otel_bridge.journal.store import DEDUP_HORIZON_US

_PAST_TIMED = b"d"
"""Sorts after every key that starts with its event's time ("c…")."""
LAST_PAGES = 1_000
"""Of a table that is to be emptied: they are looked at for keys that came late."""


class Turn(NamedTuple):
    """What a lane's row says."""

    turn: int
    doubled: bool


class Generations:
    """What one replica knows of the turns. Its errors are psycopg's."""

    def __init__(self) -> None:
        self.now = Turn(0, False)
        self.started_us = 0
        """When the current turn was begun."""
        self.older: tuple[int, ...] = ()
        """Tables before the current one that may hold something: they grow no more."""
        self._last_timed: bytes | None = None
        self._held_us: int | None = None

    def load(self, db: Connection, turn: Turn) -> None:
        """Takes on what the lane's row says: all of it, or, where this raises, nothing."""
        rows = db.execute(
            "SELECT turn, started_us FROM otel_bridge.turn WHERE NOT emptied AND turn <= %s ORDER BY turn", (turn.turn,)
        ).fetchall()
        older = tuple(one % RING for one, _ in rows[:-1])
        found: list[bytes] = []
        for slot in older:
            sql = f"SELECT key FROM otel_bridge.seen_{slot} WHERE key < %s ORDER BY key DESC LIMIT 1"
            found += [row[0] for row in db.execute(sql, (_PAST_TIMED,))]
        self.now, self.started_us, self.older = turn, rows[-1][1] if rows else 0, older
        self._last_timed = max(found, default=None)

    @property
    def tables(self) -> tuple[int, ...]:
        """Tables that new keys go into, the older first."""
        current = self.now.turn % RING
        return (current, (current + 1) % RING) if self.now.doubled else (current,)

    @property
    def searched(self) -> tuple[int, ...]:
        """Every table that may hold something, the newest first."""
        return (*reversed(self.tables), *reversed(self.older))

    def is_due(self, arrived_us: int) -> bool:
        """Whether a turn is to be begun at that time."""
        return arrived_us // DEDUP_HORIZON_US > self.started_us // DEDUP_HORIZON_US

    def may_know(self, least: bytes, greatest: bytes) -> bool:
        """Whether an older table may have one of the keys between these. Keys start with their event's time, so live
        traffic is past them."""
        if not self.older:
            return False
        return greatest >= _PAST_TIMED or (self._last_timed is not None and least <= self._last_timed)

    def hold(self, since_us: int | None) -> None:
        """`Store.hold_keys`."""
        self._held_us = since_us

    def horizon(self, now_us: int) -> int:
        """What arrived before then is not known any more."""
        horizon = now_us - DEDUP_HORIZON_US
        return horizon if self._held_us is None else min(horizon, self._held_us)


def advance(db: Connection, now_us: int, horizon_us: int) -> None:
    """Begins the turn of that time, if the table that it needs is empty, or may be emptied; finishes what another
    process has begun and left. Any replica may, and several at once. `db`: not within a transaction."""
    with db.transaction():
        turn, doubled = _locked(db)
        if not doubled:
            row = db.execute("SELECT started_us FROM otel_bridge.turn WHERE turn = %s", (turn,)).fetchone()
            begun_us = 0 if row is None else row[0]
            if now_us // DEDUP_HORIZON_US <= begun_us // DEDUP_HORIZON_US:
                return  # another was first
            if _is_needed(db, turn + 1 - RING):
                forget(db, horizon_us, now_us)
            if _is_needed(db, turn + 1 - RING):
                # The current one goes on, and is longer than a day.
                db.execute("UPDATE otel_bridge.turn SET stretched = true WHERE turn = %s AND NOT stretched", (turn,))
                return
            db.execute(
                "INSERT INTO otel_bridge.turn (turn, started_us) VALUES (%s, %s) ON CONFLICT (turn) DO NOTHING",
                (turn + 1, now_us),
            )
            db.execute("UPDATE otel_bridge.journal SET doubled = true")
    _tell_lanes(db, Turn(turn, True))
    with db.transaction():
        if _locked(db) != (turn, True):
            return  # another has finished it
        db.execute("UPDATE otel_bridge.journal SET turn = turn + 1, doubled = false")
    _tell_lanes(db, Turn(turn + 1, False))


def _is_needed(db: Connection, turn: int) -> bool:
    sql = "SELECT 1 FROM otel_bridge.turn WHERE NOT emptied AND turn = %s"
    return db.execute(sql, (turn,)).fetchone() is not None


def _locked(db: Connection) -> Turn:
    row = db.execute("SELECT turn, doubled FROM otel_bridge.journal FOR UPDATE").fetchone()
    assert row is not None
    return Turn(*row)


def _tell_lanes(db: Connection, turn: Turn) -> None:
    """One by one: each waits for the commit that is under way in its lane, and holds up no other."""
    sql = "SELECT lane FROM otel_bridge.lane WHERE (turn, doubled) <> (%s, %s) ORDER BY lane"
    for (lane,) in db.execute(sql, turn).fetchall():
        db.execute(
            # Never a step back: another may be further by now.
            "UPDATE otel_bridge.lane SET turn = %s, doubled = %s WHERE lane = %s AND "
            "(turn < %s OR (turn = %s AND NOT doubled AND %s))",
            (*turn, lane, turn.turn, turn.turn, turn.doubled),
        )


def forget(db: Connection, horizon_us: int, now_us: int) -> int:
    """Empties tables whose keys are all past the horizon; returns how many keys. `db`: in a transaction. `now_us`: what
    arrived later than then arrived before what is behind it. A table that somebody reads for long is left for the next
    time."""
    gone = 0
    row = db.execute("SELECT turn FROM otel_bridge.journal").fetchone()
    assert row is not None
    rows = db.execute(
        "SELECT turn, started_us, stretched FROM otel_bridge.turn WHERE NOT emptied ORDER BY turn"
    ).fetchall()
    for (turn, started_us, stretched), (_, ended_us, _) in pairwise(rows):
        if not stretched:  # the first that came on the next day began the next turn
            ended_us = min(ended_us, (started_us // DEDUP_HORIZON_US + 1) * DEDUP_HORIZON_US)
        if turn >= row[0] or min(ended_us, now_us) > horizon_us or _has_later(db, turn % RING, horizon_us, now_us):
            break
        try:
            with db.transaction():
                db.execute("SET LOCAL lock_timeout = '100ms'")
                gone += _empty(db, turn)
        except psycopg.errors.LockNotAvailable:
            break
        db.execute("SET LOCAL lock_timeout = 0")
    return gone


def _has_later(db: Connection, table: int, horizon_us: int, now_us: int) -> bool:
    """Whether the last pages of a table have a key from after the horizon: clocks differ a little, and a replica may go
    on writing to a table for a moment after its turn has ended."""
    row = db.execute(f"SELECT pg_relation_size('otel_bridge.seen_{table}') / 8192").fetchone()
    first = max(0, (row[0] if row else 0) - LAST_PAGES)
    sql = f"SELECT 1 FROM otel_bridge.seen_{table} WHERE ctid >= '({first},0)'::tid AND arrived_us > %s "
    return db.execute(sql + "AND arrived_us <= %s LIMIT 1", (horizon_us, now_us)).fetchone() is not None


def _empty(db: Connection, turn: int) -> int:
    row = db.execute(f"SELECT count(*) FROM otel_bridge.seen_{turn % RING}").fetchone()
    db.execute(f"TRUNCATE otel_bridge.seen_{turn % RING}")
    db.execute("UPDATE otel_bridge.turn SET emptied = true WHERE turn = %s", (turn,))
    return row[0] if row else 0


def mend(db: Connection, now_us: int) -> None:
    """A turn that a clock began which ran ahead began now at the latest: else the next would be long in coming."""
    db.execute("UPDATE otel_bridge.turn SET started_us = %s WHERE started_us > %s", (now_us, now_us))
