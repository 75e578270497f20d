"""Fenced blocks of a Markdown file, each with the comment that says what it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?P<mark><!-- (?P<comment>[^\n]*?) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S
)
_MARK = re.compile(r"^<!-- (?P<comment>[^\n]*?) -->$", re.M)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    mark: str | None
    """The comment right above it: `<!-- mark -->`."""
    line: int


def blocks(path: Path) -> list[Block]:
    """Fenced blocks and, with language "", comments that stand by themselves; in order."""
    text = path.read_text(encoding="utf-8")
    parts = []
    end = 0
    for match in _FENCE.finditer(text):
        parts += _marks(text, end, match.start())
        end = match.end()
        line = text.count("\n", 0, match.start("language")) + 1
        parts.append(Block(match["language"], match["text"], match["comment"], line))
    return parts + _marks(text, end, len(text))


def _marks(text: str, start: int, end: int) -> list[Block]:
    return [
        Block("", "", match["comment"], text.count("\n", 0, match.start()) + 1)
        for match in _MARK.finditer(text, start, end)
    ]


def headings(path: Path, level: int) -> list[str]:
    outside = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(rf"^{'#' * level} (.+)$", outside, re.M)


_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_HEX = re.compile(r"[0-9a-f]{16,64}")


def _kind(value: object) -> object:
    """What of a value an example must show: ids, hashes and times are new each time, all else is as shown."""
    if isinstance(value, str):
        if _TIME.fullmatch(value):
            return "a time"
        if _HEX.fullmatch(value):
            return f"{len(value)} hexadecimal digits"
        try:
            UUID(value)
            return "a UUID"
        except ValueError:
            return value
    return value


def difference(shown: object, answer: object, where: str = "$") -> str | None:
    """Where an example and the real answer differ; None where they do not."""
    if isinstance(shown, dict) and isinstance(answer, dict):
        if list(shown) != list(answer):
            return f"{where}: shown {list(shown)}, answered {list(answer)}"
        parts = [(shown[key], answer[key], f"{where}.{key}") for key in shown]
    elif isinstance(shown, list) and isinstance(answer, list):
        if len(shown) != len(answer):
            return f"{where}: shown {len(shown)} items, answered {len(answer)}"
        parts = [(item, other, f"{where}[{i}]") for i, (item, other) in enumerate(zip(shown, answer, strict=True))]
    else:
        return None if _kind(shown) == _kind(answer) else f"{where}: shown {shown!r}, answered {answer!r}"
    return next((text for part in parts if (text := difference(*part)) is not None), None)
