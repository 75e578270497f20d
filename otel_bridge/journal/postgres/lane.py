"""A lane: the log that one replica appends to, and how it is got, kept and lost.

    start ── claim ──▶ OWNED ── renewed by each commit, and by `renew` ──▶ OWNED
    OWNED ── the row is not as this replica left it ──▶ FENCED ── claim ──▶ OWNED, on another lane
    OWNED ── the connection went within a commit ──▶ UNKNOWN ── `take_again` ──▶ taken, not taken, FENCED, or went back

`owner` is one life of one process. Leases go by the server's clock. A lease that is over costs nothing by itself: until
another claims the lane, its replica may go on.
"""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from otel_bridge.journal.postgres import schema
from otel_bridge.journal.postgres.connection import Connection
from otel_bridge.journal.postgres.generations import Turn

LEASE_SECONDS = 15
RENEW_SECONDS = LEASE_SECONDS / 3
LEASE = f"clock_timestamp() + interval '{LEASE_SECONDS} seconds'"
_TAKE = f"owner = %(owner)s, name = %(name)s, epoch = epoch + 1, lease_until = {LEASE}"
_ROW = "lane, epoch, last, total, commits, turn, doubled"


@dataclass
class Held:
    """A lane's row as this replica left it."""

    lane: int
    epoch: int
    last: int
    total: int
    """Spans up to `last`."""
    commits: int
    turn: Turn

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Held:
        """From the columns of `_ROW`."""
        number, epoch, last, total, commits, turn, doubled = row
        return cls(number, epoch, last, total, commits, Turn(turn, doubled))


def process_name() -> str:
    """This process, as the lane's row names it: host, where its process id counts, process id and when it started."""
    return f"{socket.gethostname()} {_kernel()} {os.getpid()} {_started(os.getpid())}"


def _kernel() -> str:
    """This start of this machine, and the namespace of process ids. Hosts of one image share their name and even the
    number of the namespace: by these alone each would take the other's process for gone. Empty: not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").partition("-")[0]
        return f"{boot}:{Path('/proc/self/ns/pid').readlink().name.removeprefix('pid:[').removesuffix(']')}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_gone(name: str | None, mine: str) -> bool:
    """Whether the process of that name was one of this machine and has ended: its lane needs not wait for its lease. A
    wrong guess costs that replica its lane, and nothing else."""
    parts, own = (name or "").split(" "), mine.split(" ")
    if len(parts) < 4 or not own[1] or parts[:2] != own[:2]:
        return False
    started = _started(int(parts[2])) if parts[2].isdigit() else ""
    return started != parts[3]


def claim(db: Connection, owner: uuid.UUID, only_orphans: bool = False) -> Held | None:
    """A lane that nobody has, or whose replica is gone, or a new one. `only_orphans`: one that holds what is not
    delivered; None where there is none. Raises psycopg.Error."""
    name = process_name()
    values: dict[str, Any] = {"owner": owner, "name": f"{name} drains" if only_orphans else name}
    dead = [
        lane
        for lane, of in db.execute("SELECT lane, name FROM otel_bridge.lane WHERE owner IS NOT NULL").fetchall()
        if is_gone(of, name)
    ]
    where = "(owner IS NULL OR lease_until < clock_timestamp() OR lane = ANY(%(dead)s))"
    if only_orphans:
        # Its exporter's cursor is behind its newest record.
        where += """ AND EXISTS (SELECT 1 FROM otel_bridge.segment WHERE segment.last > coalesce(
            (SELECT max(cursor) FROM otel_bridge.sink WHERE sink.lane = lane.lane), lane.lane::bigint << 40)
            AND segment.last <= lane.last AND segment.spans > 0)"""
    row = db.execute(
        f"""UPDATE otel_bridge.lane SET {_TAKE} WHERE lane = (
            SELECT lane FROM otel_bridge.lane WHERE {where} ORDER BY lane LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING {_ROW}""",
        {**values, "dead": dead},
    ).fetchone()
    if row is not None:
        return Held.of(row)
    return None if only_orphans else _new(db, values)


def _new(db: Connection, values: dict[str, Any]) -> Held:
    while True:
        made = None
        try:
            with db.transaction():
                # The turn must not change between its reading and the row: `generations.advance` tells every lane.
                turn = db.execute("SELECT turn, doubled FROM otel_bridge.journal FOR SHARE").fetchone()
                row = db.execute("SELECT coalesce(max(lane) + 1, 0) FROM otel_bridge.lane").fetchone()
                assert turn is not None and row is not None
                made = db.execute(
                    f"INSERT INTO otel_bridge.lane (lane, owner, name, epoch, lease_until, last, turn, doubled) "
                    f"VALUES (%(lane)s, %(owner)s, %(name)s, 1, {LEASE}, %(last)s, %(turn)s, %(doubled)s) "
                    f"RETURNING {_ROW}",
                    {**values, "lane": row[0], "last": schema.base(row[0]), "turn": turn[0], "doubled": turn[1]},
                ).fetchone()
                if db.execute("SELECT turn, doubled FROM otel_bridge.journal").fetchone() != turn:
                    # It has waited for a restore, and that turn is of the journal that was moved aside.
                    made = None
                    raise psycopg.Rollback
        except psycopg.errors.UniqueViolation:
            continue  # another made it at the same moment
        if made is not None:
            return Held.of(made)


def look(db: Connection, lane: int) -> tuple[uuid.UUID | None, Held] | None:
    """The row as it is: its owner, and the rest. None: there is no such lane."""
    row = db.execute(f"SELECT {_ROW}, owner FROM otel_bridge.lane WHERE lane = %s", (lane,)).fetchone()
    return None if row is None else (row[7], Held.of(row[:7]))


def take_again(db: Connection, lane: int, owner: uuid.UUID) -> Held | None:
    """The row under a new epoch: what this replica had under way before is over then, one way or the other, for this
    waits for it (and for the standby that the row needs). None: the lane is another's now. Raises psycopg.Error."""
    row = db.execute(
        f"UPDATE otel_bridge.lane SET epoch = epoch + 1, lease_until = {LEASE} WHERE lane = %s AND owner = %s "
        f"RETURNING {_ROW}",
        (lane, owner),
    ).fetchone()
    return None if row is None else Held.of(row)


def renew(db: Connection, held: Held) -> bool:
    """Lengthens the lease. False: the row is not as this replica left it."""
    return bool(
        db.execute(
            f"UPDATE otel_bridge.lane SET lease_until = {LEASE} WHERE lane = %s AND epoch = %s AND commits = %s",
            (held.lane, held.epoch, held.commits),
        ).rowcount
    )


def release(db: Connection, held: Held) -> None:
    """Gives the lane to whoever wants it."""
    db.execute(
        "UPDATE otel_bridge.lane SET owner = NULL, lease_until = '-infinity' WHERE lane = %s AND epoch = %s",
        (held.lane, held.epoch),
    )
