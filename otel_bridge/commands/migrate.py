"""`otel-bridge journal migrate`: makes the tables of a journal in PostgreSQL, or brings them up to this release."""

from __future__ import annotations

import argparse

from otel_bridge import journal
from otel_bridge.commands.configuration import load


def run(arguments: argparse.Namespace) -> int:
    loaded = load(arguments)

    def tell(line: str) -> None:
        print(line, flush=True)

    journal.migrate(loaded.journal, arguments.grant, tell)
    return 0
