"""What leaves in gzip: a request's body, a page."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import msgspec

try:
    # As small as zlib's first level, for a sixth of its time. Its wheels are for x86-64 and arm64.
    from isal.isal_zlib import Z_FINISH, Z_SYNC_FLUSH, compress, compressobj, crc32
except ImportError:
    from zlib import Z_FINISH, Z_SYNC_FLUSH, compress, compressobj, crc32  # type: ignore[assignment]

    LEVEL = 1
else:
    LEVEL = 2

_GZIP, _BARE = 31, -15
"""Of `wbits`: gzip's head and tail around the widest window, and that without them."""
_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
"""Of gzip (RFC 1952): deflated, of no time, by no matter what system."""


class Begun(msgspec.Struct, array_like=True, frozen=True):
    """The first part of what leaves in gzip, packed by another process: `gzipped_parts` goes on from it."""

    deflated: list[bytes]
    """In blocks that end with a whole byte, none of them the last (RFC 1951)."""
    crc: int
    size: int
    """Of what is packed, in bytes."""


def gzipped(body: bytes) -> bytes:
    """The same bytes give the same bytes: no time is in them. Without the interpreter's lock."""
    return compress(body, LEVEL, _GZIP)


def begun(parts: Iterable[bytes]) -> Begun:
    """Packs the first part of what leaves in gzip."""
    return _deflated(parts, Begun([], 0, 0), Z_SYNC_FLUSH)


def gzipped_parts(parts: Iterable[bytes], after: Begun | None = None) -> list[bytes]:
    """Of what is long, part by part: it is held for no copy of the whole. `after`: what comes before these parts. It is
    one gzip all the same: not every client reads several, one after another."""
    if after is None:
        packing = compressobj(LEVEL, wbits=_GZIP)
        return [*map(packing.compress, parts), packing.flush()]
    whole = _deflated(parts, after, Z_FINISH)
    return [_HEAD, *whole.deflated, struct.pack("<II", whole.crc, whole.size & 0xFFFFFFFF)]


def _deflated(parts: Iterable[bytes], after: Begun, flush: int) -> Begun:
    """What is packed with these parts behind it. `flush`: how the last block ends."""
    packing = compressobj(LEVEL, wbits=_BARE)
    deflated, crc, size = [*after.deflated], after.crc, after.size
    for part in parts:
        deflated.append(packing.compress(part))
        crc, size = crc32(part, crc), size + len(part)
    return Begun([*deflated, packing.flush(flush)], crc, size)
