"""gpt-resumen, «¿Cómo van mis GPT?»: the guide's six views, the answer first."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.boards import colours, shared, variables, versions
from grafana.boards.layout import Row, board
from grafana.boards.panels import (
    COUNT,
    NOT_MEASURED,
    QUIET,
    Look,
    bars,
    by_name,
    column,
    dashed,
    grid,
    instant,
    joined,
    judged,
    lines,
    paint,
    query,
    quiet_mapping,
    stat_panel,
    transform,
)
from grafana.boards.promql import (
    AGENT,
    BAR,
    FAILED,
    OF_GPT,
    OF_LATENCY,
    OF_TYPE,
    RANGE,
    TYPE,
    WHAT,
    closed_period,
    counted,
    events,
    exemplars,
    mean,
    or_zero,
    quantile,
    selector,
    suffixed,
    total,
    value,
)
from grafana.boards.shared import Column
from grafana.boards.variables import link
from otel_bridge import catalog

UID = "gpt-resumen"
USER = catalog.TOP_USER_EVENTS.labels[1]
LIVE_INTERVAL, LIVE_RANGE = "5s", "15m"
DURATION = catalog.OPERATION_DURATION
TO_SLO = ("Ver latencia y SLO", link("gpt-slo"))


def _now() -> list[tuple[int, Panel]]:
    failed = events(OF_GPT, OF_TYPE, FAILED)
    return [
        (12, shared.active_sessions()),
        (12, shared.active_users()),
        (
            6,
            stat_panel(
                "Latencia (5 min)",
                "Latencia promedio y p95 (el 95 % tardó menos) de las respuestas de los últimos 5 minutos.",
                [
                    instant(mean(DURATION, OF_GPT, OF_TYPE, window="5m"), "Media", ref="media"),
                    instant(quantile(0.95, DURATION, OF_GPT, OF_TYPE, window="5m"), "p95", ref="p95"),
                ],
                # Of two figures in a narrow panel neither has room for «Nada medido».
                Look(unit="s", mappings=[quiet_mapping("–")], no_value=NOT_MEASURED, links=[TO_SLO]),
                names=True,
            ),
        ),
        (
            6,
            shared.worst_ratio(
                "p95 / objetivo",
                "1h",
                "De los GPT elegidos, el que peor va: su p95 de la última hora dividido por su propio objetivo. "
                "Verde: por debajo del 80 %; ámbar: cerca; rojo: lo supera.",
            ),
        ),
        (
            6,
            stat_panel(
                "Con error",
                "Eventos del intervalo elegido que llegaron con el campo «error».",
                [instant(or_zero(failed))],
                Look(unit=COUNT, links=[TO_SLO]),
            ),
        ),
        (6, _cost()),
    ]


def _cost() -> Panel:
    return stat_panel(
        "Coste (24 h)",
        "Coste de los tokens de las últimas 24 horas, en dólares. «Sin precio»: tokens de modelos sin "
        "precio en la configuración; su coste no está en la cifra.",
        [
            instant(or_zero(counted(catalog.COST.name, OF_GPT, window="1d")), "Coste", ref="coste"),
            instant(f"{counted(catalog.UNPRICED.name, OF_GPT, window='1d')} > 0", "Sin precio (tok)", ref="sinprecio"),
        ],
        Look(
            unit=shared.DOLLARS,
            minimum=0,
            overrides=[by_name("Sin precio (tok)", unit=COUNT)],
        ),
        names=True,
    )


def _by_gpt() -> list[tuple[int, Panel]]:
    count = events(OF_GPT, by=(AGENT,))
    failed = events(OF_GPT, FAILED, by=(AGENT,))
    columns = (
        Column(
            "Gasto",
            shared.burn(RANGE),
            {"unit": "suffix:×", "decimals": 1, "custom__width": 75, **judged(shared.BURN_STEPS)},
        ),
        *shared.p95_columns(70, 75),
        Column(
            "Con error",
            f"({failed} or 0 * {count}) / ({count} > 0)",
            {"unit": "percentunit", "decimals": 1, "custom__width": 90},
        ),
        Column("Eventos", count, {"custom__width": 75}),
        Column("Sesiones", counted(catalog.SESSIONS.name, OF_GPT, by=(AGENT,)), {"custom__width": 80}),
        Column(
            "Coste",
            counted(catalog.COST.name, OF_GPT, by=(AGENT,)),
            {"unit": shared.DOLLARS, "decimals": None, "custom__width": 75},
        ),
        Column(
            "Sin precio",
            f"{counted(catalog.UNPRICED.name, OF_GPT, by=(AGENT,))} > 0",
            {"unit": "suffix: tok", "custom__width": 95},
        ),
        Column(
            "Sin medir",
            f"{counted(catalog.UNMEASURED.name, OF_GPT, OF_LATENCY, by=(AGENT,))} > 0",
            {"custom__width": 85},
        ),
    )
    return [
        (
            24,
            shared.by_gpt(
                "Cómo va cada GPT",
                "Un GPT por fila, arriba el que peor va, en el intervalo elegido: a qué ritmo gasta su presupuesto de "
                "error (1× lo agota justo en 30 días), su p95 y su objetivo, eventos con error, eventos, sesiones, "
                "coste y cómo ha ido su p95. «Sin medir»: eventos que llegaron sin latencia; cuentan como eventos y no "
                "están en el p95 ni en el gasto. Al pulsar un GPT se abren sus tableros. El filtro de tipo no cambia "
                "este panel.",
                columns,
                (
                    ("Ver su latencia y SLO", "gpt-slo"),
                    ("Ver solo este GPT", UID),
                    ("Ver sus sesiones", "gpt-sesiones"),
                ),
                worst_by="Gasto",
                trend=(
                    "Tendencia p95",
                    quantile(0.95, DURATION, OF_GPT, by=(AGENT,), window=BAR),
                ),
            ),
        )
    ]


def _latency() -> list[tuple[int, Panel]]:
    kinds = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    targets = [query(quantile(q, DURATION, OF_GPT, OF_TYPE, window=BAR), name, ref=name) for q, name in kinds]
    targets.append(query(mean(DURATION, OF_GPT, OF_TYPE, window=BAR), "Media", ref="media"))
    targets.append(query(exemplars(DURATION, OF_GPT, OF_TYPE), "Ejemplos", ref="ejemplos", exemplar=True))
    targets.append(query(shared.common_objective(), "Objetivo", ref="objetivo"))
    targets += shared.gaps(OF_GPT, OF_TYPE)
    by_type = events(OF_GPT, OF_TYPE, by=(TYPE,))
    types = instant(f"{by_type} > 0", ref="eventos", as_table=True)
    share = instant(f"({by_type} > 0) / on () group_left () (sum({by_type}) > 0)", ref="parte", as_table=True)
    return [
        (
            15,
            lines(
                "Latencia de las respuestas",
                "Percentiles y media de lo que tardan las respuestas. La línea discontinua es el objetivo, "
                "donde los GPT elegidos tienen el mismo. Cada punto suelto es una respuesta de ejemplo: al "
                "pulsarlo se abre su traza.",
                targets,
                Look(
                    unit="s",
                    no_value=QUIET,
                    interval="1m",
                    overrides=[
                        *paint({"p50": colours.P50, "p95": colours.P95, "p99": colours.P99, "Media": colours.MEAN}),
                        dashed("Objetivo"),
                    ],
                ),
                fill=0,
            ),
        ),
        (
            9,
            grid(
                "Tipos de consultas más frecuentes",
                "Eventos de cada tipo en el intervalo elegido y qué parte son del total, de más a menos.",
                [types, share],
                Look(
                    unit=COUNT,
                    no_value=QUIET,
                    transformations=joined(
                        {TYPE: "Tipo"}, {"Value #eventos": "Eventos", "Value #parte": "Parte del total"}
                    ),
                    overrides=[
                        shared.type_column(),
                        column("Eventos", custom__width=90),
                        shared.share_column("Parte del total"),
                    ],
                ),
                sort_by=("Eventos", True),
            ),
        ),
    ]


def _use() -> list[tuple[int, Panel]]:
    tokens = suffixed(catalog.TOKEN_USAGE, "sum")

    # Either may be missing alone, and no counter says how many events lack one of them: the larger count is shown.
    without_tokens = counted(catalog.UNMEASURED.name, OF_GPT, OF_TYPE, f'{WHAT}=~"tokens_.*"', by=(WHAT,))

    def of(direction: str, window: str = BAR) -> str:
        return counted(tokens, OF_GPT, OF_TYPE, f'gen_ai_token_type="{direction}"', window=window)

    return [
        (
            4,
            stat_panel(
                "Tokens",
                "Tokens de entrada y de salida del intervalo elegido. «Eventos sin medir»: los que llegaron sin los de "
                "entrada o sin los de salida (la mayor de las dos cuentas); no se estiman, y no están en las cifras ni "
                "en el coste.",
                [
                    instant(of("input", RANGE), "Entrada", ref="input"),
                    instant(of("output", RANGE), "Salida", ref="output"),
                    instant(f"max({without_tokens}) > 0", "Eventos sin medir", ref="sinmedir"),
                ],
                Look(unit=COUNT),
                names=True,
            ),
        ),
        (
            9,
            lines(
                "Uso de tokens",
                "Tokens de entrada y de salida por barra.",
                [query(of("input"), "Entrada", ref="input"), query(of("output"), "Salida", ref="output")],
                Look(
                    unit=COUNT,
                    interval="1m",
                    max_points=500,
                    overrides=paint({"Entrada": colours.INPUT, "Salida": colours.OUTPUT}),
                ),
                bars=True,
                stacked=True,
            ),
        ),
        (
            11,
            lines(
                "Latencia promedio por tipo",
                "Media de lo que tardan las respuestas de cada tipo. Un hueco es un rato sin eventos de ese tipo.",
                [
                    query(mean(DURATION, OF_GPT, OF_TYPE, by=(TYPE,), window=BAR), f"{{{{{TYPE}}}}}"),
                    query(shared.common_objective(), "Objetivo", ref="objetivo"),
                    *shared.gaps(OF_GPT, OF_TYPE),
                ],
                Look(
                    unit="s",
                    no_value=QUIET,
                    interval="1m",
                    overrides=[*paint(colours.EVENT_TYPES), dashed("Objetivo")],
                ),
                fill=0,
            ),
        ),
    ]


def _periods() -> list[tuple[int, Panel]]:
    def of(title: str, window: str, since: str, first_step: str, unit: str, description: str) -> Panel:
        current = total(value(catalog.ACTIVE_SESSIONS, OF_GPT, f'window="{window}"'))
        return bars(
            title,
            description,
            [
                query(closed_period(window, first_step), "Sesiones activas", ref="cerrados"),
                instant(current, "Sesiones activas", ref="curso"),
            ],
            Look(
                unit=COUNT,
                colour=colours.SESSIONS,
                interval="1d",
                time_from=since,
                no_value="Aún no se ha cerrado ningún periodo",
                transformations=[
                    transform("merge"),
                    transform("sortBy", fields={}, sort=[{"field": "Time"}]),
                ],
                # noValue reaches the ticks of the x axis that are not written.
                overrides=[by_name("Time", unit=unit, noValue="")],
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
    top = selector(catalog.TOP_USER_EVENTS.name, OF_GPT, 'window="1d"')
    tokens = selector(catalog.TOP_USER_TOKENS.name, OF_GPT, 'window="1d"')
    links = [
        {
            "title": "Ver las sesiones de este usuario",
            "url": link("gpt-sesiones", gpt="${__data.fields.GPT}", usuario="${__data.fields.Usuario}"),
        }
    ]
    return [
        (
            15,
            grid(
                "Usuarios con más uso (24 h)",
                "Los usuarios más activos de cada GPT en las últimas 24 horas, por su hash: nunca por su "
                "nombre. La parte es sobre los usuarios de esta tabla. Al pulsar un usuario se abren sus "
                "sesiones.",
                [
                    instant(total(top, USER, AGENT), ref="eventos", as_table=True),
                    instant(total(tokens, USER, AGENT), ref="tokens", as_table=True),
                    instant(
                        f"{total(top, USER, AGENT)} / on () group_left () ({total(top)} > 0)",
                        ref="parte",
                        as_table=True,
                    ),
                ],
                Look(
                    unit=COUNT,
                    no_value="Ningún usuario con actividad en las últimas 24 horas",
                    transformations=joined(
                        {USER: "Usuario", AGENT: "GPT"},
                        {"Value #eventos": "Eventos", "Value #tokens": "Tokens", "Value #parte": "Parte"},
                    ),
                    overrides=[
                        column("Usuario", unit="string", links=links, custom__width=145),
                        column("GPT", unit="string", custom__width=215, custom__wrapText=True),
                        column("Eventos", custom__width=85),
                        column("Tokens", custom__width=80),
                        shared.share_column("Parte"),
                    ],
                ),
                sort_by=("Eventos", True),
            ),
        ),
        (9, shared.hour_by_weekday()),
    ]


def _live() -> list[tuple[int, Panel]]:
    rate = f"{events(OF_GPT, OF_TYPE, window='1m')} / 60"
    failed = or_zero(f"{events(OF_GPT, OF_TYPE, FAILED, window='1m')} / 60")
    return [
        (
            12,
            lines(
                "En tiempo real: eventos por segundo",
                "Del último minuto, un punto cada 5 segundos, durante los últimos 15 minutos, sea cual sea el "
                "intervalo elegido arriba.",
                [query(rate, "Eventos", ref="eventos"), query(failed, "Con error", ref="errores")],
                Look(
                    unit="suffix: /s",
                    overrides=paint({"Eventos": colours.NEUTRAL, "Con error": colours.BAD}),
                    interval=LIVE_INTERVAL,
                    time_from=LIVE_RANGE,
                ),
                fill=15,
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
                    query(shared.common_objective(), "Objetivo", ref="objetivo"),
                    *shared.gaps(OF_GPT, OF_TYPE, window="1m"),
                ],
                Look(
                    unit="s",
                    no_value=QUIET,
                    overrides=[*paint({"Media": colours.MEAN, "p95": colours.P95}), dashed("Objetivo")],
                    interval=LIVE_INTERVAL,
                    time_from=LIVE_RANGE,
                ),
                fill=0,
            ),
        ),
    ]


def build() -> Dashboard:
    return board(
        UID,
        variables=variables.carried(hidden=("trazas",)),
        since="24h",
        refresh="30s",
        of_gpt=OF_GPT,
        rows=[
            Row(100, "Ahora", 3, _now()),
            Row(150, "GPT a GPT", 7, _by_gpt()),
            Row(200, "Latencia y tipos de consulta", 10, _latency()),
            Row(300, "Rendimiento en tiempo real", 8, _live()),
            Row(400, "Tokens y latencia por tipo", 9, _use()),
            Row(500, "Sesiones por día, semana y mes", 8, _periods()),
            Row(600, "Patrones de uso", 10, _patterns()),
            Row(700, "Versiones del prompt o del agente", 9, versions.versions()),
            Row(800, "Herramientas y razonamiento", 8, versions.tools()),
        ],
    )
