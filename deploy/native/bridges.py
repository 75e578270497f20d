"""Bridges: one on SQLite, or replicas that share a journal in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bridge:
    """One of them, and where it listens."""

    name: str
    port: int
    metrics_port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def metrics_address(self) -> str:
        return f"127.0.0.1:{self.metrics_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://{self.metrics_address}/metrics"


def place_bridges(replicas: int, free: Callable[[int], int]) -> list[Bridge]:
    """One (0), or so many replicas, on the documented ports and those that follow. `free`: as `Stack` has it."""
    names = [f"otel-bridge-{number}" for number in range(1, replicas + 1)] or ["otel-bridge"]
    return [Bridge(name, free(8000 + at), free(9464 + at)) for at, name in enumerate(names)]
