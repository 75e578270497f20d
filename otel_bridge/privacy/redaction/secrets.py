"""Secrets with a form of their own: private keys, passwords in URLs, JWTs.

All patterns here and in the other finders are linear in practice: their repeats are possessive or bounded, and a
look-behind lets a run of one class start only once. Where possible they start with a literal or a class, never with a
look-behind: then the regex engine can skip ahead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.findings import PLACEHOLDER, Finding

_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# A key cut before its END: headers, whole base64 lines (also with a literal \n between), a last short one.
_PEM_BODY = re.compile(
    r"(?:\s|\\[rn])*+(?:(?:Proc-Type|DEK-Info|Version|Comment): ?[^\n\\]{0,200}(?:\s|\\[rn])*+)*+"
    r"(?:[A-Za-z0-9+/=]{16,}+(?:\s|\\[rn])*+)*+(?:[A-Za-z0-9+/=]{1,76}+\s*\Z)?"
)


def find_private_keys(text: str) -> Iterator[Finding]:
    position = 0
    ended = True  # once no END follows, none follows any later BEGIN: do not search for it again
    while begin := _PEM_BEGIN.search(text, position):
        end = _PEM_END.search(text, begin.end()) if ended else None
        ended = end is not None
        if end is None:
            body = _PEM_BODY.match(text, begin.end())
            position = body.end() if body else begin.end()
        else:
            position = end.end()
        stop = position
        while text[stop - 1].isspace():
            stop -= 1
        yield begin.start(), stop, "private_key"


# The user stays (it tells which account fails), unless it is an e-mail: the e-mail finder takes that.
# A password may hold a raw `/`, `#` or `?` (many tools write it so), unless what precedes it is a port.
_URL_PASSWORD = re.compile(
    r"://[^\s/?#:\"'<>]{0,256}+:(?!" + PLACEHOLDER + r"@)"
    r"(?!(?:\$\{?\w{1,60}\}?|\{\{?[^{}\s]{0,60}\}\}?|%\w{1,60}%)@)"  # a reference to it
    r"(?:(?P<plain>[^\s/?#\"'<>]{1,256})@|(?![0-9]{1,5}[/?#])(?P<odd>[^\s\"'<>@:]{1,128}+)@)"
)


def find_url_passwords(text: str) -> Iterator[Finding]:
    for match in _URL_PASSWORD.finditer(text):
        start, end = match.span("plain" if match["plain"] else "odd")
        yield start, end, "url_password"


JWT = re.compile(r"eyJ(?:(?<![\w-]eyJ)|(?<=\\neyJ))[\w-]{5,}+\.[\w-]{5,}+(?:\.[\w-]*+){0,3}", re.ASCII)
