"""The operator's wish that parked records be sent again."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

from otel_bridge.journal.sqlite.database import connect, failed_to_sync, translated
from otel_bridge.journal.sqlite.wal import abandon
from otel_bridge.journal.store import OutcomeUnknown


def mark_replay(path: Path, seqs: Sequence[int] | None) -> int:
    """Asks for these parked records (None: all) to be sent again; returns how many there are. Raises StoreError.

    The one write that comes from another process than the bridge: a command of the operator's.
    """
    with translated(path):
        db = connect(path, "rw")
        leave: Callable[[sqlite3.Connection], None] = sqlite3.Connection.close
        try:
            db.execute("PRAGMA wal_autocheckpoint = 0")  # that is the bridge's
            return _mark(db, seqs)
        except sqlite3.Error as error:
            if not failed_to_sync(error):
                raise
            leave = abandon
            raise OutcomeUnknown(
                f"el disco falló mientras se escribía ({error}): no se sabe si se escribió. Comprueba el disco y "
                "pídelo otra vez: pedirlo dos veces es como pedirlo una."
            ) from error
        finally:
            leave(db)


def _mark(db: sqlite3.Connection, seqs: Sequence[int] | None) -> int:
    if seqs is None:
        return db.execute("UPDATE parked SET replay = 1").rowcount
    db.execute("BEGIN IMMEDIATE")
    count = sum(db.execute("UPDATE parked SET replay = 1 WHERE seq = ?", (seq,)).rowcount for seq in seqs)
    db.execute("COMMIT")
    return count
