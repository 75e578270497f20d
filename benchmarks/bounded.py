"""What must not grow: memory with the backlog, start-up and cost an event with the journal's age."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import psutil
import requests

from otel_bridge import config, journal
from otel_bridge.export.pipe import CONSUMER
from otel_bridge.ids import new_uuid
from otel_bridge.journal import Append
from otel_bridge.records import Event, Record, Session
from tests.harness.bridge import OPENMETRICS, ROOT, Bridge

CONTENT = "¿Cómo configuro un pipeline CI/CD con Docker?"
Row = tuple[str, str, str]


def _session(now_us: int, user: int) -> Session:
    # The bridge's own ids start with their time, so that sessions of one day stand together.
    return Session(new_uuid(now_us + user * 1000), "devops-expert", f"{user:016x}", now_us, now_us)


def _events(count: int, sessions: list[Session], start_us: int) -> list[Record]:
    return [
        Event(
            os.urandom(16), sessions[i % len(sessions)].id, "devops-expert", sessions[i % len(sessions)].user,
            "consulta", CONTENT, 1500.0, 25, 150, start_us + i, start_us + i,
        )
        for i in range(count)
    ]  # fmt: skip


def fill(
    path: Path,
    count: int,
    per_segment: int = 1000,
    sessions: int = 1000,
    keyed: bool = False,
    tick: Callable[[tuple[int, float]], None] | None = None,
    age_days: float = 0.0,
) -> None:
    """Journals `count` events through the store itself, without HTTP; calls `tick((written, seconds))` a commit.

    Events with an age have been delivered and wait for the end of their retention.
    """
    store = journal.open(f"sqlite:///{path}", CONSUMER)
    now_us = time.time_ns() // 1000 - int(age_days * 86_400e6)
    opened = [_session(now_us, i) for i in range(sessions)]
    store.begin()
    store.write([Append(list(opened), [None] * sessions)])
    store.commit()
    written = 0
    while written < count:
        part = _events(min(per_segment, count - written), opened, now_us + written)
        keys = [
            b"c" + (now_us + written + i).to_bytes(8, "big") + os.urandom(8) if keyed else None
            for i in range(len(part))
        ]
        started = time.perf_counter()
        store.begin()
        store.write([Append(part, keys)])
        if age_days:
            store.advance(store.last, len(part), [])
        store.commit()
        written += len(part)
        if tick is not None:
            tick((written, time.perf_counter() - started))
        if written % 50_000 < per_segment:
            store.maintain(0, lambda run: run())
    store.close()


def _resident(bridge: Bridge) -> float:
    """MiB of the bridge and its export process."""
    assert bridge.process is not None
    main = psutil.Process(bridge.process.pid)
    return float(sum(one.memory_info().rss for one in (main, *main.children(recursive=True))) / (1 << 20))


def memory(make: Callable[..., Bridge], count: int) -> Iterator[Row]:
    bridge = make(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").start()
    yield "resident memory, idle", f"{_resident(bridge):.0f} MiB", "bridge and its export process"
    bridge.stop()
    bridge = make(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    fill(bridge.journal, count)
    started = time.perf_counter()
    bridge.start()
    yield f"start with {count:,} records not yet folded", f"{time.perf_counter() - started:.1f} s", "until ready"
    bridge.stop()
    started = time.perf_counter()
    bridge.start()
    yield "the same, folded up to a snapshot", f"{time.perf_counter() - started:.1f} s", "until ready"
    time.sleep(5)
    bridge.scrape()
    yield f"resident memory, {count:,} records pending", f"{_resident(bridge):.0f} MiB", "endpoint down"
    used = bridge.metric("otel_bridge_journal_bytes")
    yield "bytes a record on disk", f"{used / count:.0f}", "guide's event, 1,000 a commit"
    bridge.stop()
    gpts = "\n".join(f'[gpts.gpt-{i}]\nmodel = "gpt-6.2-sol"' for i in range(50))
    bridge = make(config='rate_limit = "off"\n' + gpts).start()
    types = config.load(str(ROOT / "otel-bridge.toml"), {}).gpts["devops-expert"].event_types
    for i in range(50):
        session = bridge.session(gpt_id=f"gpt-{i}")
        events = [
            {"sesion_id": session, "tipo": kind, "contenido": CONTENT, "latency_ms": 100 * n, "tokens_entrada": n,
             "tokens_salida": n * 9}
            for n, kind in enumerate((*types, "otra"))
        ]  # fmt: skip
        assert bridge.post("/events", events).status_code == 201
    times, lines = [], 0
    for _ in range(9):
        started = time.perf_counter()
        lines = requests.get(bridge.metrics_url, headers=OPENMETRICS, timeout=30).text.count("\n")
        times.append(time.perf_counter() - started)
    yield "scrape, 50 GPTs × 8 types", f"{median(times) * 1000:.0f} ms", f"{lines:,} lines"
    bridge.stop()


def growth(folder: Path, count: int) -> Iterator[Row]:
    """Microseconds an event of the journal's write, in the first and the last tenth of a growing journal."""
    for label, sessions in (("1,000 sessions", 1_000), ("100,000 sessions", 100_000)):
        spans: list[tuple[int, float]] = []
        fill(
            folder / f"growth{sessions}.db",
            count,
            sessions=sessions,
            keyed=True,
            tick=spans.append,
        )
        tenth = len(spans) // 10
        first = median(seconds for _, seconds in spans[tenth : 2 * tenth]) / 1000 * 1e6
        last = median(seconds for _, seconds in spans[-tenth:]) / 1000 * 1e6
        yield (
            f"journal write an event, {label}: second tenth → last",
            f"{first:.1f} → {last:.1f} µs",
            f"{count:,} events",
        )
