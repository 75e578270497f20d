"""Who counts what is journaled: one machine for itself (`alone.py`), or replicas by their steward (`replica.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from otel_bridge.config import Config
from otel_bridge.journal import Journal
from otel_bridge.metrics.scrapers import Scraper, Scrapers
from otel_bridge.metrics.shared import Shared
from otel_bridge.ops.supervisor import Worker
from otel_bridge.records import Record


class Counting(Protocol):
    """Built from an open store; `begin` before anything else is called."""

    scrapers: Scrapers

    def fold(self, records: Sequence[Record], seq: int) -> None:
        """The journal's: takes what was committed."""

    def begin(self, journal: Journal) -> None: ...

    @property
    def is_steward(self) -> bool:
        """Whether this process counts for all now, and does what is to be done once: windows, idle sessions, trimming.
        Any thread."""

    @property
    def doubts(self) -> Mapping[int, object]:
        """Of the steward: changes where another replica did not believe its clock. Any thread."""

    def workers(self) -> list[Worker]: ...

    def stop(self) -> None:
        """Its workers end."""

    def readiness(self) -> dict[str, object] | None:
        """Who counts, for `/readyz`; None: there is nobody else."""

    def configure(self, config: Config) -> None:
        """Takes on a configuration."""

    def save_if_due(self) -> None:
        """Saves what this process counts, about once a second. Raises StoreError."""

    def save(self) -> None:
        """Saves it now. Any thread. Raises StoreError."""

    def shared(self, scraper: Scraper) -> Shared | None:
        """What all count together, for a page to this scraper; None: another shows it, or nobody can now. The scrape's
        thread, one at a time."""

    def close(self) -> None:
        """After the last save, before the store is closed."""
