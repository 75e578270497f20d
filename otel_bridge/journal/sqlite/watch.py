"""Whether the journal's names still lead to the files that are open. A name can be removed, moved or given to another
file while the bridge writes on, into what no start will ever find."""

from __future__ import annotations

import os
import time
from pathlib import Path

from otel_bridge.journal.sqlite.lock import Identity, identity
from otel_bridge.journal.sqlite.names import index_of, log_of

LOOK_SECONDS = 0.05
"""A look takes 10 µs, and hands the interpreter over: under load that can be an answer's time. So commits that come
thick and fast do not all look. What is answered between two looks is put in safety with the rest (`rescue.py`)."""

HEAD_BYTES = 512
"""The smallest page: no database that has tables is smaller."""


class Watch:
    """Made once SQLite has opened all three files. Each stays the same until it is closed."""

    def __init__(self, path: Path, descriptor: int) -> None:
        """`descriptor`: of the database. Raises OSError."""
        self._path = path
        self._descriptor = descriptor
        self._open: dict[Path, Identity] = {
            path: identity(os.fstat(descriptor)),
            **{beside: identity(beside.stat()) for beside in (log_of(path), index_of(path))},
        }
        self._least = min(HEAD_BYTES, os.fstat(descriptor).st_size)
        self.emptied = False
        """Whether the database lost its content: that does not come back, whatever is written into it since."""
        self.displaced: str | None = None
        """What was wrong at the last look; None: all is in place."""
        self.look()

    def glance(self) -> str | None:
        """`look`, where the last look was too long ago."""
        if self.displaced is None and time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        return self.look()

    def look(self) -> str | None:
        """What is wrong now. Any thread."""
        self._looked = time.monotonic()
        self.displaced = self._look()
        return self.displaced

    def _look(self) -> str | None:
        for path, opened in self._open.items():
            found = self._found(path)
            if found is None:
                moved = path == self._path and not self.is_removed()
                return f"{path} was {'moved away' if moved else 'removed'}"
            if found != opened:
                return f"{path} was replaced by another file"
        self.emptied = self.emptied or os.fstat(self._descriptor).st_size < self._least
        return f"{self._path} was emptied" if self.emptied else None

    def is_here(self) -> bool:
        """Whether the database has its name, though its log may not."""
        return self._found(self._path) == self._open[self._path]

    def is_replaced(self) -> bool:
        """Whether the database's name leads to another file."""
        return self._found(self._path) not in (None, self._open[self._path])

    def is_removed(self) -> bool:
        """Whether the open database has no name any more: it ends with this process."""
        return os.fstat(self._descriptor).st_nlink == 0

    def drop(self) -> None:
        """Takes the names of log and index away where they lead to what is open: no other database may find them."""
        for beside in (log_of(self._path), index_of(self._path)):
            if self._found(beside) == self._open[beside]:
                beside.unlink(missing_ok=True)

    def _found(self, path: Path) -> Identity | None:
        """What is there; None: nothing."""
        try:
            return identity(path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return self._open[path]  # who may not look is not told that anything is wrong, and what is open is written
