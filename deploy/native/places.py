"""Where things listen: bridges (one on SQLite, or replicas that share a journal in PostgreSQL), and all the others."""

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


class Ports:
    """Where all but the bridges listens: as documented, or elsewhere where that is taken."""

    def __init__(self, free: Callable[[int], int]) -> None:
        self.prometheus = free(9090)
        self.alertmanager = free(9093)
        self.caddy = free(8080)
        self.grafana = free(3000)
        self.tempo = free(3200)
        self.tempo_otlp = free(4318)
        self.tempo_otlp_grpc = free(4317)
        self.tempo_grpc = free(0)
        self.tempo_members = free(0)
        self.postgres = free(5432)
