"""Of gpt-resumen: what builders say beyond the documented fields. Versions side by side, tools, reasoning."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.boards import shared
from grafana.boards.panels import (
    COUNT,
    Look,
    by_name,
    column,
    grid,
    instant,
    joined,
    lines,
    query,
    quiet_mapping,
    stat_panel,
)
from grafana.boards.promql import (
    AGENT,
    BAR,
    OF_GPT,
    TOOL,
    VERSION,
    counted,
    mean,
    quantile,
    suffixed,
)
from otel_bridge import catalog

NO_VERSION = "Ningún evento del intervalo dice su versión (version)"
NO_TOOL = "Ningún evento del intervalo dice qué herramientas llamó (herramientas)"
DURATION = catalog.VERSION_DURATION


def versions() -> list[tuple[int, Panel]]:
    by = (AGENT, VERSION)

    def of(results: str = "") -> str:
        matchers = (f'result=~"{results}"',) if results else ()
        return counted(catalog.VERSION_EVENTS.name, OF_GPT, *matchers, by=by)

    measured = counted(suffixed(DURATION, "count"), OF_GPT, by=by)
    return [
        (
            14,
            grid(
                "Versiones, una junto a otra",
                "Por GPT y versión del prompt o del agente, en el intervalo elegido: eventos, parte con error, parte "
                "que superó el objetivo de latencia sin dar error (de los que traen latencia), media y p95. Hay diez "
                "versiones a la vez como mucho; las demás están juntas en «otro», y una que dejó su sitio a otra y "
                "vuelve cuenta desde 0. El filtro de tipo no cambia este panel.",
                [
                    instant(f"{of()} > 0", ref="A", as_table=True),
                    instant(f"{of('failed')} / ({of()} > 0)", ref="B", as_table=True),
                    instant(f"{of('slow')} / ({measured} > 0)", ref="C", as_table=True),
                    instant(mean(DURATION, OF_GPT, by=by), ref="D", as_table=True),
                    instant(shared.measured(quantile(0.95, DURATION, OF_GPT, by=by)), ref="E", as_table=True),
                ],
                Look(
                    unit=COUNT,
                    no_value=NO_VERSION,
                    mappings=[quiet_mapping("–")],
                    transformations=joined(
                        {AGENT: "GPT", VERSION: "Versión"},
                        {
                            "Value #A": "Eventos",
                            "Value #B": "Con error",
                            "Value #C": "Lentos",
                            "Value #D": "Media",
                            "Value #E": "p95",
                        },
                    ),
                    overrides=[
                        column("GPT", unit="string", custom__width=190, custom__wrapText=True),
                        column("Versión", unit="string", custom__minWidth=110, custom__wrapText=True),
                        column("Eventos", custom__width=85),
                        column("Con error", unit="percentunit", decimals=1, custom__width=90),
                        column("Lentos", unit="percentunit", decimals=1, custom__width=80),
                        column("Media", unit="s", decimals=2, custom__width=80),
                        column("p95", unit="s", decimals=2, custom__width=75),
                    ],
                ),
                sort_by=("Eventos", True),
            ),
        ),
        (
            10,
            lines(
                "p95 de cada versión",
                "p95 de las respuestas de cada versión. Donde una línea acaba y otra empieza está el cambio.",
                [query(quantile(0.95, DURATION, OF_GPT, by=by, window=BAR), f"{{{{{AGENT}}}}} {{{{{VERSION}}}}}")],
                Look(unit="s", no_value=NO_VERSION, interval="2m"),
                fill=0,
            ),
        ),
    ]


def tools() -> list[tuple[int, Panel]]:
    by = (AGENT, TOOL)
    calls = counted(catalog.TOOL_CALLS.name, OF_GPT, by=by)
    failed = counted(catalog.TOOL_CALLS.name, OF_GPT, 'result="error"', by=by)
    seconds = counted(catalog.TOOL_SECONDS.name, OF_GPT, by=by)
    reasoning = counted(catalog.REASONING_TOKENS.name, OF_GPT)
    output = counted(suffixed(catalog.TOKEN_USAGE, "sum"), OF_GPT, 'gen_ai_token_type="output"')
    return [
        (
            14,
            grid(
                "Herramientas",
                "Llamadas a herramientas dentro de las respuestas, por GPT y herramienta, en el intervalo elegido: "
                "cuántas, parte con error y cuánto tardan de media. Hay veinte herramientas por GPT como mucho; las "
                "demás están juntas en «otro».",
                [
                    instant(f"{calls} > 0", ref="A", as_table=True),
                    instant(f"{failed} / ({calls} > 0)", ref="B", as_table=True),
                    instant(f"{seconds} / ({calls} > 0)", ref="C", as_table=True),
                ],
                Look(
                    unit=COUNT,
                    no_value=NO_TOOL,
                    transformations=joined(
                        {AGENT: "GPT", TOOL: "Herramienta"},
                        {"Value #A": "Llamadas", "Value #B": "Con error", "Value #C": "Media"},
                    ),
                    overrides=[
                        column("GPT", unit="string", custom__width=190, custom__wrapText=True),
                        column("Herramienta", unit="string", custom__minWidth=140, custom__wrapText=True),
                        column("Llamadas", custom__width=90),
                        column("Con error", unit="percentunit", decimals=1, custom__width=90),
                        column("Media", unit="s", decimals=2, custom__width=80),
                    ],
                ),
                sort_by=("Llamadas", True),
            ),
        ),
        (
            10,
            stat_panel(
                "Tokens de razonamiento",
                "Tokens de salida que los modelos gastaron en razonar, de los eventos que lo dicen "
                "(tokens_razonamiento), y qué parte son de toda la salida del intervalo elegido.",
                [
                    instant(f"{reasoning} > 0", "Razonamiento", ref="tokens"),
                    instant(f"({reasoning} > 0) / ({output} > 0)", "De la salida", ref="parte"),
                ],
                Look(
                    unit=COUNT,
                    no_value="Ningún evento los dice",
                    overrides=[by_name("De la salida", unit="percentunit", decimals=0)],
                ),
                names=True,
            ),
        ),
    ]
