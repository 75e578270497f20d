"""PromQL, written with the catalog's names: selectors, the few idioms that the boards repeat, recorded series.

`$gpt` and `$tipo` select; a board that has no such variable uses neither. `$job` and `$instance` say which bridge. The
bridge's counters never fall and a new label set is at 0 first, so what a window counted is a difference of two values:
exact and whole, where `increase` loses a series' first value and extrapolates (docs/decisions/0008-totals.md).
"""

from __future__ import annotations

from otel_bridge import catalog
from otel_bridge.catalog import Metric

AGENT = catalog.AGENT[0]
TYPE = "event_type"
OF_GPT = f'{AGENT}=~"$gpt"'
OF_TYPE = f'{TYPE}=~"$tipo"'
FAILED = 'error_type!=""'
OF_BRIDGE = ('job=~"$job"', 'instance=~"$instance"')
BRIDGE = ("job", "instance")
"""What tells one bridge's series from another's."""
RATE = "$__rate_interval"
RANGE = "$__range"
BAR = "$__interval"
"""The window of a bar or of a heatmap's column: they lie side by side."""

# Recorded by prometheus/rules/gpt.budget.yml
BURN_RATE = "gpt:gpt_slo_budget:burn_rate"
# Recorded by prometheus/rules/boards.rules.yml
BUDGET_REMAINING = "gpt:gpt_slo_budget:remaining30d"
HOUR_OF_WEEK = "gpt:gen_ai_client_operation_duration:increase1m"
# Recorded by prometheus/rules/boards.first.rules.yml
FIRST = ":first5m"
"""After a counter's name: its first value after Prometheus did not know it, for five minutes."""


def selector(name: str, *matchers: str) -> str:
    """`name{a,b}`. What the bridge exposes is selected by job and instance, too; what rules aggregate has neither."""
    if ":" not in name or name.endswith(FIRST):
        matchers = (*matchers, *OF_BRIDGE)
    return f"{name}{{{', '.join(matchers)}}}" if matchers else name


def suffixed(metric: Metric, suffix: str) -> str:
    """The name of one of a histogram's series; raises for one that the metric does not have."""
    name = f"{metric.name}_{suffix}"
    if name not in metric.series:
        raise ValueError(f"{metric.name} has no series {name}")
    return name


def total(expr: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def value(metric: Metric, *matchers: str) -> str:
    """A gauge's series, or a counter's."""
    return selector(metric.name, *matchers)


def rate(series: str, *matchers: str, window: str = RATE) -> str:
    """How fast a counter rises, for the shape of a line."""
    return f"rate({selector(series, *matchers)}[{window}])"


def counted(series: str, *matchers: str, by: tuple[str, ...] = (), window: str = RANGE, relabel: str = "%s") -> str:
    """What counters of this name have counted in the window: exact, whole; nothing where that is not known.

    The value at its end less the value at its beginning, each at most five minutes old (an hour for the end of a total,
    so that it outlives an outage of the bridge). What Prometheus did not know at the beginning began at 0 if it knew
    the bridge; else the count starts from the first value in the window: recorded (FIRST), or looked for in the series'
    first two minutes. A fall is of a new journal, and hides the total until it has grown past.

    Each bridge by itself: that one of two was not known at the beginning must not count all that it ever counted.

    `relabel`: what a selector is wrapped in before it is summed up.
    """
    chosen, first = selector(series, *matchers), selector(series + FIRST, *matchers)
    bridge = selector(catalog.BUILD_INFO.name)

    def summed(expr: str) -> str:
        return total(relabel % expr, *by, *BRIDGE)

    end = summed(f"last_over_time({chosen}[{'5m' if window == BAR else '1h'}])")
    beginning = summed(f"last_over_time({chosen}[5m] offset {window})")
    born = f"0 * {end} and on ({', '.join(BRIDGE)}) last_over_time({bridge}[5m] offset {window})"
    recorded = summed(f"min_over_time({first}[{window}])")
    looked_for = summed(f"(min_over_time({chosen}[2m]) unless last_over_time({chosen}[2m] offset 2m))")
    return total(f"{end} - ({beginning} or ({born}) or {recorded} or {looked_for}) >= 0", *by)


def risen(series: str, *matchers: str, by: tuple[str, ...] = (), window: str = RATE) -> str:
    """What counters of this name have risen by in the window, for the many points of a line: as exact as `counted`, but
    without the points at which the bridge was not scraped, and at a fourth of its price."""
    chosen, first = selector(series, *matchers), selector(series + FIRST, *matchers)
    beginning = (
        f"{total(f'{chosen} offset {window}', *by, *BRIDGE)} or {total(f'min_over_time({first}[5m])', *by, *BRIDGE)}"
    )
    return total(f"{total(chosen, *by, *BRIDGE)} - ({beginning}) >= 0", *by)


def quantile(q: float, metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RANGE) -> str:
    """A percentile of a histogram at one moment; NaN without traffic."""
    buckets = counted(suffixed(metric, "bucket"), *matchers, by=(*by, "le"), window=window)
    return f"histogram_quantile({q}, {buckets})"


def quantile_line(q: float, metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RATE) -> str:
    """A percentile of a histogram over time; NaN without traffic."""
    buckets = risen(suffixed(metric, "bucket"), *matchers, by=(*by, "le"), window=window)
    return f"histogram_quantile({q}, {buckets})"


def mean(metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RANGE) -> str:
    """The mean of a histogram at one moment; nothing without traffic."""
    above = counted(suffixed(metric, "sum"), *matchers, by=by, window=window)
    below = counted(suffixed(metric, "count"), *matchers, by=by, window=window)
    return f"{above} / ({below} > 0)"


def mean_line(metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RATE) -> str:
    """The mean of a histogram over time; nothing without traffic."""
    above = risen(suffixed(metric, "sum"), *matchers, by=by, window=window)
    below = risen(suffixed(metric, "count"), *matchers, by=by, window=window)
    return f"{above} / ({below} > 0)"


def or_zero(expr: str) -> str:
    """0 where nothing was counted by a bridge that Prometheus knows; nothing where it knows none."""
    return f"{expr} or on () 0 * max(last_over_time({selector(catalog.BUILD_INFO.name)}[1h]))"


def buckets(metric: Metric, *matchers: str, empty: str) -> str:
    """A histogram's buckets, for a heatmap. Heatmaps know no text for «no data»: where Prometheus knows no series, one
    row named `empty` stands for it."""
    name = suffixed(metric, "bucket")
    nothing = f'label_replace(vector(0), "le", "{empty}", "", "")'
    known = f"last_over_time({selector(name, *matchers)}[1h] @ end())"
    return f"{counted(name, *matchers, by=('le',), window=BAR)} or on () ({nothing} unless on () count({known}))"


def no_traffic(*matchers: str, window: str = RATE) -> str:
    """0 while a bridge is scraped and no event comes: the line that says why the others have a gap."""
    events = risen(suffixed(catalog.OPERATION_DURATION, "count"), *matchers, window=window)
    return f"0 * {objective()} unless on () {events} > 0"


def objective(*matchers: str) -> str:
    """The strictest objective among the chosen GPTs, in seconds."""
    return f"min({selector(catalog.LATENCY_OBJECTIVE.name, *(matchers or (OF_GPT,)))})"


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
