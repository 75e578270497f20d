"""Counters of the bridge itself: answers, refusals, duplicates, redactions.

Plain numbers, written from the event loop and read by a scrape. The counters go along with each snapshot, so that
a restart does not send them back to zero; a kill loses the last seconds of them, never of the GPT metrics.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

import msgspec

from otel_bridge import catalog, errors
from otel_bridge.errors import ErrorKind

RECORD_KINDS = ("session", "event")
_BOUNDS = catalog.REQUEST_DURATION.buckets


class SelfMetrics:
    def __init__(self) -> None:
        self.records: Counter[tuple[str, str, str]] = Counter(
            {(kind, "duplicate", ""): 0 for kind in RECORD_KINDS}
            | {(kind, "rejected", error.type): 0 for kind in RECORD_KINDS for error in errors.ERROR_KINDS}
        )
        """(kind, result, reason) of duplicates and refusals; what was accepted is counted from the journal."""
        self.redactions: Counter[str] = Counter()
        self.attempts: Counter[str] = Counter()
        self.durations: dict[tuple[str, str, str], list[float]] = {}
        """(route, method, status) → bucket counts, +Inf, sum. A restart sets these to zero."""
        self._rows: dict[tuple[str, str, int], list[float]] = {}
        """The same lists, by the status as it comes."""

    def rejected(self, kind: str, error: ErrorKind, count: int = 1) -> None:
        self.records[(kind, "rejected", error.type)] += count

    def duplicate(self, kind: str, count: int = 1) -> None:
        self.records[(kind, "duplicate", "")] += count

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        row = self._rows.get((route, method, status))
        if row is None:
            row = self._rows[route, method, status] = [0.0] * (len(_BOUNDS) + 2)
            self.durations[route, method, str(status)] = row
        row[bisect_left(_BOUNDS, seconds)] += 1
        row[-1] += seconds

    def dump(self) -> bytes:
        return msgspec.msgpack.encode(
            {
                "records": [[*key, count] for key, count in list(self.records.items())],
                "redactions": dict(self.redactions),
                "attempts": dict(self.attempts),
            }
        )

    def load(self, state: bytes) -> None:
        document = msgspec.msgpack.decode(state)
        for kind, result, reason, count in document["records"]:
            self.records[(kind, result, reason)] = count
        self.redactions.update(document["redactions"])
        self.attempts.update(document["attempts"])
