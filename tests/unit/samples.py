"""Records and GPTs that the unit tests share."""

from __future__ import annotations

from typing import Any

from otel_bridge.config import Gpt, Price
from otel_bridge.records import Event, Feedback, Idle, Session

START_US = 1_751_227_200_000_000
"""2025-06-29T20:00:00Z, the guide's."""
SESSION_ID = bytes.fromhex("0197bd2e6c007d9a8f3e2a4b6c8d0e1f")
USER = "0123456789abcdef"


def uid(number: int) -> bytes:
    return number.to_bytes(16, "big")


def session(number: int | None = None, **changes: Any) -> Session:
    values: dict[str, Any] = {
        "id": SESSION_ID if number is None else uid(number),
        "gpt": "devops-expert",
        "user": USER,
        "started_us": START_US,
        "arrived_us": START_US + 1_000,
    }
    return Session(**values | changes)


def event(number: int = 7, **changes: Any) -> Event:
    values: dict[str, Any] = {
        "id": uid(number),
        "session": SESSION_ID,
        "gpt": "devops-expert",
        "user": USER,
        "type": "consulta",
        "content": "¿Cómo configuro un pipeline CI/CD con Docker?",
        "latency_ms": 1500.0,
        "tokens_in": 25,
        "tokens_out": 150,
        "end_us": START_US + 2_000_000,
        "arrived_us": START_US + 2_001_000,
    }
    return Event(**values | changes)


def idle(number: int | None = None, **changes: Any) -> Idle:
    values: dict[str, Any] = {
        "session": SESSION_ID if number is None else uid(number),
        "gpt": "devops-expert",
        "duration_s": 95.0,
        "events": 3,
        "arrived_us": START_US + 3_000_000,
    }
    return Idle(**values | changes)


def feedback(number: int = 9, **changes: Any) -> Feedback:
    values: dict[str, Any] = {
        "id": uid(number),
        "event": uid(7),
        "session": SESSION_ID,
        "gpt": "devops-expert",
        "user": USER,
        "value": -1.0,
        "comment": "No era eso.",
        "arrived_us": START_US + 4_000_000,
    }
    return Feedback(**values | changes)


def gpt(**changes: Any) -> Gpt:
    values: dict[str, Any] = {
        "id": "devops-expert",
        "name": "DevOps Expert",
        "model": "gpt-6.2-sol",
        "latency_objective_seconds": 2.0,
        "prices": {"gpt-6.2-sol": Price(2.5, 10.0)},
    }
    return Gpt(**values | changes)
