"""How much one request holds."""

from __future__ import annotations

BATCH_SPANS = 2_000
SMALL_SPANS = 32
"""Spans a request while the endpoint refuses parts of them without saying which."""
REQUEST_BYTES = 4 << 20
"""That gRPC servers take by default."""
LEAST_BYTES = 1 << 10


class RequestSize:
    """Spans and bytes that a request may hold: less when the endpoint wants less at once, and more again bit by bit."""

    def __init__(self) -> None:
        self.spans = BATCH_SPANS
        self.bytes = REQUEST_BYTES

    def holds(self, spans: int, size: int) -> bool:
        """Whether so many spans of so many bytes are one request. One span always is: the endpoint has the word."""
        return spans <= self.spans and (size <= self.bytes or spans == 1)

    def grow(self) -> None:
        """A request was taken whole: a sixteenth more spans, up to `BATCH_SPANS`. Bytes are a limit that receivers are
        configured with, and to meet it costs more: a sixty-fourth."""
        self.spans = min(BATCH_SPANS, self.spans + max(1, self.spans // 16))
        self.bytes = min(REQUEST_BYTES, self.bytes + self.bytes // 64)

    def too_large(self, size: int) -> None:
        """A request of so many bytes was too large: the next ones are half of it."""
        self.bytes = max(LEAST_BYTES, min(self.bytes, size) // 2)

    def halve(self, sent: int) -> None:
        """A request of `sent` spans was refused, and none of its parts: the next ones start smaller."""
        self.spans = max(1, min(self.spans, sent) // 2)

    def shrink(self) -> None:
        """Part of a request was refused: the next such answer concerns fewer records."""
        self.spans = SMALL_SPANS
