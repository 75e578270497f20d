"""What a repeat of a record is recognised by, and what tells that an id stands for something else.

All digests are keyed: nobody without the key can tell from the journal whether a text was ever sent.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct

from otel_bridge.contract import EventIn, FeedbackIn, ReportedEventIn
from otel_bridge.ids import stamp_uuid

_numbers = Struct("<dqqq").pack


def _later_fields(event: EventIn) -> str:
    """Fields that came after 0.1.0: nothing where none is given, so that a retry across an upgrade is recognised. No
    text of the contract can hold a NUL."""
    said = "" if event.tokens_cache is None else f"\0tokens_cache={event.tokens_cache}"
    if event.ttft_ms is not None:
        said += f"\0ttft_ms={event.ttft_ms}"
    if event.tokens_razonamiento is not None:
        said += f"\0tokens_razonamiento={event.tokens_razonamiento}"
    if event.version is not None:
        said += f"\0version={event.version}"
    if event.herramientas:
        said += f"\0herramientas={[(tool.nombre, tool.ms, tool.error) for tool in event.herramientas]}"
    if event.__class__ is ReportedEventIn:
        said += f"\0unmeasured={event.unmeasured}"
    return said


def is_of_id(key: bytes) -> bool:
    """Whether this is the key of an event whose id the client chose: no other id is derived of it."""
    return key[:1] == b"g"


class Identity:
    """Makes keys and digests. Keys begin with a letter for their kind: `c` content, `g` an id within its GPT, `k`
    Idempotency-Key (`i` was an id, whatever its GPT, in journals of 0.1.0), `r` a rating's id within its GPT, `v` what
    a rating says."""

    def __init__(self, key: bytes) -> None:
        key = blake2b(key, digest_size=32, person=b"content-digest").digest()
        # Digests are copied, not made: the key is hashed once (0.5 µs).
        self._of_content = blake2b(digest_size=10, key=key).copy
        self._of_all = blake2b(digest_size=16, key=key).copy
        self._masks: dict[str, int] = {}
        """By GPT."""

    def of_id(self, gpt_id: str, event_id: bytes) -> bytes:
        """The key of an event whose id the client chose (17 bytes): no GPT can take an id away from another.

        Ids that stand together stay together, since all of a GPT's are changed in the same bits.
        """
        mask = self._masks.get(gpt_id)
        if mask is None:
            mask = self._masks[gpt_id] = int.from_bytes(self._digest(b"event-ids\0", gpt_id.encode()), "big")
        return b"g" + (int.from_bytes(event_id, "big") ^ mask).to_bytes(16, "big")

    def of_feedback_id(self, gpt_id: str, feedback_id: bytes) -> bytes:
        """The key of a rating whose id the client chose (17 bytes); an event may have the same id."""
        return b"r" + self._digest(b"feedback-ids\0", gpt_id.encode(), b"\0", feedback_id)

    def of_feedback(self, event_id: bytes, gpt_id: str, feedback: FeedbackIn) -> bytes:
        """The key of a rating that is identified by what it says (17 bytes)."""
        return b"v" + self.feedback_digest(event_id, gpt_id, feedback)

    def feedback_digest(self, event_id: bytes, gpt_id: str, feedback: FeedbackIn) -> bytes:
        """Digest (16 bytes) of everything that a rating says."""
        said = f"{gpt_id}\0{feedback.valor + 0.0}\0{feedback.comentario or ''}"  # -0.0 is 0
        return self._digest(b"feedback\0", event_id, said.encode())

    def own_session(self, gpt_id: str, chosen_id: bytes) -> bytes:
        """The id (UUIDv8) of a GPT's session whose chosen id another GPT has."""
        digest = self._digest(b"session-ids\0", gpt_id.encode(), b"\0", chosen_id)
        return stamp_uuid(int.from_bytes(digest, "big"), 8)

    def of_header(self, kind: bytes, scope: bytes, idempotency_key: str) -> bytes:
        """The key that an `Idempotency-Key` gives a record of that kind within a GPT or a session (17 bytes)."""
        return b"k" + self._digest(kind, b"\0", scope, b"\0", idempotency_key.encode())

    def of_content(self, session: bytes, event: EventIn, event_us: int) -> bytes:
        """The key of an event that is identified by what it says (17 bytes).

        Its own time comes first: keys of events that come together stand together, however old the journal is.
        """
        numbers = _numbers(event.latency_ms, event.tokens_entrada, event.tokens_salida, event_us)
        text = f"{event.tipo}\0{event.contenido}"
        if (
            event.tokens_cache is not None
            or event.ttft_ms is not None
            or event.tokens_razonamiento is not None
            or event.version is not None
            or event.herramientas
            or event.__class__ is ReportedEventIn
        ):
            text += _later_fields(event)
        digest = self._of_content()
        digest.update(session + numbers + text.encode())
        return b"c" + (event_us // 1000).to_bytes(6, "big") + digest.digest()

    def event_digest(self, session: bytes, event: EventIn, event_us: int | None) -> bytes:
        """Digest (16 bytes) of everything that an event with a chosen id or an `Idempotency-Key` says."""
        numbers = _numbers(
            event.latency_ms, event.tokens_entrada, event.tokens_salida, -1 if event_us is None else event_us
        )
        text = f"{event.tipo}\0{event.modelo}\0{event.error}\0{event.contenido}{_later_fields(event)}".encode()
        return self._digest(session, numbers, text)

    def session_digest(self, gpt_id: str, user_id: str, started_us: int) -> bytes:
        """Digest (16 bytes) of everything that a session with a chosen id or an `Idempotency-Key` says."""
        return self._digest(f"{gpt_id}\0{user_id}\0{started_us}".encode())

    def _digest(self, *parts: bytes) -> bytes:
        digest = self._of_all()
        digest.update(b"".join(parts))
        return digest.digest()
