"""The events that ratings name: found in the journal by their id, of which nobody keeps an index.

An id leads to its event by when that arrived (`Reader.event_near`), and to that by what is remembered for repeats:
an id that the client chose, or one that was derived of a key, for 24 hours. Ids that hold a time (the bridge's own,
UUIDv7, and those of events that are identified by their content) lead there for as long as the journal has the event.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from otel_bridge import clock, times
from otel_bridge.config import Config
from otel_bridge.ids import DAY_US, derived_uuid, keys_of_derived, time_of
from otel_bridge.intake import looking_up
from otel_bridge.intake.identity import Identity
from otel_bridge.journal import Reader
from otel_bridge.journal.damage import Damage

REMEMBERED = 10_000
REMEMBERED_SECONDS = 60.0
DERIVED_DAYS = 3
"""Days back in which a record may have arrived whose key is remembered."""


class RatedEvent(NamedTuple):
    """What a rating needs to know of its event."""

    id: bytes
    session: bytes
    gpt: str
    user: str
    part: int
    model: str | None


class RatedEvents:
    """Used from one event loop; reads the journal in a thread of its own, in which a search holds up no session."""

    def __init__(self, config: Config, reader: Reader, identity: Identity, damage: Damage) -> None:
        """`damage`: told what cannot be looked up."""
        self._reader = reader
        self._identity = identity
        self._damage = damage
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="event-read")
        self._remembered: OrderedDict[tuple[bytes, tuple[str, ...]], tuple[float, RatedEvent]] = OrderedDict()
        """Those that were found lately, and when: many may rate one event."""
        self.configure(config)

    def configure(self, config: Config) -> None:
        self._gpts = tuple(config.gpts)

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def find(
        self, event_id: bytes, own: Collection[str], refuse: Callable[[], None] = lambda: None
    ) -> RatedEvent | None:
        """The event with this id; None where there is none any more. Clients of several GPTs may have chosen the same:
        then that of an `own` GPT, else the one that came first, so that no later one takes its place. `refuse` is
        called before a search. Raises Problem (503): the journal cannot be asked, or the records about it are
        damaged."""
        key = event_id, tuple(own)
        found = self._recall(key)
        if found is not None:
            return found
        refuse()
        found = await looking_up.look_up(self._thread, self._damage, self._look_up, event_id, own)
        if found is not None:
            while len(self._remembered) >= REMEMBERED:
                self._remembered.popitem(last=False)
            self._remembered[key] = time.monotonic(), found
        return found

    def _recall(self, key: tuple[bytes, tuple[str, ...]]) -> RatedEvent | None:
        at, found = self._remembered.get(key, (0.0, None))
        if found is not None and at < time.monotonic() - REMEMBERED_SECONDS:
            del self._remembered[key]  # it may be past retention
            return None
        return found

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _look_up(self, event_id: bytes, own: Collection[str]) -> RatedEvent | None:
        for arrived_us, gpt in self._arrivals(event_id, own):
            event = self._reader.event_near(event_id, arrived_us, gpt)
            if event is not None:
                return RatedEvent(event.id, event.session, event.gpt, event.user, event.part, event.model)
        return None

    def _arrivals(self, event_id: bytes, own: Collection[str]) -> list[tuple[int, str | None]]:
        """When the event may have arrived, and of which GPT it then is where that is known, the likeliest first."""
        chosen = {self._identity.of_id(gpt, event_id): gpt for gpt in self._gpts}
        now_us = clock.now_us()
        days = range(now_us + DAY_US, now_us - DERIVED_DAYS * DAY_US, -DAY_US)
        derived = [letter + rest for day in days for rest in keys_of_derived(event_id, day) for letter in (b"c", b"k")]
        by_gpt: dict[str | None, int] = {}
        for key, arrived_us in self._reader.arrivals([*chosen, *derived]):
            gpt = chosen.get(key)
            if gpt is not None or derived_uuid(key, arrived_us) == event_id:
                by_gpt[gpt] = max(arrived_us, by_gpt.get(gpt, 0))  # an id is given anew when it is forgotten
        found = sorted(((at, gpt) for gpt, at in by_gpt.items()), key=lambda one: (one[1] not in own, one[0]))
        told = time_of(event_id)
        if told is not None and times.EARLIEST_US <= told <= now_us + times.AHEAD_US:
            found.append((told, None))
        return found
