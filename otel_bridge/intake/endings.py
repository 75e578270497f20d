"""The end of a session that its client tells: what housekeeping does with one that has fallen idle, at once."""

from __future__ import annotations

import asyncio

from otel_bridge import clock, contract
from otel_bridge.access.caller import Caller
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.ingest import Ingest, Taking
from otel_bridge.journal import Journal, OutcomeUnknown, StoreUnavailable, refusal


class Endings:
    """Its coroutines run on one event loop."""

    def __init__(self, ingest: Ingest, journal: Journal) -> None:
        self._ingest = ingest
        self._journal = journal

    def post(self, session_id: str, body: bytes, caller: Caller) -> Taking:
        """`POST /api/sessions/{id}/fin`. Raises Problem, here or from what it returns."""
        contract.check_end(body)
        return self.end(session_id, caller)

    async def end(self, session_id: str, caller: Caller) -> Answer:
        """Ends the period that a session is in, where it is in one; its state then. Raises Problem."""
        id_, row = await self._ingest.known_session(session_id, caller)
        if row.live:
            await self._journaled(id_)
        return await self._ingest.session_state(session_id, caller)

    async def _journaled(self, id_: bytes) -> None:
        # In the writer's thread: a commit before it may hold events of this very session.
        ended = self._journal.transact(lambda store: store.end(id_, clock.now_us()))
        try:
            await asyncio.wrap_future(ended)
        except (OutcomeUnknown, StoreUnavailable) as error:
            raise refusal(error) from error
