"""init, serve, check, openapi, keys: a bridge, and what it is configured by."""

from __future__ import annotations

import argparse

from otel_bridge import config
from otel_bridge.commands.arguments.values import Commands, lazy, of_a_journal, whole


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    init = commands.add_parser(
        "init",
        help="escribe la configuración que viene con otel-bridge, para editarla",
        description="Escribe una configuración comentada con un GPT registrado. Nunca toca un archivo que ya existe.",
        epilog="ejemplos:\n  otel-bridge init                                escribe ./otel-bridge.toml\n"
        "  otel-bridge init --gpt mi-gpt --name 'Mi GPT'    con tu GPT registrado\n"
        "  otel-bridge init /etc/otel-bridge.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument(
        "file",
        metavar="ARCHIVO",
        nargs="?",
        default=config.DEFAULT_FILE,
        help=f"dónde (por defecto: {config.DEFAULT_FILE})",
    )
    init.add_argument("--gpt", metavar="ID", help="registra este GPT, en lugar de devops-expert")
    init.add_argument("--name", metavar="NOMBRE", help="nombre del GPT en los tableros (por defecto: su id)")
    init.set_defaults(run=lazy("init:run"))

    serve = commands.add_parser(
        "serve",
        parents=[common],
        help="pone el puente en marcha",
        epilog="ejemplos:\n"
        "  otel-bridge serve --port 8080\n"
        "  otel-bridge serve --workers 4 --journal postgresql://otel_bridge@db1/otel_bridge\n"
        "                           cuatro procesos detrás de un puerto, /metrics en 9464, 9465, 9466 y 9467",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument(
        "--host", metavar="DIRECCIÓN", help="dirección en la que escucha la API (por defecto: 127.0.0.1)"
    )
    serve.add_argument("--port", metavar="PUERTO", help="puerto en el que escucha la API (por defecto: 8000)")
    serve.add_argument(
        "--tls-cert", metavar="ARCHIVO", help="certificado (PEM) de la API, con su cadena: HTTPS en su puerto"
    )
    serve.add_argument("--tls-key", metavar="ARCHIVO", help="clave (PEM) del certificado, si está en otro archivo")
    serve.add_argument(
        "--metrics-host", metavar="DIRECCIÓN", help="dirección en la que escucha /metrics (por defecto: 127.0.0.1)"
    )
    serve.add_argument("--metrics-port", metavar="PUERTO", help="puerto en el que escucha /metrics (por defecto: 9464)")
    serve.add_argument(
        "--journal",
        metavar="URL",
        help=(
            "dónde se guardan los registros: sqlite:///… o postgresql://… (por defecto: sqlite:///data/otel-bridge.db)"
        ),
    )
    serve.add_argument(
        "--workers",
        type=whole(1, 1000),
        default=1,
        metavar="N",
        help=(
            "procesos detrás del puerto, cada uno una réplica: solo con un diario postgresql://. Sus /metrics "
            "escuchan en metrics_port y los puertos siguientes (por defecto: 1)"
        ),
    )
    serve.set_defaults(run=lazy("serve:run"))

    check = commands.add_parser(
        "check", parents=[of_a_journal(common)], help="lee la configuración, dice qué está mal, y termina"
    )
    check.set_defaults(run=lazy("check:run"))

    schema = commands.add_parser("openapi", parents=[common], help="muestra el documento OpenAPI")
    schema.add_argument("--gpt", metavar="ID", help="el que importa como acciones quien construye este GPT")
    schema.set_defaults(run=lazy("openapi:run"))

    key = commands.add_parser("keys", help="claves de API de un GPT")
    of_keys = key.add_subparsers(dest="keys_command", required=True, metavar="orden")
    new = of_keys.add_parser(
        "new", parents=[common], help="crea una clave, la muestra una vez, y da la línea que la permite"
    )
    new.add_argument("gpt", metavar="GPT", help="el GPT para el que es")
    new.add_argument("--write", action="store_true", help="añade también su hash al archivo de configuración")
    new.set_defaults(run=lazy("keys:new"))
