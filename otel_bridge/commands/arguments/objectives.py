"""slo suggest."""

from __future__ import annotations

import argparse

from otel_bridge.commands.arguments.values import Commands, lazy, of_a_journal, target, weeks


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    slo = commands.add_parser("slo", help="objetivos: lo que dicen de ellos las respuestas que están en el diario")
    inside = slo.add_subparsers(dest="slo_command", required=True, metavar="orden")
    suggest = inside.add_parser(
        "suggest",
        parents=[of_a_journal(common)],
        help="qué objetivo habría cumplido cada GPT, cuánto habría avisado, qué cuesta uno más estricto",
        description="Juzga otra vez las respuestas de las últimas semanas con otros objetivos y dice, de cada uno, qué "
        "parte se habría cumplido, cuánto presupuesto de error habría gastado y cuántas veces habría avisado cada "
        "alerta. Solo lee; el puente puede estar en marcha.",
        epilog="ejemplos:\n"
        "  otel-bridge slo suggest                          todos los GPT, cuatro semanas\n"
        "  otel-bridge slo suggest devops-expert --weeks 2 --target 0.995\n"
        "  otel-bridge slo suggest --toml                   solo las líneas para la tabla de cada GPT",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    suggest.add_argument("gpt", nargs="?", help="solo este GPT (por defecto: todos los registrados)")
    suggest.add_argument(
        "--weeks", type=weeks, default=4.0, metavar="N", help="cuántas semanas hacia atrás (por defecto: 4)"
    )
    suggest.add_argument(
        "--target", type=target, metavar="PARTE",
        help="parte de las respuestas que debe ser buena, como slo_target (por defecto: la de cada GPT)",
    )  # fmt: skip
    suggest.add_argument(
        "--history", action="store_true", help="cuenta también lo que se trajo como historia (`otel-bridge import`)"
    )
    suggest.add_argument("--toml", action="store_true", help="solo el TOML propuesto")
    suggest.set_defaults(run=lazy("slo:run"))
