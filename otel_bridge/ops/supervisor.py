"""Background workers. A worker that dies is logged, counted, shown by `/readyz` and started again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

RESTART_SECONDS = (0.2, 10.0)
HEALTHY_SECONDS = 30.0
"""A worker that ran this long before it died starts again after the shortest pause."""


class Worker:
    """One thread that runs `body` again whenever it raises, until stopped.

    States: up ──body raises──▶ down (restarts + 1) ──pause──▶ up … ──stop──▶ stopped
    """

    def __init__(self, name: str, body: Callable[[], None]) -> None:
        self.name = name
        self._body = body
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.up = False
        self.restarts = 0

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        pause = RESTART_SECONDS[0]
        while not self._stopping.is_set():
            started = time.monotonic()
            self.up = True
            try:
                self._body()
                if self._stopping.is_set():
                    return
                raise RuntimeError("ended although nobody stopped it")
            except BaseException as error:
                self.up = False
                if self._stopping.is_set():
                    return
                self.restarts += 1
                log.error("worker %s died and is started again", self.name, exc_info=error)
            if time.monotonic() - started > HEALTHY_SECONDS:
                pause = RESTART_SECONDS[0]
            self._stopping.wait(pause)
            pause = min(RESTART_SECONDS[1], pause * 2)
        self.up = False

    @property
    def alive(self) -> bool:
        return self.up and self._thread.is_alive()

    @property
    def stopping(self) -> threading.Event:
        return self._stopping

    def every(self, seconds: Callable[[], float], step: Callable[[], None]) -> None:
        """Runs `step` at once and then again and again, `seconds()` apart, until the worker is stopped."""
        while not self._stopping.is_set():
            step()
            self._stopping.wait(seconds())

    def stop(self, timeout: float = 5.0) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)


def periodic(name: str, seconds: Callable[[], float], step: Callable[[], None]) -> Worker:
    """A worker that runs `step` every `seconds()`."""
    worker = Worker(name, lambda: worker.every(seconds, step))
    return worker
