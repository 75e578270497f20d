"""Panels and columns that more than one board shows, so that they look and mean the same on each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.models.dashboard import Panel
from grafana_foundation_sdk.models.prometheus import Dataquery

from grafana.boards import colours
from grafana.boards.panels import (
    COUNT,
    NOT_MEASURED,
    QUIET,
    UNMEASURED,
    Look,
    Override,
    by_name,
    column,
    grid,
    heat,
    instant,
    joined,
    judged,
    lines,
    paint,
    query,
    quiet_mapping,
    stat_panel,
    transform,
    value_mapping,
)
from grafana.boards.promql import (
    AGENT,
    BAR,
    OF_GPT,
    OF_TYPE,
    counted,
    no_traffic,
    nothing_measured,
    quantile,
    selector,
    total,
    value,
)
from grafana.boards.promql import hour_by_weekday as hour_by_weekday_expr
from grafana.boards.variables import link
from otel_bridge import catalog

WINDOWS = {"30m": "30 min", "1d": "24 h", "7d": "7 días", "30d": "30 días"}
"""Rolling ones: none is called after a day, a week or a month of the calendar."""

DOLLARS = "prefix:$"
"""Not `currencyUSD`, which writes a thousand as «1 K»; without fixed decimals, which write the first event as 0."""

DAYS = ("Lunes", "Martes", "Miércoles", "Jueves", "Viernes", "Sábado", "Domingo")
BURN_STEPS = ((None, colours.CLEAR), (1.0, colours.NEAR), (6.0, colours.FAIL))
RATIO_STEPS = ((None, colours.CLEAR), (0.8, colours.NEAR), (1.0, colours.FAIL))
OBJECTIVES = f"max by ({AGENT}) (last_over_time({selector(catalog.LATENCY_OBJECTIVE.name, OF_GPT)}[6h]))"
TARGETS = f"max by ({AGENT}) (last_over_time({selector(catalog.SLO_TARGET.name, OF_GPT)}[6h]))"
"""Of each GPT; while the bridge is away too, so that what it said before is still judged."""


def gaps(*matchers: str, window: str = BAR) -> list[Dataquery]:
    """The lines that say why those of latency have a gap."""
    return [
        query(no_traffic(*matchers, window=window), QUIET, ref="hueco"),
        query(nothing_measured(*matchers, window=window), UNMEASURED, ref="sinmedir"),
    ]


def _by_window(title: str, description: str, metric: catalog.Metric) -> Panel:
    return stat_panel(
        title,
        description,
        [
            instant(total(value(metric, OF_GPT, f'window="{window}"')), name, ref=f"w{window}")
            for window, name in WINDOWS.items()
        ],
        Look(unit=COUNT, minimum=0, mappings=[quiet_mapping("Sin datos")]),
        names=True,
    )


def active_sessions() -> Panel:
    return _by_window(
        "Sesiones activas",
        "Sesiones con al menos un evento en los últimos 30 minutos, 24 horas, 7 días y 30 días hasta este momento, "
        "contadas en el diario del puente. De todos los usuarios.",
        catalog.ACTIVE_SESSIONS,
    )


def active_users() -> Panel:
    return _by_window(
        "Usuarios activos",
        "Usuarios distintos, por su hash, con actividad en los últimos 30 minutos, 24 horas, 7 días y 30 días "
        "hasta este momento. Con varios GPT se suman: quien usa dos cuenta dos veces.",
        catalog.ACTIVE_USERS,
    )


def windows_over_time(title: str, description: str, metric: catalog.Metric) -> Panel:
    return lines(
        title,
        description,
        [
            query(total(value(metric, OF_GPT, f'window="{window}"')), name, ref=f"w{window}")
            for window, name in WINDOWS.items()
        ],
        Look(unit=COUNT, overrides=paint({WINDOWS[window]: colour for window, colour in colours.WINDOWS.items()})),
        fill=0,
        log=True,
    )


def good_share(window: str) -> str:
    """Of each GPT's events, those within the objective and without error."""
    events = counted(catalog.SLO_EVENTS.name, OF_GPT, by=(AGENT,), window=window)
    bad = counted(catalog.SLO_EVENTS.name, OF_GPT, 'result="bad"', by=(AGENT,), window=window)
    return f"1 - {bad} / ({events} > 0)"


def burn(window: str) -> str:
    """How fast each GPT spent its error budget: 1 spends it exactly by the end of its period. The rules' own burn rates
    (`gpt:gpt_slo_budget:burn_rate…`) are of rates, and as much as 1 % off."""
    return f"(1 - ({good_share(window)})) / on ({AGENT}) (1 - {TARGETS})"


def measured(expr: str) -> str:
    """Without what had no traffic: its NaN would be a row, and sorted anywhere."""
    return f"({expr}) >= 0"


def worst(expr: str) -> str:
    """The GPT that is worst off, by a value that grows with the harm; none where there is no value."""
    return f"topk(1, {measured(expr)})"


def common_objective() -> str:
    """The chosen GPTs' objective in seconds, where they share one: of two, neither judges both."""
    objectives = value(catalog.LATENCY_OBJECTIVE, OF_GPT)
    return f"min({objectives}) == max({objectives})"


def worst_ratio(title: str, window: str, description: str) -> Panel:
    """Each GPT's p95 against its own objective, and of these the worst: a strict objective of one GPT does not judge
    the others."""
    p95 = quantile(0.95, catalog.OPERATION_DURATION, OF_GPT, OF_TYPE, by=(AGENT,), window=window)
    return stat_panel(
        title,
        description,
        [instant(worst(f"{p95} / on ({AGENT}) group_left () {OBJECTIVES}"), f"{{{{{AGENT}}}}}")],
        Look(
            unit="percentunit",
            decimals=0,
            steps=((None, colours.FINE), *RATIO_STEPS[1:]),
            no_value=NOT_MEASURED,
            mappings=[quiet_mapping(NOT_MEASURED)],
            links=[("Ver latencia y SLO", link("gpt-slo"))],
        ),
        names=True,
    )


@dataclass(frozen=True)
class Column:
    """A column of numbers of a table with a GPT a row. A property that is None takes away what the panel says."""

    name: str
    expr: str
    properties: Mapping[str, object]


def p95_columns(width: int, objective_width: int) -> tuple[Column, Column, Column]:
    """Each GPT's p95 of the chosen range against its own objective, the p95, and the objective."""
    p95 = quantile(0.95, catalog.OPERATION_DURATION, OF_GPT, by=(AGENT,))
    return (
        Column(
            "p95 / objetivo",
            measured(f"{p95} / on ({AGENT}) {OBJECTIVES}"),
            {"unit": "percentunit", "decimals": 0, "custom__width": 120, **judged(RATIO_STEPS)},
        ),
        Column("p95", measured(p95), {"unit": "s", "decimals": 1, "custom__width": width}),
        Column("Objetivo", OBJECTIVES, {"unit": "s", "decimals": 1, "custom__width": objective_width}),
    )


def gpt_column(*others: tuple[str, str]) -> Override:
    """The GPT, its id whole, in two lines where it is long; it leads to boards with that GPT chosen."""
    links = [{"title": title, "url": link(uid, gpt="${__data.fields.GPT}")} for title, uid in others]
    return column("GPT", unit="string", links=links, custom__width=215, custom__wrapText=True)


def by_gpt(
    title: str,
    description: str,
    columns: Sequence[Column],
    others: Sequence[tuple[str, str]],
    worst_by: str,
    trend: tuple[str, str],
) -> Panel:
    """A table with a GPT a row, those that are worst off by column `worst_by` on top. Descending: Grafana sorts what is
    empty as less than everything, so the quiet ones are at the end. `trend`: a heading and an expression by GPT, drawn
    in the width that is left."""
    refs = [chr(ord("A") + index) for index in range(len(columns))]
    targets = [instant(one.expr, ref=ref, as_table=True) for ref, one in zip(refs, columns, strict=True)]
    values = {f"Value #{ref}": one.name for ref, one in zip(refs, columns, strict=True)}
    overrides = [gpt_column(*others), *(column(one.name, **one.properties) for one in columns)]
    heading, expr = trend
    targets.append(query(expr, ref="T"))
    values["Trend #T"] = heading
    overrides.append(trend_column(heading))
    return grid(
        title,
        description,
        targets,
        Look(
            unit=COUNT,
            no_value="Ningún GPT registrado: revisa que el puente esté en marcha",
            mappings=[quiet_mapping("–")],
            interval="2m",
            max_points=60,
            transformations=[
                transform("timeSeriesTable", only="T", T={"timeField": "Time", "stat": "lastNotNull"}),
                *joined({AGENT: "GPT"}, values),
            ],
            overrides=overrides,
        ),
        sort_by=(worst_by, True),
    )


def trend_column(name: str) -> Override:
    """A line of p95 in a cell."""
    return column(
        name,
        unit="s",
        color={"mode": "fixed", "fixedColor": colours.P95},
        custom__cellOptions={
            "type": "sparkline",
            "hideValue": True,
            "drawStyle": "line",
            "lineWidth": 1,
            "gradientMode": "none",
            "fillOpacity": 0,
        },
        custom__minWidth=130,
    )


def type_column(name: str = "Tipo") -> Override:
    """A column of event types, each on a tint of its colour."""
    mapping = value_mapping({kind: (kind, colours.tint(colour)) for kind, colour in colours.EVENT_TYPES.items()})
    return column(
        name,
        mappings=[mapping.to_json()],
        color={"mode": "fixed", "fixedColor": colours.CLEAR},
        custom__cellOptions={"type": "color-background", "mode": "basic"},
        custom__minWidth=120,
    )


def share_column(name: str) -> Override:
    """A share of 1, as a bar."""
    return column(
        name,
        unit="percentunit",
        decimals=0,
        min=0,
        max=1,
        color={"mode": "fixed", "fixedColor": colours.NEUTRAL},
        custom__cellOptions={"type": "gauge", "mode": "basic", "valueDisplayMode": "text"},
        custom__minWidth=120,
    )


def hour_by_weekday() -> Panel:
    """A coloured matrix without a plugin: an instant table, turned into one row an hour and one column a day, which a
    heatmap draws with hours as its x axis. A table of 24 columns would not fit beside a docked menu."""
    days = {str(number): day for number, day in enumerate(DAYS, start=1)}
    return heat(
        "Uso por hora y día de la semana",
        "Eventos de las últimas 4 semanas según la hora y el día en que llegaron (UTC): cuanto más "
        "intenso, más eventos. De todos los usuarios. Se llena con el tiempo: cada minuto se anota en su casilla.",
        [instant(hour_by_weekday_expr(), as_table=True)],
        Look(
            unit=COUNT,
            no_value="Aún no hay un minuto anotado",
            transformations=[
                transform("sortBy", fields={}, sort=[{"field": "hora"}]),
                transform(
                    "groupingToMatrix", columnField="dia", rowField="hora", valueField="Value", emptyValue="zero"
                ),
                transform(
                    "convertFieldType",
                    fields={},
                    conversions=[{"targetField": "hora\\dia", "destinationType": "number"}],
                ),
                transform(
                    "organize",
                    # The y axis grows upwards: the last is on top.
                    indexByName={"hora\\dia": 0, **{number: 8 - int(number) for number in days}},
                    renameByName={"hora\\dia": "Hora", **days},
                ),
            ],
            overrides=[by_name("Hora", unit="suffix: h", decimals=0)],
        ),
    )


def counts(title: str, description: str, expr: str, label: str, heading: str, empty: str) -> Panel:
    """How many of each there were in the chosen range, most first. Beside bars, which end with the last full one: what
    is read as a number is of this moment."""
    return grid(
        title,
        description,
        [instant(f"{expr} > 0", as_table=True)],
        Look(
            unit=COUNT,
            no_value=empty,
            transformations=[
                transform(
                    "organize",
                    excludeByName={"Time": True},
                    indexByName={label: 0, "Value": 1},
                    renameByName={label: heading, "Value": "Total"},
                )
            ],
            overrides=[column(heading, unit="string", custom__minWidth=110), column("Total", custom__width=80)],
        ),
        sort_by=("Total", True),
    )


def firing_alerts(matchers: str, empty: str) -> Panel:
    """Which alerts fire, and since when."""
    firing = f'ALERTS_FOR_STATE{{{matchers}}} and ignoring (alertstate) ALERTS{{alertstate="firing", {matchers}}}'
    expr = f"1000 * min by (alertname, severity, {AGENT}) ({firing})"
    return grid(
        "Alertas activas",
        "Alertas que suenan ahora y desde cuándo se cumple su condición. Vacía: ninguna. El detalle y los "
        "silencios están en Alertas → Alertmanager.",
        [instant(expr, as_table=True)],
        Look(
            unit=COUNT,
            no_value=empty,
            transformations=[
                transform(
                    "organize",
                    excludeByName={"Time": True},
                    indexByName={"alertname": 0, "severity": 1, AGENT: 2, "Value": 3},
                    renameByName={"alertname": "Alerta", "severity": "Gravedad", AGENT: "GPT", "Value": "Desde"},
                )
            ],
            overrides=[
                column("Alerta", unit="string", custom__width=175),
                column("GPT", unit="string", custom__minWidth=150, custom__wrapText=True),
                column("Desde", unit="time:DD/MM HH:mm", custom__width=100),
                column(
                    "Gravedad",
                    mappings=[
                        value_mapping({"page": ("Urgente", colours.FAIL), "ticket": ("Aviso", colours.NEAR)}).to_json()
                    ],
                    custom__cellOptions={"type": "color-background", "mode": "basic"},
                    custom__width=80,
                ),
            ],
        ),
    )
