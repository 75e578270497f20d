"""What redaction took from a line, and whether it was right to."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import NamedTuple

from otel_bridge.privacy.redaction import Redactor
from otel_bridge.privacy.redaction.findings import PLACEHOLDERS

REVIEWED = Path(__file__).with_name("true_finds.txt")

_KIND = {placeholder: kind for kind, placeholder in PLACEHOLDERS.items()}
PLACEHOLDER = re.compile("|".join(map(re.escape, _KIND)))
_REDACTOR = Redactor("on")

# An address that mail could be sent to. What the endings of files and of systemd's units follow is none.
_MAIL = re.compile(
    r"[\w.%+'~=-]+(?:@|%40)(?:[\w-]+\.)+(?!(?:service|socket|timer|target|slice|scope|mount|path|swap|device|conf|"
    r"py|sh|html|md|txt|yml|yaml|json|so|tar|gz|deb)$)[^\W\d_]{2,}"
).fullmatch
_NO_ADDRESS_AFTER = re.compile(
    r"(?:(?:versi[oó]n|version|release|since|\bv)[ :=]*|(?<!\bip)(?<!\bvm)(?<=[A-Za-z])[-_]|[0-9.])$", re.IGNORECASE
).search
# The number of a section; a version's Debian revision.
_NO_ADDRESS_BEFORE = re.compile(r"\. +[^\W\d_]|-[0-9]{1,2}(?![0-9.])|[+~]\w").match
_OID = ("1.3.6.1.", "1.2.840.", "2.5.4.", "2.5.29.", "2.16.")
_OF_PHONES = re.compile(r"phone|tel[eé]f|\btel\b|\bsms\b|m[oó]vil|_number\b", re.IGNORECASE).search


class Find(NamedTuple):
    kind: str
    text: str
    line: str
    before: str
    """What stands before it in the line."""

    @property
    def after(self) -> str:
        return self.line[len(self.before) + len(self.text) :]


def redacted(text: str) -> str:
    out = _REDACTOR.redact(text, {})
    assert out is not None
    return out


def finds(line: str) -> list[Find]:
    """Read off the redacted text, not asked of the finders: what is counted is what a reader would see."""
    out = redacted(line)
    if out == line:
        return []
    kept = PLACEHOLDER.split(out)
    kinds = [_KIND[match[0]] for match in PLACEHOLDER.finditer(out)]
    match = re.fullmatch("(.+?)".join(map(re.escape, kept)), line, re.DOTALL)
    if match is None:  # an odd character was replaced too
        return [Find(kind, "?", line, "") for kind in kinds]
    return [
        Find(kind, match[index], line, line[: match.start(index)])
        for index, kind in enumerate(kinds, 1)
        if match[index] not in _KIND
    ]


def reviewed() -> set[tuple[str, str]]:
    """Kind and text of the finds that were read and are what the redactor is meant to take."""
    rows = (line.split("\t") for line in REVIEWED.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#"))
    return {(row[0], row[1]) for row in rows}


def is_true(find: Find, known: set[tuple[str, str]]) -> bool:
    """Rules for what a rule can decide; the rest only by review."""
    if find.kind == "email" and _MAIL(find.text):
        return True
    if find.kind == "ip" and _is_address(find):
        return True
    if find.kind == "phone" and _OF_PHONES(find.before):
        return True
    if find.kind == "url_password" and not set(find.text) & set("{}[]<>()$*") and find.after.startswith("@"):
        return True
    return (find.kind, find.text) in known


def _is_address(find: Find) -> bool:
    try:
        ipaddress.ip_address(find.text.partition("%")[0])
    except ValueError:
        return False
    if _NO_ADDRESS_AFTER(find.before) or find.text.startswith(_OID):
        return False
    return not (_NO_ADDRESS_BEFORE(find.after) and (not find.before.strip() or find.after[0] != "."))
