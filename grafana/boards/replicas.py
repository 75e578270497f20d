"""How many bridges answer, and which of the replicas of a journal counts for all: a row of otel-bridge-salud."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Panel

from grafana.boards import colours
from grafana.boards.panels import (
    COUNT,
    DOWN,
    Look,
    column,
    dashed,
    grid,
    instant,
    joined,
    lines,
    paint,
    query,
    value_mapping,
)
from grafana.boards.promql import JOURNAL, TARGET, selector, value
from otel_bridge import catalog

_TARGET = ", ".join(TARGET)
_JOURNAL = ", ".join(JOURNAL)
KNOWN = f"({selector('up')} and on ({_TARGET}) max by ({_TARGET}) (last_over_time({value(catalog.BUILD_INFO)}[1d])))"
"""`up` of what was a bridge within a day."""


def standing() -> str:
    """1: all answer; 0.5: replicas are missing; 0: one that stands alone does not answer, or no replica; -1: replicas
    answer, and none shows what they share."""
    shared = selector(catalog.SERIES.name, 'instance=""')
    replicas = f"last_over_time({shared}[1d])"
    of_replicas = f"(max by ({_JOURNAL}) ({KNOWN}) + min by ({_JOURNAL}) ({KNOWN})) / 2 and on ({_JOURNAL}) {replicas}"
    standing = f"min({KNOWN} unless on ({_JOURNAL}) {replicas} or {of_replicas})"
    nobody = (
        f"(0 * count(count by ({_JOURNAL}) ({value(catalog.STEWARD)}) "
        f"unless on ({_JOURNAL}) {value(catalog.SERIES)}) - 1)"
    )
    return f"{nobody} or {standing}"


def panels() -> list[tuple[int, Panel]]:
    yes_or_no = {"1": ("Sí", colours.CLEAR), "0": ("No", colours.MUTED)}
    answers = {"1": ("En marcha", colours.CLEAR), "0": ("No responde", colours.FAIL)}
    return [
        (
            12,
            grid(
                "Réplicas",
                "Los puentes que Prometheus conoce. Todos toman datos y los entregan. De los que comparten un diario "
                "en PostgreSQL, uno lleva la cuenta de todos: sus cifras son las de los tableros. El que está solo "
                "lleva la suya. Lo que cada uno tiene por entregar lo dice «otel-bridge journal status».",
                [
                    instant(f"max by (instance) ({KNOWN})", ref="A", as_table=True),
                    instant(f"max by (instance) ({value(catalog.STEWARD)})", ref="B", as_table=True),
                    instant(f"time() - max by (instance) ({value(catalog.START_TIME)})", ref="C", as_table=True),
                ],
                Look(
                    unit=COUNT,
                    no_value="Prometheus no lo busca",
                    transformations=joined(
                        {"instance": "Réplica"},
                        {"Value #A": "Estado", "Value #B": "Lleva la cuenta", "Value #C": "En marcha desde hace"},
                    ),
                    overrides=[
                        column(
                            "Estado",
                            mappings=[value_mapping(answers).to_json()],
                            custom__cellOptions={"type": "color-background", "mode": "basic"},
                        ),
                        column("Lleva la cuenta", mappings=[value_mapping(yes_or_no).to_json()]),
                        column("En marcha desde hace", unit="dtdhms", decimals=0),
                    ],
                ),
            ),
        ),
        (
            12,
            lines(
                "Réplicas en marcha",
                "Cuántos puentes responden, cuántos busca Prometheus y cuántos llevan la cuenta: uno por diario. Un "
                "hueco en esa línea es un cambio de manos; las cifras siguen donde estaban.",
                [
                    query(f"count({KNOWN} == 1)", "Responden", ref="up"),
                    query(f"count({KNOWN})", "Los que hay", ref="known"),
                    query(f"sum({value(catalog.STEWARD)})", "Llevan la cuenta", ref="steward"),
                ],
                Look(
                    unit=COUNT,
                    decimals=0,
                    no_value=DOWN,
                    overrides=[
                        *paint({"Responden": colours.GOOD, "Llevan la cuenta": colours.OUTPUT}),
                        dashed("Los que hay"),
                    ],
                ),
                fill=0,
                soft_max=1,
            ),
        ),
    ]
