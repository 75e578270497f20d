"""Phoenix, which stores spans in SQLite."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from benchmarks import stages
from benchmarks.drivers import CONNECTIONS, post_all
from benchmarks.peers.beside import PROTOBUF, SIZE, TRACES, Beside, Row, requests_of
from benchmarks.peers.program import started
from tests.harness.bridge import ROOT
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

PHOENIX = ROOT / ".run" / "phoenix"
"""A virtual environment of its own, kept from run to run: Phoenix brings a hundred packages."""
STORED = 5_000
PROMISE = "in memory; SQLite is written later"


def run(beside: Beside) -> Iterator[Row]:
    program = _installed()
    if program is None:
        yield "Phoenix, spans/s", "not here", "pip could not install arize-phoenix"
        return
    port, home = free_port(), beside.folder / "phoenix"
    home.mkdir()
    environ = {
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    with started([str(program), "serve"], port, environ) as pid:
        batches = requests_of(stages.batches(STORED // SIZE, SIZE, beside.sessions))
        began = time.perf_counter()
        took = post_all(port, batches, path=TRACES, kind=PROTOBUF, expected=200)
        wait_for(partial(_stores, home / "phoenix.db", STORED), "stored spans", 600, 0.2)
        stored = time.perf_counter() - began
        note = f"version {_version(program)}, {CONNECTIONS} connections, wrk"
        yield from beside.ones("Phoenix, requests of one span, requests/s", pid, beside.spans(port), note)
    yield "Phoenix, requests of 1,000 spans, spans/s answered", f"{STORED / took:,.0f}", "3 connections"
    yield "  the same until they are stored", f"{STORED / stored:,.0f}", f"{STORED:,} spans in its SQLite database"
    yield "Phoenix: what its answer promises", "–", PROMISE


def _installed() -> Path | None:
    program = PHOENIX / "bin" / "phoenix"
    if not program.exists():
        print("  installing Phoenix beside the project, once (two minutes) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(PHOENIX)], check=True)
        install = [str(PHOENIX / "bin" / "pip"), "install", "--quiet", "arize-phoenix"]
        if subprocess.run(install, capture_output=True).returncode != 0:
            shutil.rmtree(PHOENIX)
            return None
    return program


def _version(program: Path) -> str:
    ask = "import importlib.metadata as m; print(m.version('arize-phoenix'))"
    python = str(program.parent / "python")
    return subprocess.run([python, "-c", ask], capture_output=True, text=True).stdout.strip()


def _stores(database: Path, count: int) -> bool:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM spans").fetchone()[0]) >= count
