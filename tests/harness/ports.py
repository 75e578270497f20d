"""Free ports of the loopback interface."""

import socket
import threading

_given: set[int] = set()
_lock = threading.Lock()


def free_port() -> int:
    """One that nobody listens on, and that has not been given to anybody else of this process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        with _lock:
            if port not in _given:
                _given.add(port)
                return port
