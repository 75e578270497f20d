"""The search for the bad records of a batch that was refused."""

from __future__ import annotations

from otel_bridge.export.backoff import Backoff
from otel_bridge.export.batch import Batch
from otel_bridge.export.endpoint import Endpoint
from otel_bridge.export.probe import Probe
from otel_bridge.export.request_size import RequestSize
from otel_bridge.export.result import SendResult
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.journal.store import Parked

CONFIRMATIONS = 3
"""Times that a record alone meets a server's error, and a good one is taken after it, before it is parked."""


class Part:
    """Consecutive records of a batch, `low` to `high` - 1, and the result if they have been sent."""

    __slots__ = ("high", "low", "refusals", "result")

    def __init__(self, low: int, high: int, result: SendResult | None = None) -> None:
        self.low = low
        self.high = high
        self.result = result
        self.refusals = 0
        """Times that it was refused while the endpoint took a good record."""

    def __len__(self) -> int:
        return self.high - self.low

    def halves(self) -> tuple[Part, Part]:
        middle = (self.low + self.high) // 2
        return Part(self.low, middle), Part(middle, self.high)


class Bisection:
    """Delivers a batch part by part until each record is taken or parked.

        next part ──▶ send ──┬── ok ─────────────────────────────────────▶ taken
            ▲                ├── too large, of many (or known to be) ────▶ two parts
            │                ├── partial ────────────────────────────────▶ parked
            │                ├── refused ──▶ probe ──┬── ok ──┬── many ──▶ two parts
            │                │                       │        ├── one ───▶ parked (a server's error: the third time)
            │                │                       │        └── one ───▶ wait   (a server's error until then)
            │                │                       └── not ok ─────────▶ wait
            │                └── the endpoint is in trouble ─────────────▶ wait
            └───────────────────── the same part again ◀────────────────────┘

    A wait ends the search where the endpoint has taken nothing since it began, or a stop is requested: the batch is
    read again then. Else what has been taken is not sent again, although the endpoint went away in between.
    """

    def __init__(
        self,
        batch: Batch,
        parts: list[Part],
        endpoint: Endpoint,
        size: RequestSize,
        probe: Probe,
        backoff: Backoff,
        shutdown: Shutdown,
    ) -> None:
        self._batch = batch
        self._parts = parts[::-1]
        """A stack: the batch's first records are its last part, so that they go out in order."""
        self._endpoint = endpoint
        self._size = size
        self._probe = probe
        self._backoff = backoff
        self._shutdown = shutdown
        self._answers_well = False
        """Whether the endpoint takes good records: from then on, what fails is tried again where it stands."""
        self.exported = 0
        self.parked: list[Parked] = []
        self.message = ""
        """The endpoint's last text."""
        self.halved = False
        self.partial = False
        """Whether the endpoint refused some of a part's spans without saying which."""

    def run(self) -> bool:
        """Whether each record is taken or parked. False: the batch is to be read again."""
        while self._parts:
            if self._shutdown.expired:
                return False
            part = self._parts.pop()
            body = self._endpoint.projection.request(self._batch.records[part.low : part.high])
            if part.result is None and not self._size.holds(len(part), len(body)):
                self._parts += reversed(part.halves())
                continue
            result = part.result or self._endpoint.send_body(body)
            self.message = result.message or self.message
            if result.kind == "ok":
                self._take(part)
            elif result.kind == "partial":
                self._park_partial(part, result)
            elif result.too_large and len(part) > 1:
                self._size.too_large(len(body))
                self._parts += reversed(part.halves())
            else:
                trouble = self._search(part, result)
                if trouble is not None and not self._wait(part, trouble):
                    return False
        return True

    def _take(self, part: Part) -> None:
        self.exported += len(part)
        self._probe.good = self._batch.records[part.high - 1]
        self._backoff.reset()

    def _park_partial(self, part: Part, result: SendResult) -> None:
        """Some were refused, nobody says which, and the specification forbids to ask again: the operator may."""
        message = f"tramos rechazados: {result.rejected}, en un envío de {len(part)} registros: {result.message}"
        self.parked += [self._batch.park(i, "partial", message) for i in range(part.low, part.high)]
        self.partial = True

    def _search(self, part: Part, result: SendResult) -> SendResult | None:
        """Halves or parks a part that is refused while a good record is taken. Otherwise, what there is to wait for."""
        if result.endpoint_only:
            return result
        probe = self._probe.send(self._batch)
        if probe.kind != "ok":
            return (
                probe if probe.endpoint_only else SendResult("config", f"no acepta ningún registro: {result.message}")
            )
        self._answers_well = True
        part.refusals += 1
        if len(part) > 1:
            self.halved = True
            self._parts += reversed(part.halves())
            return None
        if result.kind == "poison":
            self.parked.append(self._batch.park(part.low, "refused", result.message))
            return None
        if part.refusals >= CONFIRMATIONS:
            self.parked.append(self._batch.park(part.low, "server-error", result.message))
            return None
        return result

    def _wait(self, part: Part, trouble: SendResult) -> bool:
        """Waits, and puts the part back to be sent again. False: there is no use in it here."""
        self._backoff.wait(trouble)
        if self._shutdown.requested or not (self._answers_well or self.exported or self.parked):
            return False
        part.result = None
        self._parts.append(part)
        return True
