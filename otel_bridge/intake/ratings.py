"""Ratings of answers: from a body to a journaled record, as events are taken (ingest.py).

body ──contract──▶ value ──rated_events──▶ event ──caller──▶ redacted record ──journal (fsync)──▶ answer
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from uuid import UUID

from otel_bridge import clock, contract, errors
from otel_bridge.access.caller import Caller
from otel_bridge.config import Config, Gpt
from otel_bridge.contract import FeedbackIn
from otel_bridge.errors import Problem
from otel_bridge.ids import derived_uuid
from otel_bridge.intake import answers
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.contents import Contents
from otel_bridge.intake.identity import Identity
from otel_bridge.intake.ingest import Taking
from otel_bridge.intake.rated_events import RatedEvent, RatedEvents
from otel_bridge.journal import Append, Conflict, Duplicate, Journal, Reader
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.records import Feedback


class Ratings:
    """One for the process. Its coroutines run on one event loop."""

    def __init__(
        self, config: Config, journal: Journal, reader: Reader, contents: Contents, metrics: SelfMetrics, key: bytes
    ) -> None:
        """`reader`: for this alone. `contents`: as configured by the ingest."""
        self._journal = journal
        self._contents = contents
        self._metrics = metrics
        self._identity = Identity(key)
        self._events = RatedEvents(config, reader, self._identity, journal.damage)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; requests under way finish with the one they began with."""
        self._gpts: Mapping[str, Gpt] = config.gpts
        self._events.configure(config)

    def close(self) -> None:
        self._events.close()

    def post(self, event_id: str, body: bytes, caller: Caller) -> Taking:
        """`POST /api/events/{id}/valoracion`. Raises Problem, here or from what it returns."""
        return self.rate(event_id, contract.decode_feedback(body), caller)

    async def rate(self, event_id: str, feedback: FeedbackIn, caller: Caller) -> Answer:
        """Journals a checked rating. Raises Problem."""
        event = await self._event(event_id, caller)
        counts: dict[str, int] = {}
        comment = await self._kept(feedback.comentario or None, counts)
        if not event.user:  # who was taken out (`user forget`): no text is kept any more
            comment = None
        now_us = clock.now_us()
        key, digest = self._key(event, feedback, caller)
        id_ = derived_uuid(key, now_us) if feedback.id is None else feedback.id.bytes
        record = Feedback(
            id_, event.id, event.session, event.gpt, event.user, feedback.valor + 0.0, comment, now_us,
            event.model, event.part, caller.link, caller.historic,
        )  # fmt: skip
        append = Append([record], [key], {} if digest is None else {0: digest})
        await self._journal.append(append)
        outcome = None if append.outcomes is None else append.outcomes[0]
        if isinstance(outcome, Conflict):
            raise Problem(errors.ID_CONFLICT)
        if isinstance(outcome, Duplicate):
            self._metrics.duplicate("feedback")
            record.arrived_us = outcome.arrived_us
            if feedback.id is None:
                record.id = derived_uuid(key, outcome.arrived_us)
            return answers.feedback_answer(200, record)
        self._metrics.redactions.update(counts)
        return answers.feedback_answer(201, record)

    async def _event(self, event_id: str, caller: Caller) -> RatedEvent:
        """The event, for a caller who may post for its GPT. Raises Problem."""
        event = None
        with contextlib.suppress(ValueError):
            event = await self._events.find(UUID(event_id).bytes, caller.gpts_of_key(), caller.refuse_guesses)
        await caller.admitted_to(None if event is None else event.gpt, self._gpts, errors.EVENT_NOT_FOUND)
        assert event is not None
        return event

    async def _kept(self, comment: str | None, counts: dict[str, int]) -> str | None:
        contents = self._contents
        if comment is None or contents.leaves(comment):
            return comment
        if contents.must_wait(comment):
            return await contents.kept_elsewhere(comment, counts)
        return contents.kept(comment, counts)

    def _key(self, event: RatedEvent, feedback: FeedbackIn, caller: Caller) -> tuple[bytes, bytes | None]:
        """What a repeat is recognised by, and a digest of what it must say to be one where the key does not tell."""
        identity = self._identity
        if feedback.id is not None:
            key = identity.of_feedback_id(event.gpt, feedback.id.bytes)
        elif caller.idempotency_key is not None:
            key = identity.of_header(b"feedback", event.session, caller.idempotency_key)
        else:
            return identity.of_feedback(event.id, event.gpt, feedback), None
        return key, identity.feedback_digest(event.id, event.gpt, feedback)
