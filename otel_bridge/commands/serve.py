"""`otel-bridge serve`: runs the bridge."""

from __future__ import annotations

import argparse
import json
import logging
import os

from otel_bridge import __version__, config, logs, server
from otel_bridge.app import Bridge
from otel_bridge.commands.client import api_url, local_url
from otel_bridge.commands.configuration import load, load_to_serve, missing
from otel_bridge.config import Config
from otel_bridge.errors import StartRefused
from otel_bridge.journal import WentBack
from otel_bridge.ops.going_back import summary
from otel_bridge.orders import Worker

log = logging.getLogger(__name__)


def run(arguments: argparse.Namespace) -> int:
    worker: Worker | None = arguments.worker
    if arguments.workers > 1:
        from otel_bridge.commands import workers  # most serve alone

        return workers.run(arguments)
    if worker is not None:
        logs.name_worker(worker.number)
    loaded, warnings, findings, _ = load_to_serve(arguments)
    logs.set_up(loaded.log_format, loaded.log_level)
    announces = worker is None or worker.announces
    if announces:  # else another worker has said it
        for warning in [*warnings, *(f"el servidor del diario: {finding.line()}" for finding in findings)]:
            log.warning("%s", warning)
    os.umask(0o077)  # the journal and its key are for this user alone

    def announce(bridge: Bridge, port: int) -> None:
        lines = []
        if announces:
            lines = _banner(bridge.config, port, bridge.listener.port, bridge.went_back)
        if worker is not None:
            metrics = f"{local_url(bridge.config.metrics_host, bridge.listener.port)}/metrics"
            lines.append(f"  trabajador {worker.number:<3} proceso {os.getpid()}, {metrics}")
        if not logs.in_json():
            print(*lines, sep="\n", flush=True)
            return
        for line in lines:  # one stream of JSON, from the first line on
            log.info("%s", " ".join(line.split()))

    source = loaded.source

    def reread() -> Config:
        nonlocal source
        # A file that was read once is missed when it goes away: the shipped configuration never takes its place.
        if source != config.SHIPPED and not source.exists():
            raise StartRefused(f"{source}: ese archivo de configuración ya no existe")
        current = load(arguments)
        source = current.source
        return current

    return server.serve(loaded, announce, reread, worker)


def _banner(loaded: Config, port: int, metrics_port: int, went_back: WentBack | None) -> list[str]:
    lines = [
        f"otel-bridge {__version__}",
        f"  envía a    {api_url(loaded, port)}/api/sessions y /api/events",
        f"  métricas   {local_url(loaded.metrics_host, metrics_port)}/metrics",
        f"  diario     {loaded.journal_shown}",
        f"  GPTs       {', '.join(loaded.gpts)}",
    ]
    if went_back is not None:
        lines.append(f"  VOLVIÓ ATRÁS  {summary(went_back)} (docs/respaldo.md dice qué sigue)")
    if loaded.source == config.SHIPPED:
        lines.append(
            f"  no hay {config.DEFAULT_FILE} aquí: vale la configuración incluida (otel-bridge init la escribe "
            "para editarla)"
        )
    if loaded.otlp is not None:
        lines.append(f"  spans a    {loaded.otlp.endpoint} ({loaded.otlp.protocol})")
    if loaded.push is not None:
        lines.append(f"  métricas a {loaded.push.otlp.endpoint} ({loaded.push.otlp.protocol})")
    lines += [f"  sin configurar: {what}" for what in missing(loaded)]
    return lines if logs.in_json() else lines + _first_event(loaded, f"{api_url(loaded, port)}/api")


def _first_event(loaded: Config, api: str) -> list[str]:
    """What to paste into another terminal for a first session and event of the first GPT that is configured."""
    gpt = next(iter(loaded.gpts.values()))
    key = ' -H "X-API-Key: $GPT_API_KEY"' if gpt.closed else ""
    post = f"curl -sS -H 'Content-Type: application/json'{key} {api}"
    session = (
        '{"id": "\'$SESION\'", "gpt_id": "%s", "usuario_id": "yo", "timestamp_inicio": "\'$(date -u +%%FT%%TZ)\'"}'
    )
    # Another type than the GPT's own would be counted as «otro». The quote is for the shell, which has it in quotes.
    kind = json.dumps(next(iter(gpt.event_types), "consulta"), ensure_ascii=False).replace("'", r"'\''")
    event = (
        f'{{"sesion_id": "\'$SESION\'", "tipo": {kind}, "contenido": "¿Funciona?", "latency_ms": 1500, '
        '"tokens_entrada": 25, "tokens_salida": 150}'
    )
    return [
        "  un primer evento, desde otra terminal:",
        "    SESION=$(cat /proc/sys/kernel/random/uuid)",
        f"    {post}/sessions -d '{session % gpt.id}'",
        f"    {post}/events -d '{event}'",
    ]
