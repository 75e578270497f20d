"""One bridge a journal, by whatever name it was reached: a symbolic or a hard link, a mount, after `rm *.lock`.

The lock is on the database's own inode, on a byte far beyond those that SQLite locks. It belongs to the descriptor
(F_OFD_SETLK) and not to the process. That descriptor is opened before SQLite's and closed after them: closing any
descriptor of a file takes the locks that SQLite has on it from the process (https://www.sqlite.org/howtocorrupt.html).
Another program that closes the journal would then take itself for the last one, and remove the log. So nothing but
SQLite may open and close the database in a process that serves it: `is_held` says whether this one does.

The file beside it that the first release locks is locked, too: such a release is still refused, and refuses.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from otel_bridge.errors import StartRefused
from otel_bridge.journal.sqlite.names import Place, lock_of
from otel_bridge.journal.sqlite.new_file import remove_left

log = logging.getLogger(__name__)

Identity = tuple[int, int]
"""A file whatever its name is: device and inode."""

_FLOCK = "hhqqi4x"
"""`struct flock` of 64-bit Linux: type, whence, start, length, pid."""
_BYTE = 1 << 62
_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
_ATTEMPTS = 10

_held: set[Identity] = set()
"""The databases that this process has open for writing."""


def identity(stat: os.stat_result) -> Identity:
    return stat.st_dev, stat.st_ino


def is_held(path: Path) -> bool:
    """Whether this process serves the journal at this path: then only SQLite may open the file."""
    try:
        return identity(path.stat()) in _held
    except OSError:
        return False


def is_locked(path: Path) -> bool:
    """Whether any process serves the journal at this path, by this or another name. Raises OSError."""
    if is_held(path):
        return True
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        found = fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _flock())
    except (OSError, AttributeError):
        return False
    finally:
        os.close(descriptor)
    return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)


def _flock() -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, _BYTE, 1, 0)


class Lock:
    """Taken when it is made, where the journal is made, too, if there is none."""

    def __init__(self, place: Place, to_serve: bool = True) -> None:
        """`to_serve`: else no journal is made. Raises StartRefused: another bridge serves the journal, or it has names
        that would hide its log. Raises OSError."""
        self._path = place.path
        self._to_serve = to_serve
        self._descriptors: list[int] = []
        self._identity: Identity | None = None
        try:
            self._lock_files(place)
            if to_serve or place.path.exists():
                self.descriptor = self._lock_database()
                """Of the database."""
                self._identity = identity(os.fstat(self.descriptor))
        except BaseException:
            self._close_all()
            raise
        if self._identity is not None:
            _held.add(self._identity)

    def _lock_files(self, place: Place) -> None:
        self._flock(lock_of(place.path), os.O_CREAT)
        beside_link = lock_of(place.written)
        if not place.written.is_symlink():
            return
        with suppress(OSError):  # only where that release has been: it made one
            self._flock(beside_link, 0)

    def _flock(self, path: Path, create: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | create, 0o600)
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._in_use() from None

    def _lock_database(self) -> int:
        for _ in range(_ATTEMPTS):
            if is_held(self._path):
                raise self._in_use()
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._descriptors.append(descriptor)
            self._lock_inode(descriptor)
            remove_left(self._path)  # a file that is just put in its place has two names for a moment
            found = os.fstat(descriptor)
            if found.st_nlink > 1:
                raise StartRefused(
                    f"diario {self._path}: el archivo tiene {found.st_nlink} nombres (enlaces duros). Su log "
                    "está junto a uno de ellos, y un arranque con otro no vería lo que hay en él. Deja un solo "
                    f"nombre (los encuentra `find / -xdev -samefile '{self._path}'`), o da a este puente su "
                    "propio --journal."
                )
            with suppress(FileNotFoundError):
                if identity(self._path.stat()) == identity(found):
                    return descriptor
            os.close(self._descriptors.pop())  # replaced between the two: what is there now is the journal
        raise StartRefused(
            f"diario {self._path}: algo reemplaza el archivo todo el tiempo. Páralo, y arranca otra vez."
        )

    def _lock_inode(self, descriptor: int) -> None:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock())
        except (BlockingIOError, PermissionError):
            raise self._in_use() from None
        except (OSError, AttributeError) as error:
            if isinstance(error, OSError) and error.errno not in _UNSUPPORTED:
                raise
            log.warning(
                "journal %s: the file cannot be locked here (%s), only %s beside it: see that no other bridge serves "
                "it by another name", self._path, error, lock_of(self._path).name,
            )  # fmt: skip

    def _in_use(self) -> StartRefused:
        if not self._to_serve:
            return StartRefused(f"diario {self._path}: un otel-bridge lo está sirviendo. Páralo antes.")
        return StartRefused(
            f"diario {self._path}: otro otel-bridge lo está sirviendo. Páralo, o da a este su propio --journal."
        )

    def release(self) -> None:
        """After SQLite has closed the database."""
        if self._identity is not None:
            _held.discard(self._identity)
        self._close_all()

    def _close_all(self) -> None:
        for descriptor in reversed(self._descriptors):
            os.close(descriptor)
        self._descriptors.clear()


@contextmanager
def not_served(place: Place) -> Iterator[None]:
    """Nobody serves the journal meanwhile. Raises as Lock does."""
    lock = Lock(place, to_serve=False)
    try:
        yield
    finally:
        lock.release()
