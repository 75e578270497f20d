"""The sessions that events name: remembered, else looked up in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from otel_bridge.contract import EventIn
from otel_bridge.errors import Problem
from otel_bridge.journal import Reader, SessionRow

REMEMBERED = 50_000

A = TypeVar("A")
R = TypeVar("R")


class KnownSession(NamedTuple):
    """What an event needs to know of its session."""

    id: bytes
    gpt: str
    user: str


class Sessions:
    """Used from one event loop; reads the journal in a thread of its own."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-read")
        self._remembered: dict[int, KnownSession] = {}
        """By UUID as a number: the one form of it that costs nothing to get."""

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def remembered(self, items: Sequence[EventIn | Problem]) -> tuple[dict[int, KnownSession], list[int]]:
        """The sessions of these items that are remembered, by UUID as a number, and those that must be looked up."""
        sessions: dict[int, KnownSession] = {}
        missing: dict[int, None] = {}
        for item in items:
            if item.__class__ is EventIn:
                number = item.sesion_id.int
                if number not in sessions:
                    session = self._remembered.get(number)
                    if session is not None:
                        sessions[number] = session
                    else:
                        missing[number] = None
        return sessions, list(missing)

    def remembers(self, session_id: bytes) -> bool:
        return int.from_bytes(session_id, "big") in self._remembered

    def remember(self, session: KnownSession) -> None:
        # The oldest entry goes, not the least used: a miss costs one read.
        if len(self._remembered) >= REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[int.from_bytes(session.id, "big")] = session

    def forget(self, session_ids: Iterable[bytes]) -> None:
        """These sessions are past retention: their events are refused, as after a restart."""
        for session_id in session_ids:
            self._remembered.pop(int.from_bytes(session_id, "big"), None)

    async def look_up(self, session_ids: Sequence[int]) -> dict[int, KnownSession]:
        """Those of these sessions that exist in the journal, by UUID as a number; they are remembered from now on."""
        rows = await self._read(self._reader.sessions, [number.to_bytes(16, "big") for number in session_ids])
        sessions = [KnownSession(session_id, info.gpt, info.user) for session_id, info in rows.items()]
        for session in sessions:
            self.remember(session)
        return {int.from_bytes(session.id, "big"): session for session in sessions}

    async def row(self, session_id: bytes) -> SessionRow | None:
        """A session's state; None where it does not exist, or not any more."""
        return await self._read(self._reader.session, session_id)

    async def _read(self, function: Callable[[A], R], argument: A) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, argument)
