"""The configuration that a command works with, and what is missing in it."""

from __future__ import annotations

import argparse
import json
import os
from typing import NamedTuple

from otel_bridge import config, journal
from otel_bridge.access import keys
from otel_bridge.config import LIMITS_IN_MEMORY, Config, Gpt
from otel_bridge.errors import StartRefused
from otel_bridge.journal import Finding, Severity, StoreError
from otel_bridge.mcp import mount


def load(arguments: argparse.Namespace) -> Config:
    """The configuration: the flags win over the environment, the environment over the file. Raises StartRefused."""
    return config.load(arguments.config, os.environ, _overrides(arguments))


class ToServe(NamedTuple):
    """The configuration that a start is decided by."""

    config: Config
    warnings: list[str]
    """What is probably not meant in it."""
    findings: list[Finding]
    """What is wrong with the journal's server, and does not forbid a start."""
    unreachable: str | None
    """Why that could not be looked at; who asks may not be the one who serves."""


def load_to_serve(arguments: argparse.Namespace) -> ToServe:
    """Raises StartRefused with everything that forbids a start."""
    loaded, diagnostics = config.read(arguments.config, os.environ, _overrides(arguments))
    if "allow_keyless" not in diagnostics.uncertain:
        try:
            keys.refuse_keyless(loaded)
        except StartRefused as refusal:
            diagnostics.add(str(refusal))
    if "rate_limit_storage" not in diagnostics.uncertain and loaded.rate_limit_storage != LIMITS_IN_MEMORY:
        from otel_bridge.access.redis import Redis  # most configurations have none

        try:
            Redis(loaded.rate_limit_storage, b"")
        except StartRefused as refusal:
            diagnostics.add(str(refusal))
    findings: list[Finding] = []
    unreachable = None
    if "journal" not in diagnostics.uncertain:
        try:
            findings = journal.inspect(loaded.journal)
        except StartRefused as refusal:
            diagnostics.add(str(refusal))
        except StoreError as error:
            unreachable = error.advice
    if any(finding.severity == Severity.STOPS for finding in findings):
        for finding in findings:  # all of it is told at once
            diagnostics.add(f"journal: {finding.line()}")
    diagnostics.refuse()
    return ToServe(loaded, diagnostics.warnings, findings, unreachable)


def _overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """Settings that are arguments, too."""
    keys = ("host", "port", "tls_cert", "tls_key", "metrics_host", "metrics_port", "journal")
    return {key: getattr(arguments, key, None) for key in keys}


def registered_gpt(loaded: Config, gpt_id: str) -> Gpt:
    """Raises StartRefused where the GPT is not in the configuration."""
    gpt = loaded.gpts.get(gpt_id)
    if gpt is None:
        raise StartRefused(
            f"{loaded.source}: el GPT {gpt_id!r} no está registrado; los registrados son: {', '.join(loaded.gpts)}"
        )
    return gpt


def table_of(gpt_id: str) -> str:
    """The head of a GPT's table in the configuration; an id with a dot is quoted there, else it would be two."""
    return f"[gpts.{json.dumps(gpt_id) if '.' in gpt_id else gpt_id}]"


def missing(loaded: Config) -> list[str]:
    """What the bridge runs without: export, keys, limits in common, prices, packages."""
    names = []
    if loaded.otlp is None:
        names.append(
            "la exportación (define OTEL_EXPORTER_OTLP_ENDPOINT; hasta entonces los registros esperan en el diario)"
        )
    keyless = [gpt.id for gpt in loaded.gpts.values() if not gpt.closed]
    if keyless:
        names.append(f"claves de API de {', '.join(keyless)} (quien llegue al puerto puede enviar)")
    limited = loaded.rate_limit is not None or any(gpt.rate_limit for gpt in loaded.gpts.values())
    if loaded.in_database and limited and loaded.rate_limit_storage == LIMITS_IN_MEMORY:
        names.append(
            "límites que las réplicas compartan (define rate_limit_storage; hasta entonces cada una cuenta sola "
            "a quien le llega)"
        )
    unpriced = [gpt.id for gpt in loaded.gpts.values() if not gpt.prices]
    if unpriced:
        names.append(f"precios de {', '.join(unpriced)} (no se cuenta ningún coste)")
    if not mount.installed():
        names.append("/mcp (responde 501; para servirlo instala otel-bridge[mcp]: pip install 'otel-bridge[mcp]')")
    return names
