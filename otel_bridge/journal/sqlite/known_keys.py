"""What a repeat is recognised by: the writer's dedup keys, in rows on disk and as hints in memory.

    a commit's keys ──▶ hints: who may have had one? ──nobody──▶ one more row, in the same commit
                              │ these rows                          (key_rows.py)
                              ▼
                        the rows themselves say

A start reads all rows, for the hints are in memory alone: 0.6 s a million keys. What cannot be read of them is not
known: an event that may be in it is refused until its horizon has passed, since nobody can tell whether it is a repeat.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from otel_bridge.journal.archive import KeyRow
from otel_bridge.journal.sqlite.database import damaged_advice, is_damage
from otel_bridge.journal.sqlite.generations import Generations
from otel_bridge.journal.sqlite.hints import Hints, Places
from otel_bridge.journal.sqlite.key_rows import MOST_KEYS, PackedKeys, keys_of, packed, unpacked
from otel_bridge.journal.store import DamagedPart, StoreDamaged
from otel_bridge.times import AHEAD_US

log = logging.getLogger(__name__)

Known = dict[bytes, KeyRow]

_ROW = "SELECT width, keys, arrived, rest FROM key WHERE row = ?"
_INSERT = "INSERT INTO key (row, generation, width, keys, arrived, rest) VALUES (?, ?, ?, ?, ?, ?)"
FORGET_BYTES = 1 << 20
"""Of keys that are deleted at once: answers wait meanwhile."""
MOVE_STEPS = 10
"""Of a move, 0.6 MiB of the log each: then the log is moved into the file and begun anew."""


class KnownKeys:
    """The writer's; `places` may be called in any thread. Its errors are SQLite's, and StoreDamaged."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        """Raises StoreDamaged: the newest row cannot be read."""
        self._db = db
        self._path = path
        self._hints: dict[int, Hints] = {}
        """By generation."""
        self._added: list[tuple[Hints, Sequence[bytes], int]] = []
        """Since the last commit."""
        self.has_unscoped = False
        """Whether 0.1.0 wrote ids that are still remembered: their keys say nothing of a GPT."""
        self._unknown_until: int | None = None
        """What arrived up to then may be in rows that cannot be read."""
        self._first: int | None = None
        """No row is of a generation before this one: there is nothing to forget."""
        self._row = self._newest_row()
        """The newest; a number is never given twice, also where its commit is undone."""
        self._load()
        self.generations = Generations(db)

    # --- a start ------------------------------------------------------------------------------------------------------

    def _newest_row(self) -> int:
        return int(self._db.execute("SELECT coalesce(max(row), 0) FROM key").fetchone()[0])

    def _load(self) -> None:
        sizes = self._sizes()
        for row, generation, keys in self._readable():
            hints = self._hints.get(generation)
            if hints is None:
                hints = self._hints[generation] = Hints(sizes.get(generation, 0), row)
            hints.add(keys, row)
        if self._unknown_until is not None:
            log.error("%s", self._unknown().args[0])
            log.error("%s", self._unknown().advice)

    def _sizes(self) -> dict[int, int]:
        """Keys by generation, so that their hints take the room that they need."""
        try:
            return dict(self._db.execute("SELECT generation, sum(length(keys) / width) FROM key GROUP BY generation"))
        except sqlite3.Error as error:
            if not is_damage(error):
                raise
            return {}

    def _readable(self) -> Iterator[tuple[int, int, list[bytes]]]:
        """(row, generation, keys) of every row, over those that cannot be read."""
        after, step, torn = 0, 1, False
        while after < self._row:
            try:
                for row, generation, width, joined, arrived in self._db.execute(
                    "SELECT row, generation, width, keys, arrived FROM key WHERE row > ? ORDER BY row", (after,)
                ):
                    keys = keys_of(width, joined)
                    if (
                        not after < row <= self._row
                        or generation.__class__ is not int
                        or arrived.__class__ is not bytes
                    ):
                        raise ValueError("not a row of keys")
                    self._note_unscoped(width, joined)
                    if torn:
                        until = int.from_bytes(arrived[:8], "little", signed=True)
                        self._unknown_until = max(self._unknown_until or 0, until)
                    after, step, torn = row, 1, False
                    yield row, generation, keys
                break
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
            except ValueError:
                pass
            torn = True
            after, step = after + step, 2 * step
        if torn:
            raise self._unknown()

    def move(self) -> None:
        """What a journal of an earlier release knows stands in a table `seen`, a row a key. In transactions of its own;
        what is killed meanwhile goes on."""
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'seen'").fetchone():
            return
        for step in count(1):
            rows = self._db.execute(
                "SELECT generation, key, arrived_us, digest, part FROM seen WHERE generation = "
                f"(SELECT min(generation) FROM seen) ORDER BY key LIMIT {MOST_KEYS}"
            ).fetchall()
            self._db.execute("BEGIN IMMEDIATE")
            if not rows:
                self._db.execute("DROP TABLE seen")
                self._db.execute("COMMIT")
                return
            generation = rows[0][0]
            self.append([KeyRow(*row[1:]) for row in rows], generation)
            self._db.execute("DELETE FROM seen WHERE generation = ? AND key <= ?", (generation, rows[-1][1]))
            self._db.execute("COMMIT")
            self.settle()
            if step % MOVE_STEPS == 0:
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self.generations.reload()

    # --- commits ------------------------------------------------------------------------------------------------------

    def admit(self, keys: Sequence[bytes], arrived: Sequence[int]) -> int | None:
        """The number of the row that these keys go to, of one width; None: one of them may be known, or be here twice,
        or be the first of its generation. Raises StoreDamaged."""
        generations = self.generations
        if generations.of(max(arrived)) > generations.newest or len(set(keys)) < len(keys):
            return None
        if self._unknown_until is not None:
            self._refuse_unknown(keys, arrived[0])
        row = self._new_row()
        places = self._add(generations.newest, keys, row)
        for generation in self._searched():
            if generation != generations.newest:
                places += self._hints[generation].places(keys)
        if places and self._read(places, generations.horizon(arrived[0])):
            self._take_back()
            return None
        return row

    def settle(self) -> None:
        """What was added is committed."""
        self._added.clear()

    def undo(self) -> None:
        """It is not, and will not be."""
        while self._added:
            self._take_back()

    def _add(self, generation: int, keys: Sequence[bytes], row: int) -> Places:
        hints = self._of(generation)
        self._added.append((hints, keys, row))
        return hints.add(keys, row)

    def _take_back(self) -> None:
        hints, keys, row = self._added.pop()
        hints.remove(keys, row)

    def look_up(self, keys: Sequence[bytes], now_us: int) -> Known:
        """What is remembered of these keys. Raises StoreDamaged."""
        if self._unknown_until is not None:
            self._refuse_unknown(keys, now_us)
        places: Places = []
        for generation in self._searched():
            places += self._hints[generation].places(keys)
        return self._read(places, self.generations.horizon(now_us)) if places else {}

    def rows_of(self, keys: Sequence[KeyRow]) -> list[tuple[int, int, PackedKeys]]:
        """(row, generation, what it holds) of the rows that these keys of the newest generation become."""
        return self._rows_of(keys, self.generations.newest)

    def append(self, keys: Sequence[KeyRow], generation: int) -> None:
        """In the transaction that is open. Generations come in their order."""
        for row, of, columns in self._rows_of(keys, generation):
            self._db.execute(_INSERT, (row, of, *columns))

    def _rows_of(self, keys: Sequence[KeyRow], generation: int) -> list[tuple[int, int, PackedKeys]]:
        rows = []
        for columns in packed(keys):
            row = self._new_row()
            self._add(generation, keys_of(columns.width, columns.keys), row)
            self._note_unscoped(columns.width, columns.keys)
            rows.append((row, generation, columns))
        return rows

    def _note_unscoped(self, width: int, keys: bytes) -> None:
        self.has_unscoped = self.has_unscoped or b"i" in keys[::width]

    def _new_row(self) -> int:
        self._row += 1
        return self._row

    def _of(self, generation: int) -> Hints:
        hints = self._hints.get(generation)
        if hints is None:
            hints = self._hints[generation] = Hints(row=self._row)
        return hints

    def _searched(self) -> list[int]:
        """The newest generation and those before it that are kept, the newest first."""
        oldest = self.generations.oldest()
        return sorted((one for one in self._hints if one >= oldest), reverse=True)

    def _read(self, places: Places, horizon: int) -> Known:
        """Of these keys, those that these rows do have and that arrived after the horizon; the newest row counts."""
        found: Known = {}
        for columns, wanted in rows_at(self._db, places):
            for one in self._unpacked(columns):
                if one.key in wanted and one.arrived_us > horizon:
                    found[one.key] = one
        return found

    def _unpacked(self, columns: Sequence[Any]) -> list[KeyRow]:
        try:
            return unpacked(columns)
        except ValueError as error:
            raise StoreDamaged(
                f"the journal is damaged ({DamagedPart.KEYS}): {error}", DamagedPart.KEYS, damaged_advice(self._path)
            ) from error

    def _refuse_unknown(self, keys: Sequence[bytes], now_us: int) -> None:
        """Where one of them may be in a row that cannot be read."""
        assert self._unknown_until is not None
        until = self._unknown_until
        if self.generations.horizon(now_us) >= until:
            self._unknown_until = None
        elif any(key[:1] != b"c" or int.from_bytes(key[1:7], "big") * 1000 <= until + AHEAD_US for key in keys):
            raise self._unknown()

    def _unknown(self) -> StoreDamaged:
        return StoreDamaged(
            f"the journal is damaged ({DamagedPart.KEYS}): keys that repeats are recognised by cannot be read",
            DamagedPart.KEYS,
            f"diario {self._path}: parte de lo que reconoce las repeticiones no se puede leer. Los eventos que pueden "
            f"ser una repetición se rechazan durante un día. {damaged_advice(self._path)}",
        )

    # --- other threads ------------------------------------------------------------------------------------------------

    def places(self, keys: Sequence[bytes]) -> Places:
        """The rows that may have these keys. Any thread."""
        found: Places = []
        for hints in list(self._hints.values()):
            found += hints.places(keys)
        return found

    # --- forgetting ---------------------------------------------------------------------------------------------------

    def forget(self, limit: int) -> int:
        """Deletes up to so many rows of generations that are over; returns how many."""
        oldest = self.generations.oldest()
        if oldest == self._first:
            return 0
        for generation in [one for one in self._hints if one < oldest]:
            del self._hints[generation]  # also where damage keeps the rows
        upto = size = gone = 0
        for row, generation, length in self._db.execute(
            "SELECT row, generation, length(keys) FROM key ORDER BY row LIMIT ?", (limit,)
        ).fetchall():
            size += length
            if generation >= oldest or (gone and size > FORGET_BYTES):
                break
            upto, gone = row, gone + 1
        if upto:
            self._db.execute("DELETE FROM key WHERE row <= ?", (upto,))
        else:
            self._first = oldest
        return gone


def rows_at(db: sqlite3.Connection, places: Iterable[tuple[bytes, int]]) -> Iterator[tuple[Sequence[Any], set[bytes]]]:
    """The rows that hints name and that have one of the keys they are named for, the oldest first: their columns, and
    those keys."""
    by_row: dict[int, set[bytes]] = {}
    for key, row in places:
        by_row.setdefault(row, set()).add(key)
    for row in sorted(by_row):
        columns = db.execute(_ROW, (row,)).fetchone()
        if columns is not None and any(key in columns[1] for key in by_row[row]):
            yield columns, by_row[row]


Find = Callable[[Sequence[bytes]], Places]
"""`KnownKeys.places`."""
