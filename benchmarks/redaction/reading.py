"""Plain lines of a file: of man pages, HTML and message catalogues what a reader sees."""

from __future__ import annotations

import gettext
import gzip
import html
import io
import re
from collections.abc import Iterator
from pathlib import Path

_BINARY = re.compile(r"\.(?:png|gif|jpe?g|svg|pdf|css|js|inv|ico|so|pyc|woff2?|pem|csr|key|crt|ipynb)$")
_MAN = re.compile(r"\.[1-9][a-z]*(?:\.gz)?$")
_TAG = re.compile(r"<[^<>]*>")
_NO_TEXT = re.compile(r"<(script|style|head)\b.*?</\1>", re.DOTALL | re.IGNORECASE)
_BLOCK = re.compile(r"<(?:/?(?:p|div|li|h[1-6]|tr|td|th|pre|dd|dt|table|ul|ol|section)\b[^<>]*|br ?/?)>", re.IGNORECASE)
_PRE = re.compile(r"<pre\b.*?</pre>", re.DOTALL | re.IGNORECASE)
_ROFF_MARKS = re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[+-]?[0-9]|\\[&|^/,:%]|\\c$")
_ROFF_CHARS = {
    r"\-": "-", r"\e": "\\", r"\ ": " ", r"\(aq": "'", r"\(dq": '"', r"\(bu": "*", r"\(em": "—", r"\(en": "–",
    r"\(co": "©", r"\(lq": "“", r"\(rq": "”", r"\(oq": "‘", r"\(cq": "’", r"\(ha": "^", r"\(ti": "~", r"\~": " ",
    r"\(rs": "\\", r"\.": ".", r"\0": " ",
}  # fmt: skip
_ROFF_TEXT = re.compile(r"\.(?:B|I|BR|IR|BI|IB|RB|RI|SM|SH|SS|TP|IP|Nm|Fl|Ar|Pa|Cm|Xr|Dl|It|Sh|Ss|Op|Sy|Em)\b ?")


def lines_of(path: Path) -> Iterator[str]:
    name = path.name
    if _BINARY.search(name):
        return
    if name.endswith(".mo"):
        yield from _catalogue(path)
        return
    raw = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return
    if "\0" in text:
        return
    if "/man/" in str(path) and _MAN.search(name):
        yield from map(_unroffed, text.splitlines())
    elif name.endswith((".html", ".html.gz")) or ".html." in name:
        yield from _of_html(text)
    else:
        yield from text.splitlines()


def _catalogue(path: Path) -> Iterator[str]:
    catalogue = gettext.GNUTranslations(io.BytesIO(path.read_bytes()))
    for message in catalogue._catalog.values():  # type: ignore[attr-defined]  # it has no public list
        yield from str(message).splitlines()


def _of_html(text: str) -> Iterator[str]:
    text = _NO_TEXT.sub("", text)
    # A line of a paragraph ends where the paragraph does; one of an example where it was written to end.
    last = 0
    for match in [*_PRE.finditer(text), None]:
        prose = text[last : match.start() if match else None]
        for block in _BLOCK.split(prose):
            yield html.unescape(" ".join(_TAG.sub("", block).split()))
        if match:
            yield from html.unescape(_TAG.sub("", match[0])).splitlines()
            last = match.end()


def _unroffed(line: str) -> str:
    if line.startswith((".\\", "'\\")):
        return ""
    if line.startswith((".", "'")):
        macro = _ROFF_TEXT.match(line)
        if macro is None:
            return ""
        line = line[macro.end() :].replace('"', "")
    line = _ROFF_MARKS.sub("", line)
    for code, char in _ROFF_CHARS.items():
        line = line.replace(code, char)
    return line
