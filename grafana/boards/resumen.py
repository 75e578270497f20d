"""gpt-resumen, «¿Cómo van mis GPT?»: the guide's six views, the answer first."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.boards import colours, shared, variables
from grafana.boards.layout import Row, board
from grafana.boards.panels import (
    QUIET,
    Look,
    bars,
    by_name,
    column,
    dashed,
    gap_line,
    grid,
    instant,
    lines,
    paint,
    query,
    quiet_mapping,
    stat_panel,
    thresholds_from,
    transform,
)
from grafana.boards.promql import (
    AGENT,
    OF_GPT,
    OF_TYPE,
    TYPE,
    closed_period,
    increase,
    mean,
    no_traffic,
    objective,
    objective_thresholds,
    or_zero,
    quantile,
    rate,
    selector,
    suffixed,
    total,
)
from otel_bridge import catalog

UID = "gpt-resumen"
USER = catalog.TOP_USER_EVENTS.labels[1]
NOBODY = "ninguno en 24 h"
LIVE_INTERVAL, LIVE_RANGE = "5s", "15m"
DURATION = catalog.OPERATION_DURATION
TO_SLO = (
    "Ver latencia y SLO",
    "/d/gpt-slo?${datasource:queryparam}&${gpt:queryparam}&${tipo:queryparam}&${__url_time_range}",
)


def _now() -> list[tuple[int, Panel]]:
    return [
        (9, shared.active_sessions()),
        (
            5,
            stat_panel(
                "Usuarios hoy",
                "Usuarios distintos con actividad en las últimas 24 horas, contados en el diario por su "
                "hash. Con varios GPT elegidos se suman: quien usa dos cuenta dos veces.",
                [query(total(selector(catalog.ACTIVE_USERS.name, OF_GPT, 'window="1d"')))],
                Look(unit="short", colour=colours.USERS, minimum=0, mappings=[quiet_mapping("Sin datos")]),
            ),
        ),
        (
            5,
            stat_panel(
                "Latencia",
                "Latencia promedio y p95 (el 95 % tardó menos) de las respuestas de los últimos 5 minutos. "
                "El color lo decide el objetivo del propio GPT (con varios, el más exigente): ámbar desde "
                "el 80 %, rojo al superarlo.",
                [
                    query(mean(DURATION, OF_GPT, OF_TYPE, window="5m"), "Media", ref="media"),
                    query(quantile(0.95, DURATION, OF_GPT, OF_TYPE, window="5m"), "p95", ref="p95"),
                    instant(objective_thresholds(), ref="umbral", as_table=True),
                ],
                Look(
                    unit="s",
                    mappings=[quiet_mapping()],
                    no_value=QUIET,
                    interval="15s",
                    time_from="1h",
                    transformations=[thresholds_from("umbral")],
                    steps=((None, colours.GOOD),),
                    links=[TO_SLO],
                ),
                names=True,
            ),
        ),
        (
            5,
            stat_panel(
                "Coste (24 h)",
                "Coste de los tokens de las últimas 24 horas, en dólares. Solo cuenta los GPT que tienen "
                "precio en la configuración; sin precios es 0.",
                [query(or_zero(total(increase(catalog.COST.name, OF_GPT, window="1d"))))],
                Look(unit="currencyUSD", decimals=2, colour=colours.MONEY, minimum=0, interval="1m", time_from="1h"),
            ),
        ),
    ]


def _latency() -> list[tuple[int, Panel]]:
    kinds = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    targets = [
        query(quantile(q, DURATION, OF_GPT, OF_TYPE), name, ref=name, exemplar=name == "p95") for q, name in kinds
    ]
    targets.append(query(mean(DURATION, OF_GPT, OF_TYPE), "Media", ref="media"))
    targets.append(query(objective(), "Objetivo", ref="objetivo"))
    targets.append(query(no_traffic(OF_GPT, OF_TYPE), QUIET, ref="hueco"))
    counted = total(increase(suffixed(DURATION, "count"), OF_GPT, OF_TYPE), TYPE)
    everything = total(increase(suffixed(DURATION, "count"), OF_GPT, OF_TYPE))
    types = instant(or_zero(f"{counted} > 0", TYPE, "sin tráfico"), ref="eventos", as_table=True)
    share = instant(
        or_zero(f"{counted} / on () group_left () ({everything} > 0)", TYPE, "sin tráfico"), ref="parte", as_table=True
    )
    return [
        (
            15,
            lines(
                "Latencia de las respuestas",
                "Percentiles y media de lo que tardan las respuestas. La línea discontinua es el objetivo "
                "del GPT (con varios, el más exigente). Cada punto suelto es una respuesta de ejemplo: al "
                "pulsarlo se abre su traza.",
                targets,
                Look(
                    unit="s",
                    no_value=QUIET,
                    interval="1m",
                    overrides=[
                        *paint({"p50": colours.P50, "p95": colours.P95, "p99": colours.P99, "Media": colours.MEAN}),
                        dashed("Objetivo"),
                        gap_line(),
                    ],
                ),
                fill=0,
                right=230,
            ),
        ),
        (
            9,
            grid(
                "Tipos de consultas más frecuentes",
                "Eventos de cada tipo en el intervalo elegido y qué parte son del total, de más a menos.",
                [types, share],
                Look(
                    unit="short",
                    no_value=QUIET,
                    transformations=[
                        transform("merge"),
                        transform(
                            "organize",
                            excludeByName={"Time": True},
                            indexByName={TYPE: 0, "Value #eventos": 1, "Value #parte": 2},
                            renameByName={
                                TYPE: "Tipo",
                                "Value #eventos": "Eventos",
                                "Value #parte": "Parte del total",
                            },
                        ),
                    ],
                    overrides=[
                        shared.type_column(),
                        column("Eventos", unit="locale", decimals=0, custom__width=90),
                        shared.share_column("Parte del total"),
                    ],
                ),
                sort_by=("Eventos", True),
            ),
        ),
    ]


def _use() -> list[tuple[int, Panel]]:
    tokens = suffixed(catalog.TOKEN_USAGE, "sum")

    def of(direction: str) -> str:
        return or_zero(
            total(increase(tokens, OF_GPT, OF_TYPE, f'gen_ai_token_type="{direction}"', window="$__interval"))
        )

    return [
        (
            12,
            lines(
                "Uso de tokens",
                "Tokens de entrada y de salida por barra; el total del intervalo está en la leyenda.",
                [query(of("input"), "Entrada", ref="input"), query(of("output"), "Salida", ref="output")],
                Look(
                    unit="short",
                    interval="1m",
                    max_points=500,
                    overrides=paint({"Entrada": colours.INPUT, "Salida": colours.OUTPUT}),
                ),
                bars=True,
                stacked=True,
                calcs=("lastNotNull", "max", "sum"),
            ),
        ),
        (
            12,
            lines(
                "Latencia promedio por tipo",
                "Media de lo que tardan las respuestas de cada tipo. Un hueco es un rato sin eventos de ese tipo.",
                [
                    query(mean(DURATION, OF_GPT, OF_TYPE, by=(TYPE,)), f"{{{{{TYPE}}}}}"),
                    query(objective(), "Objetivo", ref="objetivo"),
                    query(no_traffic(OF_GPT, OF_TYPE), QUIET, ref="hueco"),
                ],
                Look(
                    unit="s",
                    no_value=QUIET,
                    interval="1m",
                    overrides=[*paint(colours.EVENT_TYPES), dashed("Objetivo"), gap_line()],
                ),
                fill=0,
                right=285,
            ),
        ),
    ]


def _periods() -> list[tuple[int, Panel]]:
    def of(title: str, window: str, since: str, first_step: str, unit: str, description: str) -> Panel:
        current = total(selector(catalog.ACTIVE_SESSIONS.name, OF_GPT, f'window="{window}"'))
        return bars(
            title,
            description,
            [
                query(closed_period(window, first_step), "Sesiones activas", ref="cerrados"),
                instant(current, "Sesiones activas", ref="curso"),
            ],
            Look(
                unit="short",
                colour=colours.SESSIONS,
                interval="1d",
                time_from=since,
                no_value="Aún no se ha cerrado ningún periodo",
                transformations=[
                    transform("merge"),
                    transform("sortBy", fields={}, sort=[{"field": "Time"}]),
                ],
                overrides=[by_name("Time", unit=unit)],
            ),
            x_field="Time",
        )

    return [
        (
            8,
            of(
                "Sesiones activas por día",
                "1d",
                "30d",
                "",
                "time:DD/MM",
                "Sesiones con actividad en cada uno de los últimos 30 días (UTC). La última barra son las "
                "últimas 24 horas.",
            ),
        ),
        (
            8,
            of(
                "Sesiones activas por semana",
                "7d",
                "84d",
                "day_of_week() == 1",
                "time:DD/MM",
                "Sesiones con actividad en cada una de las últimas 12 semanas, de lunes a domingo (UTC); la "
                "fecha es la del lunes. La última barra son los últimos 7 días.",
            ),
        ),
        (
            8,
            of(
                "Sesiones activas por mes",
                "30d",
                "365d",
                "day_of_month() == 1",
                "time:MM/YYYY",
                "Sesiones con actividad en los 30 días que empiezan con cada mes (UTC). La última barra son "
                "los últimos 30 días.",
            ),
        ),
    ]


def _patterns() -> list[tuple[int, Panel]]:
    events = selector(catalog.TOP_USER_EVENTS.name, OF_GPT, 'window="1d"')
    tokens = selector(catalog.TOP_USER_TOKENS.name, OF_GPT, 'window="1d"')
    link = [
        {
            "title": "Ver las sesiones de este usuario",
            "url": "/d/gpt-sesiones?${datasource:queryparam}&var-gpt=${__data.fields.GPT}&${tipo:queryparam}"
            "&var-usuario=${__data.fields.Usuario}&${__url_time_range}",
        }
    ]
    return [
        (
            12,
            grid(
                "Usuarios con más uso (24 h)",
                "Los usuarios más activos de cada GPT en las últimas 24 horas, por su hash: nunca por su "
                "nombre. La parte es sobre los usuarios de esta tabla. Al pulsar un usuario se abren sus "
                "sesiones.",
                [
                    instant(or_zero(total(events, USER, AGENT), USER, NOBODY), ref="eventos", as_table=True),
                    instant(or_zero(total(tokens, USER, AGENT), USER, NOBODY), ref="tokens", as_table=True),
                    instant(
                        or_zero(
                            f"{total(events, USER, AGENT)} / on () group_left () ({total(events)} > 0)", USER, NOBODY
                        ),
                        ref="parte",
                        as_table=True,
                    ),
                ],
                Look(
                    unit="short",
                    no_value="Ningún usuario con actividad en las últimas 24 horas",
                    transformations=[
                        transform("merge"),
                        transform(
                            "organize",
                            excludeByName={"Time": True},
                            indexByName={
                                USER: 0,
                                AGENT: 1,
                                "Value #eventos": 2,
                                "Value #tokens": 3,
                                "Value #parte": 4,
                            },
                            renameByName={
                                USER: "Usuario",
                                AGENT: "GPT",
                                "Value #eventos": "Eventos",
                                "Value #tokens": "Tokens",
                                "Value #parte": "Parte",
                            },
                        ),
                    ],
                    overrides=[
                        column("Usuario", unit="string", links=link, custom__width=145),
                        column("GPT", unit="string", custom__width=115),
                        column("Eventos", unit="locale", decimals=0, custom__width=80),
                        column("Tokens", custom__width=75),
                        shared.share_column("Parte"),
                    ],
                ),
                sort_by=("Eventos", True),
            ),
        ),
        (12, shared.hour_by_weekday()),
    ]


def _live() -> list[tuple[int, Panel]]:
    count = suffixed(DURATION, "count")
    events = or_zero(total(rate(count, OF_GPT, OF_TYPE)))
    failed = or_zero(total(rate(count, OF_GPT, OF_TYPE, 'error_type!=""')))
    return [
        (
            12,
            lines(
                "En tiempo real: eventos por segundo",
                "Los últimos 15 minutos, un punto cada 5 segundos, sea cual sea el intervalo elegido arriba.",
                [query(events, "Eventos", ref="eventos"), query(failed, "Con error", ref="errores")],
                Look(
                    unit="suffix: /s",
                    overrides=paint({"Eventos": colours.NEUTRAL, "Con error": colours.BAD}),
                    interval=LIVE_INTERVAL,
                    time_from=LIVE_RANGE,
                ),
                fill=15,
                right=240,
            ),
        ),
        (
            12,
            lines(
                "En tiempo real: latencia",
                "Media y p95 del último minuto, un punto cada 5 segundos, durante los últimos 15 minutos. "
                "Los puntos sueltos son respuestas de ejemplo: al pulsarlos se abre su traza.",
                [
                    query(mean(DURATION, OF_GPT, OF_TYPE, window="1m"), "Media", ref="media"),
                    query(quantile(0.95, DURATION, OF_GPT, OF_TYPE, window="1m"), "p95", ref="p95", exemplar=True),
                    query(objective(), "Objetivo", ref="objetivo"),
                    query(no_traffic(OF_GPT, OF_TYPE, window="1m"), QUIET, ref="hueco"),
                ],
                Look(
                    unit="s",
                    no_value=QUIET,
                    overrides=[*paint({"Media": colours.MEAN, "p95": colours.P95}), dashed("Objetivo"), gap_line()],
                    interval=LIVE_INTERVAL,
                    time_from=LIVE_RANGE,
                ),
                fill=0,
                right=230,
            ),
        ),
    ]


def build() -> Dashboard:
    return board(
        UID,
        variables=[variables.datasource(), variables.gpt(), variables.event_type()],
        since="24h",
        refresh="30s",
        of_gpt=OF_GPT,
        rows=[
            Row(100, "Ahora", 5, _now()),
            Row(200, "Latencia y tipos de consulta", 10, _latency()),
            Row(300, "Rendimiento en tiempo real", 8, _live()),
            Row(400, "Tokens y latencia por tipo", 9, _use()),
            Row(500, "Sesiones por día, semana y mes", 8, _periods()),
            Row(600, "Patrones de uso", 10, _patterns()),
        ],
    )
