"""Free ports of the loopback interface."""

import os
import socket
import threading

_given: set[int] = set()
_lock = threading.Lock()
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Test processes side by side: each has ports of its own."""


def free_port() -> int:
    """One that nobody listens on, and that has not been given to anybody else of this run."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        with _lock:
            if port not in _given and port // 2 % WORKERS == WORKER:  # Linux gives bind() ports of one parity
                _given.add(port)
                return port


def free_ports(count: int) -> int:
    """The first of so many that follow each other, below those that bind() gives."""
    for first in range(12_000 + 3000 * WORKER, 15_000 + 3000 * WORKER, count):
        ports = range(first, first + count)
        with _lock:
            if not _given.intersection(ports) and not any(answers(port) for port in ports):
                _given.update(ports)
                return first
    raise AssertionError("no free ports")


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
