"""The journal: where an accepted record lives until it is exported and past retention.

Promises, whatever store is below (`Store`):

- **Durable.** `append` resolves after the records are committed and fsynced, and not before. If it raises,
  nothing of that append was taken.
- **Ordered.** Records get sequence numbers without gaps, in the order they were committed. A session's record
  comes before its events'.
- **Remembered.** A key seen within `DEDUP_HORIZON` is answered with what was taken the first time, and the
  record is not taken again. What remembers keys is bounded by that horizon.
- **Folded once.** `fold` is called once a committed record, in order, before `append` resolves. The state it
  builds is checkpointed with the sequence number it stands at, so that a restart goes on from there.
- **One cursor a sink.** A sink's cursor moves only over records that it has exported or parked. Nothing above a
  cursor, and nothing not yet in a checkpoint, is ever trimmed.
- **Stopping** commits everything that `append` has taken on; what arrives later is refused.

One writer thread does all the writing. Requests that wait together share one commit (group commit): the longer
a commit takes, the more requests the next one carries.
"""

from otel_bridge.journal.store import (
    DEDUP_HORIZON_US,
    Append,
    Duplicate,
    Ledger,
    Outcome,
    Parked,
    Segment,
    SessionInfo,
    SessionRow,
    Store,
    StoreFull,
    StoreUnavailable,
    generation_of,
)
from otel_bridge.journal.writer import Journal

__all__ = [
    "DEDUP_HORIZON_US",
    "Append",
    "Duplicate",
    "Journal",
    "Ledger",
    "Outcome",
    "Parked",
    "Segment",
    "SessionInfo",
    "SessionRow",
    "Store",
    "StoreFull",
    "StoreUnavailable",
    "generation_of",
]
