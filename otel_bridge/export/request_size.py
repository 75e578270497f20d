"""How much one request holds."""

from __future__ import annotations

BATCH_SPANS = 2_000
REQUEST_BYTES = 4 << 20
"""That gRPC servers take by default."""
SMALL_SPANS = 32
"""Spans a request while the endpoint refuses parts of them without saying which."""


class RequestSize:
    """Spans that a request may hold: less when the endpoint wants less at once, and more again bit by bit."""

    def __init__(self) -> None:
        self.spans = BATCH_SPANS

    def holds(self, spans: int, body: bytes) -> bool:
        """Whether this is one request's."""
        return spans <= self.spans and len(body) <= REQUEST_BYTES

    def grow(self) -> None:
        """A request was taken whole: a sixteenth more, up to `BATCH_SPANS`."""
        self.spans = min(BATCH_SPANS, self.spans + max(1, self.spans // 16))

    def halve(self, sent: int) -> None:
        """A request of `sent` spans was too large (413): the next ones start smaller."""
        self.spans = max(1, min(self.spans, sent) // 2)

    def shrink(self) -> None:
        """Part of a request was refused: the next such answer concerns fewer records."""
        self.spans = SMALL_SPANS
