"""`python -m otel_bridge.commands.worker`: one of the processes that `serve --workers` keeps (workers.py)."""

from __future__ import annotations

import signal
import socket
import sys

from otel_bridge import signals
from otel_bridge.orders import Orders, Worker


def main() -> int:
    """Its number, its end of the line (a file descriptor), whether it announces; then arguments of `otel-bridge`."""
    signals.hold()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals.ALL)  # whoever starts it has blocked them until here
    number, line, announces, *arguments = sys.argv[1:]
    worker = Worker(int(number), Orders(socket.socket(fileno=int(line))), announces == "yes")
    from otel_bridge.commands import cli  # takes long

    cli.begin_log(arguments, worker)
    return cli.main(arguments, worker=worker)


if __name__ == "__main__":
    sys.exit(main())
