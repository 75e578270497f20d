"""What both scripts of scenarios share: a client that also says on stdout what it is given."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from otel_bridge_client import BridgeClient

_saying = threading.Lock()
"""Answers side by side end in threads of their own."""


class Telling(BridgeClient):
    scenario = ""
    said = 0

    def log_event(self, session_id: str, event_type: str, content: str, *numbers: Any, **more: Any) -> str:
        found = super().log_event(session_id, event_type, content, *numbers, **more)
        latency, tokens_in, tokens_out = numbers
        self._say(
            id=found,
            session=session_id,
            type=event_type,
            content=content,
            latency=latency,
            tokens=[tokens_in, tokens_out],
            **more,
        )
        return found

    def note(self, kind: str, words: str) -> None:
        self._say(drop=f"NOTE {kind}: {words}")

    def end(self) -> None:
        assert self.flush(20), "not all was taken"
        print(json.dumps(dict(self.stats())), flush=True)

    def _say(self, **what: Any) -> None:
        self.said += 1
        with _saying:
            print(json.dumps({"scenario": self.scenario, **what}), flush=True)


def dropped(event_id: str, reason: str, problem: object) -> None:
    client._say(drop=reason)


client = Telling(os.environ["OTB_URL"], "devops-expert", on_drop=dropped)
