"""The variables at the top of a board, and links that carry them to another."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import (
    VariableHide,
    VariableModel,
    VariableOption,
    VariableRefresh,
    VariableSort,
    VariableType,
)

from grafana.boards.datasources import PROMETHEUS, PROMETHEUS_UID, TEMPO_UID
from grafana.boards.promql import AGENT, OF_GPT, TYPE, selector, suffixed
from otel_bridge import catalog

ALL = VariableOption(selected=True, text=["Todos"], value=["$__all"])
CARRIED = ("datasource", "gpt", "tipo", "trazas", "job", "instance")
"""On every board, so that a link to another one keeps what was chosen."""

RARE = ("trazas", "job", "instance")
"""Behind the button at the end of the line: with one bridge there is nothing to choose, and the line stays one."""

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


def trace_source() -> VariableModel:
    return VariableModel(
        type_val=VariableType.DATASOURCE,
        name="trazas",
        label="Trazas",
        description="Tempo del que se leen las trazas.",
        query="tempo",
        current=VariableOption(selected=True, text="Tempo", value=TEMPO_UID),
        refresh=VariableRefresh.ON_DASHBOARD_LOAD,
    )


def _of_label(name: str, label: str, description: str, series: str, values_of: str) -> VariableModel:
    """All is `.+`: other software may have series of these names, without the label."""
    query = _label_values(series, values_of)
    return VariableModel(
        type_val=VariableType.QUERY,
        name=name,
        label=label,
        description=description,
        datasource=PROMETHEUS,
        query=query,
        definition=str(query["query"]),
        current=ALL,
        multi=True,
        include_all=True,
        all_value=".+",
        refresh=VariableRefresh.ON_TIME_RANGE_CHANGED,
        sort=VariableSort.ALPHABETICAL_ASC,
    )


def gpt() -> VariableModel:
    """From the objectives, which come from configuration: a GPT without traffic is listed too."""
    description = "GPT registrados en la configuración, tengan tráfico o no."
    return _of_label("gpt", "GPT", description, selector(catalog.LATENCY_OBJECTIVE.name), AGENT)


def event_type() -> VariableModel:
    series = selector(suffixed(catalog.OPERATION_DURATION, "count"), OF_GPT)
    description = "Tipos de evento vistos; filtra los paneles que distinguen por tipo."
    return _of_label("tipo", "Tipo", description, series, TYPE)


def job() -> VariableModel:
    description = "Cómo llama Prometheus al puente («job_name» de su configuración)."
    return _of_label("job", "Job", description, catalog.BUILD_INFO.name, "job")


def instance() -> VariableModel:
    series = f'{catalog.BUILD_INFO.name}{{job=~"$job"}}'
    description = "Proceso del puente, por su dirección. Lo que comparten varias réplicas se ve siempre entero."
    return _of_label("instance", "Instance", description, series, "instance")


def carried(*own: VariableModel, hidden: tuple[str, ...] = ()) -> list[VariableModel]:
    """A board's variables: those of every board, its own after the first three. Hidden ones only ride along."""
    sources = [datasource(), gpt(), event_type()]
    variables = [*sources, *own, trace_source(), job(), instance()]
    for variable in variables:
        if variable.name in hidden:
            variable.hide = VariableHide.HIDE_VARIABLE
        elif variable.name in RARE:
            variable.hide = VariableHide.IN_CONTROLS_MENU
    return variables


def link(uid: str, **chosen: str) -> str:
    """The address of another board, with what is chosen here or in its place `chosen`, and the time range.

    Never in a panel with a time range of its own: `${__url_time_range}` is empty there.
    """
    values = {name: f"${{{name}:queryparam}}" for name in CARRIED}
    values |= {name: f"var-{name}={value}" for name, value in chosen.items()}
    return f"/d/{uid}?{'&'.join(values.values())}&${{__url_time_range}}"


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
