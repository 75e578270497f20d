"""The events of a batch, ready but for what only the bridge knows: whose they are, and who is let in.

It knows neither sessions nor GPTs. What depends on them is not decided here: such a batch is left to the bridge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

import msgspec

from otel_bridge import contract
from otel_bridge.contract import EventIn
from otel_bridge.errors import Problem
from otel_bridge.intake import answers
from otel_bridge.intake.draft import Draft
from otel_bridge.intake.identity import Identity
from otel_bridge.intake.labels import Labels
from otel_bridge.intake.sessions import KnownSession
from otel_bridge.privacy.redaction import Redactor
from otel_bridge.records import Event
from otel_bridge.times import AHEAD_US


class Prepared(msgspec.Struct, array_like=True, gc=False):
    """Every item of a batch, as a new one of a caller without a trace."""

    events: list[Event]
    """Without GPT and user. Contents that want redaction are as they came."""
    keys: list[bytes | None]
    """As `Append` has them; of a chosen id there is none, since it says the GPT."""
    digests: dict[int, bytes]
    unclean: list[int]
    """Which contents want redaction."""
    posted: dict[bytes, int]
    """The sessions, and how many events are of each."""
    answer: bytes
    """The body where all of them are taken."""


class Undecided(Exception):
    """Something depends on what is not known here."""


class CleanLabels(Labels):
    """Labels that redaction leaves as they are. What becomes of others depends on their GPT's configuration."""

    def __init__(self) -> None:
        self._redactor = Redactor("on")
        self._clean_codes: set[str] = set()

    def of(self, gpt_id: str, event: EventIn, counts: dict[str, int]) -> tuple[str, str | None, str | None]:
        """Raises Undecided."""
        for label in (event.tipo, event.modelo, event.error):
            if label is not None and label not in self._clean_codes:
                self._code(label, counts)
        return event.tipo, event.modelo, event.error

    def _code(self, code: str, counts: dict[str, int]) -> str:
        if super()._code(code, {}) != code:
            raise Undecided
        return code


class _Sender(NamedTuple):
    link: bytes | None = None
    idempotency_key: str | None = None
    historic: bool = False


_NOBODY = _Sender()
_session_of = attrgetter("session")


class Preparation:
    """As `Ingest` prepares a batch, with the same draft."""

    def __init__(self, key: bytes, leaves: Callable[[str], bool]) -> None:
        """`leaves`: whether redaction leaves a content as it is."""
        self._identity = Identity(key)
        self._labels = CleanLabels()
        self._leaves = leaves

    def prepare(self, body: bytes, now_us: int, max_chars: int) -> Prepared | None:
        """`max_chars`: how much is kept of a content. None: in this batch something is wrong, or not decided here."""
        try:
            items = contract.decode_good_batch(body)
            # No item of a batch in which nothing is wrong is a problem.
            return None if items is None else self._prepare(items, now_us, max_chars)  # type: ignore[arg-type]
        except (Problem, Undecided, ValueError):
            return None

    def _prepare(self, items: list[EventIn], now_us: int, max_chars: int) -> Prepared:
        draft = Draft(self._identity, self._labels, items, _NOBODY, now_us, Draft.answer)
        event_time, add_event, leaves = contract.event_time, draft.add_event, self._leaves
        sessions: dict[int, KnownSession] = {}
        unclean: list[int] = []
        latest_us = now_us + AHEAD_US  # nobody follows a stepped clock here: it would allow more for longer
        for place, item in enumerate(items):
            number = item.sesion_id.int
            session = sessions.get(number)
            if session is None:
                session = sessions[number] = KnownSession(item.sesion_id.bytes, "", "somebody")
            text = item.contenido
            if not (len(text) <= max_chars and leaves(text)):
                unclean.append(place)
            event_us = event_time(item, now_us)
            if event_us is None:
                if item.id is not None:
                    raise Undecided  # a repeat of it gets the first one's time
            elif event_us > latest_us:
                raise Undecided
            add_event(place, item, event_us, session, text, {})
        events: list[Event] = draft.records  # type: ignore[assignment]
        for event in events:
            event.user = ""
        for position in draft.digests:
            draft.keys[position] = None
        posted = dict(Counter(map(_session_of, events)))
        return Prepared(events, draft.keys, draft.digests, unclean, posted, answers.all_taken(events).body)
