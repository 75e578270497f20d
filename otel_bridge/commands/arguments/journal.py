"""The journal: looked into, sent again, migrated, copied, backed up."""

from __future__ import annotations

import argparse

from otel_bridge.commands.arguments.values import LAST_SEQ, Commands, lazy, of_a_journal, seconds, whole


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    journal = commands.add_parser("journal", help="mira dentro del diario, lo copia y lo restaura")
    inside = journal.add_subparsers(dest="journal_command", required=True, metavar="orden")
    place = of_a_journal(common)
    status = inside.add_parser("status", parents=[place], help="qué está pendiente, exportado, apartado")
    status.add_argument("--json", action="store_true", help="para que lo lea un programa")
    status.add_argument("--space", action="store_true", help="también qué ocupa sus bytes: lee el diario entero")
    status.set_defaults(run=lazy("journal:status"))
    parked = inside.add_parser("parked", parents=[place], help="registros que el destino rechazó, y qué dijo")
    parked.add_argument(
        "--limit", type=whole(1, 1_000_000), default=50, metavar="N", help="muestra N como mucho (por defecto: 50)"
    )
    parked.add_argument("--json", action="store_true", help="para que lo lea un programa, una línea por registro")
    parked.set_defaults(run=lazy("journal:parked"))
    replay = inside.add_parser(
        "replay", parents=[place], help="envía otra vez los registros apartados, tras arreglar la causa"
    )
    replay.add_argument("seq", nargs="*", type=whole(1, LAST_SEQ), help="números de `parked` (por defecto: todos)")
    replay.add_argument(
        "--wait",
        type=seconds,
        default=10.0,
        metavar="SEGUNDOS",
        help="cuánto esperar a ver qué pasa con ellos; 0: nada (por defecto: 10)",
    )
    replay.set_defaults(run=lazy("journal:replay"))
    _add_migrate(inside, place)
    _add_copy(inside, common)
    _add_backup(inside, place)


def _add_migrate(inside: Commands, place: argparse.ArgumentParser) -> None:
    migrate = inside.add_parser(
        "migrate",
        parents=[place],
        help="crea o actualiza las tablas de un diario postgresql://",
        description=(
            "Crea las tablas de un diario en PostgreSQL, o las pone al día con esta versión: con un rol que pueda "
            "crear tablas, antes de servir la versión nueva. Solo hacia delante. La versión anterior puede seguir "
            "sirviendo mientras tanto. Si se repite, no encuentra nada que hacer; si dos la ejecutan a la vez, una "
            "espera a la otra."
        ),
        epilog="ejemplos:\n"
        "  otel-bridge journal migrate --journal postgresql://owner@db1/otel_bridge\n"
        "  otel-bridge journal migrate --grant otel_bridge_serve     y permite servir a este rol",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument(
        "--grant", metavar="ROL", help="da a este rol lo que necesita para servir, sin permiso para cambiar tablas"
    )
    migrate.set_defaults(run=lazy("migrate:run"))


def _add_copy(inside: Commands, common: argparse.ArgumentParser) -> None:
    copy = inside.add_parser(
        "copy",
        parents=[common],
        help="copia un diario de un archivo a PostgreSQL, o al revés, con el puente parado",
        description=(
            "Copia un diario entero a donde no hay ninguno: registros, sesiones, lo que reconoce los reintentos, lo "
            "apartado, hasta dónde se entregó, y los contadores, que siguen como estaban. El puente debe estar "
            "parado. Todo o nada; el origen queda como está."
        ),
        epilog="ejemplos:\n"
        "  otel-bridge journal migrate --journal postgresql://owner@db1/otel_bridge\n"
        "  otel-bridge journal copy sqlite:///data/otel-bridge.db postgresql://owner@db1/otel_bridge\n"
        "  otel-bridge journal copy postgresql://owner@db1/otel_bridge sqlite:///data/vuelta.db",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    copy.add_argument("source", metavar="ORIGEN", help="la URL del diario")
    copy.add_argument("target", metavar="DESTINO", help="a dónde va; una base tiene ya sus tablas")
    copy.add_argument("--json", action="store_true", help="para que lo lea un programa")
    copy.set_defaults(run=lazy("copy:run"))


def _add_backup(inside: Commands, place: argparse.ArgumentParser) -> None:
    backup = inside.add_parser(
        "backup",
        parents=[place],
        help="escribe el diario en un solo archivo, con un puente en marcha o sin él",
        description=(
            "Escribe el diario tal como está en un solo archivo, con la clave del hash de usuarios, y lo comprueba. "
            "Puede haber un puente en marcha: ninguna respuesta espera. El archivo solo recibe su nombre cuando "
            "está entero. Guárdalo tan en secreto como el diario."
        ),
        epilog="ejemplos:\n"
        "  otel-bridge journal backup /var/backups/otel-bridge/         un archivo con la hora en su nombre\n"
        "  otel-bridge journal backup ayer.db --replace\n"
        "  otel-bridge journal status --journal sqlite:///ayer.db       qué hay en una copia",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    backup.add_argument(
        "file", metavar="ARCHIVO", help="dónde; con una carpeta, un archivo en ella que se llama según la hora"
    )
    backup.add_argument("--replace", action="store_true", help="reemplaza un archivo de ese nombre")
    backup.add_argument("--json", action="store_true", help="para que lo lea un programa")
    backup.set_defaults(run=lazy("backup:run"))
    restore = inside.add_parser(
        "restore",
        parents=[place],
        help="pone una copia en el lugar del diario, con el puente parado",
        description=(
            "Comprueba una copia y la pone en el lugar del diario, con su clave del hash de usuarios. No se borra "
            "nada de lo que hay. El puente debe estar parado."
        ),
        epilog="ejemplos:\n"
        "  otel-bridge journal restore ayer.db                          donde no hay diario\n"
        "  otel-bridge journal restore ayer.db --replace                aparta el que hay\n"
        "  otel-bridge journal restore ayer.db --key-only               solo la clave del hash de usuarios",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    restore.add_argument("file", metavar="ARCHIVO", help="lo que hizo `journal backup`")
    restore.add_argument("--replace", action="store_true", help="aparta el diario que hay, y dice dónde queda")
    restore.add_argument("--key-only", action="store_true", help="restaura la clave del hash de usuarios, y nada más")
    restore.add_argument("--json", action="store_true", help="para que lo lea un programa")
    restore.set_defaults(run=lazy("backup:restore"))
