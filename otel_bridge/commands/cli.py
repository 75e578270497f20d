"""The command line, `otel-bridge`: its commands put together, run, and what they say where they fail."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from otel_bridge import __version__, config, logs
from otel_bridge.commands import spanish
from otel_bridge.commands.arguments import (
    asking,
    examples,
    history,
    installed,
    journal,
    objectives,
    people,
    serving,
    trying,
)
from otel_bridge.errors import OperatorError
from otel_bridge.orders import Worker

log = logging.getLogger(__name__)

EXAMPLES = """\
ejemplos:
  otel-bridge init --gpt mi-gpt --name 'Mi GPT'      escribe ./otel-bridge.toml, con comentarios y tu GPT
  otel-bridge serve                                  sirve ./otel-bridge.toml en 127.0.0.1:8000
  otel-bridge serve --port 8080 --journal sqlite:////var/lib/otel-bridge/journal.db
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otel-bridge serve
  otel-bridge check                                  lee la configuración, dice qué está mal, y termina
  otel-bridge journal status                         qué está pendiente, exportado, apartado
  otel-bridge journal backup /var/backups/           una copia en un archivo, con el puente en marcha
  otel-bridge journal migrate --journal postgresql://owner@db1/otel_bridge
                                                     tablas para un diario que comparten varios puentes
  otel-bridge demo --speed 240 --incident            tráfico documentado, un día en seis minutos, con respuestas lentas
  otel-bridge doctor --prometheus http://localhost:9090
                                                     una sesión sintética, y la prueba de ella en cada estación
"""


def build_parser() -> argparse.ArgumentParser:
    """Every command and option. A command names its body as `module:function` (`values.lazy`)."""
    spanish.speak()
    parser: argparse.ArgumentParser = _Parser(
        prog="otel-bridge",
        description=(
            "El JSON documentado de sesiones y eventos de tus GPT entra; salen trazas, métricas de Prometheus y "
            "alertas."
        ),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--version", action="version", version=f"otel-bridge {__version__}", help="muestra la versión y termina"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="orden")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="ARCHIVO", help=f"configuración (por defecto: {config.DEFAULT_FILE})")
    serving.add(commands, common)
    journal.add(commands, common)
    trying.add(commands, common)
    asking.add(commands, common)
    objectives.add(commands, common)
    people.add(commands, common)
    history.add(commands, common)
    installed.add(commands)
    examples.add(parser)
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if logs.in_json():
            _complain(self.prog, f"{self.prog}: {message}")
            sys.exit(2)
        super().error(message)


def main(argv: Sequence[str] | None = None, worker: Worker | None = None) -> int:
    """Runs one command; returns the exit code (2: what was asked for cannot be done as configured). `worker`: as one
    of several that serve."""
    _stand_in_for_closed_output()
    try:
        return _run(argv, worker)
    finally:
        _let_go_of_output()


def _run(argv: Sequence[str] | None, worker: Worker | None) -> int:
    program = "otel-bridge"
    try:
        try:
            arguments = build_parser().parse_args(argv, argparse.Namespace(worker=worker))
        except SystemExit:  # the help was asked for, or what was asked for is no command
            sys.stdout.flush()
            raise
        program += f" {arguments.command}"
        code = int(arguments.run(arguments) or 0)
        sys.stdout.flush()  # here, where there is an answer to a pipe that is closed and a disk that is full
        return code
    except OperatorError as refusal:
        for line in refusal.lines():
            _complain("otel-bridge", line)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except OSError as error:  # what no command has expected of the system: rights, names, a disk
        place = f"{error.filename}: " if error.filename is not None else ""
        _complain(program, f"{place}{error.strerror or type(error).__name__}")
        return 2


def _complain(program: str, line: str) -> None:
    """Says why a command cannot go on: among JSON logs as one of them."""
    if logs.in_json():
        log.error("%s", line)
    else:
        print(f"{program}: {line}", file=sys.stderr)


def begin_log(argv: Sequence[str], worker: Worker | None = None) -> None:
    """Sets up the log of a process that serves, before its arguments and its configuration are read: what is wrong with
    them is told in the same form. `argv`: of `otel-bridge`."""
    named = None
    for argument, following in zip(argv, [*argv[1:], None], strict=True):
        if argument == "--config":
            named = following
        elif argument.startswith("--config="):
            named = argument.removeprefix("--config=")
    if worker is not None:
        logs.name_worker(worker.number)
    logs.set_up(config.log_format(named, os.environ), "info")
    logs.take_over()


def _stand_in_for_closed_output() -> None:
    """Where stdout or stderr was closed at the start, Python has None for it, and the next file that is opened would
    take its number: what is written there goes nowhere instead, here and in the processes started from here."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.set_inheritable(number, True)  # also where `null` is this number already
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))


def _let_go_of_output() -> None:
    """What could not be written is dropped: the interpreter would try it again at its end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
