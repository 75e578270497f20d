"""Records → the state of the GPT metrics: a fold, with a snapshot that a restart continues from.

Plain lists and bisect, not prometheus-client's instruments: an observation costs a quarter of theirs, and a
snapshot is plain data (the library's `Histogram` can only be restored through private attributes).
The same records in the same order always give the same state, caps included.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from otel_bridge import catalog
from otel_bridge.catalog import Metric
from otel_bridge.config import UNKNOWN, Config, Gpt
from otel_bridge.metrics.extras import ExtraFold, most_lines, zero_lines
from otel_bridge.metrics.pace import Pace
from otel_bridge.records import (
    UNMEASURED_LATENCY,
    UNMEASURED_TOKENS_IN,
    UNMEASURED_TOKENS_OUT,
    Event,
    Feedback,
    Idle,
    Record,
    Session,
    part_trace_id,
)

STATE_VERSION = 1

MAX_ZERO_LINES = 20_000
"""Lines of a page that series without an event may take. Past it, only GPTs that something was posted for have them."""

_ROWS = 256
"""Histograms that a page copies at a time: what commits waits for it."""
_SAVED_AT_ONCE = 16
"""Histograms that are made bytes between two looks at the clock."""

Labels = tuple[str, ...]
Copy = tuple[list[int], float, list[Any]]
"""Of a histogram: its counts, sum and exemplars. Never changed."""

_EARLY = {
    metric.name
    for metric in (
        *(catalog.OPERATION_DURATION, catalog.TOKEN_USAGE, catalog.SESSION_DURATION, catalog.SESSION_EVENTS),
        *(catalog.SESSIONS, catalog.SLO_EVENTS, catalog.COST, catalog.UNPRICED),
    )
}
"""Families that every release knows which knows a snapshot."""

_DURATION_BOUNDS = catalog.OPERATION_DURATION.buckets
_TOKEN_BOUNDS = tuple(map(int, catalog.TOKEN_USAGE.buckets))
"""Whole numbers, as tokens are: to find a bucket among them takes half of the time."""

# A histogram's lines of a page: its buckets, +Inf, count and sum.
_DURATION_LINES = len(_DURATION_BOUNDS) + 3
_TOKEN_LINES = 2 * (len(_TOKEN_BOUNDS) + 3)
_IDLE_LINES = sum(len(metric.buckets) + 3 for metric in (catalog.SESSION_DURATION, catalog.SESSION_EVENTS))


_FEEDBACK_LINES = len(catalog.FEEDBACK_RESULTS)
_HISTORIC_LINES = 3
"""A session's, an event's and a rating's."""


class Exemplar(msgspec.Struct, array_like=True, frozen=True):
    """The event behind the last observation of a bucket."""

    trace: bytes
    event: bytes
    value: float
    arrived_us: int


class Histogram:
    """Counts by bucket (not cumulative; the last is +Inf), their sum, and the last event of each bucket."""

    __slots__ = ("copy", "counts", "exemplars", "saved", "sum")

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0
        self.exemplars: list[Event | Exemplar | None] = [None] * (buckets + 1)
        self.copy: Copy | None = None
        """As it was copied last; None: it has changed since. Who has the same object knows that nothing changed."""
        self.saved: tuple[Copy, bytes] | None = None
        """A copy, and what it is in a snapshot."""

    def copied(self) -> Copy:
        copy = self.copy = self.copy or (self.counts[:], self.sum, self.exemplars[:])
        return copy

    def observe(self, bounds: Sequence[float], value: float, exemplar: Event | None = None) -> None:
        """Counts a value in its bucket. `bounds`: the buckets' upper ones, ascending, without +Inf."""
        bucket = bisect_left(bounds, value)
        self.counts[bucket] += 1
        self.sum += value
        self.copy = None
        if exemplar is not None:
            self.exemplars[bucket] = exemplar


class _EventSeries:
    """The series that one event adds to, resolved once for its GPT, type, model and error."""

    __slots__ = (
        "bad",
        "cost",
        "duration",
        "good",
        "objective",
        "price_cached",
        "price_in",
        "price_out",
        "tokens_in",
        "tokens_out",
        "unpriced",
    )

    duration: Histogram
    tokens_in: Histogram
    tokens_out: Histogram
    good: list[float]
    bad: list[float]
    cost: list[float] | None
    unpriced: list[float]
    """Where `cost` is None."""
    price_in: float
    price_cached: float
    price_out: float
    objective: float


class _GptSeries:
    """The label values that one GPT has used, and the series of each combination."""

    __slots__ = ("errors", "gpt", "models", "series", "types")

    def __init__(self, gpt: Gpt) -> None:
        self.gpt = gpt
        self.types = frozenset(gpt.event_types)
        self.models: set[str] = set()
        self.errors: set[str] = set()
        self.series: dict[tuple[str, str | None, str | None], _EventSeries] = {}


class MetricState:
    """The GPT metrics of every record so far. `apply` from one thread; `snapshot` from any."""

    def __init__(self, gpts: Mapping[str, Gpt], max_models: int = 10, max_errors: int = 10) -> None:
        self._config = gpts
        self._max_models = max_models
        self._max_errors = max_errors
        self._gpts: dict[str, _GptSeries] = {}
        self.lock = threading.Lock()
        self._label_sets: list[tuple[str, Labels]] | None = None
        """Of a page, where no series came since that was made. A series goes only where another comes (extras.py)."""
        self.seq = 0
        self.accepted = {"session": 0, "event": 0, "feedback": 0}
        self.capped = {"gen_ai_request_model": 0, "error_type": 0}
        self.histograms: dict[str, dict[Labels, Histogram]] = {
            metric.name: {}
            for metric in (
                catalog.OPERATION_DURATION,
                catalog.TOKEN_USAGE,
                catalog.SESSION_DURATION,
                catalog.SESSION_EVENTS,
                catalog.FIRST_TOKEN,
                catalog.VERSION_DURATION,
            )
        }
        self.counters: dict[str, dict[Labels, list[float]]] = {
            metric.name: {}
            for metric in (
                catalog.SESSIONS,
                catalog.SLO_EVENTS,
                catalog.COST,
                catalog.UNPRICED,
                catalog.UNMEASURED,
                catalog.HISTORIC,
                catalog.FEEDBACK,
                catalog.FIRST_TOKEN_SLO,
                catalog.REASONING_TOKENS,
                catalog.VERSION_EVENTS,
                catalog.TOOL_CALLS,
                catalog.TOOL_SECONDS,
            )
        }
        of_versions: dict[str, Any] = {
            catalog.VERSION_EVENTS.name: self.counters[catalog.VERSION_EVENTS.name],
            catalog.VERSION_DURATION.name: self.histograms[catalog.VERSION_DURATION.name],
        }
        self._extra = ExtraFold(self._histogram, self._counter, of_versions, self.capped)
        self._announce()

    def _announce(self) -> None:
        """Every configured GPT's series stand at 0 from the start: Prometheus counts no rise from «absent» to 1."""
        all_fit = sum(map(_zero_lines, self._config.values())) <= MAX_ZERO_LINES
        for gpt_id in self._config:
            if gpt_id in self._gpts:
                self._stand_at_zero(self._gpts[gpt_id])
            elif all_fit:
                self._gpt(gpt_id)

    def _stand_at_zero(self, gpt_series: _GptSeries) -> None:
        base = self._base(gpt_series, None)
        self._counter(catalog.SESSIONS, base)
        for metric in (catalog.SESSION_DURATION, catalog.SESSION_EVENTS):
            self._histogram(metric, base)
        for result in catalog.FEEDBACK_RESULTS:
            self._counter(catalog.FEEDBACK, (*base, result))
        self._extra.stand_at_zero(gpt_series.gpt, base)
        for type_ in (*gpt_series.gpt.event_types, catalog.OTHER_EVENT_TYPE):
            self._series(gpt_series, type_, None, None)

    # --- the fold -----------------------------------------------------------------------------------------------

    def apply(self, records: Sequence[Record], seq: int) -> None:
        """Folds records in; `seq` is the sequence number of the last of them."""
        with self.lock:
            events = 0
            for record in records:
                if record.__class__ is Event:
                    self._event(record)
                    events += 1
                elif record.__class__ is Session:
                    self._session(record)
                elif record.__class__ is Feedback:
                    self._feedback(record)
                else:
                    self._idle(record)  # type: ignore[arg-type]
            self.accepted["event"] += events
            self.seq = seq

    def skip(self, spans: int, seq: int) -> None:
        """Records up to `seq` were accepted, so many of them spans, and cannot be read: they are in no other series."""
        with self.lock:
            if spans:
                self.accepted["unreadable"] = self.accepted.get("unreadable", 0) + spans
                self._label_sets = None
            self.seq = seq

    def _event(self, event: Event) -> None:
        extras = event.extras
        if extras is not None and extras.historic:
            self._historic(event.gpt, "event")
            return
        gpt_series = self._gpts.get(event.gpt) or self._gpt(event.gpt)
        type_ = event.type if event.type in gpt_series.types else catalog.OTHER_EVENT_TYPE
        model, error = event.model, event.error
        if model is not None and model not in gpt_series.models:
            model = self._admit_model(gpt_series, model)
        if error is not None and error not in gpt_series.errors:
            error = self._admit(gpt_series.errors, error, self._max_errors, "error_type", catalog.OTHER_ERROR)
        series = gpt_series.series.get((type_, model, error)) or self._series(gpt_series, type_, model, error)
        if extras is not None:
            base = self._base(gpt_series, model)
            self._extra.fold(event, extras, gpt_series.gpt, base, type_)
            if extras.unmeasured:
                self._partly_measured(event, extras.unmeasured, series, (*base, type_, error or ""))
                return
        seconds, tokens_in, tokens_out = event.latency_ms / 1000, event.tokens_in, event.tokens_out
        # `Histogram.observe`, three times and for every event: written out a tenth of the time is spared.
        histogram, bucket = series.duration, bisect_left(_DURATION_BOUNDS, seconds)
        histogram.counts[bucket] += 1
        histogram.sum += seconds
        histogram.copy = None
        histogram.exemplars[bucket] = event
        histogram, bucket = series.tokens_in, bisect_left(_TOKEN_BOUNDS, tokens_in)
        histogram.counts[bucket] += 1
        histogram.sum += tokens_in
        histogram.copy = None
        histogram.exemplars[bucket] = event
        histogram, bucket = series.tokens_out, bisect_left(_TOKEN_BOUNDS, tokens_out)
        histogram.counts[bucket] += 1
        histogram.sum += tokens_out
        histogram.copy = None
        histogram.exemplars[bucket] = event
        if error is None and seconds <= series.objective:
            series.good[0] += 1
        else:
            series.bad[0] += 1
        if series.cost is None:
            series.unpriced[0] += tokens_in + tokens_out
        else:
            cached = event.tokens_cached or 0
            series.cost[0] += (
                (event.tokens_in - cached) * series.price_in
                + cached * series.price_cached
                + event.tokens_out * series.price_out
            )

    def _partly_measured(self, event: Event, missing: int, series: _EventSeries, labels: Labels) -> None:
        """An event without some of its numbers, which are 0 in it. Without its latency it is not judged, failed or not:
        of the others nobody knows whether they were good, and failures alone would be all of what is judged. What is
        known of its tokens costs what it costs."""
        for bit, what in enumerate(catalog.UNMEASURED_WHAT):
            if missing & 1 << bit:
                self._counter(catalog.UNMEASURED, (*labels, what))[0] += 1
        if not missing & UNMEASURED_LATENCY:
            seconds = event.latency_ms / 1000
            series.duration.observe(_DURATION_BOUNDS, seconds, event)
            judged = series.good if event.error is None and seconds <= series.objective else series.bad
            judged[0] += 1
        if not missing & UNMEASURED_TOKENS_IN:
            series.tokens_in.observe(_TOKEN_BOUNDS, event.tokens_in, event)
        if not missing & UNMEASURED_TOKENS_OUT:
            series.tokens_out.observe(_TOKEN_BOUNDS, event.tokens_out, event)
        if series.cost is None:
            series.unpriced[0] += event.tokens_in + event.tokens_out
        else:
            cached = 0 if missing & UNMEASURED_TOKENS_IN else event.tokens_cached or 0
            uncached = event.tokens_in - cached
            series.cost[0] += (
                uncached * series.price_in + cached * series.price_cached + event.tokens_out * series.price_out
            )

    def _historic(self, gpt_id: str, kind: str) -> None:
        """What happened long ago moves nothing that goes by when it arrived (docs/decisions/0019-history.md)."""
        self._counter(catalog.HISTORIC, (gpt_id, kind))[0] += 1

    def _session(self, session: Session) -> None:
        if session.historic:
            self._historic(session.gpt, "session")
            self.accepted["session"] += 1
            return
        gpt_series = self._gpts.get(session.gpt) or self._gpt(session.gpt)
        self._counter(catalog.SESSIONS, self._base(gpt_series, None))[0] += 1
        self.accepted["session"] += 1

    def _feedback(self, feedback: Feedback) -> None:
        if feedback.historic:
            self._historic(feedback.gpt, "feedback")
            self.accepted["feedback"] += 1
            return
        gpt_series, model = self._gpts.get(feedback.gpt) or self._gpt(feedback.gpt), feedback.model
        if model is not None and model not in gpt_series.models:  # its event could not be read
            model = self._admit_model(gpt_series, model)
        labels = (*self._base(gpt_series, model), catalog.feedback_result(feedback.value))
        self._counter(catalog.FEEDBACK, labels)[0] += 1
        self.accepted["feedback"] += 1

    def _idle(self, idle: Idle) -> None:
        base = self._base(self._gpts.get(idle.gpt) or self._gpt(idle.gpt), None)
        for metric, value in (
            (catalog.SESSION_DURATION, idle.duration_s),
            (catalog.SESSION_EVENTS, idle.events),
        ):
            self._histogram(metric, base).observe(metric.buckets, value)

    # --- labels, and what bounds them ------------------------------------------------------------------------------

    def _gpt(self, gpt_id: str) -> _GptSeries:
        # A GPT that has left the configuration still has records to fold.
        gpt = self._config.get(gpt_id) or Gpt(gpt_id, gpt_id, provider=UNKNOWN)
        gpt_series = self._gpts[gpt_id] = _GptSeries(gpt)
        gpt_series.models.update({gpt.model, *gpt.prices})
        if gpt_id in self._config:
            self._stand_at_zero(gpt_series)
        return gpt_series

    def _admit_model(self, gpt_series: _GptSeries, model: str) -> str:
        # Models that have a price are configured: a long list of prices takes no place from what clients name.
        gpt = gpt_series.gpt
        limit = self._max_models + len(gpt.prices) - (gpt.model in gpt.prices)
        return self._admit(gpt_series.models, model, limit, "gen_ai_request_model", catalog.OTHER_MODEL)

    def _admit(self, admitted: set[str], value: str, limit: int, label: str, fallback: str) -> str:
        """A value becomes a label until the cap is reached; past it the fallback takes its place."""
        if value == fallback or len(admitted) < limit:
            admitted.add(value)
            return value
        self.capped[label] += 1
        return fallback

    def _base(self, gpt_series: _GptSeries, model: str | None) -> Labels:
        return (gpt_series.gpt.id, catalog.OPERATION, gpt_series.gpt.provider, model or gpt_series.gpt.model)

    def _series(self, gpt_series: _GptSeries, type_: str, model: str | None, error: str | None) -> _EventSeries:
        base = self._base(gpt_series, model)
        series = _EventSeries()
        series.duration = self._histogram(catalog.OPERATION_DURATION, (*base, type_, error or ""))
        series.tokens_in = self._histogram(catalog.TOKEN_USAGE, (*base, type_, "input"))
        series.tokens_out = self._histogram(catalog.TOKEN_USAGE, (*base, type_, "output"))
        series.good = self._counter(catalog.SLO_EVENTS, (*base, "good"))
        series.bad = self._counter(catalog.SLO_EVENTS, (*base, "bad"))
        series.objective = gpt_series.gpt.latency_objective_seconds
        price = gpt_series.gpt.prices.get(model or gpt_series.gpt.model)
        if price is None:
            series.cost, series.unpriced = None, self._counter(catalog.UNPRICED, base)
        else:
            series.cost = self._counter(catalog.COST, base)
            series.price_in = price.input / 1e6
            series.price_cached = (price.input if price.cached is None else price.cached) / 1e6
            series.price_out = price.output / 1e6
        gpt_series.series[(type_, model, error)] = series
        return series

    def _histogram(self, metric: Metric, labels: Labels) -> Histogram:
        family = self.histograms[metric.name]
        histogram = family.get(labels)
        if histogram is None:
            histogram = family[labels] = Histogram(len(metric.buckets))
            self._label_sets = None
        return histogram

    def _counter(self, metric: Metric, labels: Labels) -> list[float]:
        family = self.counters[metric.name]
        counter = family.get(labels)
        if counter is None:
            counter = family[labels] = [0.0]
            self._label_sets = None
        return counter

    def configure(self, config: Config) -> None:
        """Takes on a new registry of GPTs; what was counted stays."""
        gpts = config.gpts
        with self.lock:
            self._config = gpts
            for gpt_id, gpt_series in list(self._gpts.items()):
                fresh = gpts.get(gpt_id)
                if fresh is not None and fresh != gpt_series.gpt:
                    replacement = _GptSeries(fresh)
                    replacement.models = gpt_series.models | {fresh.model, *fresh.prices}
                    replacement.errors = gpt_series.errors
                    self._gpts[gpt_id] = replacement
            self._announce()

    # --- snapshot --------------------------------------------------------------------------------------------------

    def dump(self) -> bytes:
        """The whole state as bytes, for `load`."""
        return self.dump_at()[1]

    def dump_at(self, pace: Pace | None = None) -> tuple[int, bytes]:
        """The sequence number of the last record, and the whole state as of it as bytes, for `load`. In one thread at a
        time; what folds waits only for the copy. `pace`: of a thread that has time."""
        with self.lock:
            document = {
                "version": STATE_VERSION,
                "accepted": self.accepted.copy(),
                "capped": self.capped.copy(),
                "admitted": {
                    gpt_id: [sorted(gpt_series.models), sorted(gpt_series.errors)]
                    for gpt_id, gpt_series in self._gpts.items()
                },
            }
            extra = msgspec.msgpack.encode(self._extra.dump())
            seq = self.seq
            all_series = {name: list(family.items()) for name, family in self.histograms.items()}
            all_copies = {
                name: [held.copy or held.copied() for held in family.values()]
                for name, family in self.histograms.items()
            }
            counters = {
                name: [(labels, value[0]) for labels, value in family.items()] for name, family in self.counters.items()
            }
        families: dict[bool, dict[str, Any]] = {
            is_early: {"histograms": {}, "counters": {}} for is_early in (True, False)
        }
        for name, series in all_series.items():
            rows, copies = [], all_copies[name]
            for start in range(0, len(series), _SAVED_AT_ONCE):
                part = slice(start, start + _SAVED_AT_ONCE)
                rows += [_saved(name, *one, copy) for one, copy in zip(series[part], copies[part], strict=True)]
                if pace is not None:
                    pace.rest()
            families[name in _EARLY]["histograms"][name] = [list(catalog_buckets(name)), rows]
        for name, values in counters.items():
            families[name in _EARLY]["counters"][name] = values
        # Apart: a release that does not know these families yet loads the rest.
        later = {**families[False], **msgspec.msgpack.decode(extra)}
        return seq, msgspec.msgpack.encode({**document, **families[True], "later": later})

    def left(self) -> dict[str, Gpt]:
        """GPTs that a reload has taken out, as they were: what comes of their sessions is counted by that."""
        with self.lock:
            return {gpt_id: one.gpt for gpt_id, one in self._gpts.items() if gpt_id not in self._config}

    def load(self, seq: int, state: bytes, left: Mapping[str, Gpt] | None = None) -> None:
        """Restores a dumped state. `left`: as the state that was dumped has them; a new process of the bridge does not
        know them any more. Raises ValueError where this release cannot read it."""
        document = msgspec.msgpack.decode(state)
        if document.get("version") != STATE_VERSION:
            raise ValueError(f"the snapshot of metrics has version {document.get('version')}, not {STATE_VERSION}")
        with self.lock:
            self.seq = seq
            self.accepted.update(document["accepted"])
            self._label_sets = None
            self.capped.update(document["capped"])
            self._gpts.update({gpt_id: _GptSeries(gpt) for gpt_id, gpt in (left or {}).items()})
            for gpt_id, (models, error_types) in document["admitted"].items():
                gpt_series = self._gpts.get(gpt_id) or self._gpt(gpt_id)
                gpt_series.models.update(models)
                gpt_series.errors.update(error_types)
            by_name = {metric.name: metric for metric in catalog.METRICS}
            self._load_families(document, by_name)
            later = document.get("later")
            if later is not None:
                self._extra.load(later)
                known = {
                    kind: {name: rows for name, rows in later[kind].items() if name in by_name}
                    for kind in ("histograms", "counters")
                }
                self._load_families(known, by_name)

    def _load_families(self, document: Mapping[str, Any], by_name: Mapping[str, Metric]) -> None:
        for name, (bounds, rows) in document["histograms"].items():
            for labels, counts, total, exemplars in rows:
                # In place: series that stand at 0 are held by what folds.
                histogram = self._histogram(by_name[name], tuple(labels))
                histogram.sum = total
                held = [Exemplar(*fields) if fields else None for fields in exemplars]
                histogram.counts, histogram.exemplars = _rebucket(counts, held, bounds, by_name[name].buckets)
                histogram.copy = None
        for name, rows in document["counters"].items():
            for labels, value in rows:
                self._counter(by_name[name], tuple(labels))[0] = value

    # --- reading ----------------------------------------------------------------------------------------------------

    def label_sets(self) -> list[tuple[str, Labels]]:
        """(family, labels) of all that a scrape shows. The same list where they are the same; nobody changes it."""
        return self.label_sets_at()[1]

    def label_sets_at(self) -> tuple[int, list[tuple[str, Labels]]]:
        """The sequence number of the last record, and `label_sets` as of it."""
        with self.lock:
            if self._label_sets is None:
                sets = [(name, labels) for name, family in self.histograms.items() for labels in family]
                sets += [(name, labels) for name, family in self.counters.items() for labels in family]
                sets += [(catalog.RECORDS.name, (kind, "accepted", "")) for kind in self.accepted]
                self._label_sets = sets
            return self.seq, self._label_sets

    def series_count(self) -> int:
        """Series of GPT metrics that a scrape shows: the number that the caps limit."""
        count = sum(len(family) for family in self.counters.values())
        for name, family in self.histograms.items():
            count += len(family) * (len(catalog_buckets(name)) + 3)
        return count

    def series_limit(self) -> int:
        """Series that can exist at the most with this configuration, however clients behave."""
        models, error_types = self._max_models + 2, self._max_errors + 2
        total = 0
        for gpt in self._config.values():
            own_models = models + len({gpt.model, *gpt.prices})
            types = len(gpt.event_types) + 1
            of_type = error_types * (_DURATION_LINES + len(catalog.UNMEASURED_WHAT)) + _TOKEN_LINES
            total += (
                own_models * (types * of_type + 4 + _FEEDBACK_LINES) + _IDLE_LINES + 1 + most_lines(gpt, own_models)
            )
            total += _HISTORIC_LINES
        return total

    def snapshot(self, pace: Pace | None = None) -> Iterator[tuple[Metric, list[tuple[Labels, Any]]]]:
        """(metric, rows): a row is (labels, value) of a counter, or (labels, (counts, sum, exemplars)) of a histogram.
        Counters are of one moment; each histogram is of one, not before that."""
        by_name = {metric.name: metric for metric in catalog.METRICS}
        with self.lock:  # what is committed meanwhile waits to be folded: labels and values are put together behind it
            counters = {
                name: (list(family), [value[0] for value in family.values()]) for name, family in self.counters.items()
            }
            histograms = {name: (list(family), list(family.values())) for name, family in self.histograms.items()}
        for name, (labels, series) in histograms.items():
            rows: list[tuple[Labels, Any]] = []
            for start in range(0, len(series), _ROWS):
                part = slice(start, start + _ROWS)
                with self.lock:
                    copies = [held.copy or held.copied() for held in series[part]]
                rows += zip(labels[part], copies, strict=True)
                if pace is not None:
                    pace.rest()
            yield by_name[name], rows
        for name, (labels, values) in counters.items():
            yield by_name[name], list(zip(labels, values, strict=True))
            if pace is not None:
                pace.rest()


def catalog_buckets(name: str) -> tuple[float, ...]:
    return next(metric.buckets for metric in catalog.METRICS if metric.name == name)


def _zero_lines(gpt: Gpt) -> int:
    """Lines of a page that a GPT takes before its first event."""
    types = len({*gpt.event_types, catalog.OTHER_EVENT_TYPE})
    return types * (_DURATION_LINES + _TOKEN_LINES) + _IDLE_LINES + 4 + _FEEDBACK_LINES + zero_lines(gpt)


def _rebucket(
    counts: list[int], exemplars: list[Exemplar | None], bounds: Sequence[float], now: Sequence[float]
) -> tuple[list[int], list[Event | Exemplar | None]]:
    """Counts and exemplars of a histogram whose buckets have changed. What a bucket holds goes to the first of now's
    that surely holds it all: counts stay, and a percentile is never below the truth."""
    if list(bounds) == list(now):
        return counts, list(exemplars)
    moved = [0] * (len(now) + 1)
    kept: list[Event | Exemplar | None] = [None] * (len(now) + 1)
    for i, (count, held) in enumerate(zip(counts, exemplars, strict=True)):
        bucket = bisect_left(now, bounds[i]) if i < len(bounds) else len(now)
        moved[bucket] += count
        if held is not None and bisect_left(now, held.value) == bucket:
            kept[bucket] = held
    return moved, kept


def observed_value(name: str, labels: Labels, event: Event) -> float:
    """What an event added to a histogram: its exemplar's value."""
    if name == catalog.OPERATION_DURATION.name:
        return event.latency_ms / 1000
    if name == catalog.FIRST_TOKEN.name:
        assert event.extras is not None and event.extras.ttft_ms is not None
        return event.extras.ttft_ms / 1000
    return event.tokens_in if labels[-1] == "input" else event.tokens_out


def exemplar(name: str, labels: Labels, held: Event | Exemplar) -> Exemplar:
    if isinstance(held, Exemplar):
        return held
    return Exemplar(
        part_trace_id(held.session, held.part), held.id, observed_value(name, labels, held), held.arrived_us
    )


def _saved(name: str, labels: Labels, histogram: Histogram, copy: Copy) -> msgspec.Raw:
    """A histogram's row of a snapshot. One that has not changed since the last keeps its bytes."""
    if histogram.saved is None or histogram.saved[0] is not copy:
        counts, total, exemplars = copy
        row = [labels, counts, total, [None if held is None else exemplar(name, labels, held) for held in exemplars]]
        histogram.saved = copy, msgspec.msgpack.encode(row)
    return msgspec.Raw(histogram.saved[1])
