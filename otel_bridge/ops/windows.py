"""Active sessions and users, and the users with the most events: counted again and again, for `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable

from otel_bridge import catalog, clock
from otel_bridge.config import Config
from otel_bridge.journal import Reader, StoreDamaged, StoreUnavailable, TopUser, Window
from otel_bridge.journal.damage import Damage
from otel_bridge.metrics.cost import Cost

COST_FACTOR = 10
"""Counting costs with the sessions that are kept. Its pause is so many times as long as it took, half of which were
pauses of its own where it is long (readers count in turns): it takes no more than a twentieth of a core."""
ELSEWHERE_SECONDS = 1.0
"""Pause of one for whom another counts: if that ends, the gauges are to be there again before the next scrape."""


class Windows:
    """`step` is a supervised worker's; `latest` is read from any thread."""

    def __init__(self, reader: Reader, config: Config, damage: Damage, is_steward: Callable[[], bool]) -> None:
        """`reader`: for `step` alone. `damage`: told what cannot be counted. `is_steward`: whether this process counts
        for all."""
        self._reader = reader
        self._damage = damage
        self._is_steward = is_steward
        self._cost = Cost()
        self.latest: tuple[list[Window], list[TopUser]] | None = None
        """None until they have been counted once (a gauge must not fall to 0 because the bridge restarted), and while
        they cannot be, or another replica counts them."""
        self.configure(config)

    def configure(self, config: Config) -> None:
        """Takes on a configuration; the next pause goes by it."""
        self._interval = config.windows_interval_seconds

    def pause_seconds(self) -> float:
        """How long to wait before the next step."""
        if self.latest is None and not self._is_steward():
            return ELSEWHERE_SECONDS
        return max(self._interval, COST_FACTOR * self._cost.seconds)

    def step(self) -> None:
        """Counts once. Raises StoreError."""
        if not self._is_steward():
            self.latest = None
            return
        started = time.monotonic()
        now_us = clock.now_us()
        try:
            windows = self._reader.windows(now_us, catalog.WINDOWS)
            top_users = self._reader.top_users(now_us, catalog.WINDOWS["1d"], catalog.TOP_USERS)
        except StoreDamaged as error:
            self._damage.note(error)
            self.latest = None
        except StoreUnavailable:  # housekeeping and `/readyz` say so
            self.latest = None
        else:
            self.latest = (windows, top_users)
        self._cost.took(time.monotonic() - started)
