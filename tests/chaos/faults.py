"""System calls of a running process that fail, as the kernel would say it."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.harness.waiting import wait_for


class Fault:
    """strace, attached to every thread of a process."""

    def __init__(self, pid: int, path: Path, *rules: str) -> None:
        """`rules`: what strace injects into calls that name this path, or a file that is open under it: a thread's
        first `fdatasync:error=EIO:when=1`, or all from then on `…:when=1+`."""
        if shutil.which("strace") is None:
            pytest.skip("calls are made to fail by strace, which is not here: scripts/ensure-tools installs it")
        self._pid = pid
        self._log = path.with_name("strace.log")
        command = ["strace", "-f", "-p", str(pid), "-P", str(path), "-o", str(self._log)]
        command += ["-e", "trace=" + ",".join(rule.partition(":")[0] for rule in rules)]
        self._strace = subprocess.Popen(
            [*command, *(part for rule in rules for part in ("-e", f"inject={rule}"))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(self._attached, "strace at every thread", 20, pause=0.005)

    def _attached(self) -> bool:
        if self._strace.poll() is not None:
            assert self._strace.stderr is not None
            said = self._strace.stderr.read()
            if not Path(f"/proc/{self._pid}").exists():
                return True
            pytest.skip(f"this process may not trace another: {said.strip()}")
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
