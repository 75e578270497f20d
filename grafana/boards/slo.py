"""gpt-slo, «¿Cumplimos, y quién no?»: objective, budget and its burn, latency as it is spread, the worst types."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.boards import colours, shared, variables
from grafana.boards.layout import Row, board
from grafana.boards.panels import (
    QUIET,
    Look,
    buckets_over_time,
    column,
    dashed,
    gap_line,
    grid,
    heat,
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
    BUDGET_REMAINING,
    BURN_RATE,
    OF_GPT,
    OF_TYPE,
    TYPE,
    buckets,
    increase,
    no_traffic,
    objective,
    objective_thresholds,
    or_zero,
    recorded_quantile,
    selector,
    suffixed,
    total,
)
from otel_bridge import catalog

UID = "gpt-slo"
NOBODY = "sin tráfico"
DURATION = catalog.OPERATION_DURATION
OBJECTIVES = f"max by ({AGENT}) ({selector(catalog.LATENCY_OBJECTIVE.name, OF_GPT)})"
OF_GPT_ALERTS = f'alertname=~"GPT.*", {OF_GPT}'
TARGETS = f"max by ({AGENT}) ({selector(catalog.SLO_TARGET.name, OF_GPT)})"
BUDGET = selector(BUDGET_REMAINING, OF_GPT)
BUDGET_STEPS = ((None, colours.BAD), (0.0, colours.WARNING), (0.25, colours.GOOD))
BURN_STEPS = ((None, colours.GOOD), (1.0, colours.WARNING), (6.0, colours.BAD))
BURN_WINDOWS = {"5m": "#6ED0E0", "1h": "#5794F2", "6h": "#B877D9", "3d": "#8E8E9C"}
BURN_LEVELS = {"Urgente (14,4×)": (14.4, colours.BAD), "Aviso (3×)": (3, colours.WARNING)}
SHOW_TRACES = (
    "Ver las respuestas lentas",
    "/d/gpt-sesiones?${datasource:queryparam}&${gpt:queryparam}&${tipo:queryparam}&${__url_time_range}",
)


def _good_share(window: str) -> str:
    events = total(increase(catalog.SLO_EVENTS.name, OF_GPT, window=window), AGENT)
    bad = total(increase(catalog.SLO_EVENTS.name, OF_GPT, 'result="bad"', window=window), AGENT)
    return f"1 - ({bad} or 0 * {events}) / ({events} > 0)"


def _answer() -> list[tuple[int, Panel]]:
    firing = f'count(ALERTS{{alertstate="firing", {OF_GPT_ALERTS}}})'
    return [
        (
            6,
            stat_panel(
                "Presupuesto restante",
                "Parte del presupuesto de error de 30 días que queda, por GPT: 100 % es intacto, 0 % es "
                "agotado, negativo es incumplido. El presupuesto es lo que la meta del GPT permite fallar o "
                "tardar de más.",
                [instant(BUDGET, f"{{{{{AGENT}}}}}")],
                Look(unit="percentunit", decimals=1, steps=BUDGET_STEPS, no_value=QUIET, mappings=[quiet_mapping()]),
                names=True,
                sparkline=False,
            ),
        ),
        (
            6,
            stat_panel(
                "Gasto (1 h)",
                "A qué velocidad se gasta el presupuesto de error: 1× lo agota justo en 30 días; 14,4× lo "
                "agota en dos días y despierta a quien está de guardia.",
                [instant(selector(f"{BURN_RATE}1h", OF_GPT), f"{{{{{AGENT}}}}}")],
                Look(unit="suffix:×", decimals=1, steps=BURN_STEPS, no_value=QUIET, mappings=[quiet_mapping()]),
                names=True,
                sparkline=False,
            ),
        ),
        (
            4,
            stat_panel(
                "p95 (1 h)",
                "El 95 % de las respuestas de la última hora tardó menos que esto. El color lo decide el "
                "objetivo del GPT (con varios, el más exigente): ámbar desde el 80 %, rojo al superarlo.",
                [
                    instant(recorded_quantile(0.95, "1h", OF_GPT, OF_TYPE), "p95"),
                    instant(objective_thresholds(), ref="umbral", as_table=True),
                ],
                Look(
                    unit="s",
                    steps=((None, colours.GOOD),),
                    no_value=QUIET,
                    mappings=[quiet_mapping()],
                    transformations=[thresholds_from("umbral")],
                ),
                sparkline=False,
            ),
        ),
        (
            4,
            stat_panel(
                "Objetivo",
                "Cuánto puede tardar una respuesta y contar como buena, según la configuración. Con varios "
                "GPT elegidos, el más exigente.",
                [instant(objective(), "Objetivo")],
                Look(unit="s", colour=colours.NEUTRAL, no_value="Sin GPT"),
                sparkline=False,
            ),
        ),
        (
            4,
            stat_panel(
                "Alertas",
                "Cuántas alertas de los GPT elegidos suenan ahora. Están abajo, con su gravedad.",
                [instant(or_zero(firing))],
                Look(unit="short", decimals=0, steps=((None, colours.GOOD), (1.0, colours.BAD))),
                sparkline=False,
            ),
        ),
    ]


def _by_gpt() -> list[tuple[int, Panel]]:
    columns = (
        ("Eventos", total(increase(catalog.SLO_EVENTS.name, OF_GPT), AGENT), {"unit": "locale", "decimals": 0}),
        ("Buenos", _good_share("$__range"), {"unit": "percentunit", "decimals": 2}),
        ("Meta", TARGETS, {"unit": "percentunit", "decimals": 1}),
        ("Objetivo", OBJECTIVES, {"unit": "s"}),
        ("p95", recorded_quantile(0.95, "$__range", OF_GPT, by=(AGENT,)), {"unit": "s"}),
        (
            "p95 / objetivo",
            f"{recorded_quantile(0.95, '$__range', OF_GPT, by=(AGENT,))} / on ({AGENT}) {OBJECTIVES}",
            {
                "unit": "percentunit",
                "decimals": 0,
                **_coloured(((None, colours.GOOD), (0.8, colours.WARNING), (1.0, colours.BAD))),
            },
        ),
        (
            "Presupuesto",
            f"max by ({AGENT}) ({BUDGET})",
            {"unit": "percentunit", "decimals": 1, **_coloured(BUDGET_STEPS)},
        ),
        (
            "Gasto 6 h",
            f"max by ({AGENT}) ({selector(f'{BURN_RATE}6h', OF_GPT)})",
            {"unit": "suffix:×", "decimals": 2, **_coloured(BURN_STEPS)},
        ),
    )
    refs = [chr(ord("A") + index) for index in range(len(columns))]
    return [
        (
            24,
            grid(
                "Estado de cada GPT",
                "Un GPT por fila: eventos del intervalo, parte que fue buena (a tiempo y sin error), su "
                "meta, su objetivo de latencia, su p95, lo que queda del presupuesto de 30 días y a qué "
                "ritmo se gastó en las últimas 6 horas.",
                [instant(expr, ref=ref, as_table=True) for ref, (_, expr, _) in zip(refs, columns, strict=True)],
                Look(
                    unit="short",
                    no_value="Ningún GPT registrado: revisa que el puente esté en marcha",
                    mappings=[quiet_mapping("–")],
                    transformations=[
                        transform("merge"),
                        transform(
                            "organize",
                            excludeByName={"Time": True},
                            indexByName={AGENT: 0, **{f"Value #{ref}": 1 + i for i, ref in enumerate(refs)}},
                            renameByName={
                                AGENT: "GPT",
                                **{f"Value #{ref}": name for ref, (name, _, _) in zip(refs, columns, strict=True)},
                            },
                        ),
                    ],
                    overrides=[column(name, **properties) for name, _, properties in columns],
                ),
                sort_by=("Presupuesto", False),
            ),
        ),
    ]


def _coloured(steps: tuple[tuple[float | None, str], ...]) -> dict[str, object]:
    return {
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]},
        "color": {"mode": "thresholds"},
        "custom__cellOptions": {"type": "color-text"},
    }


def _burn() -> list[tuple[int, Panel]]:
    worst = [
        query(f"max({selector(BURN_RATE + window, OF_GPT)})", f"Últimas {window}", ref=f"w{window}")
        for window in BURN_WINDOWS
    ]
    levels = [query(f"vector({level})", name, ref=f"n{i}") for i, (name, (level, _)) in enumerate(BURN_LEVELS.items())]
    return [
        (
            14,
            lines(
                "Ritmo de gasto del presupuesto",
                "Cuántas veces más deprisa de lo sostenible se gasta el presupuesto de error, en ventanas "
                "cortas y largas (el peor de los GPT elegidos). Cuando una corta y una larga pasan juntas "
                "de un nivel, suena su alerta.",
                [*worst, *levels, query(no_traffic(OF_GPT), QUIET, ref="hueco")],
                Look(
                    unit="suffix:×",
                    decimals=1,
                    no_value=QUIET,
                    interval="1m",
                    overrides=[
                        *paint({f"Últimas {window}": colour for window, colour in BURN_WINDOWS.items()}),
                        gap_line(),
                        *(dashed(name, colour) for name, (_, colour) in BURN_LEVELS.items()),
                    ],
                ),
                fill=0,
                right=280,
            ),
        ),
        (
            10,
            lines(
                "Presupuesto de error restante",
                "Lo que queda del presupuesto de 30 días de cada GPT. Si baja de 0 %, la meta está incumplida.",
                [query(BUDGET, f"{{{{{AGENT}}}}}"), query("vector(0)", "Agotado", ref="limite")],
                Look(unit="percentunit", decimals=1, no_value=QUIET, interval="2m", overrides=[dashed("Agotado")]),
                fill=10,
                calcs=("lastNotNull", "min"),
            ),
        ),
    ]


def _latency() -> list[tuple[int, Panel]]:
    p95 = recorded_quantile(0.95, "$__interval", OF_GPT, OF_TYPE, by=(AGENT,))
    ratio = f"{p95} / on ({AGENT}) group_left () {OBJECTIVES}"
    return [
        (
            14,
            heat(
                "Cómo se reparte la latencia",
                "Cuántas respuestas tardaron cuánto. Una banda que sube es un GPT que se vuelve lento; una "
                "segunda banda arriba son las que fallan el objetivo. Los puntos son respuestas de ejemplo: "
                "al pulsarlos se abre su traza.",
                [buckets_over_time(buckets(DURATION, OF_GPT, OF_TYPE, empty=QUIET), exemplar=True)],
                Look(unit="s", no_value=QUIET, interval="1m", max_points=500, links=[SHOW_TRACES]),
            ),
        ),
        (
            10,
            lines(
                "p95 frente al objetivo de cada GPT",
                "p95 dividido por el objetivo del propio GPT: por encima de 100 % el GPT va más lento de lo "
                "que prometió.",
                [
                    query(ratio, f"{{{{{AGENT}}}}}"),
                    query("vector(1)", "Objetivo", ref="limite"),
                    query(no_traffic(OF_GPT, OF_TYPE), QUIET, ref="hueco"),
                ],
                Look(
                    unit="percentunit",
                    decimals=0,
                    no_value=QUIET,
                    interval="2m",
                    overrides=[dashed("Objetivo"), gap_line()],
                ),
                fill=0,
            ),
        ),
    ]


def _events() -> list[tuple[int, Panel]]:
    def of(result: str) -> str:
        return or_zero(total(increase(catalog.SLO_EVENTS.name, OF_GPT, f'result="{result}"', window="$__interval")))

    errors = total(
        increase(suffixed(DURATION, "count"), OF_GPT, OF_TYPE, 'error_type!=""', window="$__interval"), "error_type"
    )
    return [
        (
            12,
            lines(
                "Eventos buenos y malos",
                "Bueno: dentro del objetivo de latencia y sin error. Malo: el resto; es lo que gasta presupuesto.",
                [query(of("good"), "Buenos", ref="good"), query(of("bad"), "Malos", ref="bad")],
                Look(
                    unit="short",
                    decimals=0,
                    interval="2m",
                    max_points=500,
                    overrides=paint({"Buenos": colours.GOOD, "Malos": colours.BAD}),
                ),
                bars=True,
                stacked=True,
                calcs=("lastNotNull", "max", "sum"),
            ),
        ),
        (
            12,
            lines(
                "Errores por código",
                "Eventos que llegaron con el campo «error», por su código. Sin errores, la serie «ninguno» en 0.",
                [query(or_zero(errors, "error_type"), "{{error_type}}")],
                Look(
                    unit="short",
                    decimals=0,
                    interval="2m",
                    max_points=500,
                    overrides=paint({"ninguno": colours.GOOD}),
                ),
                bars=True,
                stacked=True,
                calcs=("lastNotNull", "max", "sum"),
            ),
        ),
    ]


def _detail() -> list[tuple[int, Panel]]:
    by = (AGENT, TYPE)
    count = total(increase(suffixed(DURATION, "count"), OF_GPT, OF_TYPE), *by)
    failed = total(increase(suffixed(DURATION, "count"), OF_GPT, OF_TYPE, 'error_type!=""'), *by)
    p95 = recorded_quantile(0.95, "$__range", OF_GPT, OF_TYPE, by=by)
    trend = recorded_quantile(0.95, "$__interval", OF_GPT, OF_TYPE, by=by)
    # Several queries make one table only where each has a row; with traffic there is no such row.
    nothing = f'label_replace(vector(0), "{TYPE}", "{NOBODY}", "", "")'
    ever = total(f"increase({selector(suffixed(DURATION, 'count'), OF_GPT, OF_TYPE)}[$__range] @ end())")
    ratio_steps = ((None, colours.GOOD), (0.8, colours.WARNING), (1.0, colours.BAD))
    return [
        (
            24,
            grid(
                "Los tipos más lentos",
                "Por GPT y tipo, en el intervalo elegido: eventos, p95, p95 dividido por el objetivo del "
                "GPT y parte con error. Arriba, los que más se alejan del objetivo; a la derecha, cómo ha "
                "ido su p95.",
                [
                    instant(or_zero(f"{count} > 0", TYPE, NOBODY), ref="A", as_table=True),
                    instant(or_zero(p95, TYPE, NOBODY), ref="B", as_table=True),
                    instant(
                        or_zero(f"{p95} / on ({AGENT}) group_left () {OBJECTIVES}", TYPE, NOBODY),
                        ref="C",
                        as_table=True,
                    ),
                    instant(
                        or_zero(f"({failed} or 0 * {count}) / ({count} > 0)", TYPE, NOBODY), ref="D", as_table=True
                    ),
                    query(f"({trend}) or on () ({nothing} unless on () ({ever} > 0))", ref="T"),
                ],
                Look(
                    unit="short",
                    no_value=QUIET,
                    interval="2m",
                    max_points=60,
                    mappings=[quiet_mapping("–")],
                    transformations=[
                        transform("timeSeriesTable", only="T", T={"timeField": "Time", "stat": "lastNotNull"}),
                        transform("merge"),
                        transform(
                            "organize",
                            excludeByName={"Time": True},
                            indexByName={
                                AGENT: 0,
                                TYPE: 1,
                                "Value #A": 2,
                                "Value #B": 3,
                                "Value #C": 4,
                                "Value #D": 5,
                                "Trend #T": 6,
                            },
                            renameByName={
                                AGENT: "GPT",
                                TYPE: "Tipo",
                                "Value #A": "Eventos",
                                "Value #B": "p95",
                                "Value #C": "p95 / objetivo",
                                "Value #D": "Con error",
                                "Trend #T": "Tendencia del p95",
                            },
                        ),
                    ],
                    overrides=[
                        column("GPT", custom__minWidth=105),
                        shared.type_column(),
                        column("Eventos", unit="locale", decimals=0, custom__width=100),
                        column("p95", unit="s", custom__width=80),
                        column(
                            "p95 / objetivo",
                            unit="percentunit",
                            decimals=0,
                            custom__width=135,
                            **_coloured(ratio_steps),
                        ),
                        column("Con error", unit="percentunit", decimals=1, custom__width=90),
                        column(
                            "Tendencia del p95",
                            unit="s",
                            color={"mode": "fixed", "fixedColor": colours.P95},
                            custom__cellOptions={
                                "type": "sparkline",
                                "hideValue": True,
                                "drawStyle": "line",
                                "lineWidth": 1,
                            },
                            custom__minWidth=200,
                        ),
                    ],
                ),
                sort_by=("p95 / objetivo", True),
            ),
        ),
    ]


def build() -> Dashboard:
    return board(
        UID,
        variables=[variables.datasource(), variables.gpt(), variables.event_type()],
        since="24h",
        refresh="1m",
        of_gpt=OF_GPT,
        rows=[
            Row(100, "¿Cumplimos?", 5, _answer()),
            Row(200, "¿Quién no?", 6, _by_gpt()),
            Row(250, "Lo que suena", 6, [(24, shared.firing_alerts(OF_GPT_ALERTS, "Ninguna alerta activa"))]),
            Row(300, "Presupuesto de error", 9, _burn()),
            Row(400, "Latencia", 10, _latency()),
            Row(500, "Eventos", 9, _events()),
            Row(600, "Detalle por tipo", 11, _detail()),
        ],
    )
