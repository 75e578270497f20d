"""From a documented body to a journaled record and its answer. What the API and every other door share.

bytes ──contract──▶ value ──session, gate──▶ redacted record ──journal (fsync)──▶ answer
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

import msgspec

from otel_bridge import catalog, contract, errors
from otel_bridge.config import Config, Gpt
from otel_bridge.contract import EventIn, EventOut, ItemOut, SessionIn, SessionOut, SessionState
from otel_bridge.errors import Problem
from otel_bridge.intake.contents import LONG_CHARS, Contents
from otel_bridge.journal.store import Append, Conflict, Outcome, Reader, SessionInfo, SessionRow, Taken
from otel_bridge.journal.writer import Journal, Landing
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.privacy.redaction import Redactor
from otel_bridge.privacy.users import UserHasher
from otel_bridge.records import Event, Record, Session, event_span_id

SESSIONS_REMEMBERED = 50_000
CODES_REMEMBERED = 1_000
"""Error codes of which it is known that redaction leaves them as they are."""
BATCHES_AT_ONCE = 4
"""Batches that are decoded and in hand together: decoded, a batch takes ten times the memory of its body."""
CHUNK_SECONDS = 0.003
"""Time that a batch is prepared on the event loop before others get their turn."""
ASIDE_ITEMS = 500
"""A batch of more, in which something is wrong, is answered from a thread: each problem is spelled out."""

A = TypeVar("A")
R = TypeVar("R")

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(?:-|$)")
_KEY_HEADER = re.compile(r"^[\x21-\x7e]{1,255}$")
_encode = msgspec.json.Encoder().encode
_numbers = Struct("<dqqq").pack


class Gate(Protocol):
    """Decides whether a caller may do something for a GPT. Raises Problem (401, 403, 429), at once or from what it
    returns: that must be awaited where it is not None."""

    @property
    def waits(self) -> bool:
        """Whether `check` may have to be awaited."""

    def check(self, gpt: Gpt, items: int) -> Awaitable[None] | None: ...

    def stray(self, items: int) -> None:
        """Counts what names no GPT or session that exists: looking for them is limited, too. Raises Problem (429)."""


class OpenGate:
    """Lets everyone in."""

    waits = False

    def check(self, gpt: Gpt, items: int) -> None:
        return None

    def stray(self, items: int) -> None:
        return None


OPEN_GATE = OpenGate()


class Hints(NamedTuple):
    """What a request's headers add to its body. None of it is proof of anything."""

    link: bytes | None = None
    idempotency_key: str | None = None


def read_hints(traceparent: str | None, idempotency_key: str | None) -> Hints:
    """Raises Problem for an unusable Idempotency-Key; an unusable traceparent is ignored (W3C Trace Context)."""
    link = None
    if traceparent is not None:
        match = _TRACEPARENT.match(traceparent)
        if match is not None:
            link = bytes.fromhex(match[1] + match[2])
    if idempotency_key is not None and not _KEY_HEADER.match(idempotency_key):
        raise Problem(
            errors.HEADER_INVALID,
            "«Idempotency-Key» debe tener de 1 a 255 caracteres ASCII visibles, sin espacios.",
        )
    return Hints(link, idempotency_key)


NO_HINTS = Hints()


class Begun(NamedTuple):
    """One event on its way: prepared, and not committed yet."""

    event: EventIn
    record: Event
    key: bytes | None
    redactions: dict[str, int]
    append: Append


class Answer(NamedTuple):
    """A status and a JSON body, with a `Location` where something was made."""

    status: int
    body: bytes
    location: str | None = None


def uuid_text(value: bytes) -> str:
    """16 bytes → the 36 characters of a UUID."""
    h = value.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def new_uuid(now_us: int) -> bytes:
    """A UUIDv7 (RFC 9562): time first, so that what is indexed by it stays together."""
    value = (now_us // 1000) << 80 | int.from_bytes(os.urandom(10), "big")
    return stamp_uuid(value, 7)


def stamp_uuid(value: int, version: int) -> bytes:
    return (value & _UNMARKED | _MARKS[version]).to_bytes(16, "big")


def _derived_uuid(key: bytes, generation: int) -> bytes:
    """The id of a record that its key identifies (UUIDv8): the same key within its generation gives the same id,
    so that a repeat is answered with the first id although only the key is remembered."""
    return stamp_uuid(int.from_bytes(key[1:17], "big") ^ (generation & 0xFFFF), 8)


_NO_WORDS: frozenset[str] = frozenset()
_UNMARKED = ((1 << 128) - 1) & ~(0xF << 76) & ~(0x3 << 62)
_MARKS = {version: version << 76 | 0x2 << 62 for version in (7, 8)}


class Ingest:
    """One for the process. Its coroutines run on one event loop."""

    def __init__(
        self,
        config: Config,
        journal: Journal,
        reader: Reader,
        contents: Contents,
        hasher: UserHasher,
        metrics: SelfMetrics,
        key: bytes,
    ) -> None:
        self._journal = journal
        self._reader = reader
        self._contents = contents
        self._names = Redactor("on")  # whatever is done with content: a label is read by everyone
        self._hasher = hasher
        self._metrics = metrics
        self._key = blake2b(key, digest_size=32, person=b"content-digest").digest()
        self._clean_codes: set[str] = set()
        self._sessions: dict[bytes, SessionInfo] = {}
        self._reads = ThreadPoolExecutor(1, thread_name_prefix="journal-read")
        self._batches = asyncio.Semaphore(BATCHES_AT_ONCE)
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; requests under way finish with the one they began with."""
        self._gpts = config.gpts
        self._words = {gpt.id: frozenset((*gpt.event_types, gpt.model, *gpt.prices)) for gpt in config.gpts.values()}
        self._contents.configure(config.content_max_chars)
        self._trace_url: str | None = config.trace_url

    def close(self) -> None:
        self._reads.shutdown(wait=True)
        self._contents.close()

    @property
    def gpts(self) -> Mapping[str, Gpt]:
        return self._gpts

    async def session_row(self, session_id: bytes) -> SessionRow | None:
        """What is known of a session; None where it does not exist (any more)."""
        return await self._read(self._reader.session, session_id)

    # --- sessions ---------------------------------------------------------------------------------------------------

    async def create_session(self, body: bytes, gate: Gate, hints: Hints = NO_HINTS) -> Answer:
        """`POST /api/sessions`. Raises Problem."""
        session, started_us = contract.decode_session(body)
        return await self.open_session(session, started_us, gate, hints)

    async def open_session(self, session: SessionIn, started_us: int, gate: Gate, hints: Hints) -> Answer:
        gpt = self._gpts.get(session.gpt_id)
        if gpt is None:
            gate.stray(1)
            raise Problem(errors.GPT_NOT_FOUND)
        pending = gate.check(gpt, 1)
        if pending is not None:
            await pending
        now_us = time.time_ns() // 1000
        generation = self._journal.generation(now_us)
        key = digest = None
        if session.id is not None:
            session_id = session.id.bytes
        elif hints.idempotency_key is not None:
            key = self._idempotency(b"session", gpt.id.encode(), hints.idempotency_key)
            session_id = _derived_uuid(key, generation)
        else:
            session_id = new_uuid(now_us)
        if session.id is not None or key is not None:
            digest = self._digest(16, f"{gpt.id}\0{session.usuario_id}\0{started_us}".encode())
        user = self._hasher(gpt.id, session.usuario_id)
        record = Session(session_id, gpt.id, user, started_us, now_us, hints.link)
        append = Append([record], [key], generation, {0: digest} if digest is not None else {})
        await self._journal.append(append)
        status = 201
        if append.outcomes is not None:
            outcome = append.outcomes[0]
            if isinstance(outcome, Conflict):
                raise Problem(errors.ID_CONFLICT)
            assert outcome is not None
            status = 200
            self._metrics.duplicate("session")
            if key is not None:
                session_id = _derived_uuid(key, outcome.generation)
        self._remember(session_id, SessionInfo(gpt.id, user))
        text = uuid_text(session_id)
        out = SessionOut(text, gpt.id, session.usuario_id, contract.format_time(started_us), session_id.hex())
        return Answer(status, _encode(out), f"/api/sessions/{text}")

    async def session_state(self, session_id: str, gate: Gate) -> Answer:
        """`GET /api/sessions/{id}`. Raises Problem."""
        key, row = b"", None
        with contextlib.suppress(ValueError):
            key = UUID(session_id).bytes
            row = await self._read(self._reader.session, key)
        if row is None or row.gpt not in self._gpts:
            gate.stray(1)
        if row is None:
            raise Problem(errors.SESSION_NOT_FOUND)
        # A GPT that has left the configuration has taken its keys along: its sessions are shown to nobody.
        pending = gate.check(self._gpt_of(SessionInfo(row.gpt, row.user)), 1)
        if pending is not None:
            await pending
        trace_id = key.hex()
        state = SessionState(
            id=uuid_text(key),
            gpt_id=row.gpt,
            usuario_hash=row.user,
            timestamp_inicio=contract.format_time(row.started_us),
            trace_id=trace_id,
            eventos=row.events,
            eventos_con_error=row.failed,
            tokens_entrada=row.tokens_in,
            tokens_salida=row.tokens_out,
            activa=row.live,
            primer_evento=None if row.first_event_us is None else contract.format_time(row.first_event_us),
            ultimo_evento=None if row.last_event_us is None else contract.format_time(row.last_event_us),
            enlace_traza=self._trace_url.replace("{trace_id}", trace_id) if self._trace_url else None,
        )
        return Answer(200, _encode(state))

    # --- events -----------------------------------------------------------------------------------------------------

    async def add_events(self, body: bytes, gate: Gate, hints: Hints = NO_HINTS) -> Answer:
        """`POST /api/events`, one object or an array. Raises Problem."""
        if contract.is_batch(body):
            async with self._batches:
                items = contract.decode_good_batch(body)
                if items is None:
                    items = await self._contents.aside(contract.decode_mixed_batch, body)
                return await self.add_batch(items, gate, hints)
        event, event_us = _read_event(body)
        session_id = event.sesion_id.bytes
        info = self._sessions.get(session_id)
        if info is None:
            info = (await self._look_up([session_id])).get(session_id)
        if info is None or info.gpt not in self._gpts:
            gate.stray(1)
        pending = gate.check(self._gpt_of(info), 1)
        if pending is not None:
            await pending
        assert info is not None
        return await self.add_event(event, event_us, info, hints)

    async def add_event(self, event: EventIn, event_us: int | None, info: SessionInfo, hints: Hints) -> Answer:
        """Journals one checked event of a known session and answers it."""
        redactions: dict[str, int] = {}
        if self._contents.must_wait(event.contenido):
            text = await self._contents.kept_elsewhere(event.contenido, redactions)
        else:
            text = self._contents.kept(event.contenido, redactions)
        begun = self._begin(event, event_us, info, hints, text, redactions)
        await self._journal.append(begun.append)
        return self.finish(begun)

    def begin_at_once(self, body: bytes, gate: Gate, hints: Hints) -> Begun | None:
        """What `add_events` does of one event until it is journaled, where nothing of that has to be waited for:
        None otherwise, and nothing has happened. Raises Problem."""
        if gate.waits or contract.is_batch(body):
            return None
        event, event_us = _read_event(body)
        info = self._sessions.get(event.sesion_id.bytes)
        if info is None or info.gpt not in self._gpts or self._contents.must_wait(event.contenido):
            return None
        gate.check(self._gpt_of(info), 1)
        redactions: dict[str, int] = {}
        text = self._contents.kept(event.contenido, redactions)
        return self._begin(event, event_us, info, hints, text, redactions)

    def journal(self, begun: Begun, landing: Landing) -> None:
        """Journals what has begun; where it landed, `finish` answers it. Raises Problem where too much waits."""
        self._journal.take(begun.append, landing)

    def _begin(
        self,
        event: EventIn,
        event_us: int | None,
        info: SessionInfo,
        hints: Hints,
        text: str | None,
        redactions: dict[str, int],
    ) -> Begun:
        now_us = time.time_ns() // 1000
        generation = self._journal.generation(now_us)
        digests: dict[int, bytes] = {}
        record, key = self._prepare(
            event, event_us, info, event.sesion_id.bytes, now_us, generation, hints, 0, text, redactions, digests, 0
        )
        return Begun(event, record, key, redactions, Append([record], [key], generation, digests))

    def finish(self, begun: Begun) -> Answer:
        """The answer to one event whose append has been committed. Raises Problem for an id that stands for another."""
        event, record, key, redactions, append = begun
        status = 201
        if append.outcomes is not None:
            record, status = self._settle(record, key, event, append.outcomes[0])
        if redactions and status == 201:
            self._metrics.redactions.update(redactions)
        return Answer(
            status,
            _encode(
                EventOut(
                    uuid_text(record.id),
                    uuid_text(record.session),
                    event.tipo,
                    int(event.latency_ms) if event.latency_ms.is_integer() else event.latency_ms,
                    event.tokens_entrada,
                    event.tokens_salida,
                    contract.format_time(record.end_us),
                    record.session.hex(),
                    event_span_id(record.id).hex(),
                )
            ),
        )

    async def add_batch(self, items: Sequence[EventIn | Problem], gate: Gate, hints: Hints) -> Answer:
        """Journals the good items of a batch in one commit; the answer has one result an item, in order."""
        problems: dict[int, Problem] = {}
        infos = await self._look_up_all(items)
        allowed: dict[str, Problem | None] = {}
        counts: dict[str, int] = {}
        for item in items:
            if item.__class__ is EventIn:
                known = infos.get(item.sesion_id.int)
                if known is not None:
                    gpt_id = known[1].gpt
                    counts[gpt_id] = counts.get(gpt_id, 0) + 1
        stray = _refusal_of(gate, len(items) - sum(counts.values()))
        for gpt_id, count in counts.items():
            allowed[gpt_id] = await self._allowed(gate, gpt_id, count)
        refusals = [problem for problem in allowed.values() if problem is not None]
        if refusals and len(refusals) == len(allowed) and len(counts) == 1:
            # A batch of one GPT that may not be taken is refused as a whole, as a single event would be.
            self._metrics.rejected("event", refusals[0].kind, len(items) - 1)
            raise refusals[0]
        now_us = time.time_ns() // 1000
        generation = self._journal.generation(now_us)
        redactions: dict[str, int] = {}
        digests: dict[int, bytes] = {}
        records: list[Record] = []
        keys: list[bytes | None] = []
        places: list[int] = []
        began = time.perf_counter()
        for i, item in enumerate(items):
            if time.perf_counter() - began > CHUNK_SECONDS:
                await asyncio.sleep(0)
                began = time.perf_counter()
            if item.__class__ is not EventIn:
                problems[i] = item  # type: ignore[assignment]
                continue
            event: EventIn = item
            try:
                event_us = contract.event_time(event)
            except (ValueError, OverflowError):
                problems[i] = contract.diagnose_value(msgspec.to_builtins(event), EventIn)
                continue
            known = infos.get(event.sesion_id.int)
            if known is None:
                problems[i] = stray or Problem(errors.SESSION_NOT_FOUND)
                continue
            session_id, info = known
            problem = allowed[info.gpt]
            if problem is not None:
                problems[i] = problem
                continue
            if len(event.contenido) > LONG_CHARS:
                text = await self._contents.kept_elsewhere(event.contenido, redactions)
                began = time.perf_counter()
            else:
                text = self._contents.kept(event.contenido, redactions)
            record, key = self._prepare(
                event, event_us, info, session_id, now_us, generation, hints, i, text, redactions, digests, len(records)
            )
            places.append(i)
            records.append(record)
            keys.append(key)
        outcomes: list[Outcome] | None = None
        if records:
            append = Append(records, keys, generation, digests)
            await self._journal.append(append)
            outcomes = append.outcomes
            self._metrics.redactions.update(redactions)
        if outcomes is None and not problems:
            return Answer(201, _all_taken(records))
        return await self._mixed(items, records, keys, places, outcomes, problems)

    async def _mixed(
        self,
        items: Sequence[EventIn | Problem],
        records: list[Record],
        keys: list[bytes | None],
        places: list[int],
        outcomes: list[Outcome] | None,
        problems: dict[int, Problem],
    ) -> Answer:
        results: list[ItemOut | None] = [None] * len(items)
        for position, i in enumerate(places):
            outcome = outcomes[position] if outcomes is not None else None
            try:
                record, status = self._settle(records[position], keys[position], items[i], outcome)  # type: ignore[arg-type]
                results[i] = ItemOut(i, status, uuid_text(record.id))
            except Problem as conflict:
                problems[i] = conflict
        for problem in problems.values():
            self._metrics.rejected("event", problem.kind)
        status = 207 if problems else 201
        if len(items) > ASIDE_ITEMS:
            return Answer(status, await self._contents.aside(_batch_body, results, problems))
        return Answer(status, _batch_body(results, problems))

    # --- parts ------------------------------------------------------------------------------------------------------

    def _prepare(
        self,
        event: EventIn,
        event_us: int | None,
        info: SessionInfo,
        session_id: bytes,
        now_us: int,
        generation: int,
        hints: Hints,
        index: int,
        text: str | None,
        redactions: dict[str, int],
        digests: dict[int, bytes],
        position: int,
    ) -> tuple[Event, bytes | None]:
        """The record of an event, and the key that a repeat of it is recognised by (None: every post is new)."""
        key: bytes | None
        if event.id is not None:
            event_id = event.id.bytes
            key = b"i" + event_id
            digests[position] = self._content(session_id, event, event_us)
        elif hints.idempotency_key is not None:
            key = self._idempotency(b"event%d" % index, session_id, hints.idempotency_key)
            event_id = _derived_uuid(key, generation)
            digests[position] = self._content(session_id, event, event_us)
        elif event_us is not None:
            # Its own time first: keys of events that come together stand together, however old the journal is.
            number = (event_us // 1000) << 80 | int.from_bytes(self._identity(session_id, event, event_us), "big")
            key = b"c" + number.to_bytes(16, "big")
            event_id = stamp_uuid(number ^ (generation & 0xFFFF), 8)
        else:
            key = None
            event_id = new_uuid(now_us)
        # Types and models that nobody configured are a client's words, and leave as an attribute or a label.
        words = self._words.get(info.gpt, _NO_WORDS)
        type_ = event.tipo if event.tipo in words else self._name(event.tipo, catalog.OTHER_EVENT_TYPE, redactions)
        model = event.modelo
        if model is not None and model not in words:
            model = self._name(model, catalog.OTHER_MODEL, redactions)
        return (
            Event(
                event_id,
                session_id,
                info.gpt,
                info.user,
                type_,
                text,
                event.latency_ms,
                event.tokens_entrada,
                event.tokens_salida,
                now_us if event_us is None else event_us,
                now_us,
                model,
                None if event.error is None else self._code(event.error, redactions),
                hints.link,
            ),
            key,
        )

    def _code(self, code: str, redactions: dict[str, int]) -> str:
        """An error's code as it may leave: a key or an address fits its pattern, too."""
        if code in self._clean_codes:
            return code
        if self._names.redact(code, redactions) != code:
            return catalog.OTHER_ERROR
        if len(self._clean_codes) < CODES_REMEMBERED:
            self._clean_codes.add(code)
        return code

    def _name(self, text: str, fallback: str, redactions: dict[str, int]) -> str:
        return self._names.redact(text, redactions) or fallback

    def _settle(self, record: Event, key: bytes | None, event: EventIn, outcome: Outcome) -> tuple[Event, int]:
        """The record to answer with, and the status: a repeat is answered as the first was."""
        if outcome is None:
            return record, 201
        if isinstance(outcome, Conflict):
            raise Problem(errors.ID_CONFLICT)
        assert isinstance(outcome, Taken) and key is not None
        self._metrics.duplicate("event")
        if event.id is None:
            record.id = _derived_uuid(key, outcome.generation)
        if event.timestamp is None:
            record.end_us = outcome.arrived_us
        return record, 200

    def _digest(self, size: int, *parts: bytes) -> bytes:
        return blake2b(b"".join(parts), digest_size=size, key=self._key).digest()

    def _identity(self, session: bytes, event: EventIn, event_us: int) -> bytes:
        """Keyed digest (10 bytes) of what the contract says identifies an event; no text of it can hold a NUL."""
        numbers = _numbers(event.latency_ms, event.tokens_entrada, event.tokens_salida, event_us)
        text = f"{event.tipo}\0{event.contenido}".encode()
        return blake2b(session + numbers + text, digest_size=10, key=self._key).digest()

    def _content(self, session: bytes, event: EventIn, event_us: int | None) -> bytes:
        """Keyed digest (16 bytes) of everything that an event with a chosen id says."""
        numbers = _numbers(
            event.latency_ms, event.tokens_entrada, event.tokens_salida, -1 if event_us is None else event_us
        )
        text = f"{event.tipo}\0{event.modelo}\0{event.error}\0{event.contenido}".encode()
        return blake2b(session + numbers + text, digest_size=16, key=self._key).digest()

    def _idempotency(self, kind: bytes, scope: bytes, key: str) -> bytes:
        return b"k" + self._digest(16, kind, b"\0", scope, b"\0", key.encode())

    def _gpt_of(self, info: SessionInfo | None) -> Gpt:
        if info is None:
            raise Problem(errors.SESSION_NOT_FOUND)
        gpt = self._gpts.get(info.gpt)
        if gpt is None:
            raise Problem(errors.GPT_NOT_FOUND)
        return gpt

    async def _allowed(self, gate: Gate, gpt_id: str, count: int) -> Problem | None:
        try:
            pending = gate.check(self._gpt_of(SessionInfo(gpt_id, "")), count)
            if pending is not None:
                await pending
        except Problem as problem:
            return problem
        return None

    def _remember(self, session_id: bytes, info: SessionInfo) -> None:
        # The oldest entry goes, not the least used: a miss costs one read.
        if len(self._sessions) >= SESSIONS_REMEMBERED:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session_id] = info

    def forget(self, sessions: Sequence[bytes]) -> None:
        """These sessions are past retention: their events are refused, as after a restart."""
        for session_id in sessions:
            self._sessions.pop(session_id, None)

    async def _look_up(self, ids: list[bytes]) -> dict[bytes, SessionInfo]:
        found: dict[bytes, SessionInfo] = await self._read(self._reader.sessions, ids)
        for session_id, info in found.items():
            self._remember(session_id, info)
        return found

    async def _look_up_all(self, items: Sequence[EventIn | Problem]) -> dict[int, tuple[bytes, SessionInfo]]:
        """The sessions of a batch that exist: a session's UUID as a number → its 16 bytes and what is known of it."""
        known: dict[int, tuple[bytes, SessionInfo]] = {}
        missing = []
        for number in {item.sesion_id.int for item in items if item.__class__ is EventIn}:
            session_id = number.to_bytes(16, "big")
            info = self._sessions.get(session_id)
            if info is None:
                missing.append(session_id)
            else:
                known[number] = (session_id, info)
        if missing:
            for session_id, info in (await self._look_up(missing)).items():
                known[int.from_bytes(session_id, "big")] = (session_id, info)
        return known

    async def _read(self, function: Callable[[A], R], argument: A) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._reads, function, argument)


def _read_event(body: bytes) -> tuple[EventIn, int | None]:
    """One event, and its time in microseconds where it tells one. Raises Problem."""
    event = contract.decode_event(body)
    try:
        return event, contract.event_time(event)
    except (ValueError, OverflowError):
        raise contract.diagnose(body, EventIn) from None


def _refusal_of(gate: Gate, strays: int) -> Problem | None:
    try:
        if strays:
            gate.stray(strays)
    except Problem as problem:
        return problem
    return None


def _batch_body(results: list[ItemOut | None], problems: Mapping[int, Problem]) -> bytes:
    """The answer to a batch; `results` lacks those items that have a problem."""
    for i, problem in problems.items():
        results[i] = ItemOut(i, problem.kind.status, error=problem.document())
    return _encode(contract.BatchOut(len(results) - len(problems), len(problems), results))  # type: ignore[arg-type]


def _all_taken(records: Sequence[Record]) -> bytes:
    """The answer to a batch of which every item is new, without an object an item."""
    # uuid_text written out: the call would cost as much as the text.
    items = ",".join(
        [
            f'{{"indice":{i},"estado":201,"id":"'
            f'{(h := record.id.hex())[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"}}'  # type: ignore[union-attr]
            for i, record in enumerate(records)
        ]
    )
    return f'{{"aceptados":{len(records)},"rechazados":0,"resultados":[{items}]}}'.encode()
