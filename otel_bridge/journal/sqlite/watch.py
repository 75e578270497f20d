"""Whether the journal's names still lead to the files that are open. A name can be removed, moved or given to another
file while the bridge writes on, into what no start will ever find."""

from __future__ import annotations

import os
import time
from pathlib import Path

from otel_bridge.journal.sqlite.lock import Identity, identity
from otel_bridge.journal.sqlite.names import Place, index_of, log_of

LOOK_SECONDS = 0.05
"""A look takes 10 µs, and hands the interpreter over: under load that can be an answer's time. So commits that come
thick and fast do not all look. What is answered between two looks is put in safety with the rest (`rescue.py`)."""

HEAD_BYTES = 100
"""The database's header: https://www.sqlite.org/fileformat.html#the_database_header"""
AGE = slice(24, 32)
"""In it, two numbers, which together do not fall: how often it was changed (once for many commits of one connection),
and its pages, but for a VACUUM, which is such a change."""
TORN_SECONDS = 0.01
"""For a header that is just being written."""


class Watch:
    """Made once SQLite has opened all three files. Each stays the same until it is closed."""

    def __init__(self, place: Place, descriptor: int) -> None:
        """`descriptor`: of the database. Raises OSError."""
        path = self._path = place.path
        self._written = place.written
        self._descriptor = descriptor
        self._open: dict[Path, Identity] = {
            path: identity(os.fstat(descriptor)),
            **{beside: identity(beside.stat()) for beside in (log_of(path), index_of(path))},
        }
        self._head = os.pread(descriptor, HEAD_BYTES, 0)
        self.spoilt: str | None = None
        """What became of the database's content, if it is another's now: ours does not come back."""
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
        if self.spoilt is not None:
            return self.spoilt
        for path, opened in self._open.items():
            found = self._found(path)
            if found is None:
                moved = path == self._path and not self.is_removed()
                return f"{path} was {'moved away' if moved else 'removed'}"
            if found != opened:
                return f"{path} was replaced by another file"
        if not self.is_led_to():
            return f"{self._written} does not lead to {self._path} any more"
        self.spoilt = self._look_inside()
        return self.spoilt

    def _look_inside(self) -> str | None:
        """What is wrong with the header. Of what is copied over an open database, most often an older backup of it, one
        of the two numbers is less than it was."""
        for _ in range(3):
            head = os.pread(self._descriptor, HEAD_BYTES, 0)
            if head == self._head:
                return None
            if len(head) == HEAD_BYTES and head[AGE] >= self._head[AGE]:
                self._head = head
                return None
            time.sleep(TORN_SECONDS)
        return f"{self._path} was {'emptied' if len(head) < HEAD_BYTES else 'written over by another program'}"

    @property
    def age(self) -> bytes:
        """Of the database's file, as it was seen last. It never falls."""
        return self._head[AGE]

    def is_here(self) -> bool:
        """Whether the database has its name, though its log may not."""
        return self._found(self._path) == self._open[self._path]

    def is_led_to(self) -> bool:
        """Whether the name that the journal was opened by, which may be a link's, is still the database's: the next
        start goes by it."""
        return self._found(self._written) == self._open[self._path]

    def is_replaced(self) -> bool:
        """Whether the database's name leads to another file."""
        return self._found(self._path) not in (None, self._open[self._path])

    def is_removed(self) -> bool:
        """Whether the open database has no name any more: it ends with this process."""
        return os.fstat(self._descriptor).st_nlink == 0

    def empty_log(self) -> None:
        """Takes what is in the log from SQLite, which would write it into what is the database now."""
        if self._found(log_of(self._path)) == self._open[log_of(self._path)]:
            os.truncate(log_of(self._path), 0)
        self.drop()

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
            # Who may not look is not told that anything is wrong, and what is open is written.
            return self._open[self._path if path == self._written else path]
