"""The pages of a SQLite file, and how to spoil them: https://www.sqlite.org/fileformat.html.

The journal is stopped, so all of it is in the file.
"""

from __future__ import annotations

import random
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

INTERIOR, LEAF, OVERFLOW = "interior", "leaf", "overflow"
_INTERIOR_KINDS = {2, 5}
_LEAF_KINDS = {10, 13}


class Page(NamedTuple):
    number: int
    kind: str
    depth: int


class Pages:
    """Those of one table or index, in the order of its keys."""

    def __init__(self, path: Path, name: str, checkpoint: bool = True) -> None:
        """Without a checkpoint of ours: as the file is. One from outside makes the bridge's writer read pages anew."""
        self._path = path
        with closing(sqlite3.connect(path)) as db:
            self.size: int = db.execute("PRAGMA page_size").fetchone()[0]
            assert not checkpoint or db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
            self.root: int = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
        self._data = path.read_bytes()
        self.all = list(self._walk(self.root, 0))

    def of(self, kind: str) -> list[int]:
        """Numbers of its interior pages (the root too), leaves, or overflow pages."""
        return [page.number for page in self.all if page.kind == kind]

    def rows(self) -> int:
        """In its leaves."""
        return sum(struct.unpack_from(">H", self._page(number), 3)[0] for number in self.of(LEAF))

    def write(self, number: int, spoilt: bytes) -> None:
        with self._path.open("r+b") as file:
            file.seek((number - 1) * self.size)
            file.write(spoilt)

    def spoil(self, number: int, kind: str, chance: random.Random) -> None:
        self.write(number, DAMAGE[kind](self._page(number), chance))

    def _page(self, number: int) -> bytes:
        return self._data[(number - 1) * self.size : number * self.size]

    def _walk(self, number: int, depth: int) -> Iterator[Page]:
        page = self._page(number)
        head = 100 if number == 1 else 0
        kind, cells = page[head], struct.unpack_from(">H", page, head + 3)[0]
        starts = struct.unpack_from(f">{cells}H", page, head + (12 if kind in _INTERIOR_KINDS else 8))
        if kind in _INTERIOR_KINDS:
            yield Page(number, INTERIOR, depth)
            for start in starts:
                yield from self._walk(struct.unpack_from(">I", page, start)[0], depth + 1)
            yield from self._walk(struct.unpack_from(">I", page, head + 8)[0], depth + 1)
            return
        assert kind in _LEAF_KINDS, kind
        yield Page(number, LEAF, depth)
        if kind == 13:
            for start in starts:
                yield from self._overflow(page, start, depth + 1)

    def _overflow(self, page: bytes, start: int, depth: int) -> Iterator[Page]:
        payload, at = _varint(page, start)
        _, at = _varint(page, at)
        most, least = self.size - 35, (self.size - 12) * 32 // 255 - 23
        if payload <= most:
            return
        local = least + (payload - least) % (self.size - 4)
        number = struct.unpack_from(">I", page, at + (local if local <= most else least))[0]
        while number:
            yield Page(number, OVERFLOW, depth)
            number = struct.unpack_from(">I", self._page(number), 0)[0]


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for _ in range(8):
        byte = page[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at
    return value << 8 | page[at], at + 1


def _half(first: bool, filling: Callable[[int, random.Random], bytes]) -> Callable[[bytes, random.Random], bytes]:
    def spoil(page: bytes, chance: random.Random) -> bytes:
        half = len(page) // 2
        spoilt = filling(half, chance)
        return spoilt + page[half:] if first else page[:half] + spoilt

    return spoil


def _zeros(size: int, _: random.Random) -> bytes:
    return bytes(size)


def _noise(size: int, chance: random.Random) -> bytes:
    return chance.randbytes(size)


def _scattered(page: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(page)
    for _ in range(40):
        spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
    return bytes(spoilt)


DAMAGE: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "zeros": lambda page, _: bytes(len(page)),
    "ones": lambda page, _: b"\xff" * len(page),
    "noise": lambda page, chance: chance.randbytes(len(page)),
    "first half zeros": _half(True, _zeros),
    "second half zeros": _half(False, _zeros),
    "first half noise": _half(True, _noise),
    "second half noise": _half(False, _noise),
}
SCATTERED = "scattered bytes"
DAMAGE[SCATTERED] = _scattered
