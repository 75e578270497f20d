"""The command line: `otel-bridge init | serve | check | keys | demo | doctor | ready | metrics | openapi | journal`."""

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
from otel_bridge.commands import client, examples, spanish
from otel_bridge.errors import OperatorError
from otel_bridge.orders import Worker

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

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
    """Every command and option. A command names its body as `module:function` (`_lazy`)."""
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
    init.set_defaults(run=_lazy("init:run"))

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
        type=_whole(1, 1000),
        default=1,
        metavar="N",
        help=(
            "procesos detrás del puerto, cada uno una réplica: solo con un diario postgresql://. Sus /metrics "
            "escuchan en metrics_port y los puertos siguientes (por defecto: 1)"
        ),
    )
    serve.set_defaults(run=_lazy("serve:run"))

    check = commands.add_parser("check", parents=[common], help="lee la configuración, dice qué está mal, y termina")
    check.add_argument("--journal", metavar="URL", help="el diario (por defecto: el de la configuración)")
    check.set_defaults(run=_lazy("check:run"))

    schema = commands.add_parser("openapi", parents=[common], help="muestra el documento OpenAPI")
    schema.add_argument("--gpt", metavar="ID", help="el que importa como acciones quien construye este GPT")
    schema.set_defaults(run=_lazy("openapi:run"))

    key = commands.add_parser("keys", help="claves de API de un GPT")
    of_keys = key.add_subparsers(dest="keys_command", required=True, metavar="orden")
    new = of_keys.add_parser(
        "new", parents=[common], help="crea una clave, la muestra una vez, y da la línea que la permite"
    )
    new.add_argument("gpt", metavar="GPT", help="el GPT para el que es")
    new.add_argument("--write", action="store_true", help="añade también su hash al archivo de configuración")
    new.set_defaults(run=_lazy("keys:new"))

    _add_journal(commands, common)
    _add_demo(commands, common)
    _add_doctor(commands, common)
    _add_slo(commands, common)
    _add_files(commands)
    _add_user(commands, common)
    _add_asking(commands, common)
    _add_import(commands, common)
    _add_export(commands, common)
    _add_completion(commands)
    examples.add(parser)

    return parser


def _add_slo(commands: Commands, common: argparse.ArgumentParser) -> None:
    slo = commands.add_parser("slo", help="objetivos: lo que dicen de ellos las respuestas que están en el diario")
    inside = slo.add_subparsers(dest="slo_command", required=True, metavar="command")
    suggest = inside.add_parser(
        "suggest",
        parents=[common],
        help="qué objetivo habría cumplido cada GPT, cuánto habría avisado, qué cuesta uno más estricto",
        description="Juzga otra vez las respuestas de las últimas semanas con otros objetivos y dice, de cada uno, qué "
        "parte se habría cumplido, cuánto presupuesto de error habría gastado y cuántas veces habría avisado cada "
        "alerta. Solo lee; el puente puede estar en marcha.",
        epilog="ejemplos:\n"
        "  otel-bridge slo suggest                          todos los GPT, cuatro semanas\n"
        "  otel-bridge slo suggest devops-expert --weeks 2 --target 0.995\n"
        "  otel-bridge slo suggest --toml > objetivos.toml  solo lo que se pega en otel-bridge.toml",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    suggest.add_argument("gpt", nargs="?", help="solo este GPT (por omisión: todos los registrados)")
    suggest.add_argument(
        "--weeks", type=_weeks, default=4.0, metavar="N", help="cuántas semanas hacia atrás (por omisión: 4)"
    )
    suggest.add_argument(
        "--target", type=_target, metavar="PARTE",
        help="parte de las respuestas que debe ser buena, como slo_target (por omisión: la de cada GPT)",
    )  # fmt: skip
    suggest.add_argument("--toml", action="store_true", help="solo el TOML propuesto")
    suggest.add_argument("--journal", metavar="URL", help="el diario (por omisión: el de la configuración)")
    suggest.set_defaults(run=_lazy("slo:run"))


def _add_journal(commands: Commands, common: argparse.ArgumentParser) -> None:
    journal = commands.add_parser("journal", help="mira dentro del diario, haz copias de él y restáuralas")
    inside = journal.add_subparsers(dest="journal_command", required=True, metavar="orden")
    place = argparse.ArgumentParser(add_help=False, parents=[common])
    place.add_argument("--journal", metavar="URL", help="el diario (por defecto: el de la configuración)")
    status = inside.add_parser("status", parents=[place], help="qué está pendiente, exportado, apartado")
    status.add_argument("--json", action="store_true", help="para que lo lea un programa")
    status.add_argument("--space", action="store_true", help="también qué ocupa sus bytes: lee el diario entero")
    status.set_defaults(run=_lazy("journal:status"))
    parked = inside.add_parser("parked", parents=[place], help="registros que el destino rechazó, y qué dijo")
    parked.add_argument(
        "--limit", type=_whole(1, 1_000_000), default=50, metavar="N", help="muestra N como mucho (por defecto: 50)"
    )
    parked.add_argument("--json", action="store_true", help="para que lo lea un programa, una línea por registro")
    parked.set_defaults(run=_lazy("journal:parked"))
    replay = inside.add_parser(
        "replay", parents=[place], help="envía otra vez los registros apartados, tras arreglar la causa"
    )
    replay.add_argument("seq", nargs="*", type=_whole(1, _LAST_SEQ), help="números de `parked` (por defecto: todos)")
    replay.add_argument(
        "--wait",
        type=_seconds,
        default=10.0,
        metavar="SEGUNDOS",
        help="cuánto esperar a ver qué pasa con ellos; 0: nada (por defecto: 10)",
    )
    replay.set_defaults(run=_lazy("journal:replay"))
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
    migrate.set_defaults(run=_lazy("migrate:run"))


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
    copy.set_defaults(run=_lazy("copy:run"))


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
    backup.set_defaults(run=_lazy("backup:run"))
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
    restore.set_defaults(run=_lazy("backup:restore"))


def _add_demo(commands: Commands, common: argparse.ArgumentParser) -> None:
    demo = commands.add_parser("demo", parents=[common], help="envía el tráfico documentado a un puente en marcha")
    client.add_options(demo)
    demo.add_argument(
        "--rate",
        type=_positive,
        default=4.0,
        metavar="N",
        help="eventos por segundo en la hora más activa (por defecto: 4)",
    )
    demo.add_argument(
        "--speed",
        type=_positive,
        default=1.0,
        metavar="N",
        help="cuántas veces más deprisa pasa el día (por defecto: 1)",
    )
    demo.add_argument(
        "--hour", type=_hour, metavar="HORA", help="hora a la que empieza el día (por defecto: la de ahora, UTC)"
    )
    demo.add_argument(
        "--users", type=_whole(1, 1_000_000), default=12, metavar="N", help="usuarios distintos (por defecto: 12)"
    )
    demo.add_argument("--seed", type=int, metavar="N", help="otra vez el mismo tráfico")
    demo.add_argument(
        "--duration", type=_positive, metavar="SEGUNDOS", help="para después de este tiempo (por defecto: hasta Ctrl-C)"
    )
    demo.add_argument(
        "--incident",
        type=_positive,
        nargs="?",
        const=60.0,
        metavar="SEGUNDOS",
        help="respuestas lentas desde entonces (por defecto, si solo se nombra: tras 60)",
    )
    demo.add_argument(
        "--incident-for", type=_positive, default=300.0, metavar="SEGUNDOS", help="cuánto duran (por defecto: 300)"
    )
    demo.add_argument("--quiet", action="store_true", help="sin progreso, solo lo que ocurre")
    demo.set_defaults(run=_lazy("demo:run"))


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
        "--wait", type=_positive, default=30.0, metavar="SEGUNDOS", help="para cada estación (por defecto: 30)"
    )
    doctor.add_argument("--json", action="store_true", help="para que lo lea un programa")
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


def _add_user(commands: Commands, common: argparse.ArgumentParser) -> None:
    user = commands.add_parser("user", help="el hash de una persona, y borrar del diario lo que es suyo")
    inside = user.add_subparsers(dest="user_command", required=True, metavar="command")
    place = argparse.ArgumentParser(add_help=False, parents=[common])
    place.add_argument("--journal", metavar="URL", help="el diario (por defecto, el de la configuración)")
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
    hash_.set_defaults(run=_lazy("user:hash_of"))
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
    forget.add_argument("--json", action="store_true", help="para un programa")
    forget.set_defaults(run=_lazy("user:forget"))


def _add_asking(commands: Commands, common: argparse.ArgumentParser) -> None:
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
    ready.set_defaults(run=_lazy("asking:ready"))
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
    metrics.set_defaults(run=_lazy("asking:metrics"))


def _add_import(commands: Commands, common: argparse.ArgumentParser) -> None:
    taken = commands.add_parser(
        "import",
        parents=[common],
        help="mandar a un puente en marcha la historia de un archivo JSONL",
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
    taken.add_argument("file", metavar="FILE", help="JSONL, comprimido con gzip o no; - es la entrada estándar")
    taken.add_argument("--url", metavar="URL", help="el puente, o lo que haya delante (por defecto: el configurado)")
    taken.add_argument("--key", metavar="KEY", help="la clave de API del GPT; mejor en el entorno: GPT_API_KEY")
    taken.add_argument("--report", metavar="FILE", help="escribe aquí cada línea rechazada y por qué (JSONL)")
    taken.add_argument(
        "--progress",
        metavar="FILE",
        help="dónde se anota hasta dónde se ha llegado (por defecto: FILE.progreso; con -, en ninguna parte)",
    )
    taken.add_argument(
        "--restart", action="store_true", help="empieza por la primera línea, diga lo que diga lo anotado"
    )
    taken.add_argument(
        "--batch", type=_whole(1, 10_000), default=1_000, metavar="N", help="eventos por petición (por defecto: 1000)"
    )
    taken.add_argument(
        "--connections", type=_whole(1, 64), default=8, metavar="N", help="sesiones a la vez (por defecto: 8)"
    )
    taken.add_argument(
        "--patience",
        type=_positive,
        default=300.0,
        metavar="SECONDS",
        help="cuánto se insiste con una petición a la que el puente dice «ahora no», o nada (por defecto: 300)",
    )
    taken.set_defaults(run=_lazy("importing:run"))


def _add_export(commands: Commands, common: argparse.ArgumentParser) -> None:
    given = commands.add_parser(
        "export",
        parents=[common],
        help="escribir en un archivo lo que el diario aún tiene",
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
        "--since", required=True, metavar="TIME", help="desde cuándo: 7d, 24h, 2026-01-15 o 2026-01-15T20:00:00Z"
    )
    given.add_argument("--until", metavar="TIME", help="hasta antes de cuándo (por defecto: todo)")
    given.add_argument("--gpt", metavar="ID", help="solo lo de este GPT")
    given.add_argument("--format", choices=("jsonl", "csv", "parquet"), default="jsonl", help="(por defecto: jsonl)")
    given.add_argument("--output", metavar="FILE", help="dónde (por defecto: la salida estándar)")
    given.add_argument("--replace", action="store_true", help="reemplaza un archivo que ya exista")
    given.add_argument("--journal", metavar="URL", help="el diario (por defecto: el de la configuración)")
    given.set_defaults(run=_lazy("exporting:run"))


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
            raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaba un número entero de {low} a {high}")
        return value

    return read


def _positive(text: str) -> float:
    value = _number(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaba un número mayor que 0 y menor que 1e9")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaban segundos, de 0 a menos de 1e9")
    return value


def _weeks(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 520:
        raise argparse.ArgumentTypeError(f"dice {text[:40]}; se espera un número de semanas, hasta 520")
    return value


def _target(text: str) -> float:
    value = _number(text)
    if not 0.5 <= value <= 0.99999:
        raise argparse.ArgumentTypeError(f"dice {text[:40]}; se espera una parte de 0.5 a 0.99999, como 0.99")
    return value


def _hour(text: str) -> float:
    value = _number(text)
    if not 0 <= value <= 24:
        raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaba una hora de 0 a 24")
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
