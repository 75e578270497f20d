"""What an operator asked to send again."""

from __future__ import annotations

import time
from collections.abc import Callable

from otel_bridge.export.batch import decoded
from otel_bridge.export.endpoint import Endpoint
from otel_bridge.export.pipe import Report
from otel_bridge.export.probe import Probe
from otel_bridge.export.result import SendResult
from otel_bridge.export.shutdown import Shutdown
from otel_bridge.journal.store import Parked, Reader, StoreDamaged, StoreUnavailable
from otel_bridge.records import Idle

REPLAY_POLL_SECONDS = 1.0
UNREADABLE = " (sigue sin poder leerse)"
REPLAY_RECORDS = 200
"""Parked records that are read at once."""


class Replay:
    """Sends parked records again, each alone: one that is still refused is parked with its new message."""

    def __init__(
        self,
        reader: Reader,
        endpoint: Endpoint,
        probe: Probe,
        shutdown: Shutdown,
        report: Callable[[Report], None],
    ) -> None:
        self._reader = reader
        self._endpoint = endpoint
        self._probe = probe
        self._shutdown = shutdown
        self._report = report
        self._next_poll = 0.0

    def poll(self) -> None:
        """Looks for records to replay, once in `REPLAY_POLL_SECONDS`."""
        if time.monotonic() >= self._next_poll:
            self._run()
            self._next_poll = time.monotonic() + REPLAY_POLL_SECONDS

    def _run(self) -> None:
        replayed: list[int] = []
        reparked: list[Parked] = []
        last = SendResult("ok")
        try:
            asked = self._reader.parked(REPLAY_RECORDS, replay_only=True)
        except StoreDamaged as error:  # what is not parked is delivered nevertheless
            self._report(Report(message=error.advice, damaged=error.part))
            return
        except StoreUnavailable:
            return
        for parked in asked:
            if self._shutdown.expired:
                break
            body = self._encode(parked)
            if body is None:
                reparked.append(parked._replace(message=parked.message.removesuffix(UNREADABLE)[:400] + UNREADABLE))
                continue
            result = self._endpoint.send_body(body)
            if result.kind == "ok":
                replayed.append(parked.seq)
            elif self._refused(result):
                reparked.append(parked._replace(message=result.message, parked_us=time.time_ns() // 1000))
            else:  # the endpoint is in trouble: the next poll tries again
                last = result
                break
        if replayed or reparked or self._endpoint.counted:
            self._report(Report(replayed=replayed, reparked=reparked, state=last.kind, message=last.message))

    def _encode(self, parked: Parked) -> bytes | None:
        """The request's bytes; None where the record cannot be read or encoded."""
        records = decoded(parked.body)
        if not records:
            return None
        try:
            return self._endpoint.projection.request([record for record in records if not isinstance(record, Idle)])
        except Exception:
            return None

    def _refused(self, result: SendResult) -> bool:
        """Whether the record is refused, and not only the endpoint in trouble."""
        return result.kind in ("poison", "partial") or (result.may_be_record and self._probe.taken())
