"""files and completion: what an installed package has beside it."""

from __future__ import annotations

import argparse

from otel_bridge.commands.arguments.values import Commands, lazy


def add(commands: Commands) -> None:
    _add_files(commands)
    _add_completion(commands)


def _add_files(commands: Commands) -> None:
    files = commands.add_parser(
        "files",
        help="escribe tableros, reglas, compose y chart, para usarlos sin el repositorio",
        description="Escribe en una carpeta lo que acompaña al puente: los tableros de Grafana, las reglas de "
        "Prometheus, Alertmanager, docker-compose.yml con lo que necesita, los despliegues y la documentación. Lo que "
        "ya está igual se deja; lo que cambiaste tú se conserva, también al repetirlo con una versión nueva.",
        epilog="ejemplos:\n"
        "  otel-bridge files --to otel-bridge-stack\n"
        "  otel-bridge files --to otel-bridge-stack --force    reemplaza también lo que cambiaste",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    files.add_argument("--to", metavar="DIR", required=True, help="la carpeta; se crea si no existe")
    files.add_argument("--force", action="store_true", help="reemplazar también los archivos que cambiaste")
    files.set_defaults(run=lazy("files:run"))


def _add_completion(commands: Commands) -> None:
    completion = commands.add_parser(
        "completion",
        help="escribe el guion con que el intérprete de órdenes completa con el tabulador",
        description="Escribe en la salida el guion que completa las órdenes y las opciones de otel-bridge.",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="tu intérprete de órdenes")
    completion.set_defaults(run=lazy("completion:run"))
