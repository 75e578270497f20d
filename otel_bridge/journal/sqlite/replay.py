"""The operator's wish that parked records be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from otel_bridge.journal.sqlite.database import connect, translated


def mark_replay(path: Path, seqs: Sequence[int] | None) -> int:
    """Asks for these parked records (None: all) to be sent again; returns how many there are. Raises StoreError.

    The one write that comes from another process than the bridge: a command of the operator's.
    """
    with translated(path):
        db = connect(path, "rw")
        try:
            db.execute("PRAGMA wal_autocheckpoint = 0")  # that is the bridge's
            if seqs is None:
                return db.execute("UPDATE parked SET replay = 1").rowcount
            db.execute("BEGIN IMMEDIATE")
            count = sum(db.execute("UPDATE parked SET replay = 1 WHERE seq = ?", (seq,)).rowcount for seq in seqs)
            db.execute("COMMIT")
            return count
        finally:
            db.close()
