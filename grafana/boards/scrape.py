"""The names of what replicas share, written into `prometheus/prometheus.yml` by `make boards`: from those the scrape of
replicas takes the label `instance` (docs/decisions/0014-instance.md)."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from otel_bridge import catalog

FILE = Path(__file__).resolve().parents[2] / "prometheus" / "prometheus.yml"

_HISTOGRAM = "_(bucket|count|sum)"
_PLACE = re.compile(r'(?<=^        regex: )"[^"]*"$', re.MULTILINE)
_INDENT = " " * 10


def names() -> list[str]:
    """A pattern a family, in the catalog's order."""
    return [
        metric.name + (_HISTOGRAM if metric.type == "histogram" else "")
        for metric in catalog.METRICS
        if metric.name not in catalog.OF_EACH_PROCESS
    ]


def text() -> str:
    """The file's text with the names that the catalog has now. To YAML a newline behind a backslash, and the blanks
    after it, are nothing."""
    lines = textwrap.wrap("| ".join(names()), 100, break_long_words=False, break_on_hyphens=False)
    pattern = "".join(f"\\\n{_INDENT}{line.replace('| ', '|')}" for line in lines)
    found, places = _PLACE.subn(lambda _: f'"{pattern}"', FILE.read_text("utf-8"))
    if places != 1:
        raise ValueError(f"{FILE.name} has {places} places for the names of what replicas share")
    return found
