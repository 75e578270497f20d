"""The mark beside a journal: which journal was served here last, and how far it had come.

It is written about once a second, after the commit that it names and never before, so that it is never ahead of the
journal. A journal that is behind it has gone back (`witness.py`). It is no part of what is promised: without it a
journal is served as before, and less is recognised.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import NamedTuple

from otel_bridge import clock

_HEAD = b"otel-bridge journal mark 1"


class Mark(NamedTuple):
    journal: bytes
    """The journal's id."""
    service: bytes
    """What this opening of it has named itself."""
    last: int
    """The newest record that is known to be committed."""
    at_us: int
    age: bytes
    """Of the database's file without its log (`watch.py`), which it has reached."""

    def encode(self) -> bytes:
        """One line of always the same length: a write of it is whole or is not made, also on a disk that is full."""
        fields = (self.journal.hex(), self.service.hex(), f"{self.last:020d}", f"{self.at_us:020d}", self.age.hex())
        line = b" ".join((_HEAD, *(field.encode() for field in fields)))
        return line + b" %08x\n" % zlib.crc32(line)


def mark_path(path: Path) -> Path:
    """Where the mark of the journal at `path` is."""
    return path.with_name(path.name + ".mark")


def read_mark(path: Path) -> Mark | None:
    """None: there is none, or none that can be read."""
    try:
        line = mark_path(path).read_bytes()
        head, _, crc = line.rstrip(b"\n").rpartition(b" ")
        if not head.startswith(_HEAD + b" ") or int(crc, 16) != zlib.crc32(head):
            return None
        journal, service, last, at_us, age = head[len(_HEAD) + 1 :].split(b" ")
        return Mark(
            bytes.fromhex(journal.decode()),
            bytes.fromhex(service.decode()),
            int(last),
            int(at_us),
            bytes.fromhex(age.decode()),
        )
    except (OSError, ValueError):
        return None


def write_mark(path: Path, journal: bytes, service: bytes, last: int, age: bytes) -> bool:
    """In place: the line is shorter than a sector, and a full disk has room for what is there already. Not fsynced: a
    mark that a power loss takes back is an older one, which claims less. False: it cannot be written."""
    line = Mark(journal, service, last, clock.now_us(), age).encode()
    try:
        handle = os.open(mark_path(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(handle, line, 0)
            if os.fstat(handle).st_size != len(line):
                os.ftruncate(handle, len(line))
        finally:
            os.close(handle)
    except OSError:
        return False
    return True
