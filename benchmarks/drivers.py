"""Processes that a benchmark starts: servers to compare with, a receiver that only parses, a client in batches."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.orders import DAY_US, RISING
from tests.harness.bridge import ROOT, Bridge
from tests.harness.ports import free_port
from tests.harness.waiting import wait_for

HERE = Path(__file__).parent
CONNECTIONS = 64


@contextmanager
def process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process of this folder's, ended with the block."""
    started = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield started
    finally:
        started.kill()
        started.wait()
        assert started.stdout is not None
        started.stdout.close()


@contextmanager
def bare() -> Iterator[int]:
    """The bare server; yields its port."""
    port = free_port()
    with process("-m", "benchmarks.bare", str(port)):
        wait_for(lambda: answers(port), "bare server")
        yield port


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()
    return True


@dataclass
class Load:
    """What wrk saw: requests a second and the time to answer, in milliseconds. Where it is missing: SystemExit."""

    rate: float
    p50: float
    p99: float
    p999: float
    failed: int
    requests: int


def wrk(
    port: int,
    sessions: str,
    seconds: float,
    delay_ms: int = 0,
    connections: int = CONNECTIONS,
    size: int = 1,
    order: str = RISING,
) -> Load:
    """Events from wrk, every one of them new, `size` a request, with their times in that order.

    `sessions`: ids, with commas between.
    """
    # The clock is ahead of a load's own times, which take 4 µs an event: no two loads have the same.
    first = time.time_ns() // 1000 % DAY_US
    return run_wrk(
        "events.lua", port, "/api/events", seconds, connections, sessions, str(first), str(delay_ms), str(size), order
    )


def wrk_sessions(port: int, seconds: float) -> Load:
    """Sessions from wrk, each of another user."""
    return run_wrk("sessions.lua", port, "/api/sessions", seconds, CONNECTIONS, uuid.uuid4().hex)


def wrk_bodies(port: int, path: str, seconds: float, file: Path, kind: str) -> Load:
    """The bodies of a file that `put_bodies` has written, round and round."""
    return run_wrk("bodies.lua", port, path, seconds, CONNECTIONS, str(file), kind)


def put_bodies(file: Path, bodies: list[bytes]) -> None:
    file.write_bytes(b"".join(b"%08d%b" % (len(body), body) for body in bodies))


def run_wrk(script: str, port: int, path: str, seconds: float, connections: int, *arguments: str) -> Load:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt install wrk")
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / script),
         f"http://127.0.0.1:{port}{path}", "--", *arguments],
        env={**os.environ, "LUA_PATH": f"{HERE}/?.lua;;"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    found = dict(re.findall(r"^bench (\w+) ([\d.]+)$", out, re.MULTILINE))
    return Load(
        float(found["requests"]) / float(found["seconds"]),
        float(found["p50"]),
        float(found["p99"]),
        float(found["p999"]),
        int(float(found["failed"])),
        int(float(found["requests"])),
    )


def open_sessions(bridge: Bridge, count: int) -> list[uuid.UUID]:
    return [uuid.UUID(bridge.session(usuario_id=f"usuario{i}")) for i in range(count)]


def drained(port: int, count: int) -> dict[str, float] | None:
    """What the receiver (sink.py) tells, once it has so many spans."""
    told: dict[str, float] = requests.get(f"http://127.0.0.1:{port}/", timeout=5).json()
    return told if told["spans"] >= count else None


def post_all(
    port: int,
    bodies: list[bytes],
    connections: int = 3,
    path: str = "/api/events",
    kind: str = "application/json",
    expected: int = 201,
) -> float:
    """Posts each body once over a few connections; seconds it took. Raises RuntimeError for an unexpected answer."""
    waiting = iter(bodies)
    lock = threading.Lock()
    wrong: list[int] = []

    def post() -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while not wrong:
            with lock:
                body = next(waiting, None)
            if body is None:
                break
            client.request("POST", path, body, {"Content-Type": kind})
            answer = client.getresponse()
            answer.read()
            if answer.status != expected:
                wrong.append(answer.status)
        client.close()

    threads = [threading.Thread(target=post) for _ in range(connections)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise RuntimeError(f"a request was answered with {wrong[0]}")
    return time.perf_counter() - started
