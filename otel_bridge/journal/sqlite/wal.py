"""The write-ahead log's file, beside what SQLite does with it: read and written here only where a disk has failed.

SQLite finds a commit again by its frames in the log (https://www.sqlite.org/fileformat2.html#walformat): a recovery
takes every frame whose checksum goes on from the one before, up to the last that ends a transaction. So a commit that
was reported as failed is there after a kill, if its frames are. And a page whose fsync has failed is no longer dirty
for the system (https://wiki.postgresql.org/wiki/Fsync_Errors): it is read as it was written, the next fsync passes,
and it is on no disk.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from otel_bridge.journal.sqlite import folder
from otel_bridge.journal.sqlite.database import failed_to_sync, is_busy
from otel_bridge.journal.sqlite.names import index_of, log_of

_INDEX = struct.Struct("=12xBBHI4xII8s8x")
"""The index's header: whether it stands, order of the checksums, page size, frames of commits, their checksum, salts
(https://www.sqlite.org/walformat.html#the_wal_index_header)."""
_HEADER = struct.Struct(">16x8sII")
"""The log's header: salts, checksum."""
_FRAME = struct.Struct(">8s8sII")
"""A frame's header: what it holds (page, and pages of the file if it ends a transaction), salts, checksum."""
_PART = 1 << 20


class WriteAheadLog:
    """The log of one journal."""

    def __init__(self, path: Path) -> None:
        """`path`: the journal's."""
        self._path = log_of(path)
        self._index_path = index_of(path)
        self._index: int | None = None

    def may_hold(self, error: BaseException | None) -> bool:
        """Whether a commit that this error has ended may be found again by a recovery. Called by the process that has
        written it, before it writes anything else."""
        if failed_to_sync(error):
            return True  # its frames are whole, and on the disk perhaps
        if is_busy(error):
            return False  # somebody else writes, and this one has written nothing
        try:
            return self._holds_unpublished_commit()
        except OSError:
            return True

    def _holds_unpublished_commit(self) -> bool:
        """Whether behind the commits that the index knows there is one more. As a recovery looks for it."""
        stands, big_endian, size, frames, *checksum, salts = _INDEX.unpack(self._read_index())
        order = ">" if big_endian else "<"
        page_size = (size & 0xFE00) + ((size & 1) << 16)
        with self._path.open("rb") as log:
            if not stands:
                return True
            if not frames:  # the log begins anew with it
                header = log.read(_HEADER.size)
                if len(header) < _HEADER.size:
                    return False
                of_index = salts
                salts, *checksum = _HEADER.unpack(header)
                if of_index not in (salts, bytes(len(salts))):
                    return False  # still the log before: its commits are all in the file
            log.seek(_HEADER.size + frames * (_FRAME.size + page_size))
            while len(frame := log.read(_FRAME.size + page_size)) == _FRAME.size + page_size:
                what, frame_salts, *expected = _FRAME.unpack_from(frame)
                checksum = _checksum(what + frame[_FRAME.size :], checksum, order)
                if frame_salts != salts or checksum != expected:
                    return False
                if what[4:] != bytes(4):
                    return True
        return False

    def _read_index(self) -> bytes:
        if self._index is None:
            # Kept open: to close it would take SQLite's locks on it away from this process.
            self._index = os.open(self._index_path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._index, _INDEX.size, 0)

    def renew(self) -> None:
        """Writes the log as it is read, and fsyncs it and its folder: what a recovery takes from it is then on the
        disk, whatever became of an earlier fsync. Called while nobody else can write to it. Raises OSError."""
        try:
            log = self._path.open("r+b", buffering=0)
        except FileNotFoundError:
            pass
        else:
            with log:
                at = 0
                while part := os.pread(log.fileno(), _PART, at):
                    while part:
                        written = os.pwrite(log.fileno(), part, at)
                        at, part = at + written, part[written:]
                if at:
                    os.fsync(log.fileno())
        folder.sync(self._path.parent)

    def close(self) -> None:
        """After the journal's connections in this process."""
        if self._index is not None:
            os.close(self._index)
            self._index = None


def abandon(opened: object) -> None:
    """Keeps a connection or a file open until the process ends, whoever forgets it: Python closes what is forgotten,
    and the last connection that is closed moves the log into the file and deletes it. After a failed fsync nothing is
    to be moved."""
    import ctypes  # a bridge whose disk works needs none of it

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(opened))


def _checksum(data: bytes, before: list[int], order: str) -> list[int]:
    """https://www.sqlite.org/fileformat2.html#checksum_algorithm"""
    first, second = before
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return [first, second]
