"""Passwords in SQL, which stand behind words without a mark: `IDENTIFIED BY 'x'`, `WITH PASSWORD 'x'`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.redaction.findings import Finding
from otel_bridge.redaction.values import is_reference

_QUOTED = r"(?:n|e)?(?:'(?P<single>(?:[^'\\\n]|''|\\.){1,256}+)'|\"(?P<double>[^\"\n]{1,256}+)\")"
_IDENTIFIED = re.compile(
    r"identified(?: with [\"'`]?[\w-]{1,60}[\"'`]?)?\s{1,4}(?:by|as)\s{1,4}(?:password\s{1,4}|values\s{1,4})?"
    rf"(?:{_QUOTED}|(?P<bare>[^\s;'\"]{{1,128}}+))"
)
_PASSWORD = re.compile(rf"password(?=[\s=(])(?:\s{{0,3}}=)?\s{{0,3}}\(?\s{{0,2}}{_QUOTED}")
_SET = re.compile(
    rf"set password(?: for [\"'`]?[\w.%-]{{1,60}}[\"'`]?(?:@[\"'`]?[\w.%-]{{1,60}}[\"'`]?)?)?\s{{0,3}}(?:=|to)\s{{0,3}}"
    rf"(?:(?:old_)?password\()?{_QUOTED}"
)
# What makes a hash of a password has the password in it: password = MD5('x').
_HASHED = re.compile(
    rf"(?:crypt|md5|sha1|sha2|sha256|sha512|encode|hashpw|password_hash|generate_password_hash|make_password|hashbytes)"
    rf"\(\s?(?:'sha2?_?[0-9]{{1,3}}',\s?|b)?{_QUOTED}"
)
_SQL_BEFORE = re.compile(r"\b(?:create|alter|user|role|login|with|encrypted|unencrypted|set|grant|group|to)\b").search
_LABEL_BEFORE = re.compile(r"(?:pass|pwd|contras|clave|secret)[\w\"'`]{0,12}\s{0,3}[=:,(]|values\s?\(").search


def find_sql(text: str, low: str) -> Iterator[Finding]:
    if "identified" in low:
        for match in _IDENTIFIED.finditer(low):
            if match["bare"] and not _SQL_BEFORE(low, max(0, match.start() - 100), match.start()):
                continue  # «users are identified by email»
            yield from _finding(text, match)
    if "set password" in low:
        for match in _SET.finditer(low):
            yield from _finding(text, match)
    if "password" in low and ("'" in low or '"' in low):
        for match in _PASSWORD.finditer(low):
            between = low[match.start() + 8 : match.start(_group(match))]
            if "=" in between or _SQL_BEFORE(low, max(0, match.start() - 100), match.start()):
                yield from _finding(text, match)
    if "('" in low or '("' in low or "(b" in low:
        for match in _HASHED.finditer(low):
            if _LABEL_BEFORE(low, max(0, match.start() - 120), match.start()):
                yield from _finding(text, match)


def _group(match: re.Match[str]) -> str:
    assert match.lastgroup is not None
    return match.lastgroup


def _finding(text: str, match: re.Match[str]) -> Iterator[Finding]:
    group = _group(match)
    start, end = match.span(group)
    value = text[start:end]
    if group == "bare":
        value = value.rstrip(",)")
    if len(value) > 1 and not is_reference(value, quoted=True):
        yield start, start + len(value), "api_key"
