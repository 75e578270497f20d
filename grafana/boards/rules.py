"""The recording rules that the boards read, written into `prometheus/rules/boards.bars.rules.yml` by `make boards`.

By code, because every counter that a board counts has the same rules: `counted` in `promql.py`
asks for what is recorded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from grafana.boards.promql import (
    AGENT,
    BARS,
    CLOCK,
    HOUR_OF_WEEK,
    LOOKBACK,
    OF_LATENCY,
    OURS,
    TARGET,
    recorded,
    suffixed,
)
from otel_bridge import catalog

FILE = Path(__file__).resolve().parents[2] / "prometheus" / "rules" / "boards.bars.rules.yml"

_HEAD = """\
# Recording rules for the boards. Written by `make boards` from grafana/boards/rules.py: change it there.
#
#   bridge:<counter>:last       noted where a series ends: its last value, by which a total ends that reaches further
#                               (boards.first.rules.yml notes where it begins; docs/decisions/0008-totals.md)
#   bridge:<counter>:seen       its value each minute, as it was {settled} before: every scrape up to then is stored, so
#                               that the rules of one minute have seen the same
#   bridge:<counter>:increase   by how much that rose since the minute before, or since Prometheus was last there (a day
#                               at the most): exact, and their sum over any time is the whole. By instance, so that a
#                               bridge that is scraped under another name begins at its own first value. What replicas
#                               share has none, so that it goes on where another is steward
#   {by_hour}
#                               the same of events, by GPT, labelled with the hour (00 to 23) and the weekday (1
#                               Monday to 7 Sunday, UTC) of the moment
#
# No value of `le` and no window below 12 scrapes; the same file loads on Prometheus 2.42 and 3.x.
groups:
"""

_SETTLED = "10s"
"""Longer than a scrape takes."""

_MIMIRS_LIMIT = 20
"""`ruler_max_rules_per_rule_group`, as it is by default: a larger group is refused."""


def text(boards: Iterable[str]) -> str:
    """The file's text, with what these boards (as JSON) ask for."""
    counters = sorted({name for board in boards for name in re.findall(r"\bbridge:(\w+):last\b", board)})
    ends = [[_record(recorded(name, "last"), _last(_selector(name)))] for name in counters]
    return "".join(
        [_HEAD.format(settled=_SETTLED, by_hour=HOUR_OF_WEEK), *_groups("final", ends), *_groups("minutos", _minutes())]
    )


def _minutes() -> list[list[str]]:
    """What belongs together is recorded together, in this order."""
    together = [
        [
            _record(recorded(name, "seen"), _seen(name, labels)),
            _record(recorded(name, "increase"), _increase(name, labels)),
        ]
        for name, labels in BARS.items()
    ]
    needed = list(BARS).index(catalog.UNMEASURED.name)
    together[needed].append(_record(HOUR_OF_WEEK, _by_hour()))
    return together


def _groups(name: str, parts: list[list[str]]) -> list[str]:
    """Groups of no more rules than Mimir takes."""
    groups: list[list[str]] = [[]]
    for part in parts:
        if len(groups[-1]) + len(part) > _MIMIRS_LIMIT:
            groups.append([])
        groups[-1] += part
    return [
        line
        for number, rules in enumerate(groups, 1)
        for line in (_group(f"tableros-{name}{f'-{number}' if number > 1 else ''}"), *rules)
    ]


def _group(name: str) -> str:
    return f"  - name: {name}\n    interval: 1m\n    rules:\n"


def _record(name: str, expr: str) -> str:
    return f"      - record: {name}\n        expr: >-\n{expr}\n"


def _selector(name: str) -> str:
    return f"{name}{{{OURS}}}" if name.startswith("gen_ai_client_") else name


def _last(selector: str) -> str:
    return f"          last_over_time({selector}[6m])\n          unless last_over_time({selector}[3m])"


def _sum(labels: tuple[str, ...], function: str, name: str, indent: str) -> str:
    by = ", ".join((*TARGET, *labels))
    value = f"{function}({_selector(name)}[{LOOKBACK}] offset {_SETTLED})"
    return f"sum by ({by}) (\n{indent}  {value}\n{indent})"


def _seen(name: str, labels: tuple[str, ...]) -> str:
    indent = " " * 10
    return indent + _sum(labels, "last_over_time", name, indent)


def _increase(name: str, labels: tuple[str, ...]) -> str:
    """Rounded: the same numbers added in another order differ in the last digit. Below 0 the journal is another one."""
    seen = recorded(name, "seen")
    first = _sum(labels, "min_over_time", name, " " * 12)
    return (
        f"          round({seen} - (\n"
        f"            last_over_time({seen}[1d] offset 1s)\n"
        f"            or {first}\n"
        f"          ), 0.000001) >= 0\n"
        f"          or {seen}"
    )


def _by_hour() -> str:
    with_latency = recorded(suffixed(catalog.OPERATION_DURATION, "count"), "increase")
    without = f"{recorded(catalog.UNMEASURED.name, 'increase')}{{{OF_LATENCY}}}"
    rise = f"sum by ({AGENT}) (\n            {with_latency}\n            or {without}\n          )"
    clock = CLOCK.replace(" * on ()", "\n            * on ()")
    return f"          {rise}\n          * on () group_left (dia, hora) (\n            {clock}\n          )"
