"""A real Redis: `redis-server` as a process of its own on a free port, which a test kills, freezes and starts again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.harness.ports import free_port
from tests.harness.waiting import wait_for


class RedisServer:
    """`folder`: where it saves, when it is told to. `arguments`: as on its command line; `environ`: more variables."""

    def __init__(self, folder: Path, *arguments: str, **environ: str) -> None:
        assert shutil.which("redis-server"), "redis-server is not installed"
        self.port = free_port()
        self.arguments = [*arguments]
        self.environ = environ
        self.socket = folder / "redis.sock"
        self.log = folder / "redis.log"
        self.password: str | None = None
        """Of the user who runs commands here."""
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self, *arguments: str) -> RedisServer:
        """Returns when it answers, be it with an error."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket),
                 "--dir", str(self.folder), "--save", "", "--repl-diskless-sync-delay", "0",
                 *self.arguments, *arguments],
                stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **self.environ},
            )  # fmt: skip
        try:
            wait_for(self._answers, "a Redis that answers")
        except BaseException:
            self.kill()  # nobody else would
            raise
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text(encoding="utf-8")[-2000:]
        try:
            self("PING")
        except (redis.ResponseError, redis.AuthenticationError, redis.BusyLoadingError):
            pass
        return True

    def __call__(self, *command: str | int) -> Any:
        """Runs a command, as somebody else does."""
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            password=self.password,
            decode_responses=True,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            return client.execute_command(*command)  # type: ignore[no-untyped-call]

    def freeze(self) -> None:
        """It keeps its connections, takes new ones, and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    close = kill

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
