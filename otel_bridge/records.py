"""The records in the journal, and the ids derived from them. No I/O.

A record is what has been accepted: user ids are hashed and contents redacted before it is made. On disk it is an
array, not an object (`array_like`): a record of the guide takes about 150 bytes.
Fields may be added at the end, with a default; none may be removed or reordered.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import msgspec


class Session(msgspec.Struct, array_like=True, tag_field="record", tag="s", gc=False):
    """A session was created. Its id is the id of its first trace."""

    id: bytes
    gpt: str
    user: str
    started_us: int
    arrived_us: int
    link: bytes | None = None
    """Caller's trace id (16 bytes) and span id (8), from `traceparent`."""
    historic: bool = False
    """Whether it was told as history (docs/decisions/0019-history.md)."""


UNMEASURED_LATENCY, UNMEASURED_TOKENS_IN, UNMEASURED_TOKENS_OUT = 1, 2, 4
"""Bits of `Extras.unmeasured`: numbers of an event that nobody measured. They stand at 0 in it, and count nowhere."""


class ToolCall(msgspec.Struct, array_like=True, gc=False):
    """A call of a tool within an answer."""

    name: str
    ms: float
    error: str | None = None


class Extras(msgspec.Struct, array_like=True, gc=False):
    """What few events say beyond the documented fields: those that say none of it hold no such object."""

    unmeasured: int = 0
    """Bits: UNMEASURED_…"""
    ttft_ms: float | None = None
    """Milliseconds to the first token, from the event's start."""
    tokens_reasoning: int | None = None
    """The part of `tokens_out` that the model spent on reasoning."""
    version: str | None = None
    """Of prompt or agent."""
    tools: list[ToolCall] = []
    """In the order in which they were called."""
    historic: bool = False
    """Whether the event was told as history: it is of no latency, cost or objective of today's."""


class Event(msgspec.Struct, array_like=True, tag_field="record", tag="e", gc=False):
    """A question was answered. `end_us` is its own timestamp, or its arrival where it has none."""

    id: bytes
    session: bytes
    gpt: str
    user: str
    type: str
    content: str | None
    latency_ms: float
    tokens_in: int
    tokens_out: int
    end_us: int
    arrived_us: int
    model: str | None = None
    error: str | None = None
    link: bytes | None = None
    tokens_cached: int | None = None
    """The part of `tokens_in` that the provider's cache served, where the client told it."""
    part: int = 0
    """Which of its session's traces it is in. The journal decides that (`journal/parts.py`)."""
    opens: bool = False
    """Whether it is the first event of a later part: that trace's root goes out with it."""
    extras: Extras | None = None


class Idle(msgspec.Struct, array_like=True, tag_field="record", tag="i", gc=False):
    """A session fell idle. It is a record so that its duration and events are observed once.

    A session that becomes active again starts a new period: each period is observed once.
    """

    session: bytes
    gpt: str
    duration_s: float
    events: int
    arrived_us: int


class Feedback(msgspec.Struct, array_like=True, tag_field="record", tag="f", gc=False):
    """Somebody rated an answer. A release from before it knows no such record, and refuses a journal that has one."""

    id: bytes
    event: bytes
    """Of the event that was rated, whose session, GPT, user, model and part follow."""
    session: bytes
    gpt: str
    user: str
    value: float
    """From -1 (bad) to 1 (good)."""
    comment: str | None
    arrived_us: int
    model: str | None = None
    part: int = 0
    link: bytes | None = None
    historic: bool = False
    """Whether it was told as history."""


Record = Session | Event | Idle | Feedback

_span_digest = blake2b(digest_size=8).copy
_trace_digest = blake2b(digest_size=16, person=b"session-part").copy
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])


def encode(records: list[Record]) -> bytes:
    """Records → one journal segment's body."""
    return _encoder.encode(records)


def decode(body: bytes) -> list[Record]:
    """One journal segment's body → its records. Raises msgspec.DecodeError."""
    return _decoder.decode(body)


def event_span_id(event_id: bytes) -> bytes:
    """Span id of an event: the same record always has the same span.

    The event id (16 bytes) is itself unique to its session, so 8 bytes of its digest derive from both.
    """
    digest = _span_digest()  # a copy costs half of a new one
    digest.update(event_id)
    return digest.digest()


def tool_span_id(event_id: bytes, number: int) -> bytes:
    """Span id of a call of a tool within an event: the first is 0."""
    digest = _span_digest()
    digest.update(event_id + b"t" + number.to_bytes(2, "big"))
    return digest.digest()


@lru_cache(4096)
def part_trace_id(session_id: bytes, part: int) -> bytes:
    """Trace id of a part of a session: the session's own id for the first, and derived from it for the others."""
    if part == 0:
        return session_id
    digest = _trace_digest()
    digest.update(session_id + part.to_bytes(8, "big"))
    return digest.digest()


def feedback_span_id(feedback_id: bytes) -> bytes:
    """Span id of a rating. An event of the same id, which a client may choose, has another."""
    digest = _span_digest()
    digest.update(b"f" + feedback_id)
    return digest.digest()


def session_span_id(trace_id: bytes) -> bytes:
    """Span id of the root of a session's trace. An event of the same id, which a client may choose, has another."""
    digest = _span_digest()
    digest.update(b"s" + trace_id)
    return digest.digest()
