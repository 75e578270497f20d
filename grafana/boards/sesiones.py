"""gpt-sesiones, «Muéstrame la conversación lenta»: traces by TraceQL, one user's use, how sessions go."""

from __future__ import annotations

from dataclasses import replace

from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

from grafana.boards import colours, shared, traceql, variables
from grafana.boards.layout import Row, board
from grafana.boards.panels import (
    COUNT,
    Look,
    buckets_over_time,
    column,
    grid,
    heat,
    instant,
    lines,
    paint,
    query,
    quiet_mapping,
    stat_panel,
    trace_metrics,
    traces,
    transform,
)
from grafana.boards.promql import BAR, OF_GPT, buckets, counted, mean
from otel_bridge import catalog

UID = "gpt-sesiones"
NO_TRACES = "Ninguna traza con estos filtros en el intervalo (las más recientes tardan hasta 30 s en aparecer)"


def _answer() -> list[tuple[int, Panel]]:
    idle = Look(
        unit="dthms",
        no_value="Sin datos aún",
        mappings=[quiet_mapping("Sin datos aún")],
    )
    return [
        (12, shared.active_sessions()),
        (12, shared.active_users()),
        (
            8,
            stat_panel(
                "Sesiones nuevas",
                "Sesiones creadas en el intervalo elegido, de todos los usuarios. Las que empezaron antes y siguen "
                "activas no están entre ellas.",
                [instant(counted(catalog.SESSIONS.name, OF_GPT))],
                Look(unit=COUNT),
            ),
        ),
        (
            8,
            stat_panel(
                "Duración media",
                "Del inicio de una sesión a su última actividad, de media. Se mide cuando la sesión lleva "
                "30 minutos callada; hasta entonces no cuenta aquí. De todos los usuarios.",
                [instant(mean(catalog.SESSION_DURATION, OF_GPT))],
                idle,
            ),
        ),
        (
            8,
            stat_panel(
                "Eventos por sesión",
                "Eventos de una sesión, de media. Se mide cuando la sesión lleva 30 minutos callada; hasta "
                "entonces no cuenta aquí. De todos los usuarios.",
                [instant(mean(catalog.SESSION_EVENTS, OF_GPT))],
                replace(idle, unit=COUNT, decimals=1),
            ),
        ),
    ]


def _traces() -> list[tuple[int, Panel]]:
    sessions = traceql.newest(
        traceql.select(traceql.spans(traceql.IS_SESSION, traceql.OF_GPT, traceql.OF_USER), catalog.USER_HASH)
    )
    slow = traceql.newest(
        traceql.select(
            traceql.spans(traceql.IS_EVENT, traceql.OF_GPT, traceql.OF_TYPE, traceql.OF_USER, "duration > $umbral"),
            catalog.EVENT_TYPE,
            catalog.GEN_AI_AGENT_ID,
            catalog.USER_HASH,
            catalog.GEN_AI_USAGE_INPUT_TOKENS,
            catalog.GEN_AI_USAGE_OUTPUT_TOKENS,
        )
    )
    return [
        (
            24,
            grid(
                "Sesiones recientes",
                "Las sesiones más recientes del intervalo, con lo que duran hasta ahora. Al pulsar una "
                "traza se abre la conversación entera. Una de más de 1200 eventos, o muy larga, tiene una fila por "
                "cada una de sus trazas: su raíz enlaza con la primera, y todas llevan el mismo session.id.",
                [traces(sessions)],
                Look(
                    unit=COUNT,
                    no_value=NO_TRACES,
                    transformations=[transform("organize", excludeByName={"Name": True})],
                    overrides=[
                        column("Trace ID", displayName="Traza", unit="string", custom__minWidth=270),
                        column("Start time", displayName="Inicio", unit="time:DD/MM HH:mm:ss", custom__width=130),
                        column("Service", displayName="GPT", custom__minWidth=190, custom__wrapText=True),
                        column("Duration", displayName="Duración", unit="ms", decimals=1, custom__width=110),
                    ],
                ),
                sort_by=("Inicio", True),
            ),
        ),
        (
            24,
            grid(
                "Respuestas más lentas que $umbral",
                "Eventos que tardaron más que el umbral elegido arriba, con sus tokens y el hash de su "
                "usuario. Al pulsar uno se abre su traza.",
                [traces(slow, spans=True)],
                Look(
                    unit=COUNT,
                    no_value="Ninguna respuesta supera el umbral con estos filtros",
                    transformations=[
                        transform(
                            "organize",
                            excludeByName={
                                "Trace Service": True,
                                "Trace Name": True,
                                "Name": True,
                                "kind": True,
                                "service.name": True,
                            },
                            indexByName={
                                name: index
                                for index, name in enumerate(
                                    (
                                        "Start time",
                                        "Duration",
                                        catalog.EVENT_TYPE,
                                        catalog.GEN_AI_AGENT_ID,
                                        catalog.USER_HASH,
                                        catalog.GEN_AI_USAGE_INPUT_TOKENS,
                                        catalog.GEN_AI_USAGE_OUTPUT_TOKENS,
                                        "Span ID",
                                    )
                                )
                            },
                        )
                    ],
                    overrides=[
                        column("Start time", displayName="Inicio", unit="time:DD/MM HH:mm:ss", custom__width=130),
                        column("Duration", displayName="Duración", unit="ns", decimals=1, custom__width=100),
                        column(catalog.EVENT_TYPE, displayName="Tipo", unit="string", custom__minWidth=120),
                        column(
                            catalog.GEN_AI_AGENT_ID,
                            displayName="GPT",
                            unit="string",
                            custom__width=200,
                            custom__wrapText=True,
                        ),
                        column(catalog.USER_HASH, displayName="Usuario", unit="string", custom__minWidth=150),
                        column(catalog.GEN_AI_USAGE_INPUT_TOKENS, displayName="Entrada", custom__width=85),
                        column(catalog.GEN_AI_USAGE_OUTPUT_TOKENS, displayName="Salida", custom__width=85),
                        column("Span ID", displayName="Evento", unit="string", custom__minWidth=150),
                    ],
                ),
                sort_by=("Duración", True),
            ),
        ),
    ]


def _users() -> list[tuple[int, Panel]]:
    events = traceql.spans(traceql.IS_EVENT, traceql.OF_GPT, traceql.OF_TYPE, traceql.OF_USER)
    by_user = f"by (span.{catalog.USER_HASH})"
    tokens = f"sum_over_time(span.{catalog.GEN_AI_USAGE_OUTPUT_TOKENS})"
    return [
        (
            12,
            lines(
                "Ritmo de cada usuario",
                "Eventos por segundo de los cinco usuarios más activos de cada momento, según las trazas. Escribe un "
                "hash arriba para ver solo uno.",
                [trace_metrics(f"{events} | rate() {by_user} | topk(5)")],
                Look(unit="suffix: /s", no_value=NO_TRACES),
                bars=True,
                stacked=True,
            ),
        ),
        (
            12,
            lines(
                "Tokens de salida de cada usuario",
                "Tokens de salida por barra de los cinco usuarios que más reciben en cada momento, según las trazas.",
                [trace_metrics(f"{events} | {tokens} {by_user} | topk(5)")],
                Look(unit=COUNT, no_value=NO_TRACES),
                bars=True,
                stacked=True,
            ),
        ),
    ]


def _length() -> list[tuple[int, Panel]]:
    def of(metric: catalog.Metric) -> str:
        return buckets(metric, OF_GPT, empty="Ninguna aún")

    idle = "Ninguna sesión terminada en el intervalo: una sesión se mide cuando lleva 30 minutos callada"
    return [
        (
            12,
            heat(
                "Cuánto duran las sesiones",
                "Sesiones según lo que duraron, del inicio a la última actividad. Se miden cuando llevan 30 "
                "minutos calladas.",
                [buckets_over_time(of(catalog.SESSION_DURATION))],
                Look(unit="s", no_value=idle, interval="5m", max_points=72),
            ),
        ),
        (
            12,
            heat(
                "Cuántos eventos tienen las sesiones",
                "Sesiones según cuántos eventos tuvieron. Se miden cuando llevan 30 minutos calladas.",
                [buckets_over_time(of(catalog.SESSION_EVENTS))],
                Look(unit=COUNT, no_value=idle, interval="5m", max_points=72),
            ),
        ),
    ]


def _trend() -> list[tuple[int, Panel]]:
    new = counted(catalog.SESSIONS.name, OF_GPT, window=BAR)
    return [
        (
            12,
            shared.windows_over_time(
                "Sesiones activas por ventana",
                "Sesiones con actividad en los últimos 30 minutos, 24 horas, 7 días y 30 días, a lo largo "
                "del intervalo. Escala logarítmica.",
                catalog.ACTIVE_SESSIONS,
            ),
        ),
        (
            12,
            shared.windows_over_time(
                "Usuarios activos por ventana",
                "Usuarios distintos con actividad en los últimos 30 minutos, 24 horas, 7 días y 30 días, a "
                "lo largo del intervalo. Escala logarítmica.",
                catalog.ACTIVE_USERS,
            ),
        ),
        (
            12,
            lines(
                "Sesiones nuevas en el tiempo",
                "Sesiones creadas en cada barra.",
                [query(new, "Sesiones nuevas")],
                Look(
                    unit=COUNT,
                    interval="1m",
                    max_points=360,
                    overrides=paint({"Sesiones nuevas": colours.SESSIONS}),
                ),
                bars=True,
            ),
        ),
        (12, shared.hour_by_weekday()),
    ]


def build() -> Dashboard:
    return board(
        UID,
        variables=variables.carried(variables.user(), variables.threshold()),
        since="6h",
        refresh="30s",
        of_gpt=OF_GPT,
        rows=[
            Row(100, "Todos los usuarios: ahora", 4, _answer()),
            Row(200, "El usuario elegido arriba (sin elegir, todos): conversaciones", 9, _traces()),
            Row(300, "El usuario elegido arriba (sin elegir, los cinco más activos): uso", 9, _users()),
            Row(500, "Todos los usuarios: cómo son las sesiones", 9, _length()),
            Row(600, "Todos los usuarios: evolución y cuándo se usa", 9, _trend()),
        ],
    )
