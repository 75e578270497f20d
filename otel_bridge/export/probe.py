"""The test of the endpoint's health."""

from __future__ import annotations

from otel_bridge.export.backoff import Backoff
from otel_bridge.export.batch import Batch, decoded
from otel_bridge.export.endpoint import Endpoint
from otel_bridge.export.result import SendResult
from otel_bridge.journal.store import Reader, StoreDamaged
from otel_bridge.records import Idle, Record


class Probe:
    """Sends a record that is known to be good: unless it is taken now, a refusal says nothing of the refused."""

    def __init__(self, endpoint: Endpoint, reader: Reader, backoff: Backoff) -> None:
        self._endpoint = endpoint
        self._reader = reader
        self._backoff = backoff
        self.good: Record | None = None
        """A record that the endpoint has taken."""

    def send(self, batch: Batch) -> SendResult:
        """Sends the good record; where none is known yet, records of and before the batch until one is taken."""
        result = SendResult("poison")
        for candidate in [self.good] if self.good is not None else self._candidates(batch):
            result = self._endpoint.send([candidate])
            if result.kind == "ok":
                self.good = candidate
                self._backoff.reset()
                break
            if result.endpoint_only:
                break
        return result

    def taken(self) -> bool:
        """Whether the good record is taken now. False where none is known."""
        return self.good is not None and self._endpoint.send([self.good]).kind == "ok"

    def _candidates(self, batch: Batch) -> list[Record]:
        """What may be good: the last that was delivered before this process, and some of the batch."""
        candidates = self._delivered(batch.after)
        count = len(batch.records)
        if count > 1:
            candidates += [batch.records[i] for i in sorted({0, count // 3, 2 * count // 3, count - 1})]
        return candidates

    def _delivered(self, cursor: int) -> list[Record]:
        """The last record of the segment that ends at the cursor, if it still is in the journal."""
        if not cursor:
            return []
        try:
            before = self._reader.segments(cursor - 1, 1)
        except StoreDamaged:
            return []
        for segment in before:
            if segment.last == cursor and not segment.damaged:
                return [record for record in decoded(segment.body) or [] if record.__class__ is not Idle][-1:]
        return []
