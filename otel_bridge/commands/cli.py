"""The command line: `otel-bridge init | serve | check | keys | demo | doctor | openapi | journal`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from otel_bridge import __version__, config
from otel_bridge.config import Config, Gpt
from otel_bridge.errors import StartRefused
from otel_bridge.http import openapi

EXAMPLES = """\
examples:
  otel-bridge init                                   write ./otel-bridge.toml, with comments, to edit
  otel-bridge serve                                  serve ./otel-bridge.toml on 127.0.0.1:8000
  otel-bridge serve --port 8080 --journal sqlite:////var/lib/otel-bridge/journal.db
  OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 otel-bridge serve
  otel-bridge check                                  read the configuration, say what is wrong, exit
  otel-bridge journal status                         what is pending, exported, parked
  otel-bridge demo --speed 240 --incident            documented traffic, a day in six minutes, slow answers in it
  otel-bridge doctor --prometheus http://localhost:9090
                                                     a synthetic session, then proof of it at every station
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    init.set_defaults(run=_init)

    serve = commands.add_parser("serve", parents=[common], help="run the bridge")
    serve.add_argument("--host", help="address the API listens on (default: 127.0.0.1)")
    serve.add_argument("--port", help="port the API listens on (default: 8000)")
    serve.add_argument("--metrics-host", help="address /metrics listens on (default: 127.0.0.1)")
    serve.add_argument("--metrics-port", help="port /metrics listens on (default: 9464)")
    serve.add_argument(
        "--journal", metavar="URL", help="where records are kept (default: sqlite:///data/otel-bridge.db)"
    )
    serve.set_defaults(run=_serve)

    check = commands.add_parser("check", parents=[common], help="read the configuration, say what is wrong, exit")
    check.set_defaults(run=_check)

    schema = commands.add_parser("openapi", parents=[common], help="print the OpenAPI document")
    schema.add_argument("--gpt", metavar="ID", help="the one that this GPT's builder imports as its actions")
    schema.set_defaults(run=_openapi)

    key = commands.add_parser("keys", help="API keys of a GPT")
    of_keys = key.add_subparsers(dest="keys_command", required=True, metavar="command")
    new = of_keys.add_parser("new", parents=[common], help="make a key, show it once, print the line that allows it")
    new.add_argument("gpt", help="the GPT that it is for")
    new.add_argument("--write", action="store_true", help="add its hash to the configuration file, too")
    new.set_defaults(run=_keys_new)

    journal = commands.add_parser("journal", help="look into the journal")
    inside = journal.add_subparsers(dest="journal_command", required=True, metavar="command")
    place = argparse.ArgumentParser(add_help=False, parents=[common])
    place.add_argument("--journal", metavar="URL", help="the journal (default: the configuration's)")
    status = inside.add_parser("status", parents=[place], help="what is pending, exported, parked")
    status.add_argument("--json", action="store_true", help="for a program to read")
    status.set_defaults(run=_journal_status)
    parked = inside.add_parser("parked", parents=[place], help="records that the endpoint refused, and its words")
    parked.add_argument("--limit", type=int, default=50, metavar="N", help="show N at the most (default: 50)")
    parked.add_argument("--json", action="store_true", help="for a program to read, a line a record")
    parked.set_defaults(run=_journal_parked)
    replay = inside.add_parser("replay", parents=[place], help="send parked records again, after a fix")
    replay.add_argument("seq", nargs="*", type=int, help="sequence numbers from `parked` (default: all)")
    replay.set_defaults(run=_journal_replay)

    demo = commands.add_parser("demo", parents=[common], help="post the documented traffic to a running bridge")
    _door(demo)
    demo.add_argument(
        "--rate", type=_positive, default=4.0, metavar="N", help="events a second in the busiest hour (default: 4)"
    )
    demo.add_argument(
        "--speed", type=_positive, default=1.0, metavar="N", help="how many times faster the day goes by (default: 1)"
    )
    demo.add_argument("--hour", type=float, metavar="H", help="hour at which the day begins (default: it is now, UTC)")
    demo.add_argument("--users", type=int, default=12, metavar="N", help="distinct users (default: 12)")
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
    demo.set_defaults(run=_demo)

    doctor = commands.add_parser(
        "doctor",
        parents=[common],
        help="a synthetic session, then proof of it at every station",
        description="Posts one synthetic session (its user is otel-bridge-doctor) and looks for it in /metrics, "
        "Prometheus, the trace store and Grafana. Exit code: 0 where every configured station says yes, else 1.",
    )
    _door(doctor)
    doctor.add_argument("--metrics-url", metavar="URL", help="the bridge's /metrics (default: the configuration's)")
    doctor.add_argument("--prometheus", metavar="URL", help="default: the environment's PROMETHEUS_URL")
    doctor.add_argument("--tempo", metavar="URL", help="default: the environment's TEMPO_URL")
    doctor.add_argument("--grafana", metavar="URL", help="default: GRAFANA_URL; its login: GRAFANA_USER and _PASSWORD")
    doctor.add_argument(
        "--wait", type=_positive, default=30.0, metavar="SECONDS", help="for each station (default: 30)"
    )
    doctor.add_argument("--json", action="store_true", help="for a program to read")
    doctor.set_defaults(run=_doctor)

    return parser


def _door(parser: argparse.ArgumentParser) -> None:
    """Options of a command that is a client of a running bridge."""
    parser.add_argument(
        "--url", metavar="URL", help="the bridge, or the stack before it (default: the configuration's)"
    )
    parser.add_argument("--gpt", metavar="ID", help="the GPT that it posts as (default: the first one configured)")
    parser.add_argument("--key", metavar="KEY", help="the GPT's API key; rather by the environment: GPT_API_KEY")


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"found {text}, expected a number above 0")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code (2: what was asked for cannot be done as configured)."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except StartRefused as refusal:
        for line in refusal.args:
            print(f"otel-bridge: {line}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """Settings that are arguments, too."""
    return {key: getattr(arguments, key, None) for key in ("host", "port", "metrics_host", "metrics_port", "journal")}


def _load(arguments: argparse.Namespace) -> Config:
    return config.load(arguments.config, os.environ, _overrides(arguments))


def _load_to_serve(arguments: argparse.Namespace) -> Config:
    """The configuration that a start is decided by. Raises StartRefused with everything that forbids it."""
    from otel_bridge.access import keys

    loaded, diagnostics = config.read(arguments.config, os.environ, _overrides(arguments))
    if "allow_keyless" not in diagnostics.uncertain:
        try:
            keys.refuse_keyless(loaded)
        except StartRefused as refusal:
            diagnostics.add(str(refusal))
    diagnostics.refuse()
    return loaded


def _init(arguments: argparse.Namespace) -> int:
    file = Path(arguments.file)
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(config.SHIPPED.read_text(encoding="utf-8"))
    except FileExistsError:
        raise StartRefused(f"{file}: there already, nothing changed. Edit it, or name another file.") from None
    except OSError as error:
        raise StartRefused(f"{file}: cannot be written: {error.strerror}") from None
    print(f"{file} written. Register your GPT in it, then: otel-bridge check --config {file}")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from otel_bridge import logs, server
    from otel_bridge.app import Bridge

    loaded = _load_to_serve(arguments)
    logs.set_up(loaded.log_format, loaded.log_level)
    os.umask(0o077)  # the journal and its key are for this user alone

    def announce(bridge: Bridge, port: int) -> None:
        for line in _banner(bridge.config, port, bridge.listener.port):
            print(line, flush=True)

    source = loaded.source

    def again() -> Config:
        nonlocal source
        # A file that was read once is missed when it goes away: the shipped configuration never takes its place.
        if source != config.SHIPPED and not source.exists():
            raise StartRefused(f"{source}: no such configuration file any more")
        read = _load(arguments)
        source = read.source
        return read

    return server.serve(loaded, announce, again)


def _url(host: str, port: int) -> str:
    """Where this machine reaches what listens on `host`."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def _banner(loaded: Config, port: int, metrics_port: int) -> list[str]:
    lines = [
        f"otel-bridge {__version__}",
        f"  post to    {_url(loaded.host, port)}/api/sessions and /api/events",
        f"  metrics    {_url(loaded.metrics_host, metrics_port)}/metrics",
        f"  journal    {loaded.journal}",
        f"  GPTs       {', '.join(loaded.gpts)}",
    ]
    if loaded.source == config.SHIPPED:
        lines.append(
            f"  no {config.DEFAULT_FILE} here: this is the shipped configuration (otel-bridge init writes it to edit)"
        )
    if loaded.otlp is not None:
        lines.append(f"  spans to   {loaded.otlp.endpoint} ({loaded.otlp.protocol})")
    return lines + [f"  not configured: {what}" for what in _missing(loaded)]


def _missing(loaded: Config) -> list[str]:
    missing = []
    if loaded.otlp is None:
        missing.append("export (set OTEL_EXPORTER_OTLP_ENDPOINT; until then records wait in the journal)")
    keyless = [gpt.id for gpt in loaded.gpts.values() if not gpt.api_key_hashes]
    if keyless:
        missing.append(f"API keys of {', '.join(keyless)} (anyone who reaches the port can post)")
    unpriced = [gpt.id for gpt in loaded.gpts.values() if not gpt.prices]
    if unpriced:
        missing.append(f"prices of {', '.join(unpriced)} (no cost is counted)")
    return missing


def _check(arguments: argparse.Namespace) -> int:
    loaded = _load_to_serve(arguments)
    print(f"{loaded.source}: good; {len(loaded.gpts)} GPT(s): {', '.join(loaded.gpts)}")
    for what in _missing(loaded):
        print(f"not configured: {what}")
    return 0


def _openapi(arguments: argparse.Namespace) -> int:
    if arguments.gpt is not None:
        return _openapi_gpt(arguments)
    print(json.dumps(openapi.document(_load(arguments).public_url), ensure_ascii=False, indent=2))
    return 0


def _gpt(loaded: Config, gpt_id: str) -> Gpt:
    gpt = loaded.gpts.get(gpt_id)
    if gpt is None:
        raise StartRefused(f"{loaded.source}: GPT {gpt_id!r} is not registered; known are: {', '.join(loaded.gpts)}")
    return gpt


def _openapi_gpt(arguments: argparse.Namespace) -> int:
    from otel_bridge.http import actions_openapi

    loaded = _load(arguments)
    gpt = _gpt(loaded, arguments.gpt)
    server = loaded.public_url or f"http://127.0.0.1:{loaded.port}"
    if not server.startswith("https://"):
        print(f'servers is {server}: ChatGPT reaches https only. Set public_url = "https://…".', file=sys.stderr)
    print(json.dumps(actions_openapi.document(gpt, server), ensure_ascii=False, indent=2))
    return 0


def _keys_new(arguments: argparse.Namespace) -> int:
    from otel_bridge.access import keys

    loaded = _load(arguments)
    gpt = _gpt(loaded, arguments.gpt)
    key = keys.new_key()
    digest = keys.hash_of(key.encode())
    written = ""
    if arguments.write and loaded.source == config.SHIPPED:
        raise StartRefused(f"no {config.DEFAULT_FILE} here to write to: run `otel-bridge init` first")
    if arguments.write:
        keys.add_hash(loaded.source, gpt.id, digest)
        written = f"Its hash is in {loaded.source}; a running bridge takes it on within seconds.\n"
    hashes = ", ".join(f'"{one}"' for one in (*gpt.api_key_hashes, digest))
    print(f"Key of {gpt.id}, shown this once:\n\n  {key}\n")
    print("Clients send it as «Authorization: Bearer …» or «X-API-Key: …».")
    print(
        written or f"To allow it, put this into [gpts.{gpt.id}] of {loaded.source}:\n\n  api_key_hashes = [{hashes}]\n"
    )
    return 0


def _existing(loaded: Config) -> None:
    if not loaded.journal_path.exists():
        raise StartRefused(
            f"journal {loaded.journal_path}: there is none yet. Start `otel-bridge serve`, or name one with --journal."
        )


def _journal_status(arguments: argparse.Namespace) -> int:
    from otel_bridge.export.pipe import SINK
    from otel_bridge.journal.sqlite import SqliteReader

    loaded = _load(arguments)
    _existing(loaded)
    reader = SqliteReader(loaded.journal_path)
    reader.pin()
    ledger = reader.ledger(SINK)
    used = reader.bytes_used()
    reader.close()
    oldest = ledger.oldest_pending_us
    status = {
        "journal": loaded.journal,
        "records": ledger.last,
        "exported": ledger.exported,
        "pending": ledger.pending,
        "parked": ledger.parked,
        "oldest_pending": None if oldest is None else datetime.fromtimestamp(oldest / 1e6, UTC).isoformat(),
        "bytes": used,
    }
    if arguments.json:
        print(json.dumps(status))
        return 0
    for name, value in status.items():
        print(f"{name.replace('_', ' '):15} {'-' if value is None else value}")
    if ledger.parked:
        print(
            "\nParked records wait for you: `otel-bridge journal parked` shows why, `journal replay` sends them again."
        )
    return 0


def _journal_parked(arguments: argparse.Namespace) -> int:
    from otel_bridge.journal.sqlite import SqliteReader

    loaded = _load(arguments)
    _existing(loaded)
    reader = SqliteReader(loaded.journal_path)
    found = reader.parked(arguments.limit)
    reader.close()
    if not found and not arguments.json:
        print("nothing is parked")
    for one in found:
        at = datetime.fromtimestamp(one.parked_us / 1e6, UTC).isoformat(timespec="seconds")
        if arguments.json:
            print(json.dumps({"seq": one.seq, "parked_at": at, "reason": one.reason, "words": one.words,
                              "records": one.spans, **_identity(one.body)}, ensure_ascii=False))  # fmt: skip
        else:
            ids = " ".join(f"{name}={value}" for name, value in _identity(one.body).items())
            print(f"{one.seq}  {at}  {one.reason}  {ids}\n    {one.words}")
    return 0


def _identity(body: bytes) -> dict[str, str]:
    """Which trace and span a parked record is; never its content."""
    import msgspec

    from otel_bridge.ids import uuid_text
    from otel_bridge.records import Event, Session, decode, event_span_id, session_span_id

    try:
        record = decode(body)[0]
    except (msgspec.DecodeError, IndexError):
        return {}
    if isinstance(record, Event):
        return {
            "gpt": record.gpt,
            "session": uuid_text(record.session),
            "span": event_span_id(record.id).hex(),
        }
    if isinstance(record, Session):
        return {"gpt": record.gpt, "session": uuid_text(record.id), "span": session_span_id(record.id).hex()}
    return {}


def _journal_replay(arguments: argparse.Namespace) -> int:
    from otel_bridge.journal.sqlite import mark_replay

    loaded = _load(arguments)
    _existing(loaded)
    count = mark_replay(loaded.journal_path, arguments.seq or None)
    print(f"{count} parked record(s) will be sent again by the running bridge, or by the next one that starts")
    return 0 if count or not arguments.seq else 1


def _client(arguments: argparse.Namespace) -> tuple[str, str, str, str | None]:
    """A client's view of the bridge: (URL, URL of /metrics, GPT, key)."""
    loaded = _load(arguments)
    url, metrics = _url(loaded.host, loaded.port), _url(loaded.metrics_host, loaded.metrics_port)
    gpt = next(iter(loaded.gpts))
    url = (arguments.url or url).rstrip("/").removesuffix("/api")
    return url, f"{metrics}/metrics", arguments.gpt or gpt, arguments.key or os.environ.get("GPT_API_KEY")


def _demo(arguments: argparse.Namespace) -> int:
    import signal
    import threading

    from otel_bridge.commands import demo

    url, _, gpt, key = _client(arguments)
    traffic = demo.Traffic(
        demo.Api(url, key),
        gpt,
        rate=arguments.rate,
        speed=arguments.speed,
        hour=arguments.hour,
        users=max(1, arguments.users),
        seed=arguments.seed,
    )
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())

    def say(text: str) -> None:
        print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)

    try:
        demo.run(
            traffic,
            say,
            duration=arguments.duration,
            incident=None if arguments.incident is None else (arguments.incident, arguments.incident_for),
            report_seconds=None if arguments.quiet else 10.0,
            stop=stop,
        )
    except demo.DemoFailed as failed:
        if stop.is_set():
            return 0
        print(f"otel-bridge demo: {failed}", file=sys.stderr)
        return 1
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    from otel_bridge.commands import doctor

    url, metrics, gpt, key = _client(arguments)
    environ = os.environ

    def place(name: str, variable: str) -> str | None:
        found = getattr(arguments, name) or environ.get(variable)
        return found.rstrip("/") if found else None

    places = doctor.Places(
        api=url,
        metrics=arguments.metrics_url or metrics,
        prometheus=place("prometheus", "PROMETHEUS_URL"),
        traces=place("tempo", "TEMPO_URL"),
        grafana=place("grafana", "GRAFANA_URL"),
        grafana_user=environ.get("GRAFANA_USER") or "admin",
        grafana_password=environ.get("GRAFANA_PASSWORD"),
        key=key,
    )

    def tell(finding: doctor.Finding) -> None:
        if not arguments.json:
            print(*finding.lines(), sep="\n", flush=True)

    if not arguments.json:
        print(f"sesión sintética de {gpt} en {url} (usuario {doctor.USER})", flush=True)
    examined = doctor.Doctor(places, gpt, arguments.wait)
    findings = examined.examine(tell)
    good = all(finding.answer != "no" for finding in findings)
    if arguments.json:
        stations = {
            found.station: {"answer": found.answer, "words": found.words, "todo": found.todo} for found in findings
        }
        print(
            json.dumps({"good": good, "trace_id": examined.session.trace_id, "stations": stations}, ensure_ascii=False)
        )
    return 0 if good else 1
