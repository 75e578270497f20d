"""Reading the journal for delivery."""

from __future__ import annotations

import time
from collections import deque

from otel_bridge.export.batch import Batch
from otel_bridge.journal.store import Reader, Segment, StoreDamaged

BATCH_BYTES = 2 << 20
"""Of journal; the request is about twice that. `request_size.py` bounds what becomes larger all the same."""
FRESH_SECONDS = 1.0
"""After which what was read ahead is read again: a user may have been taken out of it (`user forget`)."""
READ_SEGMENTS = 512
"""Segments read at once, where their bytes do not bound that first; single events make small ones."""


class ReadAhead:
    """Segments that have been read: what one batch has no room for is where the next one begins."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._cursor = 0
        self._segments: deque[Segment] = deque()
        self._read_at = 0.0

    def batch(self, after: int, max_spans: int) -> Batch | None:
        """The batch behind the cursor `after`: of `max_spans` and `BATCH_BYTES` at the most, but of one segment at
        least. None where the journal ends there. Raises StoreDamaged: nothing there can be read."""
        batch, size, spans = Batch(after), 0, 0
        while (segment := self._next_of(batch)) is not None:
            full = spans + segment.spans > max_spans or size + len(segment.body) > BATCH_BYTES
            if full and not batch.empty:
                return batch
            batch.add(segment)
            spans += segment.spans
            size += len(segment.body)
        return None if batch.empty else batch

    def _next_of(self, batch: Batch) -> Segment | None:
        try:
            return self._next(batch.cursor)
        except StoreDamaged:
            if batch.empty:
                raise
            return None  # what could be read goes first

    def _next(self, cursor: int) -> Segment | None:
        """The first segment behind a cursor; None where the journal ends there."""
        segments = self._segments
        if segments and segments[0].last == cursor:
            segments.popleft()
        elif self._cursor != cursor:  # a request failed, and reading goes on from where that began
            segments.clear()
        if segments and time.monotonic() - self._read_at > FRESH_SECONDS:
            segments.clear()
        if not segments:
            self._read_at = time.monotonic()
            segments.extend(self._reader.segments(cursor, READ_SEGMENTS))
        self._cursor = cursor
        return segments[0] if segments else None
