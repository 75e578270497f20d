"""The same events at other programs, in the same run, with what each promises when it answers."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from benchmarks import bounded
from benchmarks.drivers import CONNECTIONS, HERE, answers, post_all
from otel_bridge import config
from otel_bridge.export.spans import SpanProjection
from tests.harness.bridge import ROOT
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

Row = tuple[str, str, str]
PROTOBUF = "application/x-protobuf"
PHOENIX = ROOT / ".run" / "phoenix"
"""A virtual environment of its own, kept from run to run: Phoenix brings a hundred packages."""
STORED = 5_000
PUSHES = b"""# TYPE gen_ai_client_operation_duration_seconds gauge
gen_ai_client_operation_duration_seconds{event_type="consulta"} 1.5
# TYPE gen_ai_client_token_usage gauge
gen_ai_client_token_usage 175
"""


def peers(folder: Path, seconds: int) -> Iterator[Row]:
    yield from _pushgateway(folder, seconds)
    yield from _phoenix(folder, seconds)


# --- Pushgateway ----------------------------------------------------------------------------------------------------


def _pushgateway(folder: Path, seconds: int) -> Iterator[Row]:
    program = shutil.which("prometheus-pushgateway")
    if program is None:
        yield "Pushgateway, pushes/s", "not here", "apt install prometheus-pushgateway"
        return
    port = free_port()
    arguments = [f"--web.listen-address=127.0.0.1:{port}", f"--persistence.file={folder / 'push.db'}"]
    with _started([program, *arguments], port, {}):
        rate, failed = _load(folder, port, "/metrics/job/gpt", [PUSHES], "text/plain", seconds)
    assert failed == 0, f"{failed} pushes failed"
    yield (
        "Pushgateway, pushes/s",
        f"{rate:,.0f}",
        f"{CONNECTIONS} connections, wrk; answers from memory, persists every 5 min; keeps only each series' last",
    )


# --- Phoenix --------------------------------------------------------------------------------------------------------


def _phoenix(folder: Path, seconds: int) -> Iterator[Row]:
    program = _installed_phoenix()
    if program is None:
        yield "Phoenix, spans/s", "not here", "pip could not install arize-phoenix"
        return
    port, home = free_port(), folder / "phoenix"
    home.mkdir()
    environ = {
        "PHOENIX_WORKING_DIR": str(home),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    projection = SpanProjection(config.load(str(ROOT / "otel-bridge.toml"), {}).gpts)
    now_us = time.time_ns() // 1000
    sessions = [bounded._session(now_us, i) for i in range(20)]

    def requests_of(size: int, count: int) -> list[bytes]:
        return [projection.request(bounded._events(size, sessions, now_us)) for _ in range(count)]

    with _started([str(program), "serve"], port, environ):
        batches = requests_of(1_000, STORED // 1_000)
        started = time.perf_counter()
        took = post_all(port, batches, path="/v1/traces", kind=PROTOBUF, expected=200)
        wait_for(partial(_stores, home / "phoenix.db", STORED), "stored spans", 600, 0.2)
        stored = time.perf_counter() - started
        rate, failed = _load(folder, port, "/v1/traces", requests_of(1, 20_000), PROTOBUF, seconds)
    assert failed == 0, f"{failed} requests failed"
    version = subprocess.run(
        [str(program.parent / "python"), "-c", "import importlib.metadata as m; print(m.version('arize-phoenix'))"],
        capture_output=True,
        text=True,
    ).stdout.strip()
    yield (
        "Phoenix, requests of one span, requests/s answered",
        f"{rate:,.0f}",
        f"version {version}, {CONNECTIONS} connections, wrk; answers from memory, writes SQLite later",
    )
    yield "Phoenix, requests of 1,000 spans, spans/s answered", f"{STORED / took:,.0f}", "3 connections"
    yield "  the same until they are stored", f"{STORED / stored:,.0f}", f"{STORED:,} spans in its SQLite database"


def _installed_phoenix() -> Path | None:
    program = PHOENIX / "bin" / "phoenix"
    if not program.exists():
        print("  installing Phoenix beside the project, once (two minutes) …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(PHOENIX)], check=True)
        install = [str(PHOENIX / "bin" / "pip"), "install", "--quiet", "arize-phoenix"]
        if subprocess.run(install, capture_output=True).returncode != 0:
            shutil.rmtree(PHOENIX)
            return None
    return program


def _stores(database: Path, count: int) -> bool:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM spans").fetchone()[0]) >= count


# --- both -----------------------------------------------------------------------------------------------------------


@contextmanager
def _started(command: list[str], port: int, environ: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port), command[0], 120)
        yield
    finally:
        process.kill()
        process.wait()


def _load(folder: Path, port: int, path: str, bodies: list[bytes], kind: str, seconds: int) -> tuple[float, int]:
    """Requests a second that wrk was answered, and how many failed."""
    file = folder / "bodies"
    file.write_bytes(b"".join(b"%08d%b" % (len(body), body) for body in bodies))
    out = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(HERE / "bodies.lua"),
         f"http://127.0.0.1:{port}{path}", "--", str(file), kind],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return float(out.split("bench rate ")[1].split()[0]), int(float(out.split("bench failed ")[1].split()[0]))
