"""The result of one request to an OTLP endpoint: one of five kinds.

    ok       delivered
    partial  delivered in part; the specification forbids to retry
    retry    not now: 408, 429, 5xx, no connection, time-out
    poison   something in the batch is refused: 400, 413, 422
    config   this endpoint will not have us as we are: 401, 403, 404, other 3xx and 4xx

The SDK's own exporter tells fewer apart (a 302 is its success, a 500 its final failure), which a delivery that
loses nothing cannot use. Sources: OTLP specification 1.x, «OTLP/HTTP Response», «OTLP/gRPC Response».
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Kind = Literal["ok", "partial", "retry", "poison", "config"]
KINDS: tuple[Kind, ...] = ("ok", "partial", "retry", "poison", "config")
MESSAGE_LIMIT = 500
"""Characters that are kept of an endpoint's message."""


class SendResult(NamedTuple):
    """How one request ended."""

    kind: Kind
    message: str = ""
    """The endpoint's text, or what went wrong on the way to it."""
    retry_after_seconds: float | None = None
    """Seconds that the endpoint asks to wait; None where it does not say."""
    rejected: int = 0
    """Spans that a partial success refuses."""
    may_be_record: bool = False
    """A retry that one bad record may be the cause of (500, INTERNAL), not only an endpoint in trouble."""

    too_large: bool = False
    """A poison that is the request's size: smaller ones may be taken, and nothing else need be wrong."""

    @property
    def endpoint_only(self) -> bool:
        """Whether the failure is the endpoint's, whatever the records in the request are."""
        return self.kind in ("retry", "config") and not self.may_be_record

    def without(self, secrets: Sequence[str]) -> SendResult:
        """The result without these texts in its message, should the endpoint have repeated one."""
        message = self.message
        for secret in secrets if message else ():
            message = message.replace(secret, "…")
        return self if message == self.message else self._replace(message=message)


def shorten(message: str) -> str:
    """A message in one line of printable characters, `MESSAGE_LIMIT` at the most."""
    printable = "".join(c if c.isprintable() else " " for c in message[: 2 * MESSAGE_LIMIT])
    return " ".join(printable.split())[:MESSAGE_LIMIT]
