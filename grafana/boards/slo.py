"""gpt-slo, «¿Cumplimos, y quién no?»: objective, budget and its burn, latency as it is spread, the worst types."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.boards import colours, shared, variables
from grafana.boards.layout import Row, board
from grafana.boards.panels import (
    COUNT,
    NOT_MEASURED,
    QUIET,
    Look,
    Steps,
    buckets_over_time,
    column,
    dashed,
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
)
from grafana.boards.promql import (
    AGENT,
    BAR,
    BUDGET_REMAINING,
    BURN_RATE,
    FAILED,
    OF_GPT,
    OF_TYPE,
    RANGE,
    TYPE,
    buckets,
    counted,
    events,
    exemplars,
    or_zero,
    quantile,
    selector,
    suffixed,
    value,
)
from grafana.boards.shared import Column
from grafana.boards.variables import link
from otel_bridge import catalog

UID = "gpt-slo"
DURATION = catalog.OPERATION_DURATION
OF_GPT_ALERTS = f'alertname=~"GPT.*", {OF_GPT}'
SPENT = f"1 - {selector(BUDGET_REMAINING, OF_GPT)}"
"""Of each GPT's budget of 30 days. It grows with the harm, so that a table has the worst on top and the quiet last."""
SPENT_STEPS = ((None, colours.CLEAR), (0.75, colours.NEAR), (1.0, colours.FAIL))
BURN_LEVELS = {"Urgente (14,4×)": (14.4, colours.BAD), "Aviso (3×)": (3, colours.WARNING)}
FEEDBACK_STEPS = ((None, colours.FINE), (0.3, colours.NEAR), (0.5, colours.FAIL))
NOT_RATED = "Sin valoraciones"
NOT_TOLD = "Ningún evento dice su tiempo hasta el primer token (ttft_ms)"
SHOW_TRACES = ("Ver las respuestas lentas", link("gpt-sesiones"))


def _answer() -> list[tuple[int, Panel]]:
    firing = f'count(ALERTS{{alertstate="firing", {OF_GPT_ALERTS}}})'

    def worst_of(title: str, expr: str, unit: str, steps: Steps, description: str) -> Panel:
        return stat_panel(
            title,
            description,
            [instant(shared.worst(expr), f"{{{{{AGENT}}}}}")],
            Look(unit=unit, decimals=1, steps=steps, no_value=NOT_MEASURED, mappings=[quiet_mapping(NOT_MEASURED)]),
            names=True,
        )

    return [
        (
            6,
            worst_of(
                "Presupuesto gastado",
                SPENT,
                "percentunit",
                ((None, colours.FINE), *SPENT_STEPS[1:]),
                "El GPT que más ha gastado de su presupuesto de error de 30 días: 0 % es intacto, 100 % es "
                "agotado, más es incumplido. El presupuesto es lo que la meta del GPT permite fallar o "
                "tardar de más.",
            ),
        ),
        (
            5,
            worst_of(
                "Gasto (1 h)",
                shared.burn("1h"),
                "suffix:×",
                ((None, colours.FINE), *shared.BURN_STEPS[1:]),
                "El GPT que más deprisa gasta su presupuesto de error: 1× lo agota justo en 30 días; 14,4× lo "
                "agota en dos días y despierta a quien está de guardia.",
            ),
        ),
        (
            5,
            shared.worst_ratio(
                "p95 / objetivo",
                "1h",
                "El GPT cuyo p95 de la última hora está peor frente a su propio objetivo. Verde: por debajo del "
                "80 %; ámbar: cerca; rojo: lo supera.",
            ),
        ),
        (
            4,
            stat_panel(
                "Incumplen",
                "Cuántos de los GPT elegidos han agotado su presupuesto de error de 30 días. Están arriba en la tabla.",
                [instant(or_zero(f"count({SPENT} > 1)"))],
                Look(unit=COUNT, steps=((None, colours.FINE), (1.0, colours.FAIL)), mappings=[quiet_mapping("–")]),
            ),
        ),
        (
            4,
            stat_panel(
                "Alertas",
                "Cuántas alertas de los GPT elegidos suenan ahora. Están abajo, con su gravedad.",
                [instant(or_zero(firing))],
                Look(unit=COUNT, steps=((None, colours.FINE), (1.0, colours.FAIL)), mappings=[quiet_mapping("–")]),
            ),
        ),
    ]


def _by_gpt() -> list[tuple[int, Panel]]:
    columns = (
        Column(
            "Gastado (30 d)",
            f"max by ({AGENT}) ({SPENT})",
            {"unit": "percentunit", "decimals": 1, "custom__width": 130, **judged(SPENT_STEPS)},
        ),
        Column(
            "Gasto (6 h)",
            shared.burn("6h"),
            {"unit": "suffix:×", "decimals": 1, "custom__width": 90, **judged(shared.BURN_STEPS)},
        ),
        *shared.p95_columns(75, 90),
        Column("Buenos", shared.good_share(RANGE), {"unit": "percentunit", "decimals": 2, "custom__width": 90}),
        Column("Meta", shared.TARGETS, {"unit": "percentunit", "decimals": 1, "custom__width": 80}),
        Column("Eventos", events(OF_GPT, by=(AGENT,)), {"custom__width": 90}),
    )
    return [
        (
            24,
            shared.by_gpt(
                "Estado de cada GPT",
                "Un GPT por fila, arriba el que peor va: lo que lleva gastado del presupuesto de 30 días y a qué "
                "ritmo lo gastó en las últimas 6 horas; y del intervalo elegido, su p95 y su objetivo de latencia, la "
                "parte de eventos que fue buena (a tiempo y sin error), su meta, sus eventos y cómo ha ido su p95.",
                columns,
                (("Ver solo este GPT", UID), ("Ver sus sesiones", "gpt-sesiones")),
                worst_by="Gastado (30 d)",
                trend=("Tendencia p95", quantile(0.95, DURATION, OF_GPT, by=(AGENT,), window=BAR)),
            ),
        ),
    ]


def _burn() -> list[tuple[int, Panel]]:
    worst = [
        query(f"max({selector(BURN_RATE + window, OF_GPT)})", f"Últimas {window}", ref=f"w{window}")
        for window in colours.BURN_WINDOWS
    ]
    levels = [query(f"vector({level})", name, ref=f"n{i}") for i, (name, (level, _)) in enumerate(BURN_LEVELS.items())]
    return [
        (
            12,
            lines(
                "Ritmo de gasto del presupuesto",
                "Cuántas veces más deprisa de lo sostenible se gasta el presupuesto de error, en ventanas "
                "cortas y largas (el peor de los GPT elegidos). Cuando una corta y una larga pasan juntas "
                "de un nivel, suena su alerta.",
                [*worst, *levels, *shared.gaps(OF_GPT)],
                Look(
                    unit="suffix:×",
                    decimals=1,
                    no_value=QUIET,
                    interval="1m",
                    overrides=[
                        *paint({f"Últimas {window}": colour for window, colour in colours.BURN_WINDOWS.items()}),
                        *(dashed(name, colour) for name, (_, colour) in BURN_LEVELS.items()),
                    ],
                ),
                fill=0,
            ),
        ),
        (
            12,
            shared.firing_alerts(OF_GPT_ALERTS, "Ninguna alerta activa"),
        ),
    ]


def _trends() -> list[tuple[int, Panel]]:
    p95 = quantile(0.95, DURATION, OF_GPT, OF_TYPE, by=(AGENT,), window=BAR)
    ratio = f"{p95} / on ({AGENT}) group_left () {shared.OBJECTIVES}"
    return [
        (
            12,
            lines(
                "Presupuesto de error gastado",
                "Lo que cada GPT lleva gastado de su presupuesto de 30 días. Por encima de 100 % la meta está "
                "incumplida.",
                [query(SPENT, f"{{{{{AGENT}}}}}"), query("vector(1)", "Agotado", ref="limite")],
                Look(unit="percentunit", decimals=0, no_value=QUIET, interval="2m", overrides=[dashed("Agotado")]),
                fill=0,
            ),
        ),
        (
            12,
            lines(
                "p95 frente al objetivo de cada GPT",
                "p95 dividido por el objetivo del propio GPT: por encima de 100 % el GPT va más lento de lo "
                "que prometió.",
                [
                    query(ratio, f"{{{{{AGENT}}}}}"),
                    query("vector(1)", "Objetivo", ref="limite"),
                    *shared.gaps(OF_GPT, OF_TYPE),
                ],
                Look(
                    unit="percentunit",
                    decimals=0,
                    no_value=QUIET,
                    interval="2m",
                    overrides=[dashed("Objetivo")],
                ),
                fill=0,
            ),
        ),
    ]


def _latency() -> list[tuple[int, Panel]]:
    return [
        (
            24,
            heat(
                "Cómo se reparte la latencia",
                "Cuántas respuestas tardaron cuánto. Una banda que sube es un GPT que se vuelve lento; una "
                "segunda banda arriba son las que fallan el objetivo. Al pulsar una casilla se puede ir a las "
                "respuestas lentas.",
                [buckets_over_time(buckets(DURATION, OF_GPT, OF_TYPE, empty=QUIET))],
                Look(unit="s", no_value=QUIET, interval="1m", max_points=500, links=[SHOW_TRACES]),
            ),
        ),
    ]


def _first_token() -> list[tuple[int, Panel]]:
    first = catalog.FIRST_TOKEN
    objectives = f"max by ({AGENT}) (last_over_time({selector(catalog.FIRST_TOKEN_OBJECTIVE.name, OF_GPT)}[6h]))"
    targets = f"max by ({AGENT}) (last_over_time({selector(catalog.FIRST_TOKEN_TARGET.name, OF_GPT)}[6h]))"
    objective = value(catalog.FIRST_TOKEN_OBJECTIVE, OF_GPT)
    judged_ones = counted(catalog.FIRST_TOKEN_SLO.name, OF_GPT, by=(AGENT,))
    late = counted(catalog.FIRST_TOKEN_SLO.name, OF_GPT, 'result="bad"', by=(AGENT,))
    count = counted(suffixed(first, "count"), OF_GPT, by=(AGENT,))
    p95 = quantile(0.95, first, OF_GPT, by=(AGENT,))
    return [
        (
            12,
            lines(
                "Tiempo hasta el primer token",
                "Lo que espera quien pregunta hasta que empieza la respuesta, de los eventos que lo dicen (ttft_ms). "
                "La línea discontinua es el objetivo, donde los GPT elegidos tienen el mismo. Cada punto suelto es una "
                "respuesta de ejemplo: al pulsarlo se abre su traza.",
                [
                    query(quantile(0.5, first, OF_GPT, OF_TYPE, window=BAR), "p50", ref="p50"),
                    query(quantile(0.95, first, OF_GPT, OF_TYPE, window=BAR), "p95", ref="p95"),
                    query(exemplars(first, OF_GPT, OF_TYPE), "Ejemplos", ref="ejemplos", exemplar=True),
                    query(f"min({objective}) == max({objective})", "Objetivo", ref="objetivo"),
                ],
                Look(
                    unit="s",
                    no_value=NOT_TOLD,
                    interval="1m",
                    overrides=[*paint({"p50": colours.P50, "p95": colours.P95}), dashed("Objetivo")],
                ),
                fill=0,
            ),
        ),
        (
            12,
            grid(
                "Primer token de cada GPT",
                "En el intervalo elegido: eventos que dicen su tiempo hasta el primer token, su p95 y, donde el GPT "
                "tiene un objetivo, la parte que llegó a tiempo y la meta. El filtro de tipo no cambia este panel.",
                [
                    instant(f"{count} > 0", ref="A", as_table=True),
                    instant(shared.measured(p95), ref="B", as_table=True),
                    instant(objectives, ref="C", as_table=True),
                    instant(f"1 - {late} / ({judged_ones} > 0)", ref="D", as_table=True),
                    instant(targets, ref="E", as_table=True),
                ],
                Look(
                    unit=COUNT,
                    no_value=NOT_TOLD,
                    mappings=[quiet_mapping("–")],
                    transformations=joined(
                        {AGENT: "GPT"},
                        {
                            "Value #A": "Eventos",
                            "Value #B": "p95",
                            "Value #C": "Objetivo",
                            "Value #D": "A tiempo",
                            "Value #E": "Meta",
                        },
                    ),
                    overrides=[
                        shared.gpt_column(("Ver solo este GPT", UID), ("Ver sus sesiones", "gpt-sesiones")),
                        column("Eventos", custom__width=85),
                        column("p95", unit="s", decimals=2, custom__width=80),
                        column("Objetivo", unit="s", decimals=2, custom__width=85),
                        column("A tiempo", unit="percentunit", decimals=1, custom__width=85),
                        column("Meta", unit="percentunit", decimals=1, custom__width=75),
                    ],
                ),
                sort_by=("p95", True),
            ),
        ),
    ]


def _events() -> list[tuple[int, Panel]]:
    def of(result: str) -> str:
        return counted(catalog.SLO_EVENTS.name, OF_GPT, f'result="{result}"', window=BAR)

    def errors(window: str) -> str:
        return events(OF_GPT, OF_TYPE, FAILED, by=("error_type",), window=window)

    return [
        (
            10,
            lines(
                "Eventos buenos y malos",
                "Bueno: dentro del objetivo de latencia y sin error. Malo: el resto; es lo que gasta presupuesto.",
                [query(of("good"), "Buenos", ref="good"), query(of("bad"), "Malos", ref="bad")],
                Look(
                    unit=COUNT,
                    interval="2m",
                    max_points=500,
                    overrides=paint({"Buenos": colours.GOOD, "Malos": colours.BAD}),
                ),
                bars=True,
                stacked=True,
            ),
        ),
        (
            8,
            lines(
                "Errores por código",
                "Eventos que llegaron con el campo «error», por barra y por su código.",
                [query(errors(BAR), "{{error_type}}")],
                Look(
                    unit=COUNT,
                    interval="2m",
                    max_points=500,
                    colour=colours.BAD,
                    shades=True,
                ),
                bars=True,
                stacked=True,
            ),
        ),
        (
            6,
            shared.counts(
                "Errores del intervalo",
                "Eventos con error del intervalo elegido, por su código, de más a menos.",
                errors(RANGE),
                "error_type",
                "Código",
                "Ningún error en el intervalo",
            ),
        ),
    ]


def _feedback() -> list[tuple[int, Panel]]:
    def of(result: str, window: str = BAR) -> str:
        return counted(catalog.FEEDBACK.name, OF_GPT, f'result="{result}"', window=window)

    every = counted(catalog.FEEDBACK.name, OF_GPT)
    return [
        (
            6,
            stat_panel(
                "Valoraciones malas",
                "Qué parte de las valoraciones del intervalo elegido fue mala (valor por debajo de 0). Cuenta "
                "valoraciones, no personas: quien cambia de opinión cuenta otra vez.",
                [instant(f"{of('bad', RANGE)} / ({every} > 0)")],
                Look(
                    unit="percentunit",
                    decimals=0,
                    steps=FEEDBACK_STEPS,
                    no_value=NOT_RATED,
                    mappings=[quiet_mapping(NOT_RATED)],
                ),
            ),
        ),
        (
            18,
            lines(
                "Valoraciones",
                "Cuántas valoraciones llegaron, por barra: buenas (valor por encima de 0), malas (por debajo) y "
                "neutras.",
                [
                    query(of("good"), "Buenas", ref="good"),
                    query(of("bad"), "Malas", ref="bad"),
                    query(of("neutral"), "Neutras", ref="neutral"),
                ],
                Look(
                    unit=COUNT,
                    interval="2m",
                    max_points=500,
                    overrides=paint({"Buenas": colours.GOOD, "Malas": colours.BAD, "Neutras": colours.MUTED}),
                ),
                bars=True,
                stacked=True,
            ),
        ),
    ]


def _detail() -> list[tuple[int, Panel]]:
    by = (AGENT, TYPE)
    count = events(OF_GPT, OF_TYPE, by=by)
    failed = events(OF_GPT, OF_TYPE, FAILED, by=by)
    p95 = quantile(0.95, DURATION, OF_GPT, OF_TYPE, by=by)
    trend = quantile(0.95, DURATION, OF_GPT, OF_TYPE, by=by, window=BAR)
    return [
        (
            24,
            grid(
                "Los tipos más lentos",
                "Por GPT y tipo, en el intervalo elegido: eventos, p95, p95 dividido por el objetivo del "
                "GPT y parte con error. Arriba, los que más se alejan del objetivo; a la derecha, cómo ha "
                "ido su p95.",
                [
                    instant(f"{count} > 0", ref="A", as_table=True),
                    instant(shared.measured(p95), ref="B", as_table=True),
                    instant(
                        shared.measured(f"{p95} / on ({AGENT}) group_left () {shared.OBJECTIVES}"),
                        ref="C",
                        as_table=True,
                    ),
                    instant(f"({failed} or 0 * {count}) / ({count} > 0)", ref="D", as_table=True),
                    query(trend, ref="T"),
                ],
                Look(
                    unit=COUNT,
                    no_value=QUIET,
                    interval="2m",
                    max_points=60,
                    mappings=[quiet_mapping("–")],
                    transformations=[
                        transform("timeSeriesTable", only="T", T={"timeField": "Time", "stat": "lastNotNull"}),
                        *joined(
                            {AGENT: "GPT", TYPE: "Tipo"},
                            {
                                "Value #A": "Eventos",
                                "Value #B": "p95",
                                "Value #C": "p95 / objetivo",
                                "Value #D": "Con error",
                                "Trend #T": "Tendencia p95",
                            },
                        ),
                        # Of the configured types only those of which there was an event.
                        transform(
                            "filterByValue",
                            type="include",
                            match="any",
                            filters=[{"fieldName": "Eventos", "config": {"id": "isNotNull", "options": {}}}],
                        ),
                    ],
                    overrides=[
                        shared.gpt_column(("Ver solo este GPT", UID), ("Ver sus sesiones", "gpt-sesiones")),
                        shared.type_column(),
                        column("Eventos", custom__width=100),
                        column("p95", unit="s", decimals=1, custom__width=80),
                        column(
                            "p95 / objetivo",
                            unit="percentunit",
                            decimals=0,
                            custom__width=135,
                            **judged(shared.RATIO_STEPS),
                        ),
                        column("Con error", unit="percentunit", decimals=1, custom__width=90),
                        shared.trend_column("Tendencia p95"),
                    ],
                ),
                sort_by=("p95 / objetivo", True),
            ),
        ),
    ]


def build() -> Dashboard:
    return board(
        UID,
        variables=variables.carried(hidden=("trazas",)),
        since="24h",
        refresh="1m",
        of_gpt=OF_GPT,
        rows=[
            Row(100, "¿Cumplimos?", 4, _answer()),
            Row(200, "¿Quién no?", 12, _by_gpt()),
            Row(300, "Ritmo y alertas", 9, _burn()),
            Row(350, "GPT a GPT", 10, _trends()),
            Row(400, "Latencia", 10, _latency()),
            Row(450, "Primer token", 9, _first_token()),
            Row(500, "Eventos", 9, _events()),
            Row(550, "Valoraciones", 8, _feedback()),
            Row(600, "Detalle por tipo", 11, _detail()),
        ],
    )
