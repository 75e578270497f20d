"""Counters of the bridge itself: answers, refusals, duplicates, redactions.

Plain numbers, written from the event loop and read by a scrape. They go along with each snapshot, and a page shows them
as the snapshot has them: after a kill they go on from what was shown, and lose at most what no page had yet.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import msgspec

from otel_bridge import catalog, errors
from otel_bridge.errors import ErrorKind
from otel_bridge.export import result

RECORD_KINDS = ("session", "event", "feedback")
_BOUNDS = catalog.REQUEST_DURATION.buckets
_ANSWERS = (HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.MULTI_STATUS)


class OwnCounts(msgspec.Struct):
    """All of them as of one moment."""

    records: dict[tuple[str, str, str], int]
    """By kind, result and reason: duplicates and refusals; what was accepted is counted from the journal."""
    redactions: dict[str, int]
    attempts: dict[str, int]
    durations: dict[tuple[str, str, str], list[float]]
    """By route, method and status: bucket counts, +Inf, sum (seconds)."""

    def label_sets(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(family, labels) of all that a scrape shows."""
        for key in self.records:
            yield catalog.RECORDS.name, key
        for kind in self.redactions:
            yield catalog.REDACTIONS.name, (kind,)
        for route in self.durations:
            yield catalog.REQUEST_DURATION.name, route


class SelfMetrics:
    """`posts`: routes that take records in; their answers stand at 0 from the start, and so do `redactions` (kinds)."""

    def __init__(self, posts: Iterable[str] = (), redactions: Iterable[str] = ()) -> None:
        self.records: Counter[tuple[str, str, str]] = Counter(
            {(kind, "duplicate", ""): 0 for kind in RECORD_KINDS}
            | {(kind, "rejected", error.type): 0 for kind in RECORD_KINDS for error in errors.ERROR_KINDS}
        )
        self.redactions: Counter[str] = Counter(dict.fromkeys(redactions, 0))
        self.attempts: Counter[str] = Counter(dict.fromkeys(result.KINDS, 0))
        self._durations: dict[tuple[str, str, str], list[float]] = {}
        self._rows: dict[tuple[str, str, int], list[float]] = {}
        """The same lists, by the status as it comes."""
        for route in posts:
            for status in sorted({*_ANSWERS, *(error.status for error in errors.ERROR_KINDS)}):
                self._row(route, "POST", status)

    def rejected(self, kind: str, error: ErrorKind, count: int = 1) -> None:
        self.records[(kind, "rejected", error.type)] += count

    def duplicate(self, kind: str, count: int = 1) -> None:
        self.records[(kind, "duplicate", "")] += count

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        row = self._rows.get((route, method, status)) or self._row(route, method, status)
        row[bisect_left(_BOUNDS, seconds)] += 1
        row[-1] += seconds

    def _row(self, route: str, method: str, status: int) -> list[float]:
        row = self._durations.setdefault((route, method, str(status)), [0.0] * (len(_BOUNDS) + 2))
        self._rows[route, method, status] = row
        return row

    def counts(self) -> OwnCounts:
        """A copy of them as they are now. From any thread."""
        return OwnCounts(
            dict(self.records),
            dict(self.redactions),
            dict(self.attempts),
            {key: row[:] for key, row in list(self._durations.items())},
        )

    def load(self, state: bytes) -> None:
        """Goes on from what `dump` gave."""
        document = msgspec.msgpack.decode(state)
        for kind, result_, reason, count in document["records"]:
            self.records[(kind, result_, reason)] = count
        self.redactions.update(document["redactions"])
        self.attempts.update(document["attempts"])
        for route, method, status, row in document.get("durations", ()):
            if len(row) == len(_BOUNDS) + 2:
                self._row(route, method, int(status))[:] = row


def dump(counts: OwnCounts) -> bytes:
    """Counts as bytes, for `SelfMetrics.load`."""
    return msgspec.msgpack.encode(
        {
            "records": [[*key, count] for key, count in counts.records.items()],
            "redactions": counts.redactions,
            "attempts": counts.attempts,
            "durations": [[*key, row] for key, row in counts.durations.items()],
        }
    )
