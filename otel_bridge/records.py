"""What the journal holds, and the identities that are derived from it. No I/O.

A record is a fact that has been accepted: personal data is already hashed and content already redacted
when it becomes one. Arrays, not objects, on disk (`array_like`): a record of the guide takes about 150 bytes.
Fields may be added at the end, with a default; none may be removed or reordered.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec


class Session(msgspec.Struct, array_like=True, tag_field="record", tag="s", gc=False):
    """A session was created. Its id is its trace id."""

    id: bytes
    gpt: str
    user: str
    started_us: int
    arrived_us: int
    link: bytes | None = None
    """Caller's trace id (16 bytes) and span id (8), from `traceparent`."""


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


class Idle(msgspec.Struct, array_like=True, tag_field="record", tag="i", gc=False):
    """A session fell idle. Journaled, so that what is observed from it is observed once.

    A session that wakes again starts a new stretch: each stretch is observed once.
    """

    session: bytes
    gpt: str
    duration_s: float
    events: int
    arrived_us: int


Record = Session | Event | Idle

_span_digest = blake2b(digest_size=8).copy
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
    digest = _span_digest()  # a copy of one that is made costs half of making it
    digest.update(event_id)
    return digest.digest()


def session_span_id(session_id: bytes) -> bytes:
    """Span id of a session's root span: another one than an event's with the same id, which a client may choose."""
    digest = _span_digest()
    digest.update(b"s" + session_id)
    return digest.digest()
