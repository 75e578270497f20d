"""Prometheus's Pushgateway: pushes of an event's numbers."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial

from benchmarks.drivers import CONNECTIONS, put_bodies
from benchmarks.peers.beside import Beside, Row
from benchmarks.peers.program import started
from tests.harness.ports import free_port

PUSH = b"""# TYPE gen_ai_client_operation_duration_seconds gauge
gen_ai_client_operation_duration_seconds{event_type="consulta"} 1.5
# TYPE gen_ai_client_token_usage gauge
gen_ai_client_token_usage 175
"""
PROMISE = "in memory, written to its file every 5 minutes; only the last value of each series is kept"


def run(beside: Beside) -> Iterator[Row]:
    program = shutil.which("prometheus-pushgateway")
    if program is None:
        yield "Pushgateway, pushes/s", "not here", "apt install prometheus-pushgateway"
        return
    port, file = free_port(), beside.folder / "push"
    put_bodies(file, [PUSH])
    command = [
        program,
        f"--web.listen-address=127.0.0.1:{port}",
        f"--persistence.file={beside.folder / 'push.db'}",
    ]
    with started(command, port, {}) as pid:
        load = partial(beside.bodies, port, "/metrics/job/gpt", file, "text/plain")
        yield from beside.ones("Pushgateway, pushes/s", pid, load, f"{CONNECTIONS} connections, wrk")
    yield "Pushgateway: what its answer promises", "–", PROMISE
