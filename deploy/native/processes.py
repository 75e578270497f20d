"""Programs side by side. Each is a session of its own, so that Ctrl-C reaches only the one that stops them in order."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
STOP_SECONDS = 15.0


class ProgramEnded(Exception):
    """A program ended that had to run; the text has the end of its log."""


def _die_with_parent() -> None:
    # Even a `kill -9` of the parent leaves no orphan.
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Program:
    """One running program and its log."""

    def __init__(
        self, name: str, command: list[str], log: Path, env: Mapping[str, str], cwd: Path, patience: float
    ) -> None:
        self.name = name
        self.log = log
        self.patience = patience
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def check(self) -> None:
        """Raises ProgramEnded."""
        code = self.process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").splitlines()[-12:]
            raise ProgramEnded(f"{self.name} terminó con {code} ({self.log}):\n" + "\n".join(lines))

    def stop(self) -> None:
        """SIGTERM; SIGKILL to its whole session where that does not end it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(self.patience)
            except subprocess.TimeoutExpired:
                pass
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Programs:
    """Started in order, stopped in reverse."""

    def __init__(self, folder: Path, cwd: Path) -> None:
        self.folder = folder
        self.cwd = cwd
        self.running: dict[str, Program] = {}

    def start(self, name: str, command: list[str], env: Mapping[str, str], patience: float = STOP_SECONDS) -> Program:
        """`patience`: how long it may take to stop."""
        program = Program(name, command, self.folder / f"{name}.log", env, self.cwd, patience)
        self.running[name] = program
        return program

    def check(self) -> None:
        for program in self.running.values():
            program.check()

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float, pause: float = 0.25) -> None:
        """Until the condition holds; an error of its own counts as not yet. Raises ProgramEnded, TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            try:
                if condition():
                    return
            except (OSError, ValueError, KeyError, IndexError):
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(f"en {seconds:g} s no hubo {what}")
            time.sleep(pause)

    def stop(self) -> None:
        for program in reversed(self.running.values()):
            program.stop()
        self.running.clear()


def answers(url: str, status: int = 200) -> bool:
    """Whether `url` is answered with this status."""
    try:
        with urllib.request.urlopen(url, timeout=2.0) as answer:
            return bool(answer.status == status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code == status


def free_port(wanted: int = 0) -> int:
    """The wanted port of the loopback interface, or another where it is taken."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port")
