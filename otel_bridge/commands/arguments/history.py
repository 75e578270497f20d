"""import and export."""

from __future__ import annotations

import argparse

from otel_bridge.commands.arguments.values import Commands, lazy, of_a_journal, positive, whole


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    _add_import(commands, common)
    _add_export(commands, common)


def _add_import(commands: Commands, common: argparse.ArgumentParser) -> None:
    taken = commands.add_parser(
        "import",
        parents=[common],
        help="manda a un puente en marcha la historia de un archivo JSONL",
        description="Manda sesiones, eventos y valoraciones de un archivo, una por línea, a un puente en marcha, como "
        "historia: quedan en trazas, ventanas y contabilidad, y no mueven la latencia, los tokens ni el coste de hoy. "
        "Se puede interrumpir y repetir: sigue donde estaba, y lo ya tomado no cuenta dos veces. Código de salida: 0 "
        "si se tomó todo, 1 si algo se rechazó o el puente no responde, 2 si no se pudo empezar.",
        epilog="ejemplos:\n"
        "  otel-bridge import historia.jsonl                           al puente de la configuración\n"
        "  otel-bridge import historia.jsonl.gz --report rechazos.jsonl\n"
        "  GPT_API_KEY=otb_… otel-bridge import - --url https://gpt.example.com < historia.jsonl\n\n"
        "El formato y los límites: docs/historia.md",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    taken.add_argument("file", metavar="ARCHIVO", help="JSONL, comprimido con gzip o no; - es la entrada estándar")
    taken.add_argument("--url", metavar="URL", help="el puente, o lo que haya delante (por defecto: el configurado)")
    taken.add_argument("--key", metavar="CLAVE", help="la clave de API del GPT; mejor en el entorno: GPT_API_KEY")
    taken.add_argument("--report", metavar="ARCHIVO", help="escribe aquí cada línea rechazada y por qué (JSONL)")
    taken.add_argument(
        "--progress",
        metavar="ARCHIVO",
        help="dónde se anota hasta dónde se ha llegado (por defecto: ARCHIVO.progreso; con -, en ninguna parte)",
    )
    taken.add_argument(
        "--restart", action="store_true", help="empieza por la primera línea, diga lo que diga lo anotado"
    )
    taken.add_argument(
        "--batch", type=whole(1, 10_000), default=1_000, metavar="N", help="eventos por petición (por defecto: 1000)"
    )
    taken.add_argument(
        "--connections", type=whole(1, 64), default=8, metavar="N", help="sesiones a la vez (por defecto: 8)"
    )
    taken.add_argument(
        "--patience",
        type=positive,
        default=300.0,
        metavar="SEGUNDOS",
        help="cuánto se insiste con una petición a la que el puente dice «ahora no», o nada (por defecto: 300)",
    )
    taken.set_defaults(run=lazy("importing:run"))


def _add_export(commands: Commands, common: argparse.ArgumentParser) -> None:
    given = commands.add_parser(
        "export",
        parents=[of_a_journal(common)],
        help="escribe en un archivo lo que el diario aún tiene",
        description="Escribe las sesiones, los eventos y las valoraciones que el diario aún tiene, como están en él: "
        "censurados, y con el hash del usuario. El puente puede estar en marcha. El archivo recibe su nombre cuando "
        "está entero. Código de salida: 0, o 1 si algo no se pudo leer o escribir.",
        epilog="ejemplos:\n"
        "  otel-bridge export --since 7d > semana.jsonl                `otel-bridge import` lo lee\n"
        "  otel-bridge export --since 2026-01-01 --until 2026-02-01 --format csv --output enero.csv\n"
        "  otel-bridge export --since 24h --gpt devops-expert --format parquet --output ayer.parquet",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given.add_argument(
        "--since", required=True, metavar="CUÁNDO", help="desde cuándo: 7d, 24h, 2026-01-15 o 2026-01-15T20:00:00Z"
    )
    given.add_argument("--until", metavar="CUÁNDO", help="hasta antes de cuándo (por defecto: todo)")
    given.add_argument("--gpt", metavar="ID", help="solo lo de este GPT")
    given.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="(por defecto: jsonl)")
    given.add_argument("--output", metavar="ARCHIVO", help="dónde (por defecto: la salida estándar)")
    given.add_argument("--replace", action="store_true", help="reemplaza un archivo que ya exista")
    given.set_defaults(run=lazy("exporting:run"))
