"""What is posted and answered, and what a client knows of it: the values that the model is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

SECOND = 1_000_000
HOUR = 3_600 * SECOND
DAY = 24 * HOUR
IDLE_AFTER = 1_800 * SECOND
NEAR = 30 * SECOND
"""That a clock which is not exact may be off, with all the time that a post may have taken."""
OBJECTIVE_MS = 2_000
TYPES = ("consulta", "pipeline")
OPEN, OTHER, CLOSED = "abierto", "otro-gpt", "cerrado"
"""Two GPTs without keys, and one with a key."""

Body = dict[str, Any]


class Post(NamedTuple):
    path: str
    body: Any
    key: str | None = None
    """Its `Idempotency-Key`."""
    conversation: str | None = None
    with_api_key: bool = False

    def __str__(self) -> str:
        told = "".join(
            f" {name}={value}"
            for name, value in (("Idempotency-Key", self.key), ("conversation", self.conversation))
            if value
        )
        return f"POST {self.path}{told}{' with key' * self.with_api_key} {self.body}"


class Answer(NamedTuple):
    status: int
    body: Any


class Unkept(AssertionError):
    """A promise that was not kept."""


@dataclass
class Session:
    number: int
    gpt: str
    user: str
    started_us: int | None
    """None: known to the bridge alone."""
    chosen: bool
    """Whether its id is one that a client may post again."""
    last_us: int
    """When something of it last arrived."""
    id: str | None = None
    """None: nobody was told."""
    answer: Body | None = None
    events: list[Event] = field(default_factory=list)
    live: bool = True
    stretch: list[Event] = field(default_factory=list)
    """Its events since it was last idle."""
    period: tuple[int, int] | None = None
    """The first and the last of them."""

    def add(self, event: Event) -> None:
        self.events.append(event)
        self.stretch.append(event)
        self.live, self.last_us = True, event.arrived_us
        self._lengthen(event.end_us, event.arrived_us - DAY)

    def _lengthen(self, end_us: int, a_day_ago: int) -> None:
        """What arrives more than a day late has no part in the length of a period that something of its time belongs
        to; of history alone, the latest day counts."""
        if self.period is None:
            self.period = (end_us, end_us)
            return
        low, high = self.period
        together = (min(low, end_us), max(high, end_us))
        if high > a_day_ago:
            self.period = together if end_us > a_day_ago else self.period
        elif end_us > a_day_ago:
            self.period = (end_us, end_us)
        elif together[1] - together[0] <= DAY:
            self.period = together
        elif end_us > high:
            self.period = (end_us, end_us)


@dataclass
class Event:
    session: Session
    body: Body
    end_us: int
    arrived_us: int
    id: str | None = None
    answer: Body | None = None
    """None: it was taken in a batch, whose answer tells its id alone, or by a post whose answer was lost."""


@dataclass
class Rating:
    event: Event
    value: float
    arrived_us: int
    id: str | None = None
    answer: Body | None = None


def moment(text: str) -> int:
    """RFC 3339 → microseconds since the epoch."""
    at = datetime.fromisoformat(text)
    return (at - datetime.fromisoformat("1970-01-01T00:00:00Z")) // at.resolution


def keep(kept: bool, promise: str) -> None:
    if not kept:
        raise Unkept(promise)
