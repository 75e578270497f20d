"""The configuration that a command works with, and what is missing in it."""

from __future__ import annotations

import argparse
import contextlib
import os

from otel_bridge import config, journal
from otel_bridge.access import keys
from otel_bridge.config import Config, Gpt
from otel_bridge.errors import StartRefused
from otel_bridge.journal import StoreError


def load(arguments: argparse.Namespace) -> Config:
    """The configuration: the flags win over the environment, the environment over the file. Raises StartRefused."""
    return config.load(arguments.config, os.environ, _overrides(arguments))


def load_to_serve(arguments: argparse.Namespace) -> tuple[Config, list[str]]:
    """The configuration that a start is decided by, and what is probably not meant in it. Raises StartRefused with
    everything that forbids it."""
    loaded, diagnostics = config.read(arguments.config, os.environ, _overrides(arguments))
    if "allow_keyless" not in diagnostics.uncertain:
        try:
            keys.refuse_keyless(loaded)
        except StartRefused as refusal:
            diagnostics.add(str(refusal))
    if "rate_limit_storage" not in diagnostics.uncertain and loaded.rate_limit_storage != "memory://":
        from otel_bridge.access.redis import RedisLimits  # most configurations have none

        try:
            RedisLimits(loaded.rate_limit_storage)
        except StartRefused as refusal:
            diagnostics.add(str(refusal))
    if "journal" not in diagnostics.uncertain:
        # Who may not look there may still be the one who asks about the rest: the start itself says that.
        with contextlib.suppress(StoreError):
            try:
                journal.exists(loaded.journal)
            except StartRefused as refusal:
                diagnostics.add(str(refusal))
    diagnostics.refuse()
    return loaded, diagnostics.warnings


def _overrides(arguments: argparse.Namespace) -> dict[str, object]:
    """Settings that are arguments, too."""
    return {key: getattr(arguments, key, None) for key in ("host", "port", "metrics_host", "metrics_port", "journal")}


def registered_gpt(loaded: Config, gpt_id: str) -> Gpt:
    """Raises StartRefused where the GPT is not in the configuration."""
    gpt = loaded.gpts.get(gpt_id)
    if gpt is None:
        raise StartRefused(f"{loaded.source}: GPT {gpt_id!r} is not registered; known are: {', '.join(loaded.gpts)}")
    return gpt


def missing(loaded: Config) -> list[str]:
    """What the bridge runs without: export, keys, prices."""
    names = []
    if loaded.otlp is None:
        names.append("export (set OTEL_EXPORTER_OTLP_ENDPOINT; until then records wait in the journal)")
    keyless = [gpt.id for gpt in loaded.gpts.values() if not gpt.closed]
    if keyless:
        names.append(f"API keys of {', '.join(keyless)} (anyone who reaches the port can post)")
    unpriced = [gpt.id for gpt in loaded.gpts.values() if not gpt.prices]
    if unpriced:
        names.append(f"prices of {', '.join(unpriced)} (no cost is counted)")
    return names
