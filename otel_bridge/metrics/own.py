"""Counters of the bridge itself: answers, refusals, duplicates, redactions.

Plain numbers, written from the event loop and read by a scrape. They go along with each snapshot, and a page shows them
as the snapshot has them: after a kill they go on from what was shown, and lose at most what no page had yet.
Replicas save theirs in their lanes, and the steward's page has the sum.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import TypeVar

import msgspec

from otel_bridge import catalog, errors
from otel_bridge.errors import ErrorKind
from otel_bridge.export import result

RECORD_KINDS = ("session", "event", "feedback")
_BOUNDS = catalog.REQUEST_DURATION.buckets
K = TypeVar("K")

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
        self.attempts_for_others: Counter[str] = Counter()
        """Of what replicas that are gone have left: another thread counts them."""
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
            dict(_added((self.attempts, self.attempts_for_others))),
            {key: row[:] for key, row in list(self._durations.items())},
        )

    def load(self, state: bytes) -> None:
        """Goes on from what `dump` gave."""
        counts = loaded(state)
        self.records.update(counts.records)
        self.redactions.update(counts.redactions)
        self.attempts.update(counts.attempts)
        for (route, method, status), row in counts.durations.items():
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


def loaded(state: bytes) -> OwnCounts:
    """What `dump` gave."""
    document = msgspec.msgpack.decode(state)
    return OwnCounts(
        {(kind, result_, reason): count for kind, result_, reason, count in document["records"]},
        document["redactions"],
        document["attempts"],
        {
            (route, method, status): row
            for route, method, status, row in document.get("durations", ())
            if len(row) == len(_BOUNDS) + 2
        },
    )


NOTHING = OwnCounts({}, {}, {}, {})


def total(parts: Iterable[OwnCounts]) -> OwnCounts:
    """The sum of several. It never falls where none of them does: seconds are added exactly, and rounded once."""
    parts = list(parts)
    rows: dict[tuple[str, str, str], list[list[float]]] = {}
    for part in parts:
        for key, row in part.durations.items():
            rows.setdefault(key, []).append(row)
    return OwnCounts(
        _added(part.records for part in parts),
        _added(part.redactions for part in parts),
        _added(part.attempts for part in parts),
        {key: [math.fsum(column) for column in zip(*several, strict=True)] for key, several in rows.items()},
    )


def since(now: OwnCounts, before: OwnCounts) -> OwnCounts:
    """What one process has counted since an earlier moment."""
    nothing = [0.0] * (len(_BOUNDS) + 2)
    return OwnCounts(
        {key: count - before.records.get(key, 0) for key, count in now.records.items()},
        {key: count - before.redactions.get(key, 0) for key, count in now.redactions.items()},
        {key: count - before.attempts.get(key, 0) for key, count in now.attempts.items()},
        {
            key: [one - other for one, other in zip(row, before.durations.get(key, nothing), strict=True)]
            for key, row in now.durations.items()
        },
    )


def _added(counters: Iterable[Mapping[K, int]]) -> dict[K, int]:
    added: dict[K, int] = {}
    for counter in counters:
        for key, count in counter.items():
            added[key] = added.get(key, 0) + count
    return added
