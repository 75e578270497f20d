"""The page `/metrics`: everything it shows, collected at the scrape, or for a push (pusher.py).

What all replicas count together (`shared.py`) is on the steward's page alone; the rest tells of one process, and is on
every page. One machine is its own steward.
"""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from otel_bridge import __version__, catalog
from otel_bridge.clock import CLOCK
from otel_bridge.config import Gpt
from otel_bridge.gzipped import Begun, gzipped_parts
from otel_bridge.journal import TopUser, WentBack, WentBackKind, Window
from otel_bridge.metrics.own import OwnCounts
from otel_bridge.metrics.pace import Pace
from otel_bridge.metrics.scrapers import Scraper
from otel_bridge.metrics.shared import Shared
from otel_bridge.metrics.shown import Shown, ShownPage
from otel_bridge.metrics.shown import shown as _family
from otel_bridge.metrics.state import Labels
from otel_bridge.metrics.text import END, FamilyText, Row

PART_BYTES = 256 << 10
"""Of a page that are put together in one piece."""

_Written = tuple[Begun | None, list[bytes]]
"""What another process has written of it, and what follows in parts."""


@dataclass
class Sources:
    """Where the numbers come from. Filled in by `app`; read at every scrape."""

    shared: Callable[[Scraper], Shared | None]
    """What all replicas count together, for a page to this scraper; None: another shows it, or nobody can now."""
    gpts: Callable[[], Mapping[str, Gpt]]
    windows: Callable[[], tuple[list[Window], list[TopUser]] | None]
    """None until they have been counted once: a gauge must not fall to 0 because the bridge restarted."""
    workers: Callable[[], list[tuple[str, bool, int]]]
    journal_bytes: Callable[[], tuple[int, int]]
    """Bytes used, and bytes it may use."""
    journal_in_place: Callable[[], bool]
    journal_backend: str
    went_back: Callable[[], WentBack | None]
    """What was recognised of the journal last, at this start or an earlier one."""
    export_configured: bool
    started: float
    reload_failed: Callable[[], bool]
    limits_fallback: Callable[[], bool]
    pushes: Callable[[], Mapping[str, int] | None]
    """By result; None where metrics are not pushed."""


class BridgeCollector:
    """Writes the whole page."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._text, self._folded_text = FamilyText(), FamilyText()
        self._lock = threading.Lock()

    def render(self, openmetrics: bool, scraper: Scraper, packed: bool = False) -> list[bytes]:
        """The page for one scraper, in OpenMetrics or in the Prometheus text format, in gzip or not, in parts. Runs in
        the scrape's thread."""
        begun, parts = self._written(openmetrics, scraper, packed)
        return gzipped_parts(parts, begun) if packed else parts

    def _written(self, openmetrics: bool, scraper: Scraper, packed: bool) -> _Written:
        with self._lock:
            scraper.sent = None
            shared = self._sources.shared(scraper)
            page = self._write(openmetrics, shared, packed)
            if shared is not None and time.monotonic() > shared.until:
                # This process was halted meanwhile: the next steward may have shown more already.
                scraper.withdraw()
                page = self._write(openmetrics, None, packed)
            return page

    def page(self, scraper: Scraper) -> ShownPage:
        """What `render` writes, for one that wants no text. In one thread at a time with it."""
        with self._lock:
            scraper.sent = None
            shared = self._sources.shared(scraper)
            page = self._shown(shared)
            if time.monotonic() > page.until:
                scraper.withdraw()
                page = self._shown(None)
            return page

    def _shown(self, shared: Shared | None) -> ShownPage:
        if shared is None:
            return ShownPage(list(self._collect(None)))
        families, held = shared.folded()
        folded = [_family(metric, rows, held) for metric, rows in families]
        return ShownPage([*folded, *self._collect(shared)], shared.until)

    def _write(self, openmetrics: bool, shared: Shared | None, packed: bool) -> _Written:
        """`packed`: it is to leave in gzip."""
        pace, parts = Pace(), _Parts()
        begun = shared.packed(openmetrics) if shared is not None and packed else None
        if begun is not None:
            self._folded_text = FamilyText()  # another process remembers it
        elif shared is not None:
            families, held = shared.folded()
            for metric, rows in families:
                parts += self._folded_text.render(metric, rows, openmetrics, held, pace)
        for shown in self._collect(shared):
            parts += self._text.render(shown.metric, shown.rows, openmetrics, pace=pace)
        if openmetrics:
            parts += [END]
        return begun, parts.whole()

    def _collect(self, shared: Shared | None) -> Iterator[Shown]:
        sources = self._sources
        if shared is not None:
            yield _family(catalog.REQUEST_DURATION, _durations(shared.own), shared.held)
            yield from self._from_configuration()
            yield from self._from_windows(sources.gpts())
            yield from _from_ledger(shared)
            own = shared.own
            yield _family(catalog.EXPORT_ATTEMPTS, [((kind,), count) for kind, count in own.attempts.items()])
            yield _family(catalog.EXPORT_CONFIGURED, [((), int(sources.export_configured))])
            redactions: list[tuple[Labels, float]] = [((kind,), count) for kind, count in own.redactions.items()]
            yield _family(catalog.REDACTIONS, redactions, shared.held)
            used, limit = sources.journal_bytes()
            yield _family(catalog.JOURNAL_BYTES, [((), used)])
            yield _family(catalog.JOURNAL_LIMIT, [((), limit)])
        yield _family(catalog.JOURNAL_IN_PLACE, [((), int(sources.journal_in_place()))])
        if shared is not None:
            yield _family(catalog.JOURNAL_WENT_BACK, _went_back(sources.went_back()))
            yield _family(catalog.SERIES, [((), shared.series)])
            yield _family(catalog.SERIES_LIMIT, [((), shared.series_limit)])
            yield _family(catalog.SERIES_CAPPED, [((label,), count) for label, count in shared.capped.items()])
        yield from self._from_process()
        yield _family(catalog.STEWARD, [((), int(shared is not None))])

    def _from_process(self) -> Iterator[Shown]:
        sources = self._sources
        workers = sources.workers()
        yield _family(catalog.WORKER_UP, [((name,), int(up)) for name, up, _ in workers])
        yield _family(catalog.WORKER_RESTARTS, [((name,), restarts) for name, _, restarts in workers])
        pushes = sources.pushes()
        if pushes is not None:
            yield _family(catalog.METRICS_PUSHES, [((kind,), count) for kind, count in pushes.items()])
        yield _family(catalog.CONFIG_RELOAD_FAILED, [((), int(sources.reload_failed()))])
        yield _family(catalog.LIMITS_FALLBACK, [((), int(sources.limits_fallback()))])
        skew_us = CLOCK.skew_us()  # NTP slews it by less than a millisecond between two looks
        yield _family(catalog.CLOCK_SKEW, [((), skew_us / 1e6 if abs(skew_us) >= 1_000 else 0)])
        yield _family(catalog.CLOCK_BELIEVED, [((), int(CLOCK.believed))])
        yield _family(catalog.START_TIME, [((), sources.started)])
        yield _family(catalog.BUILD_INFO, [((__version__, platform.python_version(), sources.journal_backend), 1)])

    def _from_configuration(self) -> Iterator[Shown]:
        gpts = self._sources.gpts()
        yield _family(catalog.LATENCY_OBJECTIVE, [((g.id,), g.latency_objective_seconds) for g in gpts.values()])
        yield _family(catalog.SLO_TARGET, [((g.id,), g.slo_target) for g in gpts.values()])
        first_token = [g for g in gpts.values() if g.ttft_objective_seconds is not None]
        yield _family(catalog.FIRST_TOKEN_OBJECTIVE, [((g.id,), g.ttft_objective_seconds or 0) for g in first_token])
        yield _family(catalog.FIRST_TOKEN_TARGET, [((g.id,), g.ttft_target) for g in first_token])

    def _from_windows(self, gpts: Mapping[str, Gpt]) -> Iterator[Shown]:
        activity = self._sources.windows()
        if activity is None:
            return
        windows, top = activity
        counted = {(w.gpt, w.window): w for w in windows}
        rows = [(gpt_id, window, counted.get((gpt_id, window))) for gpt_id in gpts for window in catalog.WINDOWS]
        yield _family(catalog.ACTIVE_SESSIONS, [((gpt, name), w.sessions if w else 0) for gpt, name, w in rows])
        yield _family(catalog.ACTIVE_USERS, [((gpt, name), w.users if w else 0) for gpt, name, w in rows])
        yield _family(catalog.TOP_USER_EVENTS, [((t.gpt, t.user, "1d"), t.events) for t in top])
        yield _family(catalog.TOP_USER_TOKENS, [((t.gpt, t.user, "1d"), t.tokens) for t in top])


def _from_ledger(shared: Shared) -> Iterator[Shown]:
    records: list[tuple[Labels, float]] = [((kind, "accepted", ""), count) for kind, count in shared.accepted.items()]
    yield _family(catalog.RECORDS, records + list(shared.own.records.items()), shared.held)
    ledger = shared.ledger
    if ledger is None:
        return
    yield _family(catalog.EXPORTED, [((), ledger.exported)])
    yield _family(catalog.PENDING, [((), ledger.pending)])
    yield _family(catalog.PARKED, [((), ledger.parked)])
    yield _family(catalog.EXPORT_LAG, [((), ledger.lag)])
    yield _family(catalog.LEDGER_GAP, [((), ledger.gap)])


def _went_back(found: WentBack | None) -> list[tuple[Labels, float]]:
    at = {} if found is None else {found.kind: found.since_us / 1e6}
    return [((kind,), at.get(kind, 0)) for kind in get_args(WentBackKind)]


def _durations(own: OwnCounts) -> list[Row]:
    empty: list[None] = [None] * (len(catalog.REQUEST_DURATION.buckets) + 1)
    return [(key, ([int(count) for count in row[:-1]], row[-1], empty)) for key, row in own.durations.items()]


class _Parts:
    """A page, gathered in parts of a size that is worth a write of its own."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._open: list[bytes] = []
        self._bytes = 0

    def __iadd__(self, more: Iterable[bytes]) -> _Parts:
        for each in more:
            self._open.append(each)
            self._bytes += len(each)
            if self._bytes > PART_BYTES:
                self._close()
        return self

    def _close(self) -> None:
        self._parts.append(b"".join(self._open))
        self._open, self._bytes = [], 0

    def whole(self) -> list[bytes]:
        self._close()
        return self._parts
