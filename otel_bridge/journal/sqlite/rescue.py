"""A journal whose files were taken from under the bridge is still open, and whole: it is put where a start finds it.

in place ──a name is gone, or leads elsewhere──▶ displaced: nothing is written, all of the log goes into the database
   ▲                                                │
   └── the same files are back (moved, mounted) ────┤
                                                    ▼ the database has no name left: it would end with the process
                    written back: under its name, or beside it where another file stands there
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from otel_bridge.journal.sqlite import folder
from otel_bridge.journal.sqlite.checkpoints import Checkpoints
from otel_bridge.journal.sqlite.database import connect
from otel_bridge.journal.sqlite.identity import end_service
from otel_bridge.journal.sqlite.lock import Identity, identity
from otel_bridge.journal.sqlite.new_file import name_anew, new_file, stamp, sync
from otel_bridge.journal.sqlite.watch import Watch
from otel_bridge.journal.store import StoreError, StoreLost, StoreUnavailable

log = logging.getLogger(__name__)

PAUSE_SECONDS = 30.0
"""After a copy that failed: it may be long, and the disk full."""


class Rescue:
    """Of one thread, but for `refuse`."""

    def __init__(self, path: Path, watch: Watch, checkpoints: Checkpoints) -> None:
        self._path = path
        self._watch = watch
        self._checkpoints = checkpoints
        self._told: str | None = None
        """What the log says was found."""
        self._moved_told = False
        self._gave_up = False
        self._copy: tuple[Path, Identity] | None = None
        """The database as it was written back."""
        self._not_before = 0.0

    def refuse(self) -> None:
        """Before a commit, in the writer thread. Raises StoreUnavailable: it would be lost; StoreLost."""
        known = self._watch.displaced is not None
        displaced = self._watch.glance()
        if displaced is not None:
            if self._checkpoints.lost is not None:
                raise self._checkpoints.lost
            if not known and self._watch.spoilt is None:
                self._checkpoints.finish()  # a log without a name ends with the process: it is moved at once
            raise _unavailable(displaced)

    def keep(self) -> None:
        """`step`, about once a second. Raises StoreUnavailable where something is wrong, StoreLost."""
        displaced = self.step()
        if displaced is not None:
            raise _unavailable(displaced)

    def step(self, last: bool = False) -> str | None:
        """Looks, and does what there is to do; what is wrong, or None. `last`: the process ends. Raises StoreLost."""
        displaced = self._watch.look()
        if displaced is None:
            if self._told is not None:
                log.warning("the journal's files are back in their place: records are accepted again")
            self._told, self._moved_told = None, False
            return None
        if displaced != self._told:
            log.critical("%s while the bridge ran: nothing is accepted any more", displaced)
            self._told = displaced
        if last or time.monotonic() >= self._not_before:
            try:
                if self._watch.spoilt is None:
                    self._secure()
                else:
                    self._give_up()
            except StoreLost:
                raise
            except (OSError, sqlite3.Error, StoreError) as error:
                log.critical("what the journal %s holds cannot be put in safety: %s", self._path, error)
                self._not_before = time.monotonic() + PAUSE_SECONDS
        return displaced

    def _secure(self) -> None:
        moved = self._checkpoints.move_all()
        if self._watch.is_removed():
            if not self._is_saved():
                copy = write_back(self._checkpoints.connection, self._path, self._watch)
                self._copy = copy, identity(copy.stat())
                self._tell_copy(copy)
        elif moved:
            if self._watch.is_replaced():
                self._watch.drop()
            if not self._moved_told:
                self._tell_moved()
                self._moved_told = True

    def _give_up(self) -> None:
        """What another program has put there is left as it is: our log is of no use to it, and would spoil it."""
        self._watch.empty_log()
        if not self._gave_up:
            log.critical(
                "what the journal held and was not exported is lost. Restore %s from a backup while the bridge is "
                "stopped. A start goes on with what is there now", self._path,
            )  # fmt: skip
            self._gave_up = True

    def _is_saved(self) -> bool:
        if self._copy is None:
            return False
        path, written = self._copy
        try:
            return identity(path.stat()) == written
        except OSError:
            return False

    def _tell_moved(self) -> None:
        if self._watch.is_here() and not self._watch.is_led_to():
            log.critical(
                "all of the journal is in %s, and a start would go by another name: make that name lead there again, "
                "or stop the bridge and name this file with --journal", self._path,
            )  # fmt: skip
        elif self._watch.is_here():
            log.critical("all of the journal is in %s: start the bridge again, it goes on from there", self._path)
        else:
            log.critical(
                "all of the journal is in its database file, wherever that is now. Stop the bridge, put that file back "
                "to %s (without the -wal and -shm of then), and start it again", self._path,
            )  # fmt: skip

    def _tell_copy(self, copy: Path) -> None:
        if copy == self._path:
            log.critical("all of the journal was written back to %s: start the bridge again, it goes on there", copy)
        else:
            log.critical(
                "another file stands at %s: all of the journal was written to %s. Start the bridge again to go on with "
                "the other file, or stop it and give the journal its name back first", self._path, copy,
            )  # fmt: skip


def _unavailable(displaced: str) -> StoreUnavailable:
    return StoreUnavailable(f"the journal is not in its place: {displaced}")


def write_back(source: sqlite3.Connection, path: Path, watch: Watch) -> Path:
    """Writes the database behind `source` to `path`, or beside it where something is there; returns where. Durable when
    it returns. Raises OSError, sqlite3.Error."""
    folder.make(path.parent, mode=0o700)
    with new_file(path) as part:
        with closing(connect(part, "rw")) as target:
            source.backup(target)
            end_service(target)  # a start takes it for a journal that was closed: it is whole
        sync(part)
        watch.drop()
        to = path
        try:
            name_anew(part, to)
        except FileExistsError:
            to = path.with_name(f"{path.name}.{stamp()}.saved")
            name_anew(part, to)
    folder.sync(to.parent)
    return to
