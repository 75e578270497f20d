"""The page `/metrics`: everything it shows, collected at the scrape."""

from __future__ import annotations

import logging
import platform
import threading
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from otel_bridge import __version__, catalog
from otel_bridge.catalog import Metric
from otel_bridge.clock import CLOCK
from otel_bridge.config import Gpt
from otel_bridge.journal import Ledger, TopUser, WentBack, WentBackKind, Window
from otel_bridge.metrics.ledger import LedgerView
from otel_bridge.metrics.own import OwnCounts, SelfMetrics
from otel_bridge.metrics.scrapers import LabelSet, Scraper, Scrapers
from otel_bridge.metrics.state import Labels, MetricState
from otel_bridge.metrics.text import HistogramText, Row

log = logging.getLogger(__name__)


@dataclass
class Sources:
    """Where the numbers come from. Filled in by `app`; read at every scrape."""

    state: MetricState
    own: SelfMetrics
    scrapers: Scrapers
    save: Callable[[], OwnCounts | None]
    """Saves what is counted in the journal; returns the bridge's own part as it was saved, None where it cannot be."""
    kept: Callable[[], OwnCounts | None]
    """As it was saved last, where nothing can be saved any more by this process; else None."""
    ledger: LedgerView
    gpts: Callable[[], Mapping[str, Gpt]]
    windows: Callable[[], tuple[list[Window], list[TopUser]] | None]
    """None until they have been counted once: a gauge must not fall to 0 because the bridge restarted."""
    workers: Callable[[], list[tuple[str, bool, int]]]
    journal_bytes: Callable[[], tuple[int, int]]
    """Bytes used, and bytes it may use."""
    journal_in_place: Callable[[], bool]
    journal_backend: str
    went_back: WentBack | None
    """What was recognised of the journal last, at this start or an earlier one."""
    export_configured: bool
    started: float
    reload_failed: Callable[[], bool]
    limits_fallback: Callable[[], bool]


class BridgeCollector:
    """Writes the whole page. Everything but histograms goes through prometheus-client (`_collect`)."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._ledger: tuple[int, Ledger] | None = None
        self._histograms = HistogramText()
        self._lock = threading.Lock()
        self._saved: OwnCounts | None = None
        """The bridge's own counters as the journal has them."""

    def render(self, openmetrics: bool, scraper: Scraper) -> bytes:
        """The page for one scraper, in OpenMetrics or in the Prometheus text format. Runs in the scrape's thread."""
        sources = self._sources
        with self._lock:
            now = sources.own.counts()
            label_sets = chain(sources.state.label_sets(), now.label_sets())
            to_promise = sources.scrapers.begin_page(scraper, label_sets)
            is_saved = True
            if to_promise or now != self._saved:
                saved = sources.save()
                is_saved = saved is not None
                if is_saved:
                    sources.scrapers.saved(scraper)
                # What cannot be saved is shown nevertheless: refusals of a full journal are news. But a process that
                # ends with it would be followed by one that counts from less.
                self._saved, now = saved, saved or sources.kept() or now
            held = sources.scrapers.held(scraper, is_saved)
            snapshot = list(sources.state.snapshot())
            snapshot.append((catalog.REQUEST_DURATION, _durations(now)))
            text = "".join(
                self._histograms.render(metric, rows, openmetrics, held)
                for metric, rows in snapshot
                if metric.type == "histogram"
            )
            counters = [_family(metric, rows, held) for metric, rows in snapshot if metric.type == "counter"]
            page = _Page([*counters, *self._collect(now, held)])
            # The library ends OpenMetrics with «# EOF»: the histograms go before it.
            rest: bytes = generate_openmetrics(page) if openmetrics else generate_latest(page)  # type: ignore[no-untyped-call]
            return text.encode() + rest

    def _collect(self, own: OwnCounts, held: Container[LabelSet]) -> Iterator[Family]:
        sources = self._sources
        gpts = sources.gpts()
        yield _family(catalog.LATENCY_OBJECTIVE, [((g.id,), g.latency_objective_seconds) for g in gpts.values()])
        yield _family(catalog.SLO_TARGET, [((g.id,), g.slo_target) for g in gpts.values()])
        first_token = [g for g in gpts.values() if g.ttft_objective_seconds is not None]
        yield _family(catalog.FIRST_TOKEN_OBJECTIVE, [((g.id,), g.ttft_objective_seconds or 0) for g in first_token])
        yield _family(catalog.FIRST_TOKEN_TARGET, [((g.id,), g.ttft_target) for g in first_token])
        yield from self._from_windows(gpts)
        yield from self._from_ledger(own, held)
        yield _family(catalog.EXPORT_ATTEMPTS, [((kind,), count) for kind, count in own.attempts.items()])
        yield _family(catalog.EXPORT_CONFIGURED, [((), int(sources.export_configured))])
        yield _family(catalog.REDACTIONS, [((kind,), count) for kind, count in own.redactions.items()], held)
        used, limit = sources.journal_bytes()
        yield _family(catalog.JOURNAL_BYTES, [((), used)])
        yield _family(catalog.JOURNAL_LIMIT, [((), limit)])
        yield _family(catalog.JOURNAL_IN_PLACE, [((), int(sources.journal_in_place()))])
        yield _family(catalog.JOURNAL_WENT_BACK, _went_back(sources.went_back))
        yield _family(catalog.SERIES, [((), sources.state.series_count())])
        yield _family(catalog.SERIES_LIMIT, [((), sources.state.series_limit())])
        yield _family(catalog.SERIES_CAPPED, [((label,), count) for label, count in sources.state.capped.items()])
        workers = sources.workers()
        yield _family(catalog.WORKER_UP, [((name,), int(up)) for name, up, _ in workers])
        yield _family(catalog.WORKER_RESTARTS, [((name,), restarts) for name, _, restarts in workers])
        yield _family(catalog.CONFIG_RELOAD_FAILED, [((), int(sources.reload_failed()))])
        yield _family(catalog.LIMITS_FALLBACK, [((), int(sources.limits_fallback()))])
        skew_us = CLOCK.skew_us()  # NTP slews it by less than a millisecond between two looks
        yield _family(catalog.CLOCK_SKEW, [((), skew_us / 1e6 if abs(skew_us) >= 1_000 else 0)])
        yield _family(catalog.CLOCK_BELIEVED, [((), int(CLOCK.believed))])
        yield _family(catalog.START_TIME, [((), sources.started)])
        yield _family(catalog.BUILD_INFO, [((__version__, platform.python_version(), sources.journal_backend), 1)])

    def _from_windows(self, gpts: Mapping[str, Gpt]) -> Iterator[Family]:
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

    def _from_ledger(self, own: OwnCounts, held: Container[LabelSet]) -> Iterator[Family]:
        try:
            self._ledger = self._sources.ledger.read()
        except Exception as error:
            # An old ledger would look like a good one: what cannot be counted now is not shown.
            log.warning("the ledger cannot be counted: %s", type(error).__name__)
            self._ledger = None
        accepted_records = self._sources.state.accepted.items()
        records: list[tuple[Labels, float]] = [((kind, "accepted", ""), count) for kind, count in accepted_records]
        yield _family(catalog.RECORDS, records + list(own.records.items()), held)
        if self._ledger is None:
            return
        accepted, ledger = self._ledger
        yield _family(catalog.EXPORTED, [((), ledger.exported)])
        yield _family(catalog.PENDING, [((), ledger.pending)])
        yield _family(catalog.PARKED, [((), ledger.parked)])
        yield _family(catalog.EXPORT_LAG, [((), self._sources.ledger.lag())])
        yield _family(catalog.LEDGER_GAP, [((), accepted - ledger.exported - ledger.pending - ledger.parked)])


def _family(metric: Metric, rows: list[tuple[Labels, float]], held: Container[LabelSet] = frozenset()) -> Family:
    """Series in `held` are at 0 (scrapers.py)."""
    kind: Any = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, 0 if (metric.name, labels) in held else value)
    return family  # type: ignore[no-any-return]


def _went_back(found: WentBack | None) -> list[tuple[Labels, float]]:
    at = {} if found is None else {found.kind: found.since_us / 1e6}
    return [((kind,), at.get(kind, 0)) for kind in get_args(WentBackKind)]


def _durations(own: OwnCounts) -> list[Row]:
    empty: list[None] = [None] * (len(catalog.REQUEST_DURATION.buckets) + 1)
    return [(key, ([int(count) for count in row[:-1]], row[-1], empty)) for key, row in own.durations.items()]


class _Page(CollectorRegistry):
    """Families that exist already, in the form that prometheus-client writes."""

    def __init__(self, families: list[Family]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterator[Family]:
        yield from self._families
