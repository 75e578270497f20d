"""What one request wants journaled, and what is to be answered for each of its items. One event is a batch of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from otel_bridge import errors
from otel_bridge.contract import EventIn, SessionIn
from otel_bridge.errors import Problem
from otel_bridge.ids import derived_uuid, new_uuid
from otel_bridge.intake.identity import Identity, is_of_id
from otel_bridge.intake.labels import Labels
from otel_bridge.intake.sessions import KnownSession
from otel_bridge.journal import Append, Conflict
from otel_bridge.records import Event, Session

if TYPE_CHECKING:
    from otel_bridge.intake.answers import Answer


Item = SessionIn | EventIn | Event | Problem
"""What a request holds: a session, or events and what is wrong with those that are none. Of a batch that was made ready
elsewhere, the records of its events."""


class Sender(Protocol):
    """What is asked of a request's caller (access/caller.py)."""

    @property
    def link(self) -> bytes | None: ...
    @property
    def idempotency_key(self) -> str | None: ...
    @property
    def historic(self) -> bool: ...


class EventResult(NamedTuple):
    """An event that is journaled: by this request (201), or by an earlier one that this repeats (200)."""

    status: int
    record: Event
    """As the first was answered: its id, and its time where the arrival stands for it."""


class Draft(Append):
    """Filled item by item, handed to the journal whole, asked for its results when the journal has answered."""

    def __init__(
        self,
        identity: Identity,
        labels: Labels,
        items: Sequence[Item],
        caller: Sender,
        now_us: int,
        answer: Callable[[Draft], Answer],
    ) -> None:
        """`items`: what the request holds. `answer` makes the request's answer of the draft, when that has settled."""
        self.records, self.keys, self.digests = [], [], {}
        self._identity = identity
        self._labels = labels
        self._caller = caller
        self._now_us = now_us
        self._answer = answer
        self.items = items
        self._places: list[int] = []
        """Of each record, its place in the request."""
        self.problems: dict[int, Problem] = {}
        """What is refused, by its place in the request."""
        self.redactions: dict[int, dict[str, int]] = {}
        """Redactions of each record that has any, by kind."""

    def add_session(self, session: SessionIn, started_us: int, user: str, own_id: bytes | None = None) -> None:
        """A session of a checked body; `user` is its user's hash, `own_id` replaces an id that another GPT has."""
        caller, key = self._caller, None
        if session.id is not None:
            session_id = own_id or session.id.bytes
        elif caller.idempotency_key is not None:
            key = self._identity.of_header(b"session", session.gpt_id.encode(), caller.idempotency_key)
            session_id = derived_uuid(key, self._now_us)
        else:
            session_id = new_uuid(self._now_us)
        if session.id is not None or key is not None:
            self.digests[0] = self._identity.session_digest(session.gpt_id, session.usuario_id, started_us)
        self.records.append(
            Session(session_id, session.gpt_id, user, started_us, self._now_us, caller.link, caller.historic)
        )
        self.keys.append(key)

    def add_event(
        self,
        place: int,
        event: EventIn,
        event_us: int | None,
        session: KnownSession,
        text: str | None,
        counts: dict[str, int],
    ) -> None:
        """An event of a known session. `text` is what is kept of its content, `counts` what was redacted of that."""
        caller, now_us = self._caller, self._now_us
        key: bytes | None
        if event.id is None and event_us is not None and caller.idempotency_key is None:  # nearly all of them
            key = self._identity.of_content(session.id, event, event_us)
            event_id = derived_uuid(key, now_us)
        else:
            key, event_id = self._chosen(place, event, event_us, session)
        type_, model, error = self._labels.of(session.gpt, event, counts)
        extras = None
        if (
            event.ttft_ms is not None
            or event.tokens_razonamiento is not None
            or event.version is not None
            or event.herramientas
            or event.__class__ is not EventIn
            or caller.historic
        ):
            extras = self._labels.extras(event, counts)
            if caller.historic:
                extras.historic = True
                text = text or None  # as what is exported tells that no content was kept
        if counts:
            self.redactions[len(self.records)] = counts
        self.records.append(
            Event(
                event_id,
                session.id,
                session.gpt,
                session.user,
                type_,
                text if session.user else None,  # of who was taken out (`user forget`) no text is kept any more
                event.latency_ms,
                event.tokens_entrada,
                event.tokens_salida,
                now_us if event_us is None else event_us,
                now_us,
                model,
                error,
                caller.link,
                event.tokens_cache,
                0,
                False,
                extras,
            )
        )
        self.keys.append(key)
        self._places.append(place)

    def take(
        self,
        events: list[Event],
        keys: list[bytes | None],
        digests: dict[int, bytes],
        sessions: Mapping[bytes, KnownSession],
    ) -> None:
        """All events of a request, as another draft has made them of the same items without knowing their sessions."""
        link = self._caller.link
        for event in events:
            _, event.gpt, event.user = sessions[event.session]
            event.link = link
            if not event.user:
                event.content = None  # as `add_event` keeps none
        for position in digests:
            keys[position] = self._identity.of_id(events[position].gpt, events[position].id)
        self.records, self.keys, self.digests = list(events), keys, digests
        self._places = list(range(len(events)))

    def keep(self, position: int, text: str | None, counts: dict[str, int]) -> None:
        """What is kept of the content of an event that was added before that was known."""
        record = self.records[position]
        assert record.__class__ is Event
        if record.user:
            record.content = text or None if self._caller.historic else text
        for kind, count in counts.items():
            found = self.redactions.setdefault(position, {})
            found[kind] = found.get(kind, 0) + count

    def _chosen(
        self, place: int, event: EventIn, event_us: int | None, session: KnownSession
    ) -> tuple[bytes | None, bytes]:
        """The key and the id of an event that its content alone does not identify."""
        if event.id is not None:
            event_id = event.id.bytes
            key = self._identity.of_id(session.gpt, event_id)
        elif self._caller.idempotency_key is not None:
            key = self._identity.of_header(b"event%d" % place, session.id, self._caller.idempotency_key)
            event_id = derived_uuid(key, self._now_us)
        else:
            return None, new_uuid(self._now_us)
        self.digests[len(self.records)] = self._identity.event_digest(session.id, event, event_us)
        return key, event_id

    # --- asked after the commit ---------------------------------------------------------------------------------------

    def answer(self) -> Answer:
        """The answer to the request. Raises Problem, and what the journal says where nothing was taken."""
        if self._error is not None:
            raise self._error
        return self._answer(self)

    @property
    def all_new(self) -> bool:
        """Whether every item of the request has been journaled by it: none was refused, none is a repeat."""
        return self.outcomes is None and not self.problems

    @property
    def conflicts(self) -> bool:
        """Whether the one record of the request has an id that stands for something else."""
        return self.outcomes is not None and isinstance(self.outcomes[0], Conflict)

    def session_result(self) -> tuple[int, Session]:
        """The session of this request and its status. Raises Problem."""
        record, outcome, key = self.records[0], self.outcomes[0] if self.outcomes else None, self.keys[0]
        assert isinstance(record, Session)
        if outcome is None:
            return 201, record
        if isinstance(outcome, Conflict):
            raise Problem(errors.ID_CONFLICT)
        if key is not None:
            record.id = derived_uuid(key, outcome.arrived_us)
        return 200, record

    def event_result(self) -> EventResult:
        """What became of the one event of the request. Raises Problem."""
        if self.outcomes is None and not self.problems:
            return EventResult(201, self.records[0])  # type: ignore[arg-type]
        result = self.problems[0] if self.problems else self._result(0, self.items[0])
        if isinstance(result, Problem):
            raise result
        return result

    def results(self) -> list[EventResult | Problem]:
        """What became of each item of the request, in order."""
        results: list[EventResult | Problem] = [self.problems.get(place) for place in range(len(self.items))]  # type: ignore[misc]
        for position, place in enumerate(self._places):
            results[place] = self._result(position, self.items[place])
        return results

    def _result(self, position: int, event: Item) -> EventResult | Problem:
        record = self.records[position]
        assert record.__class__ is Event
        outcome = None if self.outcomes is None else self.outcomes[position]
        if outcome is None:
            return EventResult(201, record)
        if isinstance(outcome, Conflict):
            return Problem(errors.ID_CONFLICT)
        key = self.keys[position]
        if key is not None and not is_of_id(key):
            record.id = derived_uuid(key, outcome.arrived_us)
        if isinstance(event, EventIn) and event.timestamp is None:
            record.end_us = outcome.arrived_us
        record.part = outcome.part
        return EventResult(200, record)
