"""The folder of the journal's files, so made that a power failure does not take it away. SQLite fsyncs it and does not
look at what became of that."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def make(folder: Path, mode: int = 0o777) -> None:
    """Makes it where it is missing (with this mode), and what it is in. Raises OSError."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(mode, parents=True, exist_ok=True)
    for one in missing:
        sync(one.parent)


def sync(folder: Path) -> None:
    """Puts the names in it on the disk. Raises OSError."""
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:
        return  # this user may write to it and not list it
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that has no such thing
            raise
    finally:
        os.close(opened)
