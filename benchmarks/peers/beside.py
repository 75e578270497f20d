"""A bridge beside a peer: the same records at both, in alternation."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import stages
from benchmarks.commits import processor_seconds
from benchmarks.drivers import open_sessions, post_all, put_bodies, wrk, wrk_bodies
from otel_bridge import config, contract
from otel_bridge.contract import EventIn
from otel_bridge.export.spans import SpanProjection
from otel_bridge.records import Event
from otel_bridge.times import parse_time
from tests.harness.bridge import ROOT, Bridge

Row = tuple[str, str, str]
Load = Callable[[], float]
"""Records a second."""
PROTOBUF = "application/x-protobuf"
TRACES = "/v1/traces"
NOWHERE = "127.0.0.1:9"
"""Where what is taken is to be delivered: both sides keep it."""
SIZE = 1_000
ONES = 20_000
"""Requests of one span, which wrk posts round and round."""
_decode = msgspec.json.Decoder(list[EventIn]).decode


class Beside:
    """A bridge, and how a peer is measured beside it."""

    def __init__(self, bridge: Bridge, folder: Path, rounds: int, seconds: float) -> None:
        self.bridge = bridge
        self.folder = folder
        self.rounds = rounds
        self.seconds = seconds
        self.sessions = open_sessions(bridge, 20)

    @classmethod
    @contextmanager
    def started(cls, folder: Path, rounds: int, seconds: float) -> Iterator[Beside]:
        place = folder / "ours"
        place.mkdir()
        bridge = Bridge(place, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{NOWHERE}").start()
        try:
            yield cls(bridge, folder, rounds, seconds)
        finally:
            bridge.close()

    @property
    def pid(self) -> int:
        assert self.bridge.process is not None
        return self.bridge.process.pid

    def ones(self, what: str, pid: int, load: Callable[[float], float], note: str) -> Iterator[Row]:
        """A peer's requests of one record (`load` takes seconds) beside single events."""
        session = str(self.sessions[0])
        load(1)
        wrk(self.bridge.port, session, 1)
        theirs, ours = Spent(pid), Spent(self.pid)
        for _ in range(self.rounds):
            theirs.measure(partial(load, self.seconds))
            ours.measure(lambda: wrk(self.bridge.port, session, self.seconds).rate)
        yield what, theirs.rate(), f"{note}; {theirs.told()}"
        yield "  single events at the bridge beside it, requests/s", ours.rate(), ours.told(theirs)

    def batches(self, what: str, pid: int, port: int, posts: int) -> Iterator[Row]:
        """The same batches of 1,000 at a peer that takes OTLP and at the bridge."""
        theirs, ours = Spent(pid), Spent(self.pid)
        for _ in range(self.rounds):
            bodies = stages.batches(posts, SIZE, self.sessions)
            spans = requests_of(bodies)
            theirs.measure(
                lambda: posts * SIZE / post_all(port, spans, path=TRACES, kind=PROTOBUF, expected=200)  # noqa: B023
            )
            ours.measure(lambda: posts * SIZE / post_all(self.bridge.port, bodies))  # noqa: B023
        yield what, theirs.rate(), f"3 connections; {theirs.told()}"
        yield "  the same batches at the bridge, events/s", ours.rate(), ours.told(theirs)

    def spans(self, port: int) -> Callable[[float], float]:
        """A load of requests of one span at a peer that takes OTLP: its seconds → requests a second."""
        file = self.folder / "spans"
        put_bodies(file, requests_of(stages.batches(ONES, 1, self.sessions)))
        return partial(self.bodies, port, TRACES, file, PROTOBUF)

    def bodies(self, port: int, path: str, file: Path, kind: str, seconds: float) -> float:
        load = wrk_bodies(port, path, seconds, file, kind)
        assert load.failed == 0, f"{load.failed} requests failed"
        return load.rate


class Spent:
    """A side's records a second, and its processor time each."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._rates: list[float] = []
        self._micros: list[float] = []

    def measure(self, load: Load) -> None:
        spent, started = processor_seconds(self._pid), time.perf_counter()
        self._rates.append(load())
        records = self._rates[-1] * (time.perf_counter() - started)
        self._micros.append((processor_seconds(self._pid) - spent) / records * 1e6)

    def rate(self) -> str:
        return f"{median(self._rates):,.0f}"

    def told(self, other: Spent | None = None) -> str:
        said = f"{min(self._rates):,.0f}–{max(self._rates):,.0f}, {median(self._micros):.1f} µs of processor time each"
        if other is None:
            return said
        pairs = [one / another for one, another in zip(self._rates, other._rates, strict=True)]
        return f"{median(pairs):.2f} times as many ({min(pairs):.2f}–{max(pairs):.2f}); {said}"


def requests_of(bodies: list[bytes]) -> list[bytes]:
    """OTLP requests of the same events, a span each, as the bridge would deliver them."""
    projection = SpanProjection(config.load(str(ROOT / "otel-bridge.toml"), {}).gpts)
    now_us = time.time_ns() // 1000
    return [projection.request([_record(event, now_us) for event in _decode(body)]) for body in bodies]


def _record(event: contract.EventIn, now_us: int) -> Event:
    assert event.timestamp is not None
    return Event(
        os.urandom(16), event.sesion_id.bytes, "devops-expert", "ab12cd34ef56ab12", event.tipo, event.contenido,
        event.latency_ms, event.tokens_entrada, event.tokens_salida, parse_time(event.timestamp, now_us), now_us,
    )  # fmt: skip
