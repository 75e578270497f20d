"""What leaves in gzip: a request's body, a page."""

from __future__ import annotations

from collections.abc import Iterable

try:
    # As small as zlib's first level, for a sixth of its time. Its wheels are for x86-64 and arm64.
    from isal.isal_zlib import compress, compressobj
except ImportError:
    from zlib import compress, compressobj  # type: ignore[assignment]

    LEVEL = 1
else:
    LEVEL = 2

_GZIP = 31
"""Of `wbits`: gzip's head and tail around the widest window."""


def gzipped(body: bytes) -> bytes:
    """The same bytes give the same bytes: no time is in them. Without the interpreter's lock."""
    return compress(body, LEVEL, _GZIP)


def gzipped_parts(parts: Iterable[bytes]) -> list[bytes]:
    """Of what is long, part by part: it is held for no copy of the whole."""
    packing = compressobj(LEVEL, wbits=_GZIP)
    return [*map(packing.compress, parts), packing.flush()]
