"""Delivery: from a full journal to a receiver that only parses."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial

import psutil

from benchmarks import bounded
from benchmarks.drivers import HERE, answers, drained, process
from tests.harness.bridge import Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

WANTED = {"none": 100_000, "gzip": 80_000}


def run(make: Callable[..., Bridge], count: int) -> Iterator[tuple[str, str, str]]:
    """Over HTTP and gRPC, plain and in gzip: spans a second; processor time and memory of the delivery process."""
    full = make()
    bounded.fill(full.journal, count, per_segment=1000)
    for protocol, name in (("http/protobuf", "HTTP"), ("grpc", "gRPC")):
        for compression, wanted in WANTED.items():
            port, grpc_port = free_port(), free_port()
            bridge = make(
                OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{grpc_port if protocol == 'grpc' else port}",
                OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                OTEL_EXPORTER_OTLP_COMPRESSION=compression,
            )
            shutil.copytree(full.journal.parent, bridge.journal.parent, dirs_exist_ok=True)
            with process(str(HERE / "sink.py"), str(port), str(grpc_port)):
                wait_for(partial(answers, port), "receiver")
                bridge.start()
                early = wait_for(partial(drained, port, count // 10), "first spans", 300, 0.02)
                delivery = _delivery(bridge)
                spent, began = sum(delivery.cpu_times()[:2]), delivery.memory_info().rss
                told = wait_for(partial(drained, port, count), "drained journal", 300, 0.05)
                spent, ended = sum(delivery.cpu_times()[:2]) - spent, delivery.memory_info().rss
                wait_for(partial(_closed, bridge), "closed ledger")
                bridge.stop()
            rate = told["spans"] / (told["last"] - told["first"])
            micros = spent / (told["spans"] - early["spans"]) * 1e6
            label = f"{name}, gzip" if compression == "gzip" else name
            yield (
                f"drain, spans/s, {label} (wanted ≥ {wanted:,})",
                f"{rate:,.0f}",
                f"{count:,} spans; processor time {micros:.1f} µs a span; resident {began / (1 << 20):.0f} MiB after a "
                f"tenth, {ended / (1 << 20):.0f} at the end",
            )


def _closed(bridge: Bridge) -> bool:
    return bridge.metric("otel_bridge_ledger_gap") == 0


def _delivery(bridge: Bridge) -> psutil.Process:
    """The bridge's delivery process."""
    assert bridge.process is not None
    (one,) = [p for p in psutil.Process(bridge.process.pid).children() if "otel_bridge.export" in p.cmdline()]
    return one
