"""The variables at the top of a board."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
    VariableType,
)

from grafana.boards.datasources import PROMETHEUS, PROMETHEUS_UID
from grafana.boards.promql import AGENT, OF_GPT, TYPE, selector, suffixed
from otel_bridge import catalog

ALL = VariableOption(selected=True, text=["Todos"], value=["$__all"])
THRESHOLDS = ("500ms", "1s", "2s", "5s", "10s", "30s")


def _label_values(series: str, label: str) -> dict[str, object]:
    query = f"label_values({series}, {label})"
    return {"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"}


def datasource() -> VariableModel:
    return VariableModel(
        type_val=VariableType.DATASOURCE,
        name="datasource",
        label="Fuente",
        description="Prometheus del que leen los paneles.",
        query="prometheus",
        current=VariableOption(selected=True, text="Prometheus", value=PROMETHEUS_UID),
        refresh=VariableRefresh.ON_DASHBOARD_LOAD,
    )


def gpt(hide: VariableHide = VariableHide.DONT_HIDE) -> VariableModel:
    """From the objectives, which come from configuration: a GPT without traffic is listed too."""
    query = _label_values(catalog.LATENCY_OBJECTIVE.name, AGENT)
    return VariableModel(
        type_val=VariableType.QUERY,
        name="gpt",
        label="GPT",
        description="GPT registrados en la configuración, tengan tráfico o no.",
        datasource=PROMETHEUS,
        query=query,
        definition=str(query["query"]),
        current=ALL,
        multi=True,
        include_all=True,
        all_value=".*",
        refresh=VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=VariableSort.ALPHABETICAL_ASC,
        hide=hide,
    )


def event_type(hide: VariableHide = VariableHide.DONT_HIDE) -> VariableModel:
    series = selector(suffixed(catalog.OPERATION_DURATION, "count"), OF_GPT)
    query = _label_values(series, TYPE)
    return VariableModel(
        type_val=VariableType.QUERY,
        name="tipo",
        label="Tipo",
        description="Tipos de evento vistos; filtra los paneles que distinguen por tipo.",
        datasource=PROMETHEUS,
        query=query,
        definition=str(query["query"]),
        current=ALL,
        multi=True,
        include_all=True,
        all_value=".*",
        refresh=VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=VariableSort.ALPHABETICAL_ASC,
        hide=hide,
    )


def user() -> VariableModel:
    return VariableModel(
        type_val=VariableType.TEXTBOX,
        name="usuario",
        label="Usuario (hash)",
        description="Hash del usuario, entero o una parte. Vacío: todos.",
        query="",
        current=VariableOption(selected=True, text="", value=""),
        options=[VariableOption(selected=True, text="", value="")],
    )


def threshold(default: str = "2s") -> VariableModel:
    return VariableModel(
        type_val=VariableType.CUSTOM,
        name="umbral",
        label="Umbral",
        description="Desde qué duración una respuesta cuenta como lenta.",
        query=",".join(THRESHOLDS),
        current=VariableOption(selected=True, text=default, value=default),
        options=[VariableOption(selected=value == default, text=value, value=value) for value in THRESHOLDS],
    )
