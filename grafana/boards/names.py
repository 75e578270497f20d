"""Which metrics and labels an expression names: PromQL cut into tokens, enough to hold boards and rules to the catalog.

Not a parser. It knows strings, numbers, durations, identifiers, braces and the clauses that list labels; that is all
it takes to tell a metric from a label from a function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""
    (?P<comment>\#[^\n]*)
  | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
  | (?P<variable>\$\{[^}]*\}|\$\w+)
  | (?P<range>\[[^\]]*\])
  | (?P<number>0x[0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:ms|[smhdwy])?(?:\d+(?:ms|[smhdwy]))*)
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<operator>=~|!~|!=|==|<=|>=|[-+*/%^=<>(){},@])
  | (?P<space>\s+)
    """,
    re.VERBOSE,
)
_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
_WORDS = _LISTS | {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}
_MAKES_LABEL = {"label_replace": 0, "label_join": 0, "count_values": 0}
"""Function → which of its strings names a label that it makes."""


@dataclass
class Names:
    """What an expression names. `made` are labels that the expression itself gives."""

    metrics: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    matched: dict[str, set[str]] = field(default_factory=dict)
    """Metric → labels that its own braces name."""


def tokens(expr: str) -> Iterator[tuple[str, str]]:
    """(kind, text); raises ValueError on what is no PromQL."""
    at = 0
    while at < len(expr):
        match = _TOKEN.match(expr, at)
        if match is None:
            raise ValueError(f"no token at {expr[at : at + 20]!r} of {expr!r}")
        at = match.end()
        kind = match.lastgroup or ""
        if kind not in ("space", "comment"):
            yield kind, match.group()


def names(expr: str) -> Names:
    """The metrics and labels of a PromQL expression."""
    found = Names()
    stream = list(tokens(expr))
    at = 0
    metric = ""
    while at < len(stream):
        kind, text = stream[at]
        following = stream[at + 1][1] if at + 1 < len(stream) else ""
        if kind == "name" and text.lower() in _LISTS and following == "(":
            at += 2
            while stream[at][1] != ")":
                if stream[at][0] == "name":
                    found.labels.add(stream[at][1])
                at += 1
        elif kind == "name" and text in _MAKES_LABEL and following == "(":
            found.made.update(_made(stream, at + 1, _MAKES_LABEL[text]))
        elif kind == "operator" and text == "{":
            at += 1
            while stream[at][1] != "}":
                if stream[at][0] == "name":
                    found.labels.add(stream[at][1])
                    found.matched.setdefault(metric, set()).add(stream[at][1])
                at += 1
        elif kind == "name" and text.lower() not in _WORDS and following != "(" and not _aggregates(stream, at):
            found.metrics.add(text)
            metric = text
        at += 1
    return found


def _aggregates(stream: list[tuple[str, str]], at: int) -> bool:
    """`sum by (…)`, where no bracket follows the operator at once."""
    return at + 1 < len(stream) and stream[at + 1][1] in ("by", "without")


def _made(stream: list[tuple[str, str]], at: int, which: int) -> set[str]:
    """The `which`-th string among a call's own arguments."""
    depth = 0
    strings: list[str] = []
    for kind, text in stream[at:]:
        if text in ("(", "{"):
            depth += 1
        elif text in (")", "}"):
            depth -= 1
            if depth == 0:
                break
        elif kind == "string" and depth == 1:
            strings.append(text[1:-1])
    return {strings[which]} if len(strings) > which else set()
