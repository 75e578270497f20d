"""ready and metrics: what a running bridge says of itself."""

from __future__ import annotations

import argparse

from otel_bridge.commands.arguments.values import Commands, lazy


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    ready = commands.add_parser(
        "ready",
        parents=[common],
        help="pregunta al puente en marcha si está listo (/readyz)",
        description="Muestra lo que /readyz dice. Código de salida: 0 si está listo; 1 si no lo está o no responde.",
        epilog="ejemplos:\n"
        "  otel-bridge ready\n"
        "  docker compose exec otel-bridge-2 otel-bridge ready            en el contenedor de otra réplica\n"
        "  otel-bridge ready --url http://10.0.0.2:8000                   en otra máquina",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    ready.add_argument("--url", metavar="URL", help="el puente (por defecto: el de la configuración, en esta máquina)")
    ready.add_argument("--json", action="store_true", help="para que lo lea un programa")
    ready.set_defaults(run=lazy("asking:ready"))
    metrics = commands.add_parser(
        "metrics",
        parents=[common],
        help="muestra /metrics del puente en marcha, o las líneas que se buscan",
        description="Muestra las series de /metrics cuya línea contiene REGEX. Código de salida: 0 si hay alguna; 1 si "
        "no la hay o nadie responde.",
        epilog="ejemplos:\n"
        "  otel-bridge metrics otel_bridge_ledger_gap\n"
        "  otel-bridge metrics 'records_total.*rejected'\n"
        "  otel-bridge metrics --url http://tempo:3200 tempo_discarded    de otro programa que las muestra",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    metrics.add_argument("regex", metavar="REGEX", nargs="?", default="", help="expresión regular (por defecto: todas)")
    metrics.add_argument("--url", metavar="URL", help="dónde (por defecto: el puente de la configuración)")
    metrics.set_defaults(run=lazy("asking:metrics"))
