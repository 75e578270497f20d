"""Records that go out as one request."""

from __future__ import annotations

import time

import msgspec

from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal.store import Parked, Segment
from otel_bridge.records import Idle, Record, decode, encode

DAMAGED = "damaged"
"""The reason of what is parked because the journal lost it."""


class Batch:
    """Consecutive segments of the journal: those behind the cursor `after`, up to and with the cursor `cursor`."""

    __slots__ = ("after", "cursor", "records", "seqs", "unusable")

    def __init__(self, after: int) -> None:
        self.after = after
        self.cursor = after
        self.records: list[Record] = []
        """What can be sent; an idle session is no span and is left out."""
        self.seqs: list[int] = []
        """Each record's sequence number in the journal."""
        self.unusable: list[Parked] = []
        """What can never be sent: parked when the rest of the batch is through."""

    @property
    def empty(self) -> bool:
        """Whether no segment was added. A batch that is not empty may still have no records."""
        return self.cursor == self.after

    def add(self, segment: Segment) -> None:
        """Adds the next segment; one that cannot be read becomes an unusable one."""
        self.cursor = segment.last
        records = None if segment.damaged else decoded(segment.body)
        if records is None:
            self.unusable.append(_park_damaged(segment))
            return
        first = segment.last - segment.size + 1
        spans = [record for record in records if record.__class__ is not Idle]
        self.records += spans
        if len(spans) == len(records):
            self.seqs += range(first, first + len(records))
        else:
            self.seqs += [first + i for i, record in enumerate(records) if record.__class__ is not Idle]

    def encode(self, projection: SpanProjection) -> bytes:
        """The request's bytes, empty where no record is left. A record that cannot be encoded becomes unusable: it
        is ours to set aside and must not stop the rest."""
        try:
            return self._request(projection)
        except Exception:
            self._drop_unencodable(projection)
            return self._request(projection)

    def park(self, index: int, reason: str, message: str) -> Parked:
        """The record at `index` of `records`, as the journal sets it aside."""
        return _park(self.seqs[index], self.records[index], reason, message)

    def _request(self, projection: SpanProjection) -> bytes:
        return projection.request(self.records) if self.records else b""

    def _drop_unencodable(self, projection: SpanProjection) -> None:
        records, seqs = self.records, self.seqs
        self.records, self.seqs = [], []
        for seq, record in zip(seqs, records, strict=True):
            try:
                projection.request([record])
            except Exception as error:
                message = f"no se puede codificar: {type(error).__name__}"
                self.unusable.append(_park(seq, record, "unencodable", message))
            else:
                self.records.append(record)
                self.seqs.append(seq)


def decoded(body: bytes) -> list[Record] | None:
    """A segment's records; None where it cannot be read."""
    try:
        return decode(body)
    except msgspec.DecodeError:
        return None


def _park(seq: int, record: Record, reason: str, message: str) -> Parked:
    return Parked(seq, encode([record]), reason, message, _now_us(), 1)


def _park_damaged(segment: Segment) -> Parked:
    first, most = segment.last - segment.size + 1, "" if segment.exact else "como mucho "
    what = (
        "el segmento no coincide con su suma de comprobación"
        if segment.body
        else "ilegibles, hay páginas dañadas en el diario; de ahí no se pueden reenviar"
    )
    message = f"registros {first} a {segment.last} del diario, {most}{segment.spans} por entregar: {what}"
    return Parked(segment.last, segment.body, DAMAGED, message, _now_us(), segment.spans)


def _now_us() -> int:
    return time.time_ns() // 1000
