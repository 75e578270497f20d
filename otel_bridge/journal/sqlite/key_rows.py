"""A row of `key`: the dedup keys of one commit, packed. Rows are appended, and read where a hint names one.

width    bytes of each key; a commit whose keys are of several widths has a row for each
keys     the keys, one after another, in the order of their records
arrived  when each arrived, 8 bytes each (little-endian microseconds); 8 in all where they arrived together
rest     digests and parts (MessagePack, `_Rest`); NULL: none of them has one
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import iter_unpack, pack, unpack
from typing import Any, NamedTuple

import msgspec

from otel_bridge.journal.archive import KeyRow

MOST_KEYS = 10_000
"""Of a row that is made of others: what is read for one key is read whole."""


class _Rest(msgspec.Struct, array_like=True):
    digests: list[bytes | None] | None = None
    parts: list[int] | None = None


class PackedKeys(NamedTuple):
    """The columns of a row, but for its number and its generation."""

    width: int
    keys: bytes
    arrived: bytes
    rest: bytes | None


def packed(rows: Sequence[KeyRow]) -> Iterator[PackedKeys]:
    """The rows of the table that these keys become, one for each width."""
    by_width: dict[int, list[KeyRow]] = {}
    for row in rows:
        by_width.setdefault(len(row.key), []).append(row)
    for of_width in by_width.values():
        keys, arrived, digests, parts = zip(*of_width, strict=True)
        yield pack_keys(keys, arrived, digests, parts)


def pack_keys(
    keys: Sequence[bytes],
    arrived: Sequence[int],
    digests: Sequence[bytes | None] | None = None,
    parts: Sequence[int | None] | None = None,
) -> PackedKeys:
    """Keys of one width; the other sequences are as long."""
    first = arrived[0]
    together = arrived.count(first) == len(arrived)
    rest = None
    if (digests is not None and any(digests)) or (parts is not None and any(parts)):
        rest = msgspec.msgpack.encode(
            _Rest(
                list(digests) if digests is not None and any(digests) else None,
                [part or 0 for part in parts] if parts is not None and any(parts) else None,
            )
        )
    times = pack("<q", first) if together else pack(f"<{len(arrived)}q", *arrived)
    return PackedKeys(len(keys[0]), b"".join(keys), times, rest)


def keys_of(width: Any, keys: Any) -> list[bytes]:
    """The keys of a row. Raises ValueError: no bridge has written this."""
    if width.__class__ is not int or keys.__class__ is not bytes or width <= 0 or not keys or len(keys) % width:
        raise ValueError("not a row of keys")
    return [key for (key,) in iter_unpack(f"{width}s", keys)]


def unpacked(row: Sequence[Any]) -> list[KeyRow]:
    """What a row (`PackedKeys`) holds. Raises ValueError: no bridge has written this."""
    width, joined, times, rest = row
    keys = keys_of(width, joined)
    count = len(keys)
    if times.__class__ is not bytes or len(times) not in (8, 8 * count):
        raise ValueError("not a row of keys")
    arrived = unpack(f"<{len(times) // 8}q", times)
    if len(arrived) == 1:
        arrived *= count
    found = _Rest() if rest is None else msgspec.msgpack.decode(rest, type=_Rest)
    digests, parts = found.digests or [None] * count, found.parts or [0] * count
    return [KeyRow(*one) for one in zip(keys, arrived, digests, parts, strict=True)]
