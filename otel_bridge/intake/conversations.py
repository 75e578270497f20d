"""Calls that only say which conversation they are of: their session is found, or opened.

A GPT that was told to create a session first will now and then not do so, or lose the id. Its calls carry
`openai-conversation-id`: an event without `sesion_id` then finds the session of that conversation, or opens it. The
header is a hint and never proof: it lets nobody in, it only names a session among those of a GPT that the caller may
post for. An MCP client's `_meta` says the same (mcp/tools.py).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any
from uuid import UUID

from otel_bridge import clock, contract, errors, times
from otel_bridge.access.caller import Caller, Conversation
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.errors import FieldError, Problem
from otel_bridge.ids import stamp_uuid, uuid_text
from otel_bridge.intake import answers
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.draft import Draft
from otel_bridge.intake.ingest import Ingest, Taking
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.times import format_time

GPT_MISSING = FieldError(
    "gpt_id",
    "falta este campo; se espera el código del GPT, porque el evento no trae «sesion_id»",
    "falta",
    "devops-expert",
)
_SESSION_EXAMPLE = "0197bd2e-6c00-7d9a-8f3e-2a4b6c8d0e1f"
SESSION_MISSING = FieldError("sesion_id", "falta este campo; se espera un UUID", "falta", _SESSION_EXAMPLE)
SESSION_WRONG = FieldError("sesion_id", "se espera un UUID", "tipo", _SESSION_EXAMPLE)


class Conversations:
    """The two posts as every entrance has them. What names no conversation goes straight to the ingest."""

    def __init__(self, ingest: Ingest, metrics: SelfMetrics, key: bytes) -> None:
        self._ingest = ingest
        self._metrics = metrics
        self._key = blake2b(key, digest_size=32, person=b"conversation-id").digest()

    def session_of(self, gpt_id: str, conversation: str) -> bytes:
        """The id of a conversation's session: the same one always, and nobody without the key can tell which."""
        digest = blake2b(f"{gpt_id}\0{conversation}".encode(), digest_size=16, key=self._key).digest()
        return stamp_uuid(int.from_bytes(digest, "big"), 8)

    # --- the posts --------------------------------------------------------------------------------------------------

    def post_session(self, body: bytes, caller: Caller) -> Taking:
        """`POST /api/sessions`. What it returns raises Problem."""
        if caller.conversation is None:
            return self._ingest.create_session(body, caller)
        try:
            value = contract.decode_value(body)
        except contract.BROKEN:
            raise contract.diagnose(body, SessionIn) from None
        return self.report_session(value, caller)

    def post_events(self, body: bytes, caller: Caller) -> Taking:
        """`POST /api/events`. What it returns raises Problem."""
        if caller.conversation is None:
            return self._ingest.add_events(body, caller)
        return self._decode_events(body, caller, caller.conversation)

    async def _decode_events(self, body: bytes, caller: Caller, conversation: Conversation) -> Draft | Answer:
        filling = _Filling(self, caller, conversation)
        if contract.is_batch(body):
            items = contract.decode_items(body, lambda raw: filling.event(contract.decode_value(raw)))
            await self._open(filling, caller)
            return await self._ingest.add_batch(items, caller)
        try:
            value = contract.decode_value(body)
        except contract.BROKEN:
            raise contract.diagnose(body, EventIn) from None
        return await self._add(filling, value, caller)

    def report_session(self, value: object, caller: Caller) -> Taking:
        """A session as a model reports it: what a model cannot know may be missing, and is filled in. Raises Problem,
        here or from what it returns."""
        if isinstance(value, dict):
            value = {name: given for name, given in value.items() if given is not None}
            gpt_id = caller.gpt_of_key() or (next(iter(self.gpts)) if len(self.gpts) == 1 else None)
            if gpt_id is not None:
                value.setdefault("gpt_id", gpt_id)
            if caller.conversation is not None:
                value.setdefault("usuario_id", caller.conversation.usuario_id)
            value.setdefault("timestamp_inicio", format_time(clock.now_us()))
        return self.create_session(*contract.session_from(value), caller)

    async def create_session(self, session: SessionIn, started_us: int, caller: Caller) -> Draft | Answer:
        """A checked session. A conversation has one: creating it again answers with it. Where several users may be in
        one, each that is named has a session of its own, and only the first one's is found again. Raises Problem."""
        conversation = caller.conversation
        gpt = self.gpts.get(session.gpt_id)
        if conversation is None or gpt is None or session.id is not None or caller.idempotency_key is not None:
            return await self._ingest.open_session(session, started_us, caller)
        session_id = self.session_of(gpt.id, conversation.id)
        await caller.admitted(gpt, 1)
        row = await self._ingest.sessions.row(session_id)
        if row is None:
            session.id = UUID(bytes=session_id)
            answer = await self._open_first(session, started_us, caller)
            if answer is not None:
                return answer
            row = await self._ingest.sessions.row(session_id)
            assert row is not None
        named = session.usuario_id != conversation.usuario_id
        if conversation.shared and named and not self._ingest.is_user(row, session.usuario_id):
            session.id = None
            return await self._ingest.open_session(session, started_us, caller)
        self._metrics.duplicate("session")
        return answers.session_answer(200, session_id, gpt.id, session.usuario_id, row.started_us)

    async def add_event(self, value: object, caller: Caller) -> Draft | Answer:
        """One event, as a decoded value. Raises Problem."""
        if caller.conversation is None:
            return await self._ingest.add_event(contract.reported_event_from(value), caller)
        return await self._add(_Filling(self, caller, caller.conversation), value, caller)

    def session_named(self, fields: Mapping[str, object], caller: Caller) -> str:
        """The id of the session that a call means: the one that it names, or its conversation's, which need not exist.
        Raises Problem."""
        named = fields.get("sesion_id")
        if named in (None, "") and caller.conversation is not None:
            try:
                gpt_id = _gpt_of(fields, caller, self.gpts)
            except Problem as problem:
                _count_guess(problem, caller)
                raise
            return uuid_text(self.session_of(gpt_id, caller.conversation.id))
        if not isinstance(named, str) or not named:
            error = SESSION_MISSING if named in (None, "") else SESSION_WRONG
            raise Problem(errors.INVALID_DATA, "Revisa: «sesion_id».", [error])
        return named

    # --- parts ------------------------------------------------------------------------------------------------------

    @property
    def gpts(self) -> Mapping[str, Any]:
        return self._ingest.gpts

    async def _add(self, filling: _Filling, value: object, caller: Caller) -> Draft | Answer:
        try:
            event = filling.event(value)
        except Problem as problem:
            _count_guess(problem, caller)
            raise
        await self._open(filling, caller)
        return await self._ingest.add_event(event, caller)

    async def _open(self, filling: _Filling, caller: Caller) -> None:
        """Lets the filled-in events in, and opens those of their sessions that do not exist. Nothing is opened for an
        event that may not be posted; one that the journal then finds to be a conflict (409) has its session open."""
        for gpt_id, session in filling.sessions.items():
            new = (
                not self._ingest.sessions.remembers(session.id) and await self._ingest.sessions.row(session.id) is None
            )
            await caller.admitted(self.gpts[gpt_id], session.events + new)
            if new:
                started = format_time(session.started_us)
                opened = SessionIn(gpt_id, filling.conversation.usuario_id, started, UUID(bytes=session.id))
                await self._open_first(opened, session.started_us, caller)

    async def _open_first(self, session: SessionIn, started_us: int, caller: Caller) -> Answer | None:
        """Opens a conversation's session; None where another call of that was first. Raises Problem."""
        try:
            return await self._ingest.finish(self._ingest.open_session(session, started_us, caller))
        except Problem as problem:
            if problem.kind is not errors.ID_CONFLICT:
                raise
            return None


class _FilledSession:
    """A session that events without one go to."""

    def __init__(self, session_id: bytes) -> None:
        self.id = session_id
        self.events = 0
        self.started_us = sys.maxsize


class _Filling:
    """Fills in the session of a request's events that have none."""

    def __init__(self, conversations: Conversations, caller: Caller, conversation: Conversation) -> None:
        self._conversations = conversations
        self._caller = caller
        self.conversation = conversation
        self.sessions: dict[str, _FilledSession] = {}
        """By GPT: those that had to be filled in."""

    def event(self, value: object) -> EventIn:
        """The event that a decoded value holds, with its session. Raises Problem."""
        if not isinstance(value, dict) or value.get("sesion_id") not in (None, ""):
            return contract.reported_event_from(value)
        gpt_id = _gpt_of(value, self._caller, self._conversations.gpts)
        session_id = self._conversations.session_of(gpt_id, self.conversation.id)
        event = contract.reported_event_from({**value, "sesion_id": uuid_text(session_id)})
        now_us = clock.now_us()
        try:
            event_us = contract.event_time(event, now_us)
        except ValueError:
            return event  # refused where it is taken in, with every wrong field
        ended_us = now_us if event_us is None else event_us
        session = self.sessions.setdefault(gpt_id, _FilledSession(session_id))
        session.events += 1
        started_us = max(times.EARLIEST_US, ended_us - round(event.latency_ms * 1000))
        session.started_us = min(session.started_us, started_us)
        return event


def _count_guess(problem: Problem, caller: Caller) -> None:
    """Looking for GPTs is limited. Raises Problem (429)."""
    if problem.kind is errors.GPT_NOT_FOUND:
        caller.admit_unknown(1)


def _gpt_of(fields: Mapping[str, object], caller: Caller, gpts: Mapping[str, Any]) -> str:
    """The GPT of what has no session: named beside it, or by its caller's key, or the only one there is."""
    gpt_id = fields.get("gpt_id")
    if gpt_id is not None:
        if not isinstance(gpt_id, str) or gpt_id not in gpts:
            raise Problem(errors.GPT_NOT_FOUND)
        return gpt_id
    own = caller.gpt_of_key()
    if own is not None and own in gpts:
        return own
    if len(gpts) == 1:
        return next(iter(gpts))
    raise Problem(errors.INVALID_DATA, "Revisa: «sesion_id», «gpt_id».", [GPT_MISSING])
