"""A peer's program, started for a measurement."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.drivers import answers
from tests.harness.waiting import wait_for


@contextmanager
def started(command: list[str], port: int, environ: dict[str, str]) -> Iterator[int]:
    """Until the end of the block, from when it answers on that port; yields its process id."""
    process = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port), command[0], 120)
        yield process.pid
    finally:
        process.kill()
        process.wait()
