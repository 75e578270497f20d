"""When the next request may be made, and how many records it may hold."""

from __future__ import annotations

import random
import time

from otel_bridge_client.replies import Reply

BACKOFF_SECONDS = (0.5, 30.0)
MAX_RETRY_AFTER_SECONDS = 3600.0


class Pace:
    """Not locked: the delivery's lock is held around it."""

    def __init__(self, batch_size: int) -> None:
        self.limit = batch_size
        self._batch_size = batch_size
        self._failures = 0
        self._backoff_until = 0.0
        self._server_wait_until = 0.0

    def due(self) -> float:
        return max(self._backoff_until, self._server_wait_until)

    def hurry(self) -> None:
        """What we chose to wait is over; what the bridge asked for is not."""
        self._backoff_until = 0.0

    def worked(self) -> None:
        self._failures = 0

    def grow(self) -> None:
        self.limit = min(self._batch_size, self.limit * 2)

    def shrink(self, sent: int) -> None:
        self.limit = max(1, sent // 2)

    def back_off(self, reply: Reply) -> None:
        """Nothing is sent for a while: as long as the bridge asks for, else exponentially longer; with jitter."""
        now = time.monotonic()
        if reply.retry_after:
            asked = min(reply.retry_after, MAX_RETRY_AFTER_SECONDS)
            self._server_wait_until = now + asked * random.uniform(1.0, 1.1)  # noqa: S311 jitter, not a secret
        else:
            first, longest = BACKOFF_SECONDS
            wait = min(longest, first * 2 ** min(self._failures, 16))
            self._failures += 1
            self._backoff_until = now + wait * random.uniform(0.5, 1.0)  # noqa: S311
