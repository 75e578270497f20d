"""Panels and columns that more than one board shows, so that they look and mean the same on each."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.boards import colours
from grafana.boards.panels import (
    Look,
    Override,
    by_name,
    column,
    grid,
    heat,
    instant,
    lines,
    paint,
    query,
    quiet_mapping,
    stat_panel,
    transform,
    value_mapping,
)
from grafana.boards.promql import AGENT, OF_GPT, selector, total
from grafana.boards.promql import hour_by_weekday as hour_by_weekday_expr
from otel_bridge import catalog

WINDOWS = {"30m": "Ahora (30 min)", "1d": "Hoy (24 h)", "7d": "Esta semana (7 d)", "30d": "Este mes (30 d)"}
SHORT_WINDOWS = {"30m": "Ahora", "1d": "Hoy", "7d": "Semana", "30d": "Mes"}
WINDOW_COLOURS = {"30m": "#6ED0E0", "1d": "#5794F2", "7d": "#B877D9", "30d": "#8E8E9C"}
DAYS = ("Lunes", "Martes", "Miércoles", "Jueves", "Viernes", "Sábado", "Domingo")


def _by_window(title: str, description: str, metric: catalog.Metric, colour: str) -> Panel:
    return stat_panel(
        title,
        description,
        [
            query(total(selector(metric.name, OF_GPT, f'window="{window}"')), name, ref=f"w{window}")
            for window, name in SHORT_WINDOWS.items()
        ],
        Look(unit="short", colour=colour, minimum=0, mappings=[quiet_mapping("Sin datos")]),
        names=True,
    )


def active_sessions() -> Panel:
    return _by_window(
        "Sesiones activas",
        "Sesiones con al menos un evento en los últimos 30 minutos (ahora), 24 horas (hoy), 7 días (esta "
        "semana) y 30 días (este mes), contadas en el diario del puente.",
        catalog.ACTIVE_SESSIONS,
        colours.SESSIONS,
    )


def active_users() -> Panel:
    return _by_window(
        "Usuarios activos",
        "Usuarios distintos, por su hash, con actividad en los últimos 30 minutos (ahora), 24 horas (hoy), "
        "7 días (esta semana) y 30 días (este mes). Con varios GPT se suman: quien usa dos cuenta dos veces.",
        catalog.ACTIVE_USERS,
        colours.USERS,
    )


def windows_over_time(title: str, description: str, metric: catalog.Metric) -> Panel:
    return lines(
        title,
        description,
        [
            query(total(selector(metric.name, OF_GPT, f'window="{window}"')), name, ref=f"w{window}")
            for window, name in WINDOWS.items()
        ],
        Look(unit="short", overrides=paint({WINDOWS[window]: colour for window, colour in WINDOW_COLOURS.items()})),
        fill=0,
        log=True,
        right=285,
    )


def type_column(name: str = "Tipo") -> Override:
    """A column of event types, each in its colour."""
    mapping = value_mapping({kind: (kind, colour) for kind, colour in colours.EVENT_TYPES.items()})
    return column(
        name,
        mappings=[mapping.to_json()],
        custom__cellOptions={"type": "color-text"},
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
        "Eventos de las últimas 4 semanas según la hora y el día en que llegaron (UTC): de azul (poco) a "
        "rojo (mucho). Se llena con el tiempo: cada minuto se anota en su casilla.",
        [instant(hour_by_weekday_expr(), as_table=True)],
        Look(
            unit="short",
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
            unit="short",
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
                column("Alerta", unit="string", custom__minWidth=165),
                column("GPT", unit="string", custom__minWidth=100),
                column("Desde", unit="dateTimeAsIso", custom__width=160),
                column(
                    "Gravedad",
                    mappings=[
                        value_mapping(
                            {"page": ("Urgente", colours.BAD), "ticket": ("Aviso", colours.WARNING)}
                        ).to_json()
                    ],
                    custom__cellOptions={"type": "color-text"},
                    custom__width=80,
                ),
            ],
        ),
    )
