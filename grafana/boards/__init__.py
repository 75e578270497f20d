"""The four boards, made by code into `grafana/dashboards/`: `python -m grafana.boards [--check]`.

Why code: names come from `otel_bridge.catalog`, so a board cannot ask for what the bridge does not say; the same
thing has the same colour, unit and words on every board; and a diff of forty panels can be read.

Why the models of grafana-foundation-sdk 0.0.21 and not its builders: the models are the schema as typed
dataclasses, so a misspelt option fails here and not as a silent default in Grafana, and reading the JSON back with
`from_json` checks it again in the tests. The builders, on top of them, write no panel ids, lay panels out past
column 24 and hide legends; `panels.py` and `layout.py` do these three things in their place.

Classic JSON (schemaVersion 42), not the v2 schema that the SDK now prefers: both lines of Grafana, 12 and 13, provision
classic files as they are.

| module | one noun |
|---|---|
| `colours` `datasources` `variables` | what all boards share |
| `promql` `traceql` | queries, with the catalog's names |
| `panels` `shared` `layout` | a panel; a panel on two boards; rows, ids, places, JSON |
| `rules` `scrape` | what Prometheus records for the boards; from which series it takes `instance` |
| `resumen` `slo` `sesiones` `salud` | a board each; `replicas` is a row of the last |
| `queries` `names` | for tests: every query filled in; every metric and label that one names |
"""

from __future__ import annotations

import warnings
from pathlib import Path

with warnings.catch_warnings():
    # The SDK calls its classic model deprecated as soon as it is read; see above why the boards are classic.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.boards import resumen, rules, salud, scrape, sesiones, slo
from grafana.boards.layout import render
from grafana.boards.queries import EXPECTED_EMPTY, Query, may_be_empty, queries, trace_queries

DASHBOARDS = Path(__file__).resolve().parent.parent / "dashboards"

MODULES = (resumen, slo, sesiones, salud)


def build() -> dict[str, Dashboard]:
    """uid → board."""
    return {module.UID: module.build() for module in MODULES}


def files() -> dict[Path, str]:
    """Every file that the code makes and what it must hold: `grafana/dashboards/`, the rules that they read, the
    scrape."""
    boards = {DASHBOARDS / f"{uid}.json": render(board) for uid, board in build().items()}
    return {**boards, rules.FILE: rules.text(boards.values()), scrape.FILE: scrape.text()}


__all__ = ["DASHBOARDS", "EXPECTED_EMPTY", "Query", "build", "files", "may_be_empty", "queries", "trace_queries"]
