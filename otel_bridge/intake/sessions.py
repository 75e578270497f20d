"""The sessions that events name: remembered, else looked up in the journal."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from otel_bridge.intake import looking_up
from otel_bridge.journal import Reader, SessionRow
from otel_bridge.journal.damage import Damage

REMEMBERED = 50_000
"""Sessions at the most; in two halves, of which the older one goes as a whole."""
REFUSED_SECONDS = 60.0
"""How long what was found of a session before it was deleted may still be on its way to the journal."""

A = TypeVar("A")
R = TypeVar("R")


class KnownSession(NamedTuple):
    """What an event needs to know of its session."""

    id: bytes
    gpt: str
    user: str


class Sessions:
    """Used from one event loop; reads the journal in a thread of its own."""

    def __init__(self, reader: Reader, damage: Damage) -> None:
        """`damage`: told what cannot be looked up."""
        self._reader = reader
        self._damage = damage
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-read")
        self._remembered: dict[int, KnownSession] = {}
        """By UUID as a number: the one form of it that costs nothing to get."""
        self._unused: dict[int, KnownSession] = {}
        """Those of before the last `age` that nothing came for since."""
        self._refused: OrderedDict[int, float] = OrderedDict()
        """Sessions on their way out, and since when (monotonic, seconds)."""

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def remembered(self, numbers: Iterable[int]) -> tuple[dict[int, KnownSession], list[int]]:
        """Those of these sessions that are remembered, by UUID as a number, and those that must be looked up."""
        sessions: dict[int, KnownSession] = {}
        missing: list[int] = []
        for number in numbers:
            session = self._remembered.get(number)
            if session is None and self._unused:
                session = self._used_again(number)
            if session is not None:
                sessions[number] = session
            else:
                missing.append(number)
        return sessions, missing

    def _used_again(self, number: int) -> KnownSession | None:
        session = self._unused.pop(number, None)
        if session is not None:
            self._remembered[number] = session
        return session

    def remembers(self, session_id: bytes) -> bool:
        number = int.from_bytes(session_id, "big")
        return number in self._remembered or number in self._unused

    def remember(self, session: KnownSession) -> None:
        # To take out the oldest entry, each time, looks at the places of all that went before: 11 µs a session.
        if len(self._remembered) >= REMEMBERED // 2:
            self.age()
        number = int.from_bytes(session.id, "big")
        self._remembered[number] = session
        self._refused.pop(number, None)  # its id is used anew

    def age(self) -> None:
        """Sessions that nothing came for since this was called last are not remembered any more. For a replica: where
        another deletes what is past retention, nobody tells that it is gone."""
        self._unused, self._remembered = self._remembered, {}

    def refuse(self, session_ids: Iterable[bytes]) -> None:
        """These sessions are past retention and about to be deleted: they are not found any more."""
        now = time.monotonic()
        while self._refused and (
            len(self._refused) >= REMEMBERED or next(iter(self._refused.values())) < now - REFUSED_SECONDS
        ):
            self._refused.popitem(last=False)
        for session_id in session_ids:
            number = int.from_bytes(session_id, "big")
            self._remembered.pop(number, None)
            self._unused.pop(number, None)
            self._refused[number] = now

    def readmit(self, session_ids: Iterable[bytes]) -> None:
        """These sessions were heard of meanwhile, and were not deleted."""
        for session_id in session_ids:
            self._refused.pop(int.from_bytes(session_id, "big"), None)

    def refuses(self, sessions: Iterable[KnownSession]) -> bool:
        """Whether one of these sessions, found a while ago, is refused by now."""
        return bool(self._refused) and any(int.from_bytes(one.id, "big") in self._refused for one in sessions)

    async def find(self, numbers: Sequence[int]) -> dict[int, KnownSession]:
        """Those of these sessions that exist, by UUID as a number."""
        found: dict[int, KnownSession] = {}
        for number in numbers:
            session = self._remembered.get(number) or self._used_again(number)
            if session is not None:
                found[number] = session
        missing = [number for number in numbers if number not in found]
        return found | await self.look_up(missing) if missing else found

    async def look_up(self, session_ids: Sequence[int]) -> dict[int, KnownSession]:
        """Those of these sessions that exist in the journal, by UUID as a number; they are remembered from now on."""
        rows = await self._read(self._reader.sessions, [number.to_bytes(16, "big") for number in session_ids])
        sessions = [KnownSession(session_id, info.gpt, info.user) for session_id, info in rows.items()]
        found = {int.from_bytes(session.id, "big"): session for session in sessions}
        for number in self._refused.keys() & found.keys():  # refused while they were read
            del found[number]
        for session in found.values():
            self.remember(session)
        return found

    async def row(self, session_id: bytes) -> SessionRow | None:
        """A session's state; None where it does not exist, or not any more."""
        row = await self._read(self._reader.session, session_id)
        return None if int.from_bytes(session_id, "big") in self._refused else row

    async def _read(self, function: Callable[[A], R], argument: A) -> R:
        """Raises Problem (503)."""
        return await looking_up.look_up(self._thread, self._damage, function, argument)
