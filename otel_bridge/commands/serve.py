"""`otel-bridge serve`: runs the bridge."""

from __future__ import annotations

import argparse
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
        for warning in [*warnings, *(f"the journal's server: {finding.line()}" for finding in findings)]:
            log.warning("%s", warning)
    os.umask(0o077)  # the journal and its key are for this user alone

    def announce(bridge: Bridge, port: int) -> None:
        lines = []
        if announces:
            lines = _banner(bridge.config, port, bridge.listener.port, bridge.went_back)
        if worker is not None:
            metrics = f"{local_url(bridge.config.metrics_host, bridge.listener.port)}/metrics"
            lines.append(f"  worker {worker.number:<3} process {os.getpid()}, {metrics}")
        print(*lines, sep="\n", flush=True)

    source = loaded.source

    def reread() -> Config:
        nonlocal source
        # A file that was read once is missed when it goes away: the shipped configuration never takes its place.
        if source != config.SHIPPED and not source.exists():
            raise StartRefused(f"{source}: no such configuration file any more")
        current = load(arguments)
        source = current.source
        return current

    return server.serve(loaded, announce, reread, worker)


def _banner(loaded: Config, port: int, metrics_port: int, went_back: WentBack | None) -> list[str]:
    lines = [
        f"otel-bridge {__version__}",
        f"  post to    {api_url(loaded, port)}/api/sessions and /api/events",
        f"  metrics    {local_url(loaded.metrics_host, metrics_port)}/metrics",
        f"  journal    {loaded.journal_shown}",
        f"  GPTs       {', '.join(loaded.gpts)}",
    ]
    if went_back is not None:
        lines.append(f"  WENT BACK  {summary(went_back)} (docs/respaldo.md says what follows)")
    if loaded.source == config.SHIPPED:
        lines.append(
            f"  no {config.DEFAULT_FILE} here: this is the shipped configuration (otel-bridge init writes it to edit)"
        )
    if loaded.otlp is not None:
        lines.append(f"  spans to   {loaded.otlp.endpoint} ({loaded.otlp.protocol})")
    return lines + [f"  not configured: {what}" for what in missing(loaded)]
