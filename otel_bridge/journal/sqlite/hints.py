"""Where a dedup key may stand, in memory: an index that costs the same in whatever order keys come.

A B-tree on disk dirties a page for each key that lands elsewhere: 42 µs an event in groups of 64 at two million keys,
where keys that ascend cost 12. Here a key is a tag of 16 bits and the number of its row, in a hash table with open
addressing: six bytes a slot, ten to twenty a key. What it names is checked in the row (`known_keys.py`). What was not
committed is taken out again: else whoever repeats himself would fill it. Strings of bytes hash with the process's own
secret (SipHash): nobody can choose keys that meet in one slot.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

LEAST_SLOTS = 1 << 14
FULL = 0.6
"""Of the slots of an extent: then the next one begins, so that nothing is ever moved and no commit waits for that."""
GROWTH = 4
"""Slots of an extent to those of the one before it: a table of ten million keys that began empty has six."""

Places = list[tuple[bytes, int]]
"""Keys, and the rows that may have them."""


class _Extent:
    __slots__ = ("base", "mask", "room", "rows", "tags")

    def __init__(self, slots: int, base: int) -> None:
        self.mask = slots - 1
        self.room = int(slots * FULL)
        self.base = base
        """Row numbers are kept as their distance from it, in 32 bits."""
        self.tags = array("H", bytes(2 * slots))
        """0: the slot is free."""
        self.rows = array("I", bytes(4 * slots))

    def places(self, keys: Sequence[bytes]) -> Places:
        tags, rows, mask = self.tags, self.rows, self.mask
        found: Places = []
        for key, number in zip(keys, map(hash, keys), strict=True):
            slot = number & mask
            tag = tags[slot]
            if tag:
                own = number >> 47 & 0xFFFF or 1
                while tag:
                    if tag == own:
                        found.append((key, rows[slot] + self.base))
                    slot = (slot + 1) & mask
                    tag = tags[slot]
        return found

    def add(self, keys: Sequence[bytes], row: int) -> Places:
        """As `places`, on the way to the slots that these keys take."""
        tags, rows, mask, place = self.tags, self.rows, self.mask, row - self.base
        found: Places = []
        for key, number in zip(keys, map(hash, keys), strict=True):
            slot, own = number & mask, number >> 47 & 0xFFFF or 1
            while tag := tags[slot]:
                if tag == own:
                    found.append((key, rows[slot] + self.base))
                slot = (slot + 1) & mask
            rows[slot] = place  # before the tag: another thread may be looking
            tags[slot] = own
        self.room -= len(keys)
        return found

    def remove(self, keys: Sequence[bytes], row: int) -> None:
        """What `add` added last."""
        tags, rows, mask, place = self.tags, self.rows, self.mask, row - self.base
        for key in reversed(keys):
            number = hash(key)
            slot, own = number & mask, number >> 47 & 0xFFFF or 1
            while (tag := tags[slot]) and (tag != own or rows[slot] != place):
                slot = (slot + 1) & mask
            tags[slot] = 0
        self.room += len(keys)


class Hints:
    """Of one generation. The writer adds; any thread looks."""

    def __init__(self, keys: int = 0, row: int = 0) -> None:
        """`keys`: how many there will be, as far as that is known; `row`: none of a lower number comes."""
        self._extents = [_Extent(_slots(LEAST_SLOTS, keys), row)]

    def places(self, keys: Sequence[bytes]) -> Places:
        """Every row that may have one of these keys."""
        found: Places = []
        for extent in self._extents:
            found += extent.places(keys)
        return found

    def add(self, keys: Sequence[bytes], row: int) -> Places:
        """Adds keys of one row; returns the rows that may have had them before."""
        newest = self._extents[-1]
        if newest.room < len(keys):
            newest = _Extent(_slots(GROWTH * (newest.mask + 1), len(keys)), row)
            self._extents.append(newest)
        found = newest.add(keys, row)
        for extent in self._extents[:-1]:
            found += extent.places(keys)
        return found

    def remove(self, keys: Sequence[bytes], row: int) -> None:
        """Undoes the last `add`; several of them in their reverse order."""
        newest = self._extents[-1]
        newest.remove(keys, row)
        if newest.base == row and len(self._extents) > 1:
            self._extents.pop()  # begun for them


def _slots(least: int, keys: int) -> int:
    """So many that these keys have room in them."""
    slots = least
    while slots * FULL < keys + 1:
        slots *= 2
    return slots
