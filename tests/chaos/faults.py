"""System calls of a running process that fail, as the kernel would say it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from tests.harness.waiting import wait_for


@cache
def _why_not() -> str | None:
    if shutil.which("strace") is None:
        return "calls are made to fail by strace, which is not here: scripts/ensure-tools installs it"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return f"this process may not trace another: {tried.stderr.strip()}" if tried.returncode else None


def strace(path: Path, *rules: str) -> list[str]:
    """The beginning of a command whose calls that name this path, or a file that is open under it, fail by these rules:
    a thread's first `fdatasync:error=EIO:when=1`, or all from then on `…:when=1+`."""
    why_not = _why_not()
    if why_not is not None:
        pytest.skip(why_not)
    calls = ",".join(rule.partition(":")[0] for rule in rules)
    injected = [part for rule in rules for part in ("-e", f"inject={rule}")]
    return ["strace", "-f", "-P", str(path), "-e", f"trace={calls}", *injected]


class Fault:
    """strace, attached to every thread of a process."""

    def __init__(self, pid: int, path: Path, *rules: str) -> None:
        self._pid = pid
        self._log = path.with_name("strace.log")
        command = [*strace(path, *rules), "-p", str(pid), "-o", str(self._log)]
        self._strace = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        wait_for(self._attached, "strace at every thread", 20, pause=0.005)

    def _attached(self) -> bool:
        if self._strace.poll() is not None:
            return True  # the process has ended, and it with it
        traced = f"TracerPid:\t{self._strace.pid}\n"
        tasks = list(Path(f"/proc/{self._pid}/task").iterdir())
        return all(traced in (task / "status").read_text() for task in tasks)

    def count(self) -> int:
        """Calls that have failed so far."""
        return self._log.read_text().count("(INJECTED)") if self._log.exists() else 0

    def close(self) -> None:
        """Calls are what they were."""
        if self._strace.poll() is None:
            self._strace.send_signal(signal.SIGTERM)
        self._strace.communicate(timeout=20)


@contextmanager
def failing(pid: int, path: Path, *rules: str) -> Iterator[Fault]:
    fault = Fault(pid, path, *rules)
    try:
        yield fault
    finally:
        fault.close()
