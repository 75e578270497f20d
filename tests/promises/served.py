"""A real bridge, a process spoken to over HTTP and MCP, as the rules have it; time passes while it is down."""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from otel_bridge.access import keys
from tests.harness.bridge import ROOT, Bridge
from tests.harness.otlp import OK, OtlpReceiver, Reply
from tests.harness.waiting import wait_for
from tests.promises.bridges import Counts, Span
from tests.promises.desk import BEGIN, from_samples, header_lines
from tests.promises.draws import CONFIG, KEY
from tests.promises.values import CLOSED, DAY, OPEN, OTHER, SECOND, Answer, Post, moment

AWAY = Reply(503, headers={"Retry-After": "1"}, keep=False)


class Served:
    """`bridges.Served`."""

    exact_clock = False
    keeps_house = True

    def __init__(self, folder: Path) -> None:
        self._ahead_us = (moment(BEGIN) - time.time_ns() // 1000) % DAY // SECOND * SECOND
        self._receiver = OtlpReceiver().start()
        hashed = keys.hash_of(KEY.encode())
        environ = {
            **self._receiver.environ,
            "OTEL_BRIDGE_RETENTION_DAYS": "3650",
            # A start a day later is a clock to doubt, and nothing falls idle by it for so long.
            "OTEL_BRIDGE_CLOCK_SETTLE_SECONDS": "1",
            "CHAOS_AHEAD_SECONDS": str(self._ahead_us // SECOND),
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'chaos'}",
        }
        self.bridge = Bridge(folder, CONFIG.format(open=OPEN, other=OTHER, closed=CLOSED, hash=hashed), **environ)
        self._pool = ThreadPoolExecutor(4)
        self.bridge.start()

    # --- what clients do ----------------------------------------------------------------------------------------------

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self._ahead_us

    def post(self, posts: Sequence[Post], bodies: Sequence[bytes], packed: bool) -> list[Answer]:
        if len(posts) == 1:
            return [self._post(posts[0], bodies[0], packed)]
        together = threading.Barrier(len(posts))

        def at_once(post: Post, body: bytes) -> Answer:
            together.wait(10)
            return self._post(post, body, packed)

        return list(self._pool.map(at_once, posts, bodies))

    def post_into_the_end(self, post: Post, body: bytes, kill: bool, moment: float) -> Answer | None:
        """Ends the bridge while a post is under way; None where that got no answer."""
        under_way = self._pool.submit(self._post, post, body, False, fresh=True)
        time.sleep(moment)
        if kill:
            self.bridge.kill()
        else:
            assert self.bridge.stop() == 0
        self.bridge.start()
        try:
            return under_way.result()
        except (OSError, http.client.HTTPException):
            return None

    def _post(self, post: Post, body: bytes, packed: bool, fresh: bool = False) -> Answer:
        headers = {"Content-Type": "application/json", **dict(header_lines(post))}
        if packed:
            headers["Content-Encoding"] = "gzip"
        connection = http.client.HTTPConnection("127.0.0.1", self.bridge.port, timeout=20)
        try:
            connection.request("POST", f"/api{post.path}", body, headers)
            response = connection.getresponse()
            return Answer(response.status, json.loads(response.read()))
        finally:
            connection.close()

    def states(self, sessions: Sequence[tuple[str, bool]]) -> list[Answer]:
        found = []
        for session_id, with_api_key in sessions:
            headers = {"X-API-Key": KEY} if with_api_key else {}
            answer = self.bridge.http.get(f"{self.bridge.api}/sessions/{session_id}", headers=headers, timeout=10)
            found.append(Answer(answer.status_code, answer.json()))
        return found

    # --- what is seen of it -------------------------------------------------------------------------------------------

    def counts(self) -> Counts:
        # The ledger may be half a second old: it is asked for until it is that of all that was answered.
        found: dict[str, float] = {}
        seen: Any = None

        def whole() -> bool:
            nonlocal seen
            samples = [(name, dict(labels), value) for (name, labels), value in self.bridge.scrape().items()]
            seen = from_samples(samples)
            found.update({name: value for name, _, value in samples if name in _LEDGER})
            accepted = sum(value for key, value in seen[0].items() if key[0] == "accepted")
            return accepted == sum(found[name] for name in _LEDGER[:3])

        wait_for(whole, "ledger that adds up", 10)
        return Counts(*seen, *(found[name] for name in _LEDGER))

    def delivered(self) -> list[Span]:
        return [Span(one.trace_id, one.span_id, one.span.parent_span_id.hex()) for one in self._receiver.spans]

    def deliver(self) -> None:
        wait_for(lambda: self.counts().pending == 0, "empty backlog", 30)

    # --- what befalls it ----------------------------------------------------------------------------------------------

    def outage(self, on: bool) -> None:
        self._receiver.behave = lambda spans: AWAY if on else OK

    def checkpoint(self) -> None:
        self.bridge.scrape()  # a page that has news is saved before it is shown

    def pass_time(self, us: int, may_kill: bool) -> None:
        self.bridge.kill()
        self._ahead_us += us
        self.bridge.environ["CHAOS_AHEAD_SECONDS"] = str(self._ahead_us // SECOND)
        self.bridge.start()

    def restart(self, kill: bool) -> None:
        if kill:
            self.bridge.kill()
        else:
            assert self.bridge.stop() == 0
        self.bridge.start()

    def keep_house(self, idle: int) -> None:
        wait_for(lambda: self.bridge.metric("gpt_session_events_count") >= idle, f"{idle} idle sessions", 20)

    def close(self) -> None:
        self._pool.shutdown()
        self.bridge.close()
        self._receiver.close()


_LEDGER = (
    "otel_bridge_exported_records_total",
    "otel_bridge_pending_records",
    "otel_bridge_parked_records",
    "otel_bridge_ledger_gap",
)
