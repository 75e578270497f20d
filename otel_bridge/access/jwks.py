"""The keys that the issuer signs with: looked up in a worker's thread, and known meanwhile.

    none known ──looked up──▶ known ──10 min──▶ looked up again ──fails──▶ known still, for a day ──▶ none known
        │                       └── a key that is not among them: looked up again, 5 s apart at the least
        └── fails: tried again, 1 s to 30 s apart

Whoever needs a key that is not known waits for the look-up that is under way, all for the same one and for
`WAIT_SECONDS` at the most. Nothing here blocks the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import threading
import time
from typing import TYPE_CHECKING

from otel_bridge.access.place import Place, ProviderError, place_of
from otel_bridge.config import Config

if TYPE_CHECKING:
    from otel_bridge.access.keyset import KeySet

log = logging.getLogger(__name__)

REFRESH_SECONDS = 600.0
"""After it keys are looked up again: one that the issuer has withdrawn opens nothing any more."""
STALE_SECONDS = 86_400.0
"""For so long keys are believed that cannot be looked up again."""
UNKNOWN_SECONDS = 5.0
"""Between two look-ups for the sake of a key that is not known: tokens name any key they like."""
RETRY_SECONDS = (1.0, 30.0)
WAIT_SECONDS = 5.0
MAX_WAITING = 1000
"""Requests that wait for a look-up at once; another one is told to come again."""

_monotonic = time.monotonic


class IssuerKeys:
    """What is known of the issuer's keys. `run` is a supervised worker's body; `configure` and `stop` may be called
    from any thread, the rest is asked on the event loop."""

    def __init__(self, config: Config) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._ended = False
        self._place: Place | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self._forget()
        self.configure(config)

    def _forget(self) -> None:
        self._keys: KeySet | None = None
        self._read_at = self._tried_at = -math.inf
        self._retry = RETRY_SECONDS[0]
        self.failing = False
        """Whether the last look-up failed."""

    def configure(self, config: Config) -> None:
        place = place_of(config)
        with self._lock:
            if place == self._place:
                return
            self._place = place
            self._forget()
        if place is not None:
            _import()
        self._wake.set()

    @property
    def configured(self) -> bool:
        return self._place is not None

    @property
    def known(self) -> KeySet | None:
        """The keys that are believed now: the same object for as long as they are the same."""
        return self._keys if _monotonic() - self._read_at < STALE_SECONDS else None

    @property
    def unsettled(self) -> bool:
        """Whether a look-up that was asked for has not come back: a key that is not known may be a new one."""
        return bool(self._waiting)

    def retry_after(self) -> int:
        """Seconds after which who is sent away should come again."""
        left = self._tried_at + self._pause_after_failure() - _monotonic()
        return math.ceil(left) if left > 1 else 1

    def look_up(self) -> asyncio.Future[None] | None:
        """Has the keys looked up again; what is returned is done when they were, or when it is not worth to wait any
        longer. None where that was just done, or too many wait: what is known now is all there is."""
        now = _monotonic()
        with self._lock:
            if len(self._waiting) >= MAX_WAITING or self._place is None:
                return None
            if not self._waiting and now < self._tried_at + self._pause_after_failure():
                return None
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            self._waiting.append(future)
        loop.call_later(WAIT_SECONDS, _done, future)
        self._wake.set()
        return future

    def _pause_after_failure(self) -> float:
        return self._retry if self.failing else UNKNOWN_SECONDS

    # --- the worker ---------------------------------------------------------------------------------------------------

    def run(self) -> None:
        while True:
            self._wake.wait(self._seconds_left())
            self._wake.clear()
            if self._ended:
                return
            with self._lock:
                place, waited_for = self._place, bool(self._waiting)
            if place is not None and (waited_for or self._seconds_left() <= 0):
                self._look_up(place)

    def stop(self) -> None:
        self._ended = True
        self._wake.set()
        with self._lock:
            waiting = self._let_go()
        _wake(waiting)

    def _seconds_left(self) -> float:
        """Until the keys are looked up again without anybody asking for it."""
        if self._place is None:
            return 3600.0
        due = self._tried_at + (self._retry if self.failing else REFRESH_SECONDS)
        return max(0.0, due - _monotonic())

    def _look_up(self, place: Place) -> None:
        keys, failure = None, ""
        try:
            keys = _read(place)
        except ProviderError as error:
            failure = str(error)
        finally:
            with self._lock:  # at once: who asks from now on waits for the next look-up
                if place == self._place:
                    self._take(keys, failure)
                waiting = self._let_go()
            _wake(waiting)

    def _let_go(self) -> list[asyncio.Future[None]]:
        """With the lock held. Who waits, for whoever wakes them: they have nothing more to wait for."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def _take(self, keys: KeySet | None, failure: str) -> None:
        now = self._tried_at = _monotonic()
        if keys is None:
            if not self.failing:
                rest = (
                    "what is known of them goes on for a day" if self._keys is not None else "tokens get 503 meanwhile"
                )
                log.warning("the issuer's keys cannot be looked up, %s: %s", rest, failure or "an unexpected error")
            self._retry = min(RETRY_SECONDS[1], self._retry * 2) if self.failing else RETRY_SECONDS[0]
            self.failing = True
            return
        if self._keys is None or self._keys.documents != keys.documents:
            log.info("the issuer's keys were looked up: %d", len(keys))
            self._keys = keys
        elif self.failing:
            log.info("the issuer's keys can be looked up again")
        self._read_at, self.failing, self._retry = now, False, RETRY_SECONDS[0]


def _read(place: Place) -> KeySet:
    """The keys as they are now. Raises ProviderError."""
    from otel_bridge.access import keyset, provider

    return keyset.KeySet(provider.read_keys(place))


def _import() -> None:
    """What reads keys. Most bridges take no tokens: their start goes without the libraries. They are imported by the
    thread that configures, and not by the event loop, which needs them next."""
    import otel_bridge.access.keyset
    import otel_bridge.access.provider  # noqa: F401


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    """From another thread."""
    for future in waiting:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            future.get_loop().call_soon_threadsafe(_done, future)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
