"""Every query of every board with the variables filled in, for a test to run against a real Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VARIABLES = {
    "datasource": "prometheus",
    "trazas": "tempo",
    "job": ".+",
    "instance": ".+",
    "gpt": ".+",
    "tipo": ".+",
    "usuario": "",
    "umbral": "100ms",
    "__rate_interval": "1m",
    "__interval": "1m",
    "__range": "1h",
}
"""What the variables say when nothing is chosen; a test overrides what it needs."""


@dataclass(frozen=True)
class Query:
    """One query of one panel. `instant` says how Grafana asks for it; `step` is the panel's least interval."""

    board: str
    panel: str
    panel_id: int
    ref: str
    expr: str
    instant: bool
    step: str | None


EXPECTED_EMPTY: dict[tuple[str, str], str] = {
    (
        "gpt-resumen",
        "Sesiones activas por día",
    ): "the bars of closed days need a midnight; the last bar is there at once",
    (
        "gpt-resumen",
        "Sesiones activas por semana",
    ): "the bars of closed weeks need a Monday; the last bar is there at once",
    (
        "gpt-resumen",
        "Sesiones activas por mes",
    ): "the bars of closed months need a first of month; the last bar is there",
    ("gpt-slo", "Alertas activas"): "no alert fires on a good day: the table says so",
    ("otel-bridge-salud", "Alertas activas"): "no alert fires on a good day: the table says so",
    ("gpt-slo", "Presupuesto gastado"): "recorded every minute: empty for the first two",
    ("gpt-slo", "Presupuesto de error gastado"): "recorded every minute: empty for the first two",
    ("gpt-slo", "Estado de cada GPT"): "its budget column is recorded every minute: empty for the first two",
    ("gpt-slo", "p95 / objetivo"): "a percentile needs an event in its window",
    ("gpt-resumen", "p95 / objetivo"): "a percentile needs an event in its window",
    ("gpt-resumen", "Coste (24 h)"): "its second figure is there where tokens have no price",
    ("gpt-resumen", "Cómo va cada GPT"): "its last columns are there where something has no price or was not measured",
    ("gpt-resumen", "Versiones, una junto a otra"): "where no event names a version the table says so",
    ("gpt-resumen", "p95 de cada versión"): "where no event names a version the panel says so",
    ("gpt-resumen", "Herramientas"): "where no event names a tool the table says so",
    ("gpt-resumen", "Tokens de razonamiento"): "where no event names them the panel says so",
    ("gpt-slo", "Tiempo hasta el primer token"): "where no event tells it the panel says so",
    ("gpt-slo", "Primer token de cada GPT"): "where no event tells it the table says so",
    ("gpt-resumen", "Tokens"): "its third figure is there where tokens were not measured",
    ("gpt-slo", "p95 frente al objetivo de cada GPT"): "a percentile needs an event in its window",
    ("gpt-slo", "Los tipos más lentos"): "a percentile needs an event in its window",
    ("gpt-slo", "Errores por código"): "on a good day there is no error: the panel says so",
    ("gpt-slo", "Errores del intervalo"): "on a good day there is no error: the table says so",
    ("otel-bridge-salud", "Rechazos por motivo"): "where nothing was refused the panel says so",
    ("otel-bridge-salud", "Rechazos del intervalo"): "where nothing was refused the table says so",
    ("otel-bridge-salud", "Datos personales retirados"): "where nothing was redacted the panel says so",
    ("otel-bridge-salud", "Retirados"): "where nothing was redacted the table says so",
    ("otel-bridge-salud", "Historia traída"): "where none was brought the table says so",
    ("otel-bridge-salud", "Peticiones al almacén de trazas"): "its second query is of metrics that are pushed",
    ("gpt-resumen", "Usuarios con más uso (24 h)"): "it lists who there is",
    ("gpt-resumen", "Tipos de consultas más frecuentes"): "it lists the types that had events",
    ("gpt-slo", "Gasto (1 h)"): "a burn rate needs an event in its window",
    ("gpt-slo", "Ritmo de gasto del presupuesto"): "the long windows are recorded every minute",
    ("gpt-sesiones", "Duración media"): "a session is measured once it has been silent for 30 minutes",
    ("gpt-sesiones", "Eventos por sesión"): "a session is measured once it has been silent for 30 minutes",
    ("gpt-sesiones", "Cuánto duran las sesiones"): "a session is measured once it has been silent for 30 minutes",
    (
        "gpt-sesiones",
        "Cuántos eventos tienen las sesiones",
    ): "a session is measured once it has been silent for 30 minutes",
}
"""(board, panel) → why one of its queries may return nothing while all is well."""

ONLY_WITHOUT_TRAFFIC = "hueco"
"""The ref of queries that return something only while no event comes."""

ONLY_UNMEASURED = "sinmedir"
"""The ref of queries that return something only while events come without their numbers."""

ONLY_EXEMPLARS = "ejemplos"
"""The ref of queries that return nothing, and whose exemplars are drawn."""


def may_be_empty(query: Query) -> str | None:
    """Why a query may return nothing while all is well; None where it must return data."""
    if query.ref == ONLY_WITHOUT_TRAFFIC:
        return "a line that is only drawn while no event comes"
    if query.ref == ONLY_UNMEASURED:
        return "a line that is only drawn while events come that nobody measured"
    if query.ref == ONLY_EXEMPLARS:
        return "it draws nothing but exemplars"
    if why := EXPECTED_EMPTY.get((query.board, query.panel)):
        return why
    return "read from what is recorded every minute" if ":increase" in query.expr or ":by_hour" in query.expr else None


def fill(expr: str, values: Mapping[str, str] | None = None) -> str:
    """Puts values in place of `$name`, `${name}` and `${name:format}`."""
    known = {**VARIABLES, **(values or {})}
    return re.sub(
        r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))",
        lambda match: known.get(match[1] or match[2], match[0]),
        expr,
    )


def panels(board: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """A board's panels, its row headings left out."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel.get("panels", ())
        else:
            yield panel


def boards(directory: Path | None = None) -> Iterator[dict[str, Any]]:
    """The boards as they are committed."""
    directory = directory or Path(__file__).resolve().parent.parent / "dashboards"
    for path in sorted(directory.glob("*.json")):
        yield json.loads(path.read_text("utf-8"))


def _targets(kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    for board in boards():
        for panel in panels(board):
            for target in panel["targets"]:
                if target["datasource"]["type"] == kind:
                    yield board, panel, target


def queries(values: Mapping[str, str] | None = None) -> list[Query]:
    """Every PromQL of every panel."""
    return [
        Query(
            board["uid"],
            panel["title"],
            panel["id"],
            target["refId"],
            fill(target["expr"], values),
            bool(target.get("instant")),
            panel.get("interval"),
        )
        for board, panel, target in _targets("prometheus")
    ]


def trace_queries(values: Mapping[str, str] | None = None) -> list[Query]:
    """Every TraceQL of every panel; `instant` is false for a TraceQL metrics query's range."""
    return [
        Query(board["uid"], panel["title"], panel["id"], target["refId"], fill(target["query"], values), False, None)
        for board, panel, target in _targets("tempo")
    ]
