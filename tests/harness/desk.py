"""An ingest without a socket, for tests of what becomes of a body."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from otel_bridge import journal
from otel_bridge.access.caller import Access, Caller
from otel_bridge.config import Config
from otel_bridge.intake.answers import Answer
from otel_bridge.intake.batch_process import BatchProcess
from otel_bridge.intake.contents import Contents
from otel_bridge.intake.ingest import Ingest
from otel_bridge.intake.sessions import Sessions
from otel_bridge.journal import Journal
from otel_bridge.metrics.own import SelfMetrics
from otel_bridge.privacy.users import UserHasher
from otel_bridge.records import Record, decode
from tests.harness.bridge import GUIDE_EVENT, GUIDE_SESSION

KEY = b"k" * 32


class Desk:
    """An Ingest on a journal of its own, spoken to with Python values."""

    def __init__(self, folder: Path, loaded: Config, process: BatchProcess | None = None) -> None:
        self.store = journal.open(f"sqlite:///{folder}/journal.db", "otlp")
        self.journal = Journal(self.store, lambda records, seq: None)
        self.metrics = SelfMetrics()
        self.reader = self.store.reader()
        self._contents = Contents(loaded, process)
        self.ingest = Ingest(
            loaded,
            self.journal,
            Sessions(self.reader, self.journal.damage),
            self._contents,
            UserHasher(KEY),
            self.metrics,
            KEY,
            process,
        )
        self.access = Access(loaded)
        self.journal.start()

    async def close(self) -> None:
        self.ingest.sessions.close()
        self._contents.close()
        self.reader.close()
        await asyncio.get_running_loop().run_in_executor(None, self.journal.stop)

    def caller(self, *headers: tuple[bytes, bytes]) -> Caller:
        return self.access.caller(headers, "127.0.0.1")

    async def session(self, caller: Caller | None = None, **fields: Any) -> Answer:
        body = json.dumps({**GUIDE_SESSION, **fields}).encode()
        return await self.ingest.finish(self.ingest.create_session(body, caller or self.caller()))

    async def new(self, **fields: Any) -> str:
        return str(json.loads((await self.session(**fields)).body)["id"])

    async def event(self, session: str, caller: Caller | None = None, **fields: Any) -> Answer:
        body = {**GUIDE_EVENT, "sesion_id": session, **fields}
        return await self.post(json.dumps(body).encode(), caller)

    async def batch(self, items: list[Any], caller: Caller | None = None) -> Answer:
        return await self.post(json.dumps(items).encode(), caller)

    async def post(self, body: bytes, caller: Caller | None = None) -> Answer:
        return await self.ingest.finish(self.ingest.add_events(body, caller or self.caller()))

    def records(self) -> list[Record]:
        return [record for segment in self.reader.segments(0, 1000) for record in decode(segment.body)]
