"""What went wrong: counted, kept for `stats`, and logged. Never with content, users or keys."""

from __future__ import annotations

import collections
import logging
import threading
import time

LOG_EVERY_SECONDS = 60.0
MAX_CAUSES = 50

log = logging.getLogger("otel_bridge_client")


class Notes:
    def __init__(self) -> None:
        self.last_error: str | None = None
        self.dropped: collections.Counter[str] = collections.Counter()
        self.causes: collections.Counter[str] = collections.Counter()
        self._logged: dict[str, tuple[float, int]] = {}
        self._lock = threading.Lock()

    def count(self, reason: str, cause: str | None = None) -> None:
        with self._lock:
            self.dropped[reason] += 1
            if cause is not None:
                known = cause in self.causes or len(self.causes) < MAX_CAUSES
                self.causes[cause if known else "other"] += 1

    def say(self, kind: str, words: str, error: str | None = None) -> None:
        """Logs the first of a kind, then once a minute how many there were. `error`: what `last_error` says of it."""
        try:
            with self._lock:
                self.last_error = error or f"{kind}: {words}"
                now = time.monotonic()
                at, unsaid = self._logged.get(kind, (float("-inf"), 0))
                if now - at < LOG_EVERY_SECONDS:
                    self._logged[kind] = (at, unsaid + 1)
                    return
                self._logged[kind] = (now, 0)
            more = f" (and {unsaid} more since the last such line)" if unsaid else ""
            log.warning("otel-bridge: %s: %s%s", kind, words, more)
        except Exception:  # noqa: S110 a broken log handler is not the caller's problem either
            pass
