"""PromQL, written with the catalog's names: selectors, the few idioms that the boards repeat, recorded series.

`$gpt` and `$tipo` select; a board that has no such variable uses neither. Counters are only ever read through
`rate` or `increase`.
"""

from __future__ import annotations

from otel_bridge import catalog
from otel_bridge.catalog import Metric

AGENT = catalog.AGENT[0]
TYPE = "event_type"
OF_GPT = f'{AGENT}=~"$gpt"'
OF_TYPE = f'{TYPE}=~"$tipo"'
RATE = "$__rate_interval"
RANGE = "$__range"

JOB = 'job="otel-bridge"'
"""The job that `prometheus/prometheus.yml` scrapes the bridge under."""

# Recorded by prometheus/rules/gpt.budget.yml
BURN_RATE = "gpt:gpt_slo_budget:burn_rate"
SLO_EVENTS_RATE = "gpt:gpt_slo_events:rate"
SLO_BAD_RATE = "gpt:gpt_slo_events_bad:rate"
# Recorded by prometheus/rules/boards.rules.yml
BUDGET_REMAINING = "gpt:gpt_slo_budget:remaining30d"
LATENCY_BUCKETS = "gpt_type:gen_ai_client_operation_duration_seconds_bucket:rate5m"
HOUR_OF_WEEK = "gpt:gen_ai_client_operation_duration:increase1m"


def selector(name: str, *matchers: str) -> str:
    """`name{a,b}`."""
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def suffixed(metric: Metric, suffix: str) -> str:
    """The name of one of a histogram's series; raises for one that the metric does not have."""
    name = f"{metric.name}_{suffix}"
    if name not in metric.series:
        raise ValueError(f"{metric.name} has no series {name}")
    return name


def total(expr: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def rate(series: str, *matchers: str, window: str = RATE) -> str:
    return f"rate({selector(series, *matchers)}[{window}])"


def increase(series: str, *matchers: str, window: str = RANGE) -> str:
    return f"increase({selector(series, *matchers)}[{window}])"


def quantile(q: float, metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RATE) -> str:
    """A percentile of a histogram; NaN without traffic."""
    return f"histogram_quantile({q}, {total(rate(suffixed(metric, 'bucket'), *matchers, window=window), *by, 'le')})"


def recorded_quantile(q: float, window: str, *matchers: str, by: tuple[str, ...] = ()) -> str:
    """A percentile of latency over a long window, from what the rules record; NaN without traffic."""
    buckets = total(f"avg_over_time({selector(LATENCY_BUCKETS, *matchers)}[{window}])", *by, "le")
    return f"histogram_quantile({q}, {buckets})"


def mean(metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RATE) -> str:
    """The mean of a histogram; NaN without traffic."""
    above = total(rate(suffixed(metric, "sum"), *matchers, window=window), *by)
    below = total(rate(suffixed(metric, "count"), *matchers, window=window), *by)
    return f"{above} / {below}"


def or_zero(expr: str, label: str = "", text: str = "ninguno") -> str:
    """Zero where nothing was ever counted, so that a quiet day reads as 0 and not as a broken panel.

    `on ()` keeps the zero out as soon as anything is there. With a label, the zero is named `text`.
    """
    zero = f'label_replace(vector(0), "{label}", "{text}", "", "")' if label else "vector(0)"
    return f"({expr}) or on () {zero}"


def buckets(metric: Metric, *matchers: str, empty: str) -> str:
    """A histogram's buckets, for a heatmap. Heatmaps know no text for «no data»: where the histogram has no series yet,
    one row named `empty` stands for it."""
    name = suffixed(metric, "bucket")
    counted = total(increase(name, *matchers, window="$__interval"), "le")
    nothing = f'label_replace(vector(0), "le", "{empty}", "", "")'
    known = f"increase({selector(name, *matchers)}[{RANGE}] @ end())"
    return f"({counted}) or on () ({nothing} unless on () count({known}))"


def no_traffic(*matchers: str, window: str = RATE) -> str:
    """0 while a bridge is scraped and no event comes: the line that says why the others have a gap."""
    events = total(rate(suffixed(catalog.OPERATION_DURATION, "count"), *matchers, window=window))
    return f"0 * {objective()} unless on () ({events} > 0)"


def objective(*matchers: str) -> str:
    """The strictest objective among the chosen GPTs, in seconds."""
    return f"min({selector(catalog.LATENCY_OBJECTIVE.name, *(matchers or (OF_GPT,)))})"


def objective_thresholds(near: float = 0.8) -> str:
    """One row whose label columns are threshold values, for «config from query results».

    Columns arrive in alphabetical order and a threshold list must ascend: base, cerca (80 %), objetivo.
    """
    limit = objective()
    return (
        f'label_replace(count_values("cerca", {near} * {limit}) * on () group_left (objetivo) '
        f'count_values("objetivo", {limit}), "base", "0", "", "")'
    )


CLOCK = (
    'label_replace(count_values("hora", hour()), "hora", "0$1", "hora", "(.)") * on () group_left (dia) '
    'label_replace(count_values("dia", day_of_week()), "dia", "7", "dia", "0")'
)
"""1, labelled with the hour (00 to 23) and the weekday (1 Monday to 7 Sunday) of the moment, in UTC."""


def hour_by_weekday() -> str:
    """168 cells, all of them always there: events of the last four weeks by hour and weekday."""
    events = f"sum by (dia, hora) (sum_over_time({selector(HOUR_OF_WEEK, OF_GPT)}[28d]))"
    grid = f"0 * sum by (dia, hora) (sum_over_time(({CLOCK})[1w:1h]))"
    return f"{events} or on (dia, hora) {grid}"


def closed_period(window: str, first_step: str = "") -> str:
    """Active sessions of whole periods: the gauge looks back over its window, so its value when the period ends
    is the period's count. `offset -…` writes it at the period's beginning, where a calendar looks for it."""
    series = selector(catalog.ACTIVE_SESSIONS.name, OF_GPT, f'window="{window}"')
    offset = {"1d": "1d", "7d": "7d", "30d": "30d"}[window]
    value = f"sum(last_over_time({series}[1h] offset -{offset}))"
    return f"{value} and on () ({first_step})" if first_step else value
