"""Free ports of the loopback interface, below those that the system gives to whoever asks for any (`bind` to 0,
`connect`): one that is not listened on yet, or for a while no more, is nobody else's."""

import os
import random
import socket
import threading
from collections import deque

_lock = threading.Lock()
WORKERS = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
"""Test processes side by side: each has ports of its own."""
_SHARE = (32_768 - 10_000) // WORKERS
_OURS = range(10_000 + _SHARE * WORKER, 10_000 + _SHARE * (WORKER + 1))
_given: deque[int] = deque(maxlen=_SHARE // 4)
"""Those that were given last."""


def free_port() -> int:
    """One that nobody listens on, and that has not been given to anybody else of late. Any of them: another run on this
    machine has the same range."""
    with _lock:
        while True:
            port = random.choice(_OURS)
            if port not in _given and _is_free(port):
                _given.append(port)
                return port


def free_ports(count: int) -> int:
    """The first of so many that follow each other."""
    with _lock:
        for first in range(_OURS.start, _OURS.stop - count, count):
            ports = range(first, first + count)
            if not set(_given).intersection(ports) and all(map(_is_free, ports)):
                _given.extend(ports)
                return first
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
    """Whether somebody listens there."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
