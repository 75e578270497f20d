"""`otel-bridge check`: reads the configuration, looks at the journal's server, and says what is wrong or missing."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from otel_bridge import clock
from otel_bridge.commands.configuration import load_to_serve, missing
from otel_bridge.config import shipped
from otel_bridge.journal import Severity


def run(arguments: argparse.Namespace) -> int:
    loaded, warnings, findings, unreachable = load_to_serve(arguments)
    print(f"{loaded.source}: bien; {len(loaded.gpts)} GPT: {', '.join(loaded.gpts)}")
    for warning in warnings:
        print(f"aviso: {warning}")
    listed = [gpt.id for gpt in loaded.gpts.values() if gpt.takes_shipped_prices()]
    if listed:
        prices = shipped()
        today = datetime.fromtimestamp(clock.now_us() / 1e6, UTC).date()
        print(f"precios de {', '.join(listed)}: la lista incluida, leída el {prices.read} ({prices.age(today)})")
    for what in missing(loaded):
        print(f"sin configurar: {what}")
    if loaded.in_database and unreachable is not None:
        print(f"mal: {unreachable}")
    for finding in findings:
        print(f"{'mal' if finding.severity < Severity.WARNING else 'aviso'}: el servidor del diario: {finding.line()}")
    if loaded.in_database and not findings and unreachable is None:
        print(f"el servidor del diario: bien; {loaded.journal_shown}")
    wrong = loaded.in_database and (unreachable is not None or any(one.severity < Severity.WARNING for one in findings))
    return 2 if wrong else 0
