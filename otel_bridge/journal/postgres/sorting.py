"""What of a group is new: the careful way, where a key may be known or other replicas may be taking it now.

Keys are inserted first, in their order, and looked up afterwards: whoever inserts a key first has it, and the others
wait for that to be committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from otel_bridge.journal.append import CONFLICT, Append, Duplicate, Outcome
from otel_bridge.journal.postgres import statements
from otel_bridge.journal.postgres.arrays import bytea_array, int4_array, int8_array
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.generations import Generations
from otel_bridge.journal.store import StoreUnavailable
from otel_bridge.records import Event, Record, Session

_TAKE = """ ON CONFLICT (key) DO UPDATE SET arrived_us = excluded.arrived_us, digest = excluded.digest, part = NULL
    WHERE seen_{slot}.arrived_us <= %b RETURNING key"""
"""A key past the horizon stands for nothing any more: whoever comes has it anew."""


class Known(NamedTuple):
    """What is remembered of a key."""

    arrived_us: int
    digest: bytes | None
    part: int


@dataclass
class Sorted:
    """A group, sorted out."""

    new: list[Record] = field(default_factory=list)
    made: set[bytes] = field(default_factory=set)
    """Sessions whose row is there already."""
    tables: tuple[int, ...] = ()
    keys: dict[bytes, Record] = field(default_factory=dict)
    """Of the new records."""
    outcomes: list[list[Outcome] | None] = field(default_factory=list)
    """By append."""
    repeats: list[tuple[list[Outcome], int, Event]] = field(default_factory=list)
    """Of events of this very group, whose parts are decided later."""

    def mark_parts(self, db: Connection) -> None:
        """Remembers the parts of new events with their keys, where that is not the first."""
        marked = [(k, r.part) for k, r in self.keys.items() if r.__class__ is Event and r.part]
        if marked:
            values = [bytea_array([key for key, _ in marked]), int4_array([part for _, part in marked])]
            for table in self.tables:
                db.execute(
                    f"UPDATE otel_bridge.seen_{table} AS seen SET part = one.part FROM unnest(%b::bytea[], %b::int4[]) "
                    "AS one (key, part) WHERE seen.key = one.key",
                    values,
                )

    def settle(self, appends: Sequence[Append]) -> None:
        """Sets the outcomes of the appends, once the parts are decided."""
        for outcomes, i, first in self.repeats:
            outcomes[i] = Duplicate(first.arrived_us, first.part)
        for append, of_append in zip(appends, self.outcomes, strict=True):
            append.outcomes = of_append


def sort_out(db: Connection, generations: Generations, appends: Sequence[Append]) -> Sorted:
    """Takes the keys that are new, in the open transaction. Raises psycopg.Error, StoreUnavailable."""
    found = Sorted(tables=generations.tables)
    firsts: dict[bytes, tuple[Record, bytes | None]] = {}
    chosen: dict[bytes, tuple[Session, bytes]] = {}
    now_us = 0
    for append in appends:
        for i, (key, record) in enumerate(zip(append.keys, append.records, strict=True)):
            digest = append.digests.get(i)
            if key is not None:
                firsts.setdefault(key, (record, digest))
            elif digest is not None:
                assert isinstance(record, Session)
                chosen.setdefault(record.id, (record, digest))
        if append.records:
            now_us = append.records[0].arrived_us
    known = _take_keys(db, generations, firsts, generations.horizon(now_us))
    sessions = _take_sessions(db, chosen, found.made)
    here: dict[bytes, tuple[Record, bytes | None]] = {}
    for append in appends:
        outcomes: list[Outcome] = [None] * len(append.records)
        for i, (key, record) in enumerate(zip(append.keys, append.records, strict=True)):
            digest = append.digests.get(i)
            if key is None and digest is None:
                found.new.append(record)
                continue
            name = record.id if key is None else key  # type: ignore[union-attr]
            before = sessions.get(name) if key is None else known.get(name)
            first = here.get(name)
            if before is not None:
                outcomes[i] = CONFLICT if before.digest != digest else Duplicate(before.arrived_us, before.part)
            elif first is None:
                here[name] = record, digest
                found.new.append(record)
                if key is not None:
                    found.keys[key] = record
            elif first[1] != digest:
                outcomes[i] = CONFLICT
            else:
                outcomes[i] = Duplicate(first[0].arrived_us)
                if first[0].__class__ is Event:
                    found.repeats.append((outcomes, i, first[0]))
        found.outcomes.append(outcomes if any(outcome is not None for outcome in outcomes) else None)
    return found


def _take_keys(
    db: Connection, generations: Generations, firsts: dict[bytes, tuple[Record, bytes | None]], horizon_us: int
) -> dict[bytes, Known]:
    """Inserts the keys that are new; what is remembered of the others."""
    if not firsts:
        return {}
    taken = sorted(firsts)
    given = generations.tables
    for table in given:
        # Only what the older of two tables took goes into the newer, too: the others are known by then.
        taken = _insert(db, table, taken, firsts, horizon_us)
    known: dict[bytes, Known] = {}
    new = set(taken)
    for table in generations.searched:
        asked = [key for key in firsts if table not in given or key not in new]
        if asked:
            for key, arrived_us, digest, part in db.execute(
                f"SELECT key, arrived_us, digest, part FROM otel_bridge.seen_{table} WHERE key = ANY (%b::bytea[])",
                (bytea_array(asked),), prepare=True, binary=True,
            ):  # fmt: skip
                if arrived_us > horizon_us and key not in known:
                    known[key] = Known(arrived_us, digest, part or 0)
    lost = [key for key in firsts if key not in new and key not in known]
    if lost:
        raise StoreUnavailable("keys of this group are being taken or forgotten at this moment")
    repeated = [key for key in taken if key in known]
    if repeated:  # an older table knows them
        for table in given:
            sql = f"DELETE FROM otel_bridge.seen_{table} WHERE key = ANY (%b::bytea[])"
            db.execute(sql, (bytea_array(repeated),))
    return known


def _insert(
    db: Connection,
    table: int,
    keys: Sequence[bytes],
    firsts: dict[bytes, tuple[Record, bytes | None]],
    horizon_us: int,
) -> list[bytes]:
    """Those of these keys that the table did not know."""
    if not keys:
        return []
    rows = [firsts[key] for key in keys]
    values = [
        bytea_array(keys),
        int8_array([record.arrived_us for record, _ in rows]),
        bytea_array([digest for _, digest in rows]),
        int4_array([None] * len(keys)),
    ]
    sql = statements.KEYS.format(slot=table) + _TAKE.format(slot=table)
    return [row[0] for row in db.execute(sql, (*values, horizon_us), prepare=True, binary=True)]


def _take_sessions(db: Connection, chosen: dict[bytes, tuple[Session, bytes]], made: set[bytes]) -> dict[bytes, Known]:
    """Makes the rows of sessions whose ids clients chose; what is known of those that exist."""
    if not chosen:
        return {}
    values = statements.session_values([one for one, _ in chosen.values()], {id_: d for id_, (_, d) in chosen.items()})
    sql = f"{statements.SESSIONS} ON CONFLICT (id) DO NOTHING RETURNING id"
    made |= {row[0] for row in db.execute(sql, values, prepare=True, binary=True)}
    others = [id_ for id_ in chosen if id_ not in made]
    if not others:
        return {}
    return {
        id_: Known(started_us, digest, 0)
        for id_, started_us, digest in db.execute(
            "SELECT id, started_us, coalesce(digest, ''::bytea) FROM otel_bridge.session WHERE id = ANY (%b::bytea[])",
            (bytea_array(others),),
        )
    }
