"""A process of ours that is spoken to in frames of msgpack, over its standard streams."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

import msgspec

from otel_bridge import signals


def start(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """The process of `python -m module`, as it starts. It is to end by its pipe. Raises OSError."""
    # A signal to the whole group would end it before it can say that it ignores it. What is blocked in the thread that
    # starts it is blocked in it from its first instruction on.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals.ALL)
    try:
        return subprocess.Popen(  # noqa: S603 — ourselves, with words of our configuration
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Ctrl-C in a terminal goes to the whole group; the bridge alone decides when this process stops.
            start_new_session=True,
            env=env,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def streams() -> tuple[IO[bytes], IO[bytes]]:
    """What such a process reads frames from, and writes them to."""
    stdin, stdout = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the frames
    return stdin, stdout


def write_frame(stream: IO[bytes], value: Any) -> None:
    """Writes a message and flushes it. Raises BrokenPipeError where the other side has ended."""
    body = msgspec.msgpack.encode(value)
    stream.write(struct.pack("<I", len(body)) + body)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame's body. None: the other side has ended."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    size = struct.unpack("<I", head)[0]
    body = stream.read(size)
    return body if len(body) == size else None
