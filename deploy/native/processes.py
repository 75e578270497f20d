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
from typing import TypedDict

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
STOP_SECONDS = 15.0


class ProgramEnded(Exception):
    """A program ended that had to run; the text has the end of its log."""


class Account(TypedDict):
    """A user of the system, as `subprocess` takes it."""

    user: int
    group: int
    extra_groups: tuple[int, ...]


def _die_with_parent(stop_signal: signal.Signals) -> None:
    # Even a `kill -9` of the parent leaves no orphan.
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, stop_signal)


class Program:
    """One running program and its log."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        env: Mapping[str, str],
        cwd: Path,
        patience: float,
        stop_signal: signal.Signals,
        account: Account | None,
    ) -> None:
        self.name = name
        self.log = log
        self._patience = patience
        self._stop_signal = stop_signal
        with log.open("ab") as sink:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: _die_with_parent(stop_signal),
                **(account or {}),
            )

    def check(self) -> None:
        """Raises ProgramEnded."""
        code = self.process.poll()
        if code is not None:
            lines = self.log.read_text("utf-8", "replace").splitlines()[-12:]
            raise ProgramEnded(f"{self.name} terminó con {code} ({self.log}):\n" + "\n".join(lines))

    def stop(self) -> None:
        """Its signal to stop; SIGKILL to its whole session where that does not end it."""
        if self.process.poll() is None:
            self.process.send_signal(self._stop_signal)
            try:
                self.process.wait(self._patience)
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
        self._killed: list[Program] = []

    def start(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str],
        patience: float = STOP_SECONDS,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        account: Account | None = None,
    ) -> Program:
        """`patience`: how long it may take to stop. `account`: whom it runs as, where it is not us."""
        log = self.folder / f"{name}.log"
        program = Program(name, command, log, env, cwd or self.cwd, patience, stop_signal, account)
        self.running[name] = program
        return program

    def kill(self, name: str) -> None:
        """`kill -9` of that process alone. From then on nobody minds that it is not there."""
        program = self.running.pop(name)
        program.process.kill()
        program.process.wait()
        self._killed.append(program)

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
        for program in [*reversed(self.running.values()), *self._killed]:  # the killed: what they had started
            program.stop()
        self.running.clear()
        self._killed.clear()


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
