"""A bridge with its receiver, as the rules know it: desk.py is one in this process, served.py a real one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from tests.promises.values import Answer, Post


class Span(NamedTuple):
    trace_id: str
    span_id: str
    parent_id: str


class Counts(NamedTuple):
    """What /metrics shows."""

    owed: Mapping[tuple[str, ...], float]
    """As `totals.counts` has them."""
    duplicates: Mapping[str, float]
    refused: Mapping[tuple[str, int], float]
    exported: float
    pending: float
    parked: float
    gap: float


class Served(Protocol):
    """A bridge with its receiver."""

    exact_clock: bool
    """Whether its clock is told to the microsecond, and stands still until told."""
    keeps_house: bool
    """Whether it looks for idle sessions by itself."""

    def now_us(self) -> int: ...

    def post(self, posts: Sequence[Post], bodies: Sequence[bytes], packed: bool) -> list[Answer]:
        """Posts at once. `bodies`: theirs, as they are written; `packed`: compressed."""

    def states(self, sessions: Sequence[tuple[str, bool]]) -> list[Answer]:
        """`GET /api/sessions/{id}` of each, with the API key or without."""

    def counts(self) -> Counts: ...

    def delivered(self) -> list[Span]:
        """What the receiver has taken, in order."""

    def deliver(self) -> None:
        """Waits until nothing waits to be delivered."""

    def outage(self, on: bool) -> None: ...

    def checkpoint(self) -> None: ...

    def restart(self, kill: bool) -> None: ...

    def pass_time(self, us: int, may_kill: bool) -> None:
        """So much time passes. `may_kill`: it need not run meanwhile."""

    def keep_house(self, idle: int) -> None:
        """Until it has looked for idle sessions at this time: `idle` in all."""

    def close(self) -> None: ...
