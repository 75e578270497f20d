"""Passwords in SQL, which follow words without a mark: `IDENTIFIED BY 'x'`, `WITH PASSWORD 'x'`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.labels import STRONG
from otel_bridge.privacy.redaction.values import is_reference

_QUOTED = (
    r"(?:n|e)?(?:\$\$(?P<dollar>[^$\n]{1,256}+)\$\$|"
    r"'(?P<single>(?:[^'\\\n]|''|\\.){1,256}+)'|\"(?P<double>[^\"\n]{1,256}+)\")"
)
_IDENTIFIED = re.compile(
    r"identified(?: with [\"'`]?[\w-]{1,60}[\"'`]?)?\s{1,4}(?:by|as)\s{1,4}(?:password\s{1,4}|values\s{1,4})?"
    rf"(?:{_QUOTED}|(?P<bare>[^\s;'\"]{{1,128}}+))"
)
_PASSWORD = re.compile(rf"password(?=[\s=(])(?:\s{{0,3}}=)?\s{{0,3}}\(?\s{{0,2}}{_QUOTED}")
_SET = re.compile(
    rf"set password(?: for [\"'`]?[\w.%-]{{1,60}}[\"'`]?(?:@[\"'`]?[\w.%-]{{1,60}}[\"'`]?)?)?\s{{0,3}}(?:=|to)\s{{0,3}}"
    rf"(?:(?:old_)?password\()?{_QUOTED}"
)
# A call that hashes a password has the password as its argument: password = MD5('x').
_HASHED = re.compile(
    rf"(?:crypt|md5|sha1|sha2|sha256|sha512|encode|hashpw|password_hash|generate_password_hash|make_password|hashbytes)"
    rf"\(\s?(?:'sha2?_?[0-9]{{1,3}}',\s?|b)?{_QUOTED}"
)
_SQL_BEFORE = re.compile(r"\b(?:create|alter|user|role|login|with|encrypted|unencrypted|set|grant|group|to)\b").search
_LABEL_BEFORE = re.compile(r"(?:pass|pwd|contras|clave|secret)[\w\"'`]{0,12}\s{0,3}[=:,(]|values\s?\(").search


# INSERT INTO users (name, password) VALUES ('ana', 'x'), ('eva', 'y')
_INSERT = re.compile(
    r"insert\s{1,4}(?:ignore )?into\s{1,4}[\w.\"`\[\]-]{1,80}+\s{0,4}"
    r"\((?P<columns>[^()]{1,600}+)\)\s{0,8}values\s{0,8}(?=\()"
)
_ROW = re.compile(r"\s{0,8},?\s{0,8}\((?P<row>(?:[^()']|'(?:[^'\n]|'')*+'|\([^()]{0,120}\)){1,1000}+)\)")
_ITEM = re.compile(r"(?:n|e)?'(?P<single>(?:[^'\n]|'')*+)'|[^,']{1,200}+|,|'")
_COLUMN = re.compile(rf"(?:\w{{0,30}}_)?(?:{STRONG}|clave|secret|token|api_?key)(?:_\w{{1,10}})?").fullmatch
# User and password in one word, or after a word that only one product has.
_OTHER = re.compile(
    r"(?:\bconn(?:ect)?\s{1,4}()()[a-z]\w{0,40}/(?P<bare>[^\s/@;\"']{3,128}+)@|"
    r"\bpragma\s{1,4}(?:re)?key\s{0,3}=\s{0,3}[\"'](?P<key>[^\"'\n]{1,256}+)|"
    r"\bsp_addlogin\s{1,4}n?'[^'\n]{1,80}',\s{0,3}n?'(?P<login>[^'\n]{1,256}+)|"
    r"\bsp_password\s{1,4}n?(?:'[^'\n]{0,80}'|null),\s{0,3}n?'(?P<new>[^'\n]{1,256}+)|"
    r"\bset password from\s{1,4}'[^'\n]{1,128}' to '(?P<to>[^'\n]{1,256}+)|"
    r"\bsecret\s{1,4}'(?P<secret>[^'\s]{8,256}+)')"
)


def _inserted(text: str, low: str) -> Iterator[Finding]:
    for match in _INSERT.finditer(low):
        names = [name.strip(' \t\n"`[]') for name in match["columns"].split(",")]
        secret = {index for index, name in enumerate(names) if _COLUMN(name)}
        position = match.end()
        while secret and (row := _ROW.match(low, position)):
            position = row.end()
            column = 0
            for item in _ITEM.finditer(low, *row.span("row")):
                if item[0] == ",":
                    column += 1
                elif column in secret and item["single"]:
                    start, end = item.span("single")
                    if not is_reference(text[start:end], quoted=True):
                        yield start, end, "api_key"


def find_sql(text: str, low: str) -> Iterator[Finding]:
    if "insert" in low:
        yield from _inserted(text, low)
    if "conn" in low or "pragma" in low or "sp_" in low or "set password from" in low or "secret '" in low:
        for match in _OTHER.finditer(low):
            yield from _finding(text, match)
    if "identified" in low:
        for match in _IDENTIFIED.finditer(low):
            if match["bare"] and not _SQL_BEFORE(low, max(0, match.start() - 100), match.start()):
                continue  # «users are identified by email»
            yield from _finding(text, match)
    if "set password" in low:
        for match in _SET.finditer(low):
            yield from _finding(text, match)
    if "password" in low and ("'" in low or '"' in low or "$$" in low):
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
