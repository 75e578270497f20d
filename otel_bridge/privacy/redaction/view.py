"""A text as a reader sees it, and where its characters stand in the original."""

from __future__ import annotations

import re
import unicodedata

# Digits of other scripts, full-width ASCII, unusual spaces and dashes, characters without width.
_ODD = re.compile(
    "[\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u2015\u2024\u2028-\u202f\u205f-\u206f\u2212"
    "\u3000\u3164\ufe00-\ufe0f\ufe52\ufe55\ufe63\ufe66\ufe6b\ufeff\uff01-\uff5e\uffa0\U0001d7ce-\U0001d7ff"
    "\U000e0000-\U000e0fff]"
    r"|(?![0-9])\d"
    # Accents written as a character of their own, as macOS writes them.
    "|[\u0300-\u034e\u0350-\u036f]+"
)
_MARKS = ("\u0300", "\u036f")


def _plain(char: str) -> str:
    """The ASCII character that an odd one looks like; empty where it is invisible."""
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if category == "Pd" or char == "\u2212":
        return "-"
    if category in ("Zl", "Zp"):
        return "\n"
    compatible = unicodedata.normalize("NFKC", char)
    return compatible if len(compatible) == 1 and compatible.isascii() else ""


def normalised(text: str, latin: bool) -> tuple[str, list[int] | None]:
    """The text as a reader sees it, and the place of each of its characters in the original (None: unchanged)."""
    # Of Latin-1 only the no-break space and the soft hyphen are odd.
    if latin and "\xa0" not in text and "\xad" not in text:
        return text, None
    if not latin and _ODD.search(text) is None:
        return text, None
    pieces: list[str] = []
    places: list[int] = []
    last = 0
    for match in _ODD.finditer(text):
        start = match.start()
        if _MARKS[0] <= match[0][0] <= _MARKS[1] and match[0][0] != "\u034f":
            # Composed with the letter before it, at that letter's place; left as it is where there is no such letter.
            if last < start:
                composed = unicodedata.normalize("NFC", text[start - 1 : match.end()])
                pieces.append(text[last : start - 1])
                pieces.append(composed)
                places.extend(range(last, start))
                places.extend(range(match.end() - len(composed) + 1, match.end()))
                last = match.end()
            continue
        pieces.append(text[last:start])
        places.extend(range(last, start))
        last = match.end()
        plain = _plain(match[0])
        pieces.append(plain)
        if plain:
            places.append(start)
    pieces.append(text[last:])
    places.extend(range(last, len(text)))
    return "".join(pieces), places


def lower(text: str) -> str:
    """In lower case, with every character at its place: only İ would become two."""
    low = text.lower()
    return low if len(low) == len(text) else text.replace("İ", "I").lower()
