"""Tables in text: a column headed by «contraseña», or a row that starts with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.labels import STRONG, WEAK
from otel_bridge.privacy.redaction.values import has_digit, is_reference

_LABEL = re.compile(rf"(?:{STRONG}|clave|{WEAK})\Z").search
_LABEL_OF = re.compile(rf"(?:la )?(?:{STRONG}|clave) (?:de|del|para|of|for|temporal|inicial|actual|nueva)\b").match
_KEY_VALUE = re.compile(
    r"\bsecret\b.{0,60}\b(?:key|name|namespace|age)\b|\b(?:clave|key|token)s?\b.{0,60}\b(?:valor(?:es)?|values?|"
    r"tipo|type|significado|descripci)"
).search
_CELLS = 48
"""A line with more cells is no row of a table that a person wrote."""
_RULE = re.compile(r"[\s|:+-]*+\Z").match
_TABLE_LINE = re.compile(r"^[^\n|]*+\|[^\n]*+$", re.MULTILINE)
_MAYBE = re.compile(rf"{STRONG}|clave|secret|token|key|credential").search


def find_cells(text: str, low: str) -> Iterator[Finding]:
    columns: list[int] = []
    bordered = ruled = False
    last_end = -2
    header: list[int] = []
    for line in _TABLE_LINE.finditer(low):
        start, end = line.span()
        if start != last_end + 1:
            between = low[max(last_end + 1, 0) : start].strip() if start - last_end < 200 else "x"
            if between and not (header and _RULE(between)):
                columns, ruled = [], False
            elif between and header:
                columns, ruled = header, True
        last_end = end
        if _RULE(low, start, end):
            if header:
                columns, ruled = header, True
            continue
        if not ruled and _MAYBE(low, start, end) is None:
            header = []
            continue
        if low.count("|", start, end) > _CELLS:
            header = []
            continue
        cells = low[start:end].split("|")
        if ruled and columns:
            at = start
            for index, cell in enumerate(cells):
                if index in columns:
                    yield from _cell(text, at, at + len(cell), strict=False)
                at += len(cell) + 1
            continue
        bordered = not cells[0].strip()
        header = [index for index, cell in enumerate(cells) if len(cell) < 60 and _is_label(cell)]
        if header and _KEY_VALUE(low, start, end):
            header = []
        if not header:
            continue
        # «| contraseña | Perro2024 |»: more cells than these two make a header likelier than a pair.
        count = len([cell for cell in cells if cell.strip()])
        at = start
        for index, cell in enumerate(cells):
            if index - 1 in header and index not in header and (bordered or count == 2):
                yield from _cell(text, at, at + len(cell), strict=True)
            at += len(cell) + 1


_HEAD = re.compile(
    r"^[ \t]{0,8}(?P<names>[a-záéíóúñ_ ]{2,30}+(?:(?P<mark>[,;\t])[a-záéíóúñ_ ]{2,30}+){1,20})[ \t]{0,4}$", re.M
)
_COLUMN = re.compile(rf"(?:{STRONG}|clave)").fullmatch


def find_columns(text: str, low: str) -> Iterator[Finding]:
    """Rows with commas, semicolons or tabs between the cells, below a line with the names."""
    at = 0
    for head in _HEAD.finditer(low):
        if head.start() < at:
            continue  # a row of the table above: each line is looked at once
        mark = head["mark"]
        names = [name.strip() for name in head["names"].split(mark)]
        secret = [index for index, name in enumerate(names) if _COLUMN(name)]
        at = head.end() + 1
        while secret and at < len(text):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            if text.count(mark, at, end) != len(names) - 1:
                break
            for index, cell in enumerate(text[at:end].split(mark)):
                if index in secret:
                    yield from _cell(text, at, at + len(cell), strict=True)
                at += len(cell) + 1


def _is_label(cell: str) -> bool:
    name = cell.strip(" \t*_`:")
    return len(name) > 2 and (_LABEL(name) is not None or _LABEL_OF(name) is not None)


def _cell(text: str, start: int, end: int, *, strict: bool) -> Iterator[Finding]:
    value = text[start:end]
    stripped = value.strip().strip("*`_")
    at = text.find(stripped, start, end)
    if not stripped or stripped == "-" or is_reference(stripped, quoted=False):
        return
    if strict and (" " in stripped or len(stripped) < 4 or not has_digit(stripped)):
        return
    if " " in stripped and not has_digit(stripped):
        return
    yield at, at + len(stripped), "api_key"
