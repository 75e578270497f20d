"""UUIDs as 16 bytes: made, derived from a key, written as text. No I/O."""

from __future__ import annotations

import os

DAY_US = 86_400 * 1_000_000
_UNMARKED = ((1 << 128) - 1) & ~(0xF << 76) & ~(0x3 << 62)
_MARKS = {version: version << 76 | 0x2 << 62 for version in (7, 8)}
_MARK_8 = _MARKS[8]
_number = int.from_bytes


def uuid_text(value: bytes) -> str:
    """16 bytes → the 36 characters of a UUID."""
    h = value.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def stamp_uuid(value: int, version: int) -> bytes:
    """A 128-bit number as a UUID of that version (7 or 8): its version and variant bits are set (RFC 9562)."""
    return (value & _UNMARKED | _MARKS[version]).to_bytes(16, "big")


def new_uuid(now_us: int) -> bytes:
    """A UUIDv7 (RFC 9562): its time comes first, so that an index keeps records of one time together."""
    return stamp_uuid((now_us // 1000) << 80 | int.from_bytes(os.urandom(10), "big"), 7)


def time_of(record_id: bytes) -> int | None:
    """The time (microseconds) that an id begins with; None where its version has none (7 and 8 have)."""
    return int.from_bytes(record_id[:6], "big") * 1000 if record_id[6] >> 4 in (7, 8) else None


def keys_of_derived(record_id: bytes, arrived_us: int) -> list[bytes]:
    """What a key may go on with, behind its letter, where `derived_uuid` made this id of it and its record arrived on
    that day. Version and variant have taken the place of six of its bits. None where the id is no UUIDv8."""
    number = int.from_bytes(record_id, "big")
    if number & ~_UNMARKED != _MARKS[8]:
        return []
    known = number & _UNMARKED ^ (arrived_us // DAY_US & 0xFFFF)
    return [(known | v << 76 | w << 62).to_bytes(16, "big") for v in range(16) for w in range(4)]


def derived_uuid(key: bytes, arrived_us: int) -> bytes:
    """The id (UUIDv8) of a record that its key identifies and that arrived first at that time: the same key gives the
    same id on one day, so that a repeat is answered with the first id although only key and arrival are remembered.
    Arrivals that are too far apart to be repeats are of different days."""
    day = arrived_us // DAY_US & 0xFFFF
    return (_number(key[1:17], "big") & _UNMARKED ^ (_MARK_8 | day)).to_bytes(16, "big")
