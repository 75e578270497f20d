"""XML and HTML: `<password>x</password>`, `<add key="password" value="x"/>`, `<entry key="db.password">x</entry>`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.labels import says_secret
from otel_bridge.privacy.redaction.values import has_digit, is_reference

_SECRET_TAG = re.compile(
    r"<(?P<tag>[\w:.-]{1,60}+)(?P<attributes>(?:\s[^<>]{0,400}+)?)>"
    r"(?:<!\[cdata\[(?P<cdata>[^\]<]{1,400}+)|(?:\s{0,40}<value>)?(?P<content>[^<]{1,400}+))?"
)
_NAMED = re.compile(r"(?<![\w:.-])(?:key|name|id|property)\s?=\s?[\"'](?P<name>[^\"']{1,80}+)[\"']").search
_VALUE = re.compile(r"(?<![\w:.-])value\s?=\s?(?:\"(?P<double>[^\"]{1,400}+)\"|'(?P<single>[^']{1,400}+)')").search
# A name as the content of one element, the value as that of the next: Hadoop, property lists.
_PAIRED = re.compile(
    r"<(?:name|key|param-name|th|td|dt)>\s{0,4}(?P<name>[\w. -]{2,60}?)\s{0,4}:?\s{0,2}</(?:name|key|param-name|"
    r"th|td|dt)>\s{0,40}"
    r"<(?:value|string|param-value|td|dd)>\s{0,8}(?P<value>[^<\n]{1,400}+)</"
)


def find_markup(text: str, low: str) -> Iterator[Finding]:
    for match in _SECRET_TAG.finditer(low):
        attributes = match["attributes"]
        named = None
        if attributes and (
            "key" in attributes or "name" in attributes or "id" in attributes or "property" in attributes
        ):
            named = _NAMED(text, *match.span("attributes")) or _NAMED(low, *match.span("attributes"))
        if named is not None and says_secret(named["name"].replace(" ", "_")):
            value = _VALUE(low, *match.span("attributes"))
            if value is not None:
                assert value.lastgroup is not None
                yield from _content(text, *value.span(value.lastgroup))
                continue
        elif not says_secret(text[slice(*match.span("tag"))]):
            continue
        group = "cdata" if match["cdata"] else "content"
        if low.startswith("<string ", match.start()) and named is not None and not has_digit(match[group] or ""):
            continue  # what Android shows to people
        if match[group] and (group == "cdata" or low.startswith("</", match.end())):
            yield from _content(text, *match.span(group))
    if "</" in low and ("name>" in low or "key>" in low or "<t" in low or "<dt" in low):
        for match in _PAIRED.finditer(low):
            if says_secret(match["name"].replace(" ", "_")):
                yield from _content(text, *match.span("value"))


def _content(text: str, start: int, end: int) -> Iterator[Finding]:
    value = text[start:end]
    stripped = value.strip()
    start += len(value) - len(value.lstrip())
    if stripped and not is_reference(stripped, quoted=True):
        yield start, start + len(stripped), "api_key"
