"""PromQL, written with the catalog's names: selectors, exact counts, the few idioms that the boards repeat.

`$gpt`, `$tipo`, `$job` and `$instance` select. What was counted in a window is a difference of counters and whole, not
`increase`, which estimates (`docs/decisions/0008-totals.md`):

| asked for | `counted`, `mean`, `quantile` with `window=` | read from |
|---|---|---|
| a total | `RANGE`, or a fixed time | the counter's two values, and where it begins and ends |
| bars, lines | `BAR` | what the rules record each minute |
| this moment | one of `SHORT` | every sample in the window |

`rate` is for lines of which only the shape is read.
"""

from __future__ import annotations

from otel_bridge import catalog
from otel_bridge.catalog import Metric

AGENT = catalog.AGENT[0]
TYPE = "event_type"
ERROR = "error_type"
OF_GPT = f'{AGENT}=~"$gpt"'
OF_TYPE = f'{TYPE}=~"$tipo"'
FAILED = f'{ERROR}!=""'
WHAT = "what"
VERSION = "version"
TOOL = "tool"
OF_LATENCY = f'{WHAT}="latency"'
"""Of what nobody measured: events without a latency, which are in no histogram of it."""
RATE = "$__rate_interval"
RANGE = "$__range"
BAR = "$__interval"
"""The window of a bar, of a point of a line, of a heatmap's column: they lie side by side."""

JOURNAL = ("cluster", "namespace", "job")
"""What tells one journal from another. No job has a fixed name: an operator's is called otherwise, and ServiceMonitors
of two namespaces give both the same one, as do two clusters that write to one store. A label that nobody adds is
empty."""
TARGET = (*JOURNAL, "instance")
"""What tells one bridge from another."""
OF_BRIDGE = ('job=~"$job"', 'instance=~"$instance"')
OF_JOURNAL = ('job=~"$job"', 'instance=~"$instance|"')
"""What replicas share has no instance, whichever of them is chosen (docs/decisions/0014-instance.md)."""
OF_ITSELF = {"up", *catalog.OF_EACH_PROCESS}
"""Series that each replica has."""
OURS = f'{TYPE}!=""'
"""Other software has metrics of the GenAI conventions too; this label only the bridge gives them."""

# Recorded by prometheus/rules/gpt.budget.yml
BURN_RATE = "gpt:gpt_slo_budget:burn_rate"
# Recorded by prometheus/rules/boards.rules.yml
BUDGET_REMAINING = "gpt:gpt_slo_budget:remaining30d"
# Recorded by prometheus/rules/boards.first.rules.yml
FIRST = ":first5m"
"""After a counter's name: its first value after Prometheus did not know it, for five minutes."""
# Recorded by prometheus/rules/boards.bars.rules.yml, which `rules.py` writes
HOUR_OF_WEEK = "gpt:gen_ai_client_operation_duration:increase1m"

LATELY = "1m"
"""How long a gauge that replicas share stands for itself: some scrapes lack it where another becomes steward."""

LOOKBACK = "5m"
"""How long a counter's last value stands for it while it is not scraped. A restart of the bridge or of Prometheus is
shorter; what is longer, the rules note as an end and a beginning."""

SHORT = ("1m", "5m")
"""Windows so short that their samples are read one by one; longer ones use what the rules note."""


def recorded(series: str, what: str) -> str:
    """The name of what the rules record of a series: `last`, `seen`, `increase`."""
    return f"bridge:{series}:{what}"


def _target(name: str) -> tuple[str, ...]:
    """Matchers that every selector of the name has."""
    if name.startswith("gpt:"):
        return ()  # recorded of all bridges together
    bridge = OF_BRIDGE if name in OF_ITSELF else OF_JOURNAL
    return (*bridge, *((OURS,) if name.startswith("gen_ai_client_") and not name.endswith(FIRST) else ()))


def selector(name: str, *matchers: str) -> str:
    """`name{a,b}`, of the chosen bridges."""
    every = (*_target(name), *matchers)
    return f"{name}{{{', '.join(every)}}}" if every else name


def suffixed(metric: Metric, suffix: str) -> str:
    """The name of one of a histogram's series; raises for one that the metric does not have."""
    name = f"{metric.name}_{suffix}"
    if name not in metric.series:
        raise ValueError(f"{metric.name} has no series {name}")
    return name


def total(expr: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({expr})" if by else f"sum({expr})"


def value(metric: Metric, *matchers: str) -> str:
    """A gauge's series."""
    now = selector(metric.name, *matchers)
    return now if metric.name in OF_ITSELF else f"last_over_time({now}[{LATELY}])"


def rate(series: str, *matchers: str, window: str = RATE) -> str:
    return f"rate({selector(series, *matchers)}[{window}])"


# --- exact counts ----------------------------------------------------------------------------------------------------

BARS: dict[str, tuple[str, ...]] = {
    suffixed(catalog.OPERATION_DURATION, "count"): (AGENT, TYPE, ERROR),
    suffixed(catalog.OPERATION_DURATION, "sum"): (AGENT, TYPE),
    suffixed(catalog.OPERATION_DURATION, "bucket"): (AGENT, TYPE, "le"),
    suffixed(catalog.TOKEN_USAGE, "sum"): (AGENT, TYPE, "gen_ai_token_type"),
    suffixed(catalog.SESSION_DURATION, "bucket"): (AGENT, "le"),
    suffixed(catalog.SESSION_EVENTS, "bucket"): (AGENT, "le"),
    suffixed(catalog.REQUEST_DURATION, "bucket"): ("route", "method", "le"),
    suffixed(catalog.REQUEST_DURATION, "count"): ("status",),
    catalog.UNMEASURED.name: (AGENT, TYPE, ERROR, WHAT),
    suffixed(catalog.FIRST_TOKEN, "bucket"): (AGENT, TYPE, "le"),
    suffixed(catalog.VERSION_DURATION, "bucket"): (AGENT, VERSION, "le"),
    catalog.SESSIONS.name: (AGENT,),
    catalog.SLO_EVENTS.name: (AGENT, "result"),
    catalog.FEEDBACK.name: (AGENT, "result"),
    catalog.RECORDS.name: ("result", "reason"),
    catalog.REDACTIONS.name: ("kind",),
    catalog.SERIES_CAPPED.name: ("label",),
}
"""Series whose rise the rules record each minute → the labels that are kept."""


def counted(series: str, *matchers: str, by: tuple[str, ...] = (), window: str = RANGE, relabel: str = "%s") -> str:
    """By how much a counter rose in the window: whole, from its first event on; absent where that cannot be known.

    The value at the end minus the value at the beginning. A series that was not there at the beginning starts from the
    first value that Prometheus saw of it: 0, for the bridge shows a new one at 0 first; more, where Prometheus is
    younger than the series. A journal that was replaced counts from 0 again, and a total falls to what the new one has
    counted instead of below 0.

    `relabel`: what the series are wrapped in before they are summed up.
    """
    return total(relabel % _rise(series, matchers, window), *by)


def events(*matchers: str, by: tuple[str, ...] = (), window: str = RANGE) -> str:
    """How many events came in the window: those with a latency, which its histogram counts, and those without. Their
    series differ by a label, so that `or` leaves none out."""
    with_latency = _rise(suffixed(catalog.OPERATION_DURATION, "count"), matchers, window)
    without = _rise(catalog.UNMEASURED.name, (*matchers, OF_LATENCY), window)
    return total(f"({with_latency}) or ({without})", *by)


def _rise(series: str, matchers: tuple[str, ...], window: str) -> str:
    return {BAR: _each_minute, **dict.fromkeys(SHORT, _sample_by_sample)}.get(window, _noted)(series, matchers, window)


def _noted(series: str, matchers: tuple[str, ...], window: str) -> str:
    now, beginning = selector(series, *matchers), selector(catalog.BUILD_INFO.name + FIRST)
    first = f"min_over_time({selector(series + FIRST, *matchers)}[{window}])"
    last = f"last_over_time({selector(recorded(series, 'last'), *matchers)}[{window}])"
    end = f"last_over_time({now}[{LOOKBACK}])"
    rise = f"({end} or {last}) - (last_over_time({now}[{LOOKBACK}] offset {window}) or {first})"
    # Without the rules, and older than the bridge's own beginning, the beginning of its series is unknown too. Whoever
    # shows them shows SERIES with them.
    known = (
        f"last_over_time({selector(catalog.SERIES.name)}[{LOOKBACK}] offset {window}) "
        f"or last_over_time({beginning}[{window}])"
    )
    return f"({rise} >= 0 or {end}) and on ({', '.join(TARGET)}) ({known})"


def _sample_by_sample(series: str, matchers: tuple[str, ...], window: str) -> str:
    now = selector(series, *matchers)
    end = f"last_over_time({now}[{window}])"
    rise = f"{end} - (last_over_time({now}[{window}] offset {window}) or min_over_time({now}[{window}]))"
    return f"{rise} >= 0 or {end}"


def _each_minute(series: str, matchers: tuple[str, ...], window: str) -> str:
    """The bars add up to the whole. What came while Prometheus was away is in the one in which it came back."""
    if series not in BARS:
        raise ValueError(f"the rise of {series} is not recorded each minute")
    return f"sum_over_time({selector(recorded(series, 'increase'), *matchers)}[{window}])"


def mean(metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RANGE) -> str:
    """The mean of a histogram; nothing without traffic."""
    above = counted(suffixed(metric, "sum"), *matchers, by=by, window=window)
    below = counted(suffixed(metric, "count"), *matchers, by=by, window=window)
    return f"{above} / ({below} > 0)"


def quantile(q: float, metric: Metric, *matchers: str, by: tuple[str, ...] = (), window: str = RANGE) -> str:
    """A percentile of a histogram; nothing without traffic."""
    buckets = counted(suffixed(metric, "bucket"), *matchers, by=(*by, "le"), window=window)
    return f"(histogram_quantile({q}, {buckets}) >= 0)"


# --- idioms ----------------------------------------------------------------------------------------------------------


def or_zero(expr: str) -> str:
    """0 where nothing was counted by a bridge that Prometheus knows; nothing where it knows none."""
    return f"{expr} or on () 0 * max(last_over_time({selector(catalog.BUILD_INFO.name)}[1h]))"


def no_traffic(*matchers: str, window: str = BAR) -> str:
    """0 while a bridge is scraped and no event comes: the line that says why the others have a gap."""
    return f"{events(*matchers, window=window)} == 0"


def nothing_measured(*matchers: str, window: str = BAR) -> str:
    """0 while events come and none of them has a latency: the line that says so."""
    measured = counted(suffixed(catalog.OPERATION_DURATION, "count"), *matchers, window=window)
    return f"{measured} == 0 and on () {events(*matchers, window=window)} > 0"


def exemplars(metric: Metric, *matchers: str) -> str:
    """Draws nothing: Grafana asks for the exemplars of the series that a query names, and what the rules record has
    none."""
    return f"sum({selector(suffixed(metric, 'bucket'), *matchers)} @ end()) < 0"


def buckets(metric: Metric, *matchers: str, empty: str) -> str:
    """A histogram's buckets, for a heatmap. Heatmaps know no text for «no data»: where Prometheus knows no series, one
    row named `empty` stands for it."""
    name = suffixed(metric, "bucket")
    nothing = f'label_replace(vector(0), "le", "{empty}", "", "")'
    known = f"last_over_time({selector(name, *matchers)}[1h] @ end())"
    return f"{counted(name, *matchers, by=('le',), window=BAR)} or on () ({nothing} unless on () count({known}))"


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
