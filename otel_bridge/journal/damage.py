"""What of the journal has been found damaged, for `/readyz` and the log.

A damage does not mend itself, but who needs it may be gone: it is forgotten when nobody has met it for a while.
"""

from __future__ import annotations

import logging
import time

from otel_bridge.journal.store import DamagedPart, StoreDamaged

log = logging.getLogger(__name__)

REMEMBERED_SECONDS = 300.0


class Damage:
    """Any thread."""

    def __init__(self) -> None:
        self._met: dict[DamagedPart, float] = {}
        """When each part was last met damaged (monotonic)."""
        self.refuses: StoreDamaged | None = None
        """Why nothing more is taken: the next start would refuse the journal as it is."""

    def note(self, error: StoreDamaged) -> None:
        """A call needed a part that is damaged. Logged where it is news, with what to do."""
        if error.part not in self.parts():
            log.error("%s", error)
            log.error("%s", error.advice)
        self._met[error.part] = time.monotonic()

    def parts(self) -> list[DamagedPart]:
        since = time.monotonic() - REMEMBERED_SECONDS
        return sorted(part for part, met in list(self._met.items()) if met > since)
