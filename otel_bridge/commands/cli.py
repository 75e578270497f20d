"""The command line: `otel-bridge init | serve | check | keys | demo | doctor | openapi | journal`."""

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from otel_bridge import __version__, config, logs
from otel_bridge.commands import client, examples
from otel_bridge.errors import OperatorError
from otel_bridge.orders import Worker

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

log = logging.getLogger(__name__)

EXAMPLES = """\
examples:
  otel-bridge init                                   write ./otel-bridge.toml, with comments, to edit
  otel-bridge serve                                  serve ./otel-bridge.toml on 127.0.0.1:8000
  otel-bridge serve --port 8080 --journal sqlite:////var/lib/otel-bridge/journal.db
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otel-bridge serve
  otel-bridge check                                  read the configuration, say what is wrong, exit
  otel-bridge journal status                         what is pending, exported, parked
  otel-bridge journal backup /var/backups/           a copy of it in one file, while the bridge serves
  otel-bridge journal migrate --journal postgresql://owner@db1/otel_bridge
                                                     tables for a journal that several bridges share
  otel-bridge demo --speed 240 --incident            documented traffic, a day in six minutes, slow answers in it
  otel-bridge doctor --prometheus http://localhost:9090
                                                     a synthetic session, then proof of it at every station
"""


def build_parser() -> argparse.ArgumentParser:
    """Every command and option. A command names its body as `module:function` (`_lazy`)."""
    parser: argparse.ArgumentParser = _Parser(
        prog="otel-bridge",
        description="Documented GPT session/event JSON in; traces, Prometheus metrics and alerts out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"otel-bridge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", metavar="FILE", help=f"configuration (default: {config.DEFAULT_FILE})")

    init = commands.add_parser(
        "init",
        help="write the configuration that ships with otel-bridge, to edit",
        description="Writes a commented configuration with one GPT registered. A file that is there is never touched.",
        epilog="examples:\n  otel-bridge init                          writes ./otel-bridge.toml\n"
        "  otel-bridge init /etc/otel-bridge.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    init.add_argument("file", nargs="?", default=config.DEFAULT_FILE, help=f"where (default: {config.DEFAULT_FILE})")
    init.set_defaults(run=_lazy("init:run"))

    serve = commands.add_parser(
        "serve",
        parents=[common],
        help="run the bridge",
        epilog="examples:\n"
        "  otel-bridge serve --port 8080\n"
        "  otel-bridge serve --workers 4 --journal postgresql://otel_bridge@db1/otel_bridge\n"
        "                           four processes behind one port, /metrics on 9464, 9465, 9466 and 9467",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_argument("--host", help="address the API listens on (default: 127.0.0.1)")
    serve.add_argument("--port", help="port the API listens on (default: 8000)")
    serve.add_argument("--metrics-host", help="address /metrics listens on (default: 127.0.0.1)")
    serve.add_argument("--metrics-port", help="port /metrics listens on (default: 9464)")
    serve.add_argument(
        "--journal",
        metavar="URL",
        help="where records are kept: sqlite:///… or postgresql://… (default: sqlite:///data/otel-bridge.db)",
    )
    serve.add_argument(
        "--workers",
        type=_whole(1, 1000),
        default=1,
        metavar="N",
        help="processes behind the port, each a replica: with a postgresql:// journal only. Their /metrics listen on "
        "metrics_port and the ports after it (default: 1)",
    )
    serve.set_defaults(run=_lazy("serve:run"))

    check = commands.add_parser("check", parents=[common], help="read the configuration, say what is wrong, exit")
    check.add_argument("--journal", metavar="URL", help="the journal (default: the configuration's)")
    check.set_defaults(run=_lazy("check:run"))

    schema = commands.add_parser("openapi", parents=[common], help="print the OpenAPI document")
    schema.add_argument("--gpt", metavar="ID", help="the one that this GPT's builder imports as its actions")
    schema.set_defaults(run=_lazy("openapi:run"))

    key = commands.add_parser("keys", help="API keys of a GPT")
    of_keys = key.add_subparsers(dest="keys_command", required=True, metavar="command")
    new = of_keys.add_parser("new", parents=[common], help="make a key, show it once, print the line that allows it")
    new.add_argument("gpt", help="the GPT that it is for")
    new.add_argument("--write", action="store_true", help="add its hash to the configuration file, too")
    new.set_defaults(run=_lazy("keys:new"))

    _add_journal(commands, common)
    _add_demo(commands, common)
    _add_doctor(commands, common)
    _add_files(commands)
    _add_completion(commands)
    examples.add(parser)

    return parser


def _add_journal(commands: Commands, common: argparse.ArgumentParser) -> None:
    journal = commands.add_parser("journal", help="look into the journal, back it up and restore it")
    inside = journal.add_subparsers(dest="journal_command", required=True, metavar="command")
    place = argparse.ArgumentParser(add_help=False, parents=[common])
    place.add_argument("--journal", metavar="URL", help="the journal (default: the configuration's)")
    status = inside.add_parser("status", parents=[place], help="what is pending, exported, parked")
    status.add_argument("--json", action="store_true", help="for a program to read")
    status.add_argument("--space", action="store_true", help="what holds its bytes, too: reads the whole journal")
    status.set_defaults(run=_lazy("journal:status"))
    parked = inside.add_parser("parked", parents=[place], help="records that the endpoint refused, and its words")
    parked.add_argument(
        "--limit", type=_whole(1, 1_000_000), default=50, metavar="N", help="show N at the most (default: 50)"
    )
    parked.add_argument("--json", action="store_true", help="for a program to read, a line a record")
    parked.set_defaults(run=_lazy("journal:parked"))
    replay = inside.add_parser("replay", parents=[place], help="send parked records again, after a fix")
    replay.add_argument(
        "seq", nargs="*", type=_whole(1, _LAST_SEQ), help="sequence numbers from `parked` (default: all)"
    )
    replay.add_argument(
        "--wait",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for what becomes of them; 0: not at all (default: 10)",
    )
    replay.set_defaults(run=_lazy("journal:replay"))
    _add_migrate(inside, place)
    _add_copy(inside, common)
    _add_backup(inside, place)


def _add_migrate(inside: Commands, place: argparse.ArgumentParser) -> None:
    migrate = inside.add_parser(
        "migrate",
        parents=[place],
        help="make or upgrade the tables of a postgresql:// journal",
        description="Makes the tables of a journal in PostgreSQL, or brings them up to this release: as a role that "
        "may make tables, before the new release serves. Forward only. The release before goes on serving beside it. "
        "Run again, it finds nothing to do; run twice at once, one waits for the other.",
        epilog="examples:\n"
        "  otel-bridge journal migrate --journal postgresql://owner@db1/otel_bridge\n"
        "  otel-bridge journal migrate --grant otel_bridge_serve     and lets this role serve",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    migrate.add_argument("--grant", metavar="ROLE", help="give this role what it needs to serve, which is no DDL")
    migrate.set_defaults(run=_lazy("migrate:run"))


def _add_copy(inside: Commands, common: argparse.ArgumentParser) -> None:
    copy = inside.add_parser(
        "copy",
        parents=[common],
        help="copy a journal from a file to PostgreSQL, or back, with the bridge stopped",
        description="Copies a whole journal to where none is: records, sessions, what retries are recognised by, what "
        "is parked, how far delivery is, and the counters, which go on as they were. The bridge must be stopped. All "
        "of it or nothing; the source is left as it is.",
        epilog="examples:\n"
        "  otel-bridge journal migrate --journal postgresql://owner@db1/otel_bridge\n"
        "  otel-bridge journal copy sqlite:///data/otel-bridge.db postgresql://owner@db1/otel_bridge\n"
        "  otel-bridge journal copy postgresql://owner@db1/otel_bridge sqlite:///data/back.db",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    copy.add_argument("source", metavar="FROM", help="the journal's URL")
    copy.add_argument("target", metavar="TO", help="where it goes; a database has its tables already")
    copy.add_argument("--json", action="store_true", help="for a program to read")
    copy.set_defaults(run=_lazy("copy:run"))


def _add_backup(inside: Commands, place: argparse.ArgumentParser) -> None:
    backup = inside.add_parser(
        "backup",
        parents=[place],
        help="write the journal to one file, while a bridge serves it or not",
        description="Writes the journal as it is now to one file, with the key of the user hash, and checks it. A "
        "bridge may be serving it: no answer waits. The file gets its name when it is whole. Keep it as secret as the "
        "journal.",
        epilog="examples:\n"
        "  otel-bridge journal backup /var/backups/otel-bridge/         a file named by its time, in that folder\n"
        "  otel-bridge journal backup yesterday.db --replace\n"
        "  otel-bridge journal status --journal sqlite:///yesterday.db  what is in a backup",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    backup.add_argument("file", metavar="FILE", help="where; of a folder, a file in it that is named by its time")
    backup.add_argument("--replace", action="store_true", help="replace a file of that name")
    backup.add_argument("--json", action="store_true", help="for a program to read")
    backup.set_defaults(run=_lazy("backup:run"))
    restore = inside.add_parser(
        "restore",
        parents=[place],
        help="put a backup in the journal's place, with the bridge stopped",
        description="Checks a backup and puts it in the journal's place, with its key of the user hash. Nothing that "
        "is there is deleted. The bridge must be stopped.",
        epilog="examples:\n"
        "  otel-bridge journal restore yesterday.db                     where no journal is\n"
        "  otel-bridge journal restore yesterday.db --replace           moves aside the one that is there\n"
        "  otel-bridge journal restore yesterday.db --key-only          the key of the user hash alone",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    restore.add_argument("file", metavar="FILE", help="what `journal backup` has made")
    restore.add_argument("--replace", action="store_true", help="move the journal that is there aside, and say where")
    restore.add_argument("--key-only", action="store_true", help="restore the key of the user hash, and nothing else")
    restore.add_argument("--json", action="store_true", help="for a program to read")
    restore.set_defaults(run=_lazy("backup:restore"))


def _add_demo(commands: Commands, common: argparse.ArgumentParser) -> None:
    demo = commands.add_parser("demo", parents=[common], help="post the documented traffic to a running bridge")
    client.add_options(demo)
    demo.add_argument(
        "--rate", type=_positive, default=4.0, metavar="N", help="events a second in the busiest hour (default: 4)"
    )
    demo.add_argument(
        "--speed", type=_positive, default=1.0, metavar="N", help="how many times faster the day goes by (default: 1)"
    )
    demo.add_argument("--hour", type=_hour, metavar="H", help="hour at which the day begins (default: it is now, UTC)")
    demo.add_argument(
        "--users", type=_whole(1, 1_000_000), default=12, metavar="N", help="distinct users (default: 12)"
    )
    demo.add_argument("--seed", type=int, metavar="N", help="the same traffic again")
    demo.add_argument("--duration", type=_positive, metavar="SECONDS", help="stop after it (default: until Ctrl-C)")
    demo.add_argument(
        "--incident",
        type=_positive,
        nargs="?",
        const=60.0,
        metavar="SECONDS",
        help="slow answers from then on (default, where only named: after 60)",
    )
    demo.add_argument(
        "--incident-for", type=_positive, default=300.0, metavar="SECONDS", help="how long they last (default: 300)"
    )
    demo.add_argument("--quiet", action="store_true", help="no progress, only what happens")
    demo.set_defaults(run=_lazy("demo:run"))


def _add_doctor(commands: Commands, common: argparse.ArgumentParser) -> None:
    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="a synthetic session, then proof of it at every station",
        description="Posts one synthetic session (its user is otel-bridge-doctor) and looks for it in /metrics, "
        "Prometheus, the trace store and Grafana. Exit code: 0 where every configured station says yes, else 1.",
    )
    client.add_options(doctor)
    doctor.add_argument("--journal", metavar="URL", help="the journal, where a server keeps it (default: configured)")
    metrics_help = "the bridge's /metrics (default: the configuration's); of replicas, one --metrics-url each"
    doctor.add_argument("--metrics-url", metavar="URL", action="append", help=metrics_help)
    doctor.add_argument("--prometheus", metavar="URL", help="default: the environment's PROMETHEUS_URL")
    doctor.add_argument("--tempo", metavar="URL", help="default: the environment's TEMPO_URL")
    doctor.add_argument("--grafana", metavar="URL", help="default: GRAFANA_URL; its login: GRAFANA_USER and _PASSWORD")
    doctor.add_argument(
        "--wait", type=_positive, default=30.0, metavar="SECONDS", help="for each station (default: 30)"
    )
    doctor.add_argument("--json", action="store_true", help="for a program to read")
    doctor.set_defaults(run=_lazy("doctor:run"))


def _add_files(commands: Commands) -> None:
    files = commands.add_parser(
        "files",
        help="escribir tableros, reglas, compose y chart, para usarlos sin el repositorio",
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
    files.set_defaults(run=_lazy("files:run"))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        if logs.in_json():
            _complain(self.prog, f"{self.prog}: {message}")
            sys.exit(2)
        super().error(message)


def _add_completion(commands: Commands) -> None:
    completion = commands.add_parser(
        "completion",
        help="escribir el guion con que el intérprete de órdenes completa con el tabulador",
        description="Escribe en la salida el guion que completa las órdenes y las opciones de otel-bridge.",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="tu intérprete de órdenes")
    completion.set_defaults(run=_lazy("completion:run"))


def _lazy(name: str) -> Callable[[argparse.Namespace], int]:
    """The body of a command. Its module is imported only when it runs: it may need what takes long to import."""
    module, _, function = name.partition(":")

    def run(arguments: argparse.Namespace) -> int:
        body: Callable[[argparse.Namespace], int] = getattr(import_module(f"otel_bridge.commands.{module}"), function)
        return body(arguments)

    return run


_LAST_SEQ = (1 << 63) - 1
"""The largest number that a journal can give a record."""


def _whole(low: int, high: int) -> Callable[[str], int]:
    """Makes the reader of a whole number within the bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"found {text[:40]}, expected a whole number from {low} to {high}")
        return value

    return read


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"found {text[:40]}, expected a number above 0 and below 1e9")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"found {text[:40]}, expected seconds, from 0 to below 1e9")
    return value


def _hour(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 24:
        raise argparse.ArgumentTypeError(f"found {text[:40]}, expected an hour from 0 to 24")
    return value


def _number(text: str) -> float:
    """Not a number where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


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
