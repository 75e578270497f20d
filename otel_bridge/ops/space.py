"""Room for more: within the journal's own limit, and where the journal is."""

from __future__ import annotations

from otel_bridge.config import Config
from otel_bridge.journal import Reader, Store

AT_LIMIT = "the journal has reached journal_max_size"
NO_ROOM = "the disk that holds the journal has less than disk_min_free left"


class Space:
    """What the journal uses and may use, in bytes. Measured by housekeeping; asked from any thread."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self.used = 0
        """As of the last `measure`."""
        self._full = False
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration."""
        self.max_size = int(config.journal_max_size)
        self._min_free = int(config.disk_min_free)

    def measure(self, reader: Reader) -> None:
        """Takes the size anew. Raises StoreError."""
        self.used = reader.bytes_used()
        self._full = self.used > self.max_size

    def why_full(self) -> str | None:
        """Why there is no room for more records: AT_LIMIT or NO_ROOM; None: there is."""
        if self._full:
            return AT_LIMIT
        free = self._store.free_space()
        if free is not None and free < self._min_free:
            return NO_ROOM
        return None

    def byte_limit(self) -> int:
        """Bytes that the journal can grow to."""
        free = self._store.free_space()
        if free is None:
            return self.max_size
        return min(self.max_size, self.used + max(0, free - self._min_free))
