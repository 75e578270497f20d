"""Processes that a benchmark starts: servers to compare with, a receiver that only parses, a client in batches."""

from __future__ import annotations

import http.client
import itertools
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
    """The yardstick; yields its port."""
    port = free_port()
    with process(str(HERE / "bare.py"), str(port)):
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
    """What wrk saw: requests a second and the time to answer, in milliseconds."""

    rate: float
    p50: float
    p99: float
    p999: float
    failed: int
    requests: int


_stamps = itertools.count((time.time_ns() // 1_000_000 % 10**5) * 10**6, 40_000_000)


def wrk(
    port: int, sessions: str, seconds: float, delay_ms: int = 0, connections: int = CONNECTIONS, size: int = 1
) -> Load:
    """Events from wrk, every one of them new, `size` a request. Raises SystemExit where wrk is missing.

    `sessions`: ids, with commas between.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt install wrk")
    out = subprocess.run(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", "-s", str(HERE / "events.lua"),
         f"http://127.0.0.1:{port}/api/events", "--", sessions, str(next(_stamps)), str(delay_ms), str(size)],
        capture_output=True, text=True, check=True,
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
