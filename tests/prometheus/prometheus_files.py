"""What the tests of this folder share: where the files are, which tool reads them, which names a PromQL text uses."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "prometheus"
ALERTMANAGER = PROMETHEUS / "alertmanager"
RUNBOOKS = ROOT / "docs" / "runbooks"

BOARDS = {"boards.rules.yml", "boards.first.rules.yml", "boards.bars.rules.yml"}
"""Recording rules for the boards: tested with them, in tests of their own (test_boards_rules.py)."""

RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*_test.yml"))
EXAMPLES = sorted((ALERTMANAGER / "examples").glob("*.yml"))


# --- tools ----------------------------------------------------------------------------------------


def tool(*names: str) -> str:
    """The first of these programs that is installed; a test without its tool fails, and says what to install."""
    for name in names:
        if found := shutil.which(name):
            return found
    package = "prometheus-alertmanager" if "amtool" in names or "alertmanager" in names else "prometheus"
    raise AssertionError(f"{' or '.join(names)} is not installed: apt-get install {package}")


def run(*command: str | Path, cwd: Path = PROMETHEUS) -> str:
    """Standard output of a command that must succeed; its whole output is the message where it does not."""
    done = subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


# --- rules ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """One rule, recording or alerting, and the file that it is in."""

    file: str
    group: str
    raw: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.raw.get("alert") or self.raw["record"])

    @property
    def is_alert(self) -> bool:
        return "alert" in self.raw

    @property
    def expr(self) -> str:
        return str(self.raw["expr"])

    @property
    def labels(self) -> dict[str, str]:
        return dict(self.raw.get("labels", {}))

    @property
    def annotations(self) -> dict[str, str]:
        return dict(self.raw.get("annotations", {}))

    def __str__(self) -> str:
        return "-".join([self.name, *self.labels.values()])


def load(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        return yaml.safe_load(file)


_ALL = [
    Rule(path.name, group["name"], raw)
    for path in RULE_FILES
    for group in load(path)["groups"]
    for raw in group["rules"]
]

RULES = [rule for rule in _ALL if rule.file not in BOARDS]
BOARD_RULES = [rule for rule in _ALL if rule.file in BOARDS]
ALERTS = [rule for rule in RULES if rule.is_alert]
RECORDED = {rule.name for rule in _ALL if not rule.is_alert}


# --- PromQL ---------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<duration>(?:\d+(?:ms|[smhdwy]))+(?![\w.]))
      | (?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)
      | (?P<name>[a-zA-Z_][a-zA-Z0-9_:]*)
      | (?P<operator>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){}\[\],:@])
      | (?P<space>\s+)
    """,
    re.VERBOSE,
)
_WORDS = {"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end"}
_LABEL_LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}


@dataclass
class Query:
    """The names that a PromQL text uses; its syntax is promtool's to judge."""

    selectors: list[tuple[str, list[tuple[str, str, str]]]] = field(default_factory=list)
    """(metric, [(label, operator, value)]), in order."""
    grouping: set[str] = field(default_factory=set)
    """Labels after by, on, ignoring, group_left …"""
    numbers: list[str] = field(default_factory=list)
    """Number literals; durations are none."""


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match and match.lastgroup, f"not PromQL at {text[position : position + 30]!r} of {text!r}"
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()
        position = match.end()


def parse(text: str) -> Query:
    """The names in ``text``."""
    query = Query()
    tokens = [*_tokens(text), ("end", "")]
    at = 0
    while at < len(tokens):
        kind, value = tokens[at]
        following = tokens[at + 1][1] if at + 1 < len(tokens) else ""
        if kind == "number":
            query.numbers.append(value)
        elif value in _LABEL_LISTS and following == "(":
            at += 2
            while tokens[at][1] != ")":
                if tokens[at][0] == "name":
                    query.grouping.add(tokens[at][1])
                at += 1
        elif kind == "name" and following not in {"(", "by", "without"} and value not in _WORDS | _LABEL_LISTS:
            matchers: list[tuple[str, str, str]] = []
            if following == "{":
                at += 2
                while tokens[at][1] != "}":
                    if tokens[at][0] == "name":
                        matchers.append((tokens[at][1], tokens[at + 1][1], tokens[at + 2][1][1:-1]))
                        at += 2
                    at += 1
            query.selectors.append((value, matchers))
        at += 1
    return query


def blocks(markdown: str, language: str) -> list[str]:
    """The fenced blocks of one language, indented ones too."""
    found = re.findall(rf"^[ ]*```{language}\n(.*?)^[ ]*```", markdown, re.MULTILINE | re.DOTALL)
    return [block.strip() for block in found]
