"""When delivery stops."""

from __future__ import annotations

import threading
import time


class Shutdown:
    """Whether delivery is to stop, and for how long it may still deliver what waits.

        running ──request(seconds)──▶ requested ──the seconds are over, or give_up()──▶ expired

    `request` may be called from any thread.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._deadline = float("inf")

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    @property
    def expired(self) -> bool:
        """Whether no further request may begin."""
        return time.monotonic() > self._deadline

    def request(self, seconds: float) -> None:
        """Asks to stop, after `seconds` of further delivery at the most."""
        self._deadline = time.monotonic() + seconds
        self._event.set()

    def give_up(self) -> None:
        """Ends the time that `request` left."""
        self._deadline = 0.0

    def wait(self, seconds: float) -> None:
        """Waits, or returns at once where a stop is requested."""
        self._event.wait(seconds)
