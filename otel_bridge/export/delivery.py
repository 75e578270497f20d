"""Delivery: from the journal's cursor to the OTLP endpoint, in a process of its own.

                     ┌──────────────────────── ok ───────────────────────────┐
                     ▼                                                       │
    read after cursor ──▶ encode ──▶ send once ──▶ ok ───────▶ report, cursor moves
                     ▲                    │──────▶ partial ──▶ park the request, report; smaller ones for a while
                     │                    │──────▶ poison ───▶ halve until it is alone, park it, report
                     │◀── wait ───────────┤──────▶ retry       (nothing moves; Retry-After or back-off)
                     │◀── wait, say so ───┴──────▶ config      (nothing moves)

Nothing is parked on the endpoint's bad days: a record is set aside only where it is refused while another record,
one that was taken before, is taken again right after it. An endpoint that refuses everything is waited for.
Requests go one after the other, so that a session's root never follows its events; while one is answered, the next
is encoded. A request that fails takes back the one behind it.

The process only reads the journal. What it has done it reports to the bridge, whose one writer moves the cursor
with its next commit; a report that is lost with the process means a second delivery, never a lost record. It has a
process of its own so that encoding 60,000 spans a second does not take the interpreter from the answers.

The parts: reading (`read_ahead.py`, `batch.py`), sending (`in_flight.py`, `endpoint.py`, `request_size.py`), what is
refused (`bisection.py`, `probe.py`), waiting (`backoff.py`, `shutdown.py`), what is sent again (`replay.py`).
The process starts in `__main__.py`. The bridge's side of it is `exporter.py`; their messages are in `pipe.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from otel_bridge.export.backoff import Backoff
from otel_bridge.export.batch import Batch
from otel_bridge.export.bisection import Bisection, Part
from otel_bridge.export.endpoint import Endpoint
from otel_bridge.export.in_flight import InFlight
from otel_bridge.export.otlp import Transport
from otel_bridge.export.pipe import Report
from otel_bridge.export.probe import Probe
from otel_bridge.export.read_ahead import ReadAhead
from otel_bridge.export.replay import Replay
from otel_bridge.export.request_size import RequestSize
from otel_bridge.export.result import SendResult
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.export.spans import SpanProjection
from otel_bridge.journal.store import Parked, Reader, StoreDamaged, StoreUnavailable

POLL_SECONDS = 0.1
AWAY_SECONDS = 0.5
"""Pause before a journal that cannot be read now is asked again."""
DAMAGED_SECONDS = 5.0
"""Pause before what cannot be read is tried again."""
LINGER_SECONDS = 0.05
"""Pause after a small batch, so that records which come one by one share requests."""
LINGER_BELOW_SPANS = 256
SUSPECT_AFTER = 4
"""Failures in a row, each of which a bad record could be the cause of, before the batch is halved to find it."""


class Delivery:
    """The loop that the picture above draws. One thread; a second one sends while the first encodes."""

    def __init__(
        self,
        reader: Reader,
        projection: SpanProjection,
        transport: Transport,
        report: Callable[[Report], None],
        shutdown: Shutdown,
    ) -> None:
        self.cursor = reader.cursor()
        """Sequence number of the last record that is delivered or parked."""
        self._on_report = report
        self._shutdown = shutdown
        self._journal = ReadAhead(reader)
        self._size = RequestSize()
        self._endpoint = Endpoint(projection, transport)
        self._in_flight = InFlight(self._endpoint)
        self._backoff = Backoff(shutdown, self._report)
        self._probe = Probe(self._endpoint, reader, self._backoff)
        self._replay = Replay(reader, self._endpoint, self._probe, shutdown, self._report)
        self._suspect_failures = 0
        """Failures in a row that one bad record may be the cause of."""
        self._trickle = False
        """Whether the last batch was small: records come one by one."""
        self._unreadable: StoreDamaged | None = None
        """Why nothing after the cursor can be read."""
        self._away = False
        """Whether the journal could not be read at the last try, and may be at the next."""

    def run(self) -> None:
        """Until stopped: then what waits is delivered, until the deadline or the first failure."""
        while True:
            moved = self.drain()
            if self._unreadable is not None:
                self._tell_unreadable(self._unreadable)
            self._replay.poll()
            if self._shutdown.requested and (not moved or self._shutdown.expired):
                break
            if not moved or self._trickle:
                self._shutdown.wait(AWAY_SECONDS if self._away else LINGER_SECONDS if moved else POLL_SECONDS)
        self.close()

    def drain(self) -> bool:
        """Delivers until nothing waits, a small batch has gone, or a request has failed. Whether the cursor moved."""
        start = position = self.cursor
        self._trickle = False
        while True:
            batch = self._read(position)
            if batch is not None:
                position = batch.cursor
                body = batch.encode(self._endpoint.projection)
                self._trickle = len(batch.records) < min(LINGER_BELOW_SPANS, self._size.spans)
                if not self._size.holds(len(batch.records), len(body)):
                    self._deliver_in_pieces(batch)
                    break
                self._in_flight.send(batch, body)
                if not self._in_flight.full:
                    continue
            if not self._in_flight or not self._settle():
                break
        return self.cursor != start

    def close(self) -> None:
        """Ends the sending thread."""
        self._in_flight.close()

    def _read(self, position: int) -> Batch | None:
        """The batch behind a position. None: there is none, or no further one is to be sent now."""
        if self._trickle or self._shutdown.expired:
            return None
        try:
            batch = self._journal.batch(position, self._size.spans)
        except StoreDamaged as error:  # what is in flight goes on
            self._unreadable = error
            return None
        except StoreUnavailable:  # the bridge cannot write it either, and says so
            self._away = True
            return None
        self._away = False
        return batch

    def _tell_unreadable(self, error: StoreDamaged) -> None:
        self._unreadable = None
        self._report(Report(message=error.advice, damaged=error.part))
        self._shutdown.wait(DAMAGED_SECONDS)

    def _settle(self) -> bool:
        """Waits for the oldest request's answer. False: it failed, and what is behind it is read again."""
        batch, result = self._in_flight.oldest()
        if result.kind == "ok":
            self._finish(batch, len(batch.records))
            return True
        self._in_flight.take_back()
        self._resolve(batch, result)
        return False

    def _deliver_in_pieces(self, batch: Batch) -> None:
        """One segment, of which the endpoint wants less at once. What is in flight ahead of it comes first."""
        while self._in_flight:
            if not self._settle():
                return
        count = len(batch.records)
        self._bisect(
            batch, [Part(low, min(low + self._size.spans, count)) for low in range(0, count, self._size.spans)]
        )

    def _resolve(self, batch: Batch, result: SendResult) -> None:
        """What to do about a batch that was not simply taken."""
        if result.may_be_record:
            self._suspect_failures += 1
        suspect = result.may_be_record and self._suspect_failures >= SUSPECT_AFTER
        if suspect or result.kind in ("partial", "poison"):
            self._bisect(batch, [Part(0, len(batch.records), result)])
        else:
            self._backoff.wait(result)

    def _bisect(self, batch: Batch, parts: list[Part]) -> None:
        search = Bisection(batch, parts, self._endpoint, self._size, self._probe, self._backoff, self._shutdown)
        if not search.run():
            return
        if search.partial:
            self._size.shrink()
        if search.halved and not search.parked:  # no record is bad: they were too large together
            self._size.halve(len(batch.records))
        self._finish(batch, search.exported, search.parked, search.message if search.parked else "")

    def _finish(self, batch: Batch, exported: int, parked: Sequence[Parked] = (), message: str = "") -> None:
        """Each record of the batch is taken or parked: the cursor moves."""
        self.cursor = batch.cursor
        self._backoff.reset()
        self._suspect_failures = 0
        if exported and not parked:
            self._probe.good = batch.records[-1]
            self._size.grow()
        self._report(Report(cursor=batch.cursor, exported=exported, parked=[*batch.unusable, *parked], message=message))

    def _report(self, report: Report) -> None:
        report.attempts = self._endpoint.take_attempts()
        self._on_report(report)
