"""demo and doctor: traffic, and proof of a sample at every station."""

from __future__ import annotations

import argparse

from otel_bridge.commands import client
from otel_bridge.commands.arguments.values import Commands, hour, lazy, positive, whole


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    _add_demo(commands, common)
    _add_doctor(commands, common)


def _add_demo(commands: Commands, common: argparse.ArgumentParser) -> None:
    demo = commands.add_parser("demo", parents=[common], help="envía el tráfico documentado a un puente en marcha")
    client.add_options(demo)
    demo.add_argument(
        "--rate",
        type=positive,
        default=4.0,
        metavar="N",
        help="eventos por segundo en la hora más activa (por defecto: 4)",
    )
    demo.add_argument(
        "--speed",
        type=positive,
        default=1.0,
        metavar="N",
        help="cuántas veces más deprisa pasa el día (por defecto: 1)",
    )
    demo.add_argument(
        "--hour", type=hour, metavar="HORA", help="hora a la que empieza el día (por defecto: la de ahora, UTC)"
    )
    demo.add_argument(
        "--users", type=whole(1, 1_000_000), default=12, metavar="N", help="usuarios distintos (por defecto: 12)"
    )
    demo.add_argument("--seed", type=int, metavar="N", help="otra vez el mismo tráfico")
    demo.add_argument(
        "--duration", type=positive, metavar="SEGUNDOS", help="para después de este tiempo (por defecto: hasta Ctrl-C)"
    )
    demo.add_argument(
        "--incident",
        type=positive,
        nargs="?",
        const=60.0,
        metavar="SEGUNDOS",
        help="respuestas lentas desde entonces (por defecto, si solo se nombra: tras 60)",
    )
    demo.add_argument(
        "--incident-for", type=positive, default=300.0, metavar="SEGUNDOS", help="cuánto duran (por defecto: 300)"
    )
    demo.add_argument("--quiet", action="store_true", help="sin progreso, solo lo que ocurre")
    demo.set_defaults(run=lazy("demo:run"))


def _add_doctor(commands: Commands, common: argparse.ArgumentParser) -> None:
    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="una sesión sintética, y la prueba de ella en cada estación",
        description=(
            "Envía una sesión sintética (su usuario es otel-bridge-doctor) y la busca en /metrics, Prometheus, el "
            "almacén de trazas y Grafana. Código de salida: 0 si cada estación configurada dice que sí; si no, 1."
        ),
    )
    client.add_options(doctor)
    doctor.add_argument(
        "--journal", metavar="URL", help="el diario, si lo guarda un servidor (por defecto: el configurado)"
    )
    metrics_help = (
        "el /metrics del puente (por defecto: el de la configuración); con réplicas, un --metrics-url por cada una"
    )
    doctor.add_argument("--metrics-url", metavar="URL", action="append", help=metrics_help)
    doctor.add_argument("--prometheus", metavar="URL", help="por defecto: PROMETHEUS_URL del entorno")
    doctor.add_argument("--tempo", metavar="URL", help="por defecto: TEMPO_URL del entorno")
    doctor.add_argument(
        "--grafana", metavar="URL", help="por defecto: GRAFANA_URL; su acceso: GRAFANA_USER y GRAFANA_PASSWORD"
    )
    doctor.add_argument(
        "--wait", type=positive, default=30.0, metavar="SEGUNDOS", help="para cada estación (por defecto: 30)"
    )
    doctor.add_argument("--json", action="store_true", help="para que lo lea un programa")
    doctor.set_defaults(run=lazy("doctor:run"))
