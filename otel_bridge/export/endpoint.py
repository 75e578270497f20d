"""The endpoint as delivery sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from otel_bridge.export.otlp import Transport
from otel_bridge.export.result import SendResult
from otel_bridge.export.spans import SpanProjection
from otel_bridge.records import Record


class Endpoint:
    """Encodes and sends, one request at a time, and counts the results by their kind.

    For one thread. Results of requests that another thread sends are counted by `count`.
    """

    def __init__(self, projection: SpanProjection, transport: Transport) -> None:
        self.projection = projection
        self._transport = transport
        self._attempts: Counter[str] = Counter()

    def send(self, records: Sequence[Record]) -> SendResult:
        """Sends records as one request. Raises what the projection raises for a record that cannot be encoded."""
        return self.send_body(self.projection.request(records) if records else b"")

    def send_body(self, body: bytes) -> SendResult:
        """Sends an encoded request."""
        return self.count(self.exchange(body))

    def exchange(self, body: bytes) -> SendResult:
        """Sends an encoded request without counting it; an empty one is ok unsent. From any thread."""
        return self._transport.send(body) if body else SendResult("ok")

    def count(self, result: SendResult) -> SendResult:
        self._attempts[result.kind] += 1
        return result

    @property
    def counted(self) -> bool:
        """Whether there are attempts that `take_attempts` has not handed out."""
        return bool(self._attempts)

    def take_attempts(self) -> dict[str, int]:
        """Attempts by kind since the last call."""
        attempts, self._attempts = dict(self._attempts), Counter()
        return attempts
