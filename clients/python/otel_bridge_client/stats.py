"""What `BridgeClient.stats` says."""

from __future__ import annotations

from typing import TypedDict


class Stats(TypedDict):
    """`sent`, `pending`, `retries`: records. `dropped` by reason: `queue_full`, `refused` (the bridge said no),
    `session_refused` (of a session that it refused), `invalid` (no number where one belongs), `no_usage` (an answer
    that does not say its tokens), `expired`, `exit`, `disabled`, `closed`. `causes`: what the bridge said to those
    it refused, such as «HTTP 404 GPT no encontrado». `last_error`: the last thing that went wrong, with its cause."""

    sent: int
    pending: int
    dropped: dict[str, int]
    causes: dict[str, int]
    retries: int
    last_error: str | None


def nothing() -> Stats:
    return {"sent": 0, "pending": 0, "dropped": {}, "causes": {}, "retries": 0, "last_error": None}
