"""Boards: rows of panels → ids, places on the 24 columns, links, annotations, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import prometheus
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardDashboardTemplating,
    DashboardDashboardTime,
    DashboardLink,
    DashboardLinkType,
    GridPos,
    Panel,
    RowPanel,
    TimePickerConfig,
    VariableModel,
)

from grafana.boards.colours import BAD, WARNING
from grafana.boards.datasources import GRAFANA, PROMETHEUS

COLUMNS = 24
TAG = "otel-bridge"
TITLES = {
    "gpt-resumen": "Resumen",
    "gpt-slo": "Latencia y SLO",
    "gpt-sesiones": "Sesiones y usuarios",
    "otel-bridge-salud": "Salud del puente",
}
QUESTIONS = {
    "gpt-resumen": "¿Cómo van mis GPT?",
    "gpt-slo": "¿Cumplimos, y quién no?",
    "gpt-sesiones": "Muéstrame la conversación lenta.",
    "otel-bridge-salud": "¿Puedo fiarme de lo que veo?",
}


@dataclass(frozen=True)
class Row:
    """A heading and its panels with their widths. Panel ids are `id` + 1, + 2, …: a row that grows moves no other."""

    id: int
    title: str
    height: int
    panels: Sequence[tuple[int, Panel]]


def place(rows: Sequence[Row]) -> list[Panel | RowPanel]:
    """Ids and grid positions, left to right and top to bottom; a row may hold several lines of 24 columns."""
    out: list[Panel | RowPanel] = []
    y = 0
    for row in rows:
        out.append(
            RowPanel(id_val=row.id, title=row.title, collapsed=False, panels=[], grid_pos=GridPos(1, COLUMNS, 0, y))
        )
        y += 1
        x = 0
        for number, (width, panel) in enumerate(row.panels, start=1):
            if x + width > COLUMNS:
                if x != COLUMNS:
                    raise ValueError(f"{row.title}: a line of {x} columns, not {COLUMNS}")
                x, y = 0, y + row.height
            panel.id_val = row.id + number
            panel.grid_pos = GridPos(row.height, width, x, y)
            x += width
            out.append(panel)
        if x != COLUMNS:
            raise ValueError(f"{row.title}: a line of {x} columns, not {COLUMNS}")
        y += row.height
    return out


def board_links(uid: str) -> list[DashboardLink]:
    """To the other boards, with the variables and the time range."""
    return [
        DashboardLink(
            title=TITLES[other],
            type_val=DashboardLinkType.LINK,
            icon="dashboard",
            tooltip=QUESTIONS[other],
            url=f"/d/{other}",
            tags=[],
            include_vars=True,
            keep_time=True,
        )
        for other in TITLES
        if other != uid
    ]


def _alerts(name: str, matchers: str, colour: str) -> AnnotationQuery:
    return AnnotationQuery(
        name=name,
        datasource=PROMETHEUS,
        enable=True,
        icon_color=colour,
        target=prometheus.Dataquery(
            datasource=PROMETHEUS,
            # Not by GPT: twenty regions upon each other would cover the picture.
            expr=f'max by (alertname, severity) (ALERTS{{alertstate="firing", {matchers}}})',
            range_val=True,
            ref_id="Anno",
        ),
        title_format="{{alertname}}",
        text_format="Alerta activa ({{severity}})",
        tag_keys="severity",
        step="60s",
    )


def alert_annotations(of_gpt: str | None) -> AnnotationContainer:
    """Marks where an alert fired. The bridge's own are on every board: they say when not to trust it."""
    queries = [
        AnnotationQuery(
            name="Anotaciones",
            datasource=GRAFANA,
            enable=True,
            hide=True,
            icon_color=WARNING,
            type_val="dashboard",
            built_in=1,
        )
    ]
    if of_gpt:
        queries.append(_alerts("Alertas de los GPT", f'alertname=~"GPT.*", {of_gpt}', BAD))
    queries.append(_alerts("Alertas del puente", 'alertname=~"Bridge.*"', WARNING))
    return AnnotationContainer(list_val=queries)


def board(uid: str, *, rows: Sequence[Row], variables: Sequence[VariableModel], since: str, refresh: str,
          of_gpt: str | None) -> Dashboard:  # fmt: skip
    return Dashboard(
        uid=uid,
        title=TITLES[uid],
        description=QUESTIONS[uid],
        tags=[TAG],
        timezone="utc",
        editable=False,  # provisioned: a change on the screen could not be saved
        graph_tooltip=DashboardCursorSync.CROSSHAIR,
        time=DashboardDashboardTime(from_val=f"now-{since}", to="now"),
        timepicker=TimePickerConfig(refresh_intervals=["5s", "10s", "30s", "1m", "5m", "15m"]),
        refresh=refresh,
        week_start="monday",
        fiscal_year_start_month=0,
        version=1,
        panels=place(rows),
        templating=DashboardDashboardTemplating(list_val=list(variables)),
        annotations=alert_annotations(of_gpt),
        links=board_links(uid),
    )


def render(built: Dashboard) -> str:
    """The board's JSON as it is committed: sorted keys, so that a diff shows what changed and nothing else."""
    document = json.loads(json.dumps(built, cls=JSONEncoder))
    for link in document["links"]:
        # The SDK hides every link in the controls menu; one that is not hidden has no placement.
        del link["placement"]
    return json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
