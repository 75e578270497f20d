"""`otel-bridge check`: reads the configuration and says what is wrong or missing."""

from __future__ import annotations

import argparse

from otel_bridge.commands.configuration import load_to_serve, missing


def run(arguments: argparse.Namespace) -> int:
    loaded, warnings = load_to_serve(arguments)
    print(f"{loaded.source}: good; {len(loaded.gpts)} GPT(s): {', '.join(loaded.gpts)}")
    for warning in warnings:
        print(f"warning: {warning}")
    for what in missing(loaded):
        print(f"not configured: {what}")
    return 0
