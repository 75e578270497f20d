"""From a documented body to a journaled record and its answer: what every entrance shares.

bytes ──contract──▶ values ──sessions, caller──▶ draft: redacted records ──journal (fsync)──▶ results ──▶ answer

Every coroutine here waits for futures only, and only where something is missing: an event of a session that is
remembered waits for nothing until it is a draft. So the exchange may run it without a task (http/exchange.py).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from otel_bridge import clock, contract, errors
from otel_bridge.access.caller import Caller
from otel_bridge.config import Config, Gpt
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.errors import Problem
from otel_bridge.intake import answers
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.batch_process import BatchProcess
from otel_bridge.intake.contents import Contents
from otel_bridge.intake.draft import Draft
from otel_bridge.intake.identity import Identity
from otel_bridge.intake.labels import Labels
from otel_bridge.intake.sessions import KnownSession, Sessions
from otel_bridge.journal import Duplicate, Journal, SessionRow
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.privacy.users import UserHasher

Taking = Coroutine[Any, Any, Draft | Answer]
"""A request on its way in: it gives a draft, which is journaled and then answers, or the answer itself. Awaited by
`Ingest.finish`, or driven by its exchange (http/exchange.py)."""

Items = Sequence[EventIn | Problem]
"""What a request holds, in order: events, and what is wrong with those that are none."""

HASHED = "hash:"
"""What a `usuario_id` of history begins with that is a hash already; with nothing behind it: somebody forgotten."""
_HASHED = re.compile(rf"{HASHED}([0-9a-f]{{16}}|)").fullmatch

BATCHES_AT_ONCE = 4
"""Batches that are decoded and in hand together: decoded, a batch takes ten times the memory of its body."""
APART_BYTES = 32_768
"""A batch of more is made ready in another process: the way there takes a third of a millisecond."""
OLDEST_US = 30_000_000
"""What took longer to be made ready there, since a process before it hung, arrives anew: a rating looks for its event
within a minute of its arrival (journal/event_search.py)."""
CHUNK_SECONDS = 0.003
"""Time that a batch is prepared on the event loop before others get their turn."""
CHUNK_ITEMS = 64
"""A batch looks at the clock after so many items."""
ASIDE_ITEMS = 500
"""A batch of more, in which something is wrong, is answered from a thread: each problem is spelled out."""


LetIn = tuple[dict[int, KnownSession], dict[str | None, Problem], bool]
"""What is known of a request's items before they are made ready: their sessions, by UUID as a number; why items of a
GPT are refused (None: of no session that exists); whether something was waited for since the sessions were found."""


class Ingest:
    """One for the process. Its coroutines run on one event loop."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        sessions: Sessions,
        contents: Contents,
        hasher: UserHasher,
        metrics: SelfMetrics,
        key: bytes,
        process: BatchProcess | None = None,
    ) -> None:
        """`process`: None on one core."""
        self.sessions = sessions
        self._journal = journal
        self._contents = contents
        self._labels = Labels(config)
        self._identity = Identity(key)
        self._hasher = hasher
        self._metrics = metrics
        self._process = process
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; requests under way finish with the one they began with."""
        self.gpts: Mapping[str, Gpt] = config.gpts
        self._labels.configure(config)
        self._contents.configure(config)
        self._trace_url = None if config.trace_url is None else answers.as_uri(config.trace_url)

    def close(self) -> None:
        self.sessions.close()
        self._contents.close()
        if self._process is not None:
            self._process.close()

    # --- sessions ---------------------------------------------------------------------------------------------------

    def create_session(self, body: bytes, caller: Caller) -> Taking:
        """`POST /api/sessions`. Raises Problem, here or from what it returns."""
        return self.open_session(*contract.decode_session(body), caller)

    async def open_session(self, session: SessionIn, started_us: int, caller: Caller) -> Draft | Answer:
        """The draft of a checked session. Raises Problem.

        An id that the client chose is its own, whoever used it before: where another GPT has it, the session of a GPT
        with keys gets another one, and the chosen one leads to it for whoever presents such a key (`_own_sessions`).
        Without keys nothing tells whose session an event means: there it is a conflict.
        """
        gpt = self.gpts.get(session.gpt_id)
        if gpt is None:
            caller.admit_unknown(1)
            raise Problem(errors.GPT_NOT_FOUND)
        await caller.admitted(gpt, 1)
        draft = self._draft_session(session, started_us, caller, None)
        if session.id is None or not gpt.closed:
            return draft
        await self._journal.append(draft)
        if draft.conflicts:
            row = await self.sessions.row(session.id.bytes)
            if row is not None and row.gpt != gpt.id:
                own_id = self._identity.own_session(gpt.id, session.id.bytes)
                return self._draft_session(session, started_us, caller, own_id)
        return draft.answer()

    def _draft_session(self, session: SessionIn, started_us: int, caller: Caller, own_id: bytes | None) -> Draft:
        now_us = clock.now_us()
        draft = Draft(self._identity, self._labels, (session,), caller, now_us, self._answer_session)
        draft.add_session(session, started_us, self._user(session.usuario_id, caller), own_id)
        return draft

    def _user(self, usuario_id: str, caller: Caller) -> str:
        """A user's hash. History that was exported has the hash already: hashed again it would be another user's."""
        hashed = _HASHED(usuario_id) if caller.historic else None
        return self._hasher(usuario_id) if hashed is None else hashed[1]

    async def _own_sessions(
        self, numbers: Iterable[int], sessions: Mapping[int, KnownSession], caller: Caller
    ) -> dict[int, KnownSession]:
        """The sessions of a key's own GPT whose chosen id another GPT has as well, by that id as a number."""
        own = caller.gpts_of_key()
        strange = [number for number in numbers if number not in sessions or sessions[number].gpt not in own]
        ids: dict[int, int] = {}
        for number in strange:
            for own_id in self._own_ids(own, number.to_bytes(16, "big")):
                ids[int.from_bytes(own_id, "big")] = number
        return {ids[number]: session for number, session in (await self.sessions.find([*ids])).items()} if ids else {}

    def _own_ids(self, gpt_ids: Iterable[str], chosen_id: bytes) -> list[bytes]:
        return [self._identity.own_session(gpt_id, chosen_id) for gpt_id in gpt_ids]

    def _answer_session(self, draft: Draft) -> Answer:
        status, record = draft.session_result()
        if status == 200:
            self._metrics.duplicate("session")  # and not remembered: it may be past retention
        else:
            self.sessions.remember(KnownSession(record.id, record.gpt, record.user))
        session = draft.items[0]
        assert isinstance(session, SessionIn)
        return answers.session_answer(status, record.id, record.gpt, session.usuario_id, record.started_us)

    async def session_state(self, session_id: str, caller: Caller) -> Answer:
        """`GET /api/sessions/{id}`. Raises Problem."""
        id_, row = await self.known_session(session_id, caller)
        return answers.session_state(id_, row, self._trace_url)

    async def known_session(self, session_id: str, caller: Caller) -> tuple[bytes, SessionRow]:
        """The session that a caller means by an id, let in for its GPT: its own id and its state. Raises Problem."""
        row, id_ = None, b""
        with contextlib.suppress(ValueError):
            id_ = UUID(session_id).bytes
            row = await self.sessions.row(id_)
            own = caller.gpts_of_key()
            if row is None or row.gpt not in own:
                for own_id in self._own_ids(own, id_):
                    own_row = await self.sessions.row(own_id)
                    if own_row is not None:
                        row, id_ = own_row, own_id
        await caller.admitted_to(None if row is None else row.gpt, self.gpts, errors.SESSION_NOT_FOUND)
        assert row is not None
        return id_, row

    def is_user(self, row: SessionRow, usuario_id: str) -> bool:
        """Whether a session is this user's."""
        return row.user == self._hasher(usuario_id)

    # --- events -----------------------------------------------------------------------------------------------------

    def add_events(self, body: bytes, caller: Caller) -> Taking:
        """`POST /api/events`, one object or an array. Raises Problem, here or from what it returns."""
        if contract.is_batch(body):
            return self._add_batch_of(body, caller)
        event = contract.decode_reported(body) if caller.historic else contract.decode_event(body)
        return self._prepare((event,), caller, self._answer_event)

    def add_event(self, event: EventIn, caller: Caller) -> Taking:
        """The draft of one event. What it returns raises Problem."""
        return self._prepare((event,), caller, self._answer_event)

    async def _add_batch_of(self, body: bytes, caller: Caller) -> Answer:
        async with self._batches:
            if (
                len(body) > APART_BYTES
                and self._process is not None
                and not (caller.historic or caller.idempotency_key)
            ):
                answer = await self._add_prepared(self._process, body, caller)
                if answer is not None:
                    return answer
            items = contract.decode_good_batch(body)
            if items is None:
                read = contract.decode_reported_batch if caller.historic else contract.decode_mixed_batch
                items = await self._contents.aside(read, body)
            return await self.add_batch(items, caller)

    async def add_batch(self, items: Items, caller: Caller) -> Answer:
        """Journals the good items of a batch in one commit; the answer has one result an item, in order."""
        return await self._taken(await self._prepare(items, caller, self._answer_event), None)

    async def _add_prepared(self, process: BatchProcess, body: bytes, caller: Caller) -> Answer | None:
        """What `add_batch` does, of a body whose events another process makes ready. None: nothing of it is done, since
        something in it is wrong, or not as it is in nearly all batches."""
        now_us = clock.now_us()
        prepared = await process.prepare(body, now_us, self._contents.max_chars)
        if prepared is None or clock.now_us() - now_us > OLDEST_US:
            return None
        events, answer = prepared.events, self._answer_event
        posted = {int.from_bytes(session, "big"): amount for session, amount in prepared.posted.items()}
        let_in = await self._let_in(len(events), posted, caller)
        sessions, refused, waited = let_in
        known = {session.id: session for session in sessions.values()}
        if refused or known.keys() != prepared.posted.keys():  # some are refused, or of another session
            items = contract.decode_good_batch(body)
            assert items is not None
            return await self._taken(await self._prepare(items, caller, answer, let_in), None)
        unclean = [(position, events[position].content or "") for position in prepared.unclean]
        draft = Draft(self._identity, self._labels, events, caller, now_us, answer)
        draft.take(events, prepared.keys, prepared.digests, known)
        if unclean:
            waited = True
            await self._redact(draft, unclean)
        if waited and self.sessions.refuses(known.values()):
            return None
        return await self._taken(draft, prepared.answer)

    async def _taken(self, draft: Draft, all_taken: bytes | None) -> Answer:
        """The answer to a batch, once it is journaled. `all_taken`: its body where all is taken, if it is known."""
        if draft.records:
            await self._journal.append(draft)
        self._count(draft)
        if draft.all_new:
            return answers.all_taken(draft.records) if all_taken is None else Answer(201, all_taken)
        results = draft.results()
        for result in results:
            if isinstance(result, Problem):
                self._metrics.rejected("event", result.kind)
        if len(results) > ASIDE_ITEMS:
            return await self._contents.aside(answers.batch_answer, results)
        return answers.batch_answer(results)

    def _answer_event(self, draft: Draft) -> Answer:
        if draft.outcomes or draft.redactions:
            self._count(draft)
        event = draft.items[0]
        assert isinstance(event, EventIn)
        return answers.event_answer(event, *draft.event_result())

    async def _prepare(
        self, items: Items, caller: Caller, answer: Callable[[Draft], Answer], let_in: LetIn | None = None
    ) -> Draft:
        """The draft of what is good of these items. Raises Problem where they are refused as a whole."""
        if let_in is None:
            numbers = [item.sesion_id.int for item in items if isinstance(item, EventIn)]
            posted = Counter(numbers) if len(numbers) > 1 else dict.fromkeys(numbers, 1)
            let_in = await self._let_in(len(items), posted, caller)
        sessions, refused, waited = let_in
        now_us = clock.now_us()
        draft = Draft(self._identity, self._labels, items, caller, now_us, answer)
        contents, alone, began = self._contents, len(items) == 1, time.perf_counter()
        # A batch does this for each event: what can be looked up before is.
        event_time, leaves, add_event = contract.event_time, contents.leaves, draft.add_event
        counts: dict[str, int] = {}
        unclean: list[tuple[int, str]] = []
        """Records of a batch that still want their content, and the content that is to be redacted."""
        looks = CHUNK_ITEMS
        for place, item in enumerate(items):
            if place >= looks:
                looks = place + CHUNK_ITEMS
                if time.perf_counter() - began > CHUNK_SECONDS:
                    await asyncio.sleep(0)
                    began, waited = time.perf_counter(), True
            if isinstance(item, Problem):
                draft.problems[place] = item
                continue
            try:
                event_us = event_time(item, now_us)
            except ValueError:
                draft.problems[place] = contract.diagnose_event(item, now_us)
                continue
            session = sessions.get(item.sesion_id.int)
            if refused and (session is None or session.gpt in refused):
                draft.problems[place] = refused[None if session is None else session.gpt]
                continue
            assert session is not None
            text: str | None = item.contenido
            if leaves(item.contenido):
                pass
            elif not alone:
                unclean.append((len(draft.records), item.contenido))
            elif contents.must_wait(item.contenido):
                text, waited = await contents.kept_elsewhere(item.contenido, counts), True
            else:
                text = contents.kept(item.contenido, counts)
            add_event(place, item, event_us, session, text, counts)
            if counts:
                counts = {}
        if unclean:
            waited = True
            await self._redact(draft, unclean)
        if waited and self.sessions.refuses(sessions.values()):  # trimmed meanwhile
            return await self._prepare(items, caller, answer)
        return draft

    async def _redact(self, draft: Draft, unclean: Sequence[tuple[int, str]]) -> None:
        """Redacts the contents of these records of a draft."""
        kept = await self._contents.kept_together([content for _, content in unclean])
        for (position, _), (text, found) in zip(unclean, kept, strict=True):
            draft.keep(position, text, found)

    async def _let_in(self, items: int, posted: Mapping[int, int], caller: Caller) -> LetIn:
        """Finds the sessions of a request's items, so many of each, and asks that they be let in. Raises Problem where
        they are refused as a whole."""
        sessions, missing = self.sessions.remembered(posted)
        wanted = [*sessions, *missing] if caller.presents_key else []
        if missing:
            sessions |= await self.sessions.look_up(missing)
        if wanted:
            sessions |= await self._own_sessions(wanted, sessions, caller)
        refused, pending = self._admit(items, posted, sessions, caller)
        for gpt_id, admission in pending:
            try:
                await admission
            except Problem as problem:
                refused[gpt_id] = problem
        if refused:
            self._raise_if_whole(refused, items, sessions)
        return sessions, refused, bool(missing or wanted or pending)

    def _admit(
        self, items: int, posted: Mapping[int, int], sessions: Mapping[int, KnownSession], caller: Caller
    ) -> tuple[dict[str | None, Problem], list[tuple[str, asyncio.Future[None]]]]:
        """Asks that a request's items be let in, so many of each session: why they are not, by their session's GPT
        (None: of no session that exists), and what must be awaited to know."""
        refused: dict[str | None, Problem] = {}
        pending: list[tuple[str, asyncio.Future[None]]] = []
        amounts: dict[str, int] = {}
        for number, amount in posted.items():
            session = sessions.get(number)
            if session is not None:
                amounts[session.gpt] = amounts.get(session.gpt, 0) + amount
        unknown = items
        for gpt_id, amount in amounts.items():
            gpt = self.gpts.get(gpt_id)
            if gpt is None:
                refused[gpt_id] = Problem(errors.GPT_NOT_FOUND)
                continue
            unknown -= amount
            try:
                admission = caller.admit(gpt, amount)
            except Problem as problem:
                refused[gpt_id] = problem
            else:
                if admission is not None:
                    pending.append((gpt_id, admission))
        if unknown:
            refused[None] = Problem(errors.SESSION_NOT_FOUND)
            try:
                caller.admit_unknown(unknown)
            except Problem as problem:
                unregistered = [gpt_id for gpt_id in amounts if gpt_id not in self.gpts]
                refused |= dict.fromkeys((None, *unregistered), problem)
        return refused, pending

    def _raise_if_whole(
        self, refused: Mapping[str | None, Problem], items: int, sessions: Mapping[int, KnownSession]
    ) -> None:
        """A request of one GPT that may not post is refused as a whole, as a single event is."""
        gpts = {session.gpt for session in sessions.values()}
        if len(gpts) == 1 and refused.keys() >= gpts:
            refusal = refused[gpts.pop()]
            self._metrics.rejected("event", refusal.kind, items - 1)  # who answers it counts one more
            raise refusal

    # --- the end of it ------------------------------------------------------------------------------------------------

    async def finish(self, taking: Taking) -> Answer:
        """The answer to a request, for what runs in a task: journals its draft and waits. Raises Problem."""
        outcome = await taking
        if isinstance(outcome, Answer):
            return outcome
        if outcome.records:
            await self._journal.append(outcome)
        return outcome.answer()

    # --- parts ------------------------------------------------------------------------------------------------------

    def _count(self, draft: Draft) -> None:
        """Counts repeats, and what was redacted of the records that are new."""
        outcomes = draft.outcomes
        if outcomes is not None:
            for outcome in outcomes:
                if isinstance(outcome, Duplicate):
                    self._metrics.duplicate("event")
        for i, counts in draft.redactions.items():
            if outcomes is None or outcomes[i] is None:
                self._metrics.redactions.update(counts)
