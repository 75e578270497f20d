"""Default values of references: `${DB_PASSWORD:-x}`, `getenv('DB_PASSWORD', 'x')`, `process.env.TOKEN || 'x'`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.labels import SUFFIX, WORD, is_label, says_secret
from otel_bridge.privacy.redaction.values import has_digit, is_reference

_EXPANSION = re.compile(
    r"\$\{(?:env:)?(?P<name>[\w.-]{1,80}+(?=:)|[\w.]{1,80}+)(?::?[-=]|:)(?![?+])(?P<value>(?:[^{}\n$]|\$(?!\{)"
    r"){1,256}+)\}"
)
_CALL = re.compile(
    r"\(\s{0,3}[\"'](?P<name>[\w.:/-]{2,80}+)[\"']\s{0,3},\s{0,3}"
    r"(?:(?:default|fallback|defaultvalue|default_value)\s?[=:]\s?)?(?:\"(?P<double>(?:[^\"\\\n]|\\.){1,256}+)"
    r"\"|'(?P<single>(?:[^'\\\n]|\\.){1,256}+)')"
)
_READS = re.compile(
    r"(?:env|get|fetch|config|default|define|put|set|property|getproperty|secret|str|value|setting|option|param|"
    r"store|add)",
    re.I,
).search
_OTHERWISE = re.compile(
    rf"(?P<word>{WORD}){SUFFIX}(?:[\"']?[\])]{{1,2}}|[\"'](?= \|))?\s{{0,2}}(?:\.orelse\(|"
    rf"\.unwrap_or(?:_else)?\((?:\|_?\| ?)?|"
    rf"(?<=\))(?: \{{| : (?=[\"'])) ?|\|\|=?|\?\?=?|\bor\b|\?:|\|\s?default\(?|:-)"
    rf"\s{{0,3}}\(?"
    r"(?:\"(?P<double>[^\"\n]{1,256}+)\"|'(?P<single>[^'\n]{1,256}+)'|`(?P<tick>[^`\n$]{1,256}+)`)"
)
_TEMPLATE = re.compile(
    r"default\s{1,2}(?:\"(?P<double>[^\"\n]{1,256}+)\"|'(?P<single>[^'\n]{1,256}+)')\s{1,2}(?P<name>[\w.$]{2,80}+)"
)
# The parameters of a template: DBPassword, then lines about it, then its default.
_PARAMETER = re.compile(
    rf"(?P<word>{WORD}){SUFFIX}[\"']?\s?:\s?\{{?\s{{0,20}}"
    r"(?:(?!default)[\"']?[a-z_-]{2,24}+[\"']?\s?:[ \t]{1,2}[^\n,{}]{1,160}+[,\n]\s{0,20}){0,6}"
    r"[\"']?default(?:value)?[\"']?\s?:[ \t]{1,2}"
    r"(?:\"(?P<double>[^\"\n]{1,256}+)\"|'(?P<single>[^'\n]{1,256}+)'|(?P<bare>[^\s\"',{}]{1,256}+))"
)
# `password: str = Field(default="x")`, `password = coalesce(var.x, "y")`
_WRAPPED = re.compile(
    rf"(?P<word>{WORD}){SUFFIX}(?:\s?:\s?[\w\[\], ]{{1,30}})?\s?=\s?"
    r"(?:(?:\w{1,20}\.)?(?:field|secretstr|secret|column|option|value)\((?:default\s?=\s?)?|"
    r"(?:coalesce|try|nvl|ifnull)\([^\"()\n]{1,80},\s?)"
    r"(?:\"(?P<double>[^\"\n]{1,256}+)\"|'(?P<single>[^'\n]{1,256}+)')"
)
# {{ env "DB_PASSWORD" "x" }}
_ASKED = re.compile(r"env\s\"(?P<name>\w{2,80}+)\"\s\"(?P<double>[^\"\n]{1,256}+)\"")
_VARIABLE = re.compile(
    r"variable\s{1,3}\"(?P<name>[\w-]{2,80}+)\"\s{0,3}\{(?:(?!default)"
    r"(?:[^{}]|\{[^{}\n]{0,100}+\})){0,400}+default\s{0,8}=\s{0,3}\"(?P<double>[^\"\n]{1,256}+)\""
)


def find_defaults(text: str, low: str) -> Iterator[Finding]:
    if "${" in low:
        for match in _EXPANSION.finditer(low):
            yield from _default(text, match)
    if "(" in low and "," in low:
        for match in _CALL.finditer(text):
            if not says_secret(match["name"]):
                continue
            value = match["double"] or match["single"]
            if (has_digit(value) and len(value) >= 4) or _READS(text, max(0, match.start() - 24), match.start()):
                yield from _default(text, match)
    if "default" in low or "(" in low:
        for pattern in (_PARAMETER, _WRAPPED):
            if pattern is _PARAMETER and "default" not in low:
                continue
            for match in pattern.finditer(low):
                start, end = match.span(match.lastgroup or 0)
                if is_label(text, low, match.start(), match["word"]) and not is_reference(text[start:end], quoted=True):
                    yield start, end, "api_key"
    if "env " in low and "{{" in low:
        for match in _ASKED.finditer(low):
            yield from _default(text, match)
    if "||" in low or "??" in low or " or " in low or "?:" in low or "default" in low or ")" in low:
        for match in _OTHERWISE.finditer(low):
            assert match.lastgroup is not None
            start, end = match.span(match.lastgroup)
            if is_label(text, low, match.start(), match["word"]) and not is_reference(text[start:end], quoted=True):
                yield start, end, "api_key"
        if "default" in low:
            for match in _TEMPLATE.finditer(low):
                yield from _default(text, match)
            for match in _VARIABLE.finditer(low):
                yield from _default(text, match)


def _default(text: str, match: re.Match[str]) -> Iterator[Finding]:
    group = match.lastgroup
    assert group is not None
    if group == "name":
        group = "double" if match["double"] else "single"
    start, end = match.span(group)
    if says_secret(text[slice(*match.span("name"))]) and not is_reference(text[start:end], quoted=True):
        yield start, end, "api_key"
