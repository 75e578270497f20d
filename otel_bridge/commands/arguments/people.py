"""user hash and user forget."""

from __future__ import annotations

import argparse

from otel_bridge.commands.arguments.values import Commands, lazy, of_a_journal


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    user = commands.add_parser("user", help="el hash de una persona, y borrar del diario lo que es suyo")
    inside = user.add_subparsers(dest="user_command", required=True, metavar="orden")
    place = of_a_journal(common)
    who = "el usuario_id como lo envía el cliente; con - se lee de la entrada estándar y no queda en el historial"
    hash_ = inside.add_parser(
        "hash",
        parents=[place],
        help="el hash que llevan sus spans y sus series",
        description="Imprime el hash con clave de un usuario_id: user.hash en los spans y user_hash en las series. "
        "Es el mismo en todos los GPT.",
        epilog="ejemplos:\n"
        "  otel-bridge user hash -           lee el id de la entrada estándar: no queda en el historial\n"
        "  otel-bridge user hash usuario123",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    hash_.add_argument("user", metavar="USUARIO_ID", help=who)
    hash_.set_defaults(run=lazy("user:hash_of"))
    forget = inside.add_parser(
        "forget",
        parents=[place],
        help="borrar del diario quién es una persona y lo que dijo",
        description="Dice qué hay de una persona en el diario y qué trazas hay que borrar; con --yes, quita su hash y "
        "sus textos de sesiones, eventos, valoraciones y registros apartados. Los totales no cambian. El puente puede "
        "estar en marcha o parado; si se corta a la mitad, se ejecuta otra vez. Lo que no alcanza: docs/privacidad.md.",
        epilog="ejemplos:\n"
        "  otel-bridge user forget -         lee el id de la entrada estándar y dice qué hay; no cambia nada\n"
        "  otel-bridge user forget - --yes   lo borra\n"
        "  otel-bridge user forget --hash 8d2f60c1a94be375 --gpt devops-expert --yes",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    forget.add_argument("user", metavar="USUARIO_ID", nargs="?", help=who)
    forget.add_argument("--hash", metavar="HASH", help="en lugar del id, su hash; con - se lee de la entrada estándar")
    forget.add_argument(
        "--gpt", metavar="ID", action="append", help="solo en este GPT; se puede repetir (por defecto, en todos)"
    )
    forget.add_argument("--yes", action="store_true", help="borrar; sin esto solo se dice qué hay")
    forget.add_argument(
        "--audit",
        metavar="ARCHIVO",
        help="dónde queda la línea de auditoría (por defecto, junto a la clave del hash); con - sale por la salida "
        "estándar",
    )
    forget.add_argument(
        "--json",
        action="store_true",
        help="para un programa: un objeto por línea. El primero dice qué hay, con sus trazas, y sale antes de borrar; "
        "con --yes, el último dice qué se ha borrado",
    )
    forget.set_defaults(run=lazy("user:forget"))
