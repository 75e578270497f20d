"""OpenTelemetry Collector with its sending queue on disk and an fsync a request: the nearest peer in durability."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.peers.beside import NOWHERE, Beside, Row
from tests.harness.collector import SOURCE, Collector, collector_program

POSTS = 200
PROMISE = "in its queue's file with an fsync; not validated, redacted or counted, and a repeat is one more"


def run(beside: Beside) -> Iterator[Row]:
    try:
        program, version = _program()
    except pytest.skip.Exception as why:
        yield "Collector", "not here", str(why)
        return
    folder = beside.folder / "collector"
    folder.mkdir()
    collector = Collector(program, folder, NOWHERE)
    collector.keep_queue()
    collector.exporter["sending_queue"]["queue_size"] = 10_000_000  # nothing of it is delivered
    collector.start()
    try:
        load = beside.spans(collector.port)
        note = f"{version}, file_storage with fsync"
        yield from beside.ones("Collector, requests of one span, requests/s", collector.pid, load, note)
        yield from beside.batches("Collector, requests of 1,000 spans, spans/s", collector.pid, collector.port, POSTS)
    finally:
        collector.close()
    yield "Collector: what its answer promises", "–", PROMISE


def _program() -> tuple[Path, str]:
    """A program and its version. Raises pytest's Skipped where there is none and none can be built."""
    found = os.environ.get("OTELCOL") or shutil.which("otelcol-contrib")
    if found is not None:
        said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
        return Path(found), said.strip()
    built = re.search(r"collector/otelcol v(\S+)", (SOURCE / "go.mod").read_text(encoding="utf-8"))
    assert built is not None
    return collector_program(optimised=True), f"version {built[1]} built from its Go modules"
