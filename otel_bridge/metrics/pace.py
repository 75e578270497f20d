"""How a thread computes for long beside the answers: in short turns, with pauses."""

from __future__ import annotations

import threading
import time

TURN_SECONDS = 0.0005
"""That it computes at a time. The event loop gives the interpreter up at each answer that it writes, and a thread that
does not pause keeps it then for as long as `server.SWITCH_SECONDS`: each time."""
PAUSE_SECONDS = 0.0005
"""That it leaves to the others after each turn."""


class Pace:
    """Of one piece of work, in one thread."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + TURN_SECONDS
        self._pause = threading.Event()

    def rest(self) -> None:
        """Pauses where its turn is over. Called between small pieces of the work."""
        if time.perf_counter() > self._until:
            self._pause.wait(PAUSE_SECONDS)  # `time.sleep` is one to a moment, which a clock that is set can refuse
            self._until = time.perf_counter() + TURN_SECONDS
