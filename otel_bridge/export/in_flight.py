"""The requests under way."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from otel_bridge.export.batch import Batch
from otel_bridge.export.endpoint import Endpoint
from otel_bridge.export.result import SendResult

IN_FLIGHT = 2
"""Requests under way at once while all goes well: one is encoded while the other is answered."""

_NOT_SENT = SendResult("retry", "not sent: the request before it failed")


class InFlight:
    """Batches whose requests have been handed to the sending thread, oldest first. One is sent after the other.

    After a request that failed, those behind it are not sent until `take_back` has been called.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._requests: deque[tuple[Batch, Future[SendResult]]] = deque()
        self._failed = False
        self._sender = ThreadPoolExecutor(1, thread_name_prefix="otlp-send")

    def __len__(self) -> int:
        return len(self._requests)

    @property
    def full(self) -> bool:
        return len(self._requests) >= IN_FLIGHT

    def send(self, batch: Batch, body: bytes) -> None:
        """Hands a request to the sending thread and returns at once."""
        self._requests.append((batch, self._sender.submit(self._exchange, body)))

    def oldest(self) -> tuple[Batch, SendResult]:
        """Takes the oldest request off, with its result, which is waited for."""
        batch, future = self._requests.popleft()
        return batch, self._counted(future)

    def take_back(self) -> None:
        """Waits for what is left and drops it: it was not sent, or not taken, and is read again."""
        while self._requests:
            self.oldest()
        self._failed = False

    def close(self) -> None:
        """Ends the sending thread when the request that it is at has its answer."""
        self._sender.shutdown(wait=False, cancel_futures=True)

    def _exchange(self, body: bytes) -> SendResult:
        """In the sending thread."""
        if self._failed:
            return _NOT_SENT
        result = self._endpoint.exchange(body)
        self._failed = result.kind != "ok"
        return result

    def _counted(self, future: Future[SendResult]) -> SendResult:
        result = future.result()
        return result if result is _NOT_SENT else self._endpoint.count(result)
