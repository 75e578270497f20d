"""Waiting for an endpoint in trouble."""

from __future__ import annotations

import random
from collections.abc import Callable

from otel_bridge.export.pipe import Report
from otel_bridge.export.result import SendResult
from otel_bridge.export.shutdown import Shutdown

BACKOFF_SECONDS = (0.25, 15.0)
CONFIG_BACKOFF_SECONDS = (1.0, 30.0)
RETRY_AFTER_LIMIT_SECONDS = 300.0


class Backoff:
    """Waits that double with each failure in a row, up to a bound; longer where the endpoint asks for it."""

    def __init__(self, shutdown: Shutdown, report: Callable[[Report], None]) -> None:
        self._shutdown = shutdown
        self._report = report
        self._failures = 0

    def reset(self) -> None:
        """The endpoint took something: the next wait is a short one again."""
        self._failures = 0

    def wait(self, result: SendResult) -> None:
        """Reports the failure and waits. Ends the delivery instead where a stop is requested."""
        seconds = self._seconds(result)
        self._failures += 1
        self._report(Report(state=result.kind, message=result.message))
        if self._shutdown.requested:
            self._shutdown.give_up()  # a stop does not wait for an endpoint in trouble
        self._shutdown.wait(seconds)

    def _seconds(self, result: SendResult) -> float:
        low, high = CONFIG_BACKOFF_SECONDS if result.kind == "config" else BACKOFF_SECONDS
        doubled: float = low * 2 ** min(self._failures, 16)
        seconds = min(high, doubled) * random.uniform(0.75, 1.0)  # noqa: S311
        if result.retry_after_seconds is None:
            return seconds
        return max(seconds, min(result.retry_after_seconds, RETRY_AFTER_LIMIT_SECONDS))
