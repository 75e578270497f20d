"""HTTP headers: `Authorization: Bearer x`, `Cookie: session=x`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding
from otel_bridge.privacy.redaction.values import has_digit, is_reference

_AUTHORIZATION = re.compile(
    r"(?i:authorization)(?:\\?[\"'])?\s{0,3}[:=]\s{0,3}(?:\\?[\"'])?"
    r"(?:(?i:bearer|basic|token|digest|apikey|negotiate)\s++)?+"
    rf"(?!{PLACEHOLDER})(?P<bare>(?![$<{{])[^\s\"'`\\,]{{6,}}+)"
)
_BEARER = re.compile(r"\b(?i:bearer|basic)\s+(?P<bare>(?=[A-Za-z._~+/=-]*[0-9])[\w.~+/=-]{16,}+)", re.ASCII)
_COOKIES = re.compile(
    r"(?:set-)?cookie[\"']?\s{0,2}[:=]\s{0,2}[\"']?(?P<pairs>[^\n\"']{0,4096}+)|(?:--cookie|-b)"
    r"[ =](?:[\"'](?P<option>[^\n\"']{1,4096}+)|(?P<plain>[\w.%-]{1,80}+=[^\s\"']{1,4096}+))"
)
_COOKIE_MAP = re.compile(r"cookies[\"']?\s?[=:]\s?\{(?P<pairs>[^{}\n]{1,2000}+)\}")
_ITEM = re.compile(r"[\"'](?P<name>[^\"'\n]{1,80}+)[\"']\s?:\s?[\"'](?P<value>[^\"'\n]{1,2048}+)[\"']")
_COOKIE = re.compile(r"(?P<name>[^\s=;,:]{1,80}+)=(?P<value>[^\s;,]{1,2048}+)")
_ATTRIBUTES = frozenset({"path", "domain", "expires", "max-age", "samesite", "version", "lang", "locale", "theme"})


def find_authorizations(text: str, low: str) -> Iterator[Finding]:
    if "authorization" in low:
        for match in _AUTHORIZATION.finditer(text):
            if not is_reference(match["bare"], quoted=True):
                yield *match.span("bare"), "api_key"
    if "bearer" in low or "basic" in low:
        for match in _BEARER.finditer(text):
            yield *match.span("bare"), "api_key"


def find_cookies(text: str, low: str) -> Iterator[Finding]:
    """The values of cookies that are long enough to open a session; their names tell what fails."""
    for header in _COOKIES.finditer(low):
        assert header.lastgroup is not None
        for cookie in _COOKIE.finditer(text, *header.span(header.lastgroup)):
            yield from _cookie(cookie)
    if "cookies" in low and "{" in text:
        for header in _COOKIE_MAP.finditer(low):
            for cookie in _ITEM.finditer(text, *header.span("pairs")):
                yield from _cookie(cookie)


def _cookie(cookie: re.Match[str]) -> Iterator[Finding]:
    value = cookie["value"]
    if cookie["name"].lower() in _ATTRIBUTES or is_reference(value, quoted=True):
        return
    if len(value) >= 16 or (len(value) >= 6 and has_digit(value) and not value.isdigit()):
        yield *cookie.span("value"), "api_key"
