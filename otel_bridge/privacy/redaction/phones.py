"""Telephones: international ones of anywhere, national ones of the configured regions.

Four looks, from the surest to the least sure:

1. with `+` or `00`: a telephone of any country;
2. with a label («tel.», «móvil», «WhatsApp»): any number of the right length;
3. `SHAPES`: how people of a region write their numbers. Numbers in texts are often invented, so the way they are
   written counts, not whether an operator has assigned them;
4. in groups, and a valid fixed or mobile number of a region by the metadata of `phonenumbers` (libphonenumber's
   maintained port). Its own matcher takes 500 µs for a candidate and 21 regions; here its patterns are compiled once
   and take 10.

A number without `+`, `00` or parentheses is left alone where the text before it says that it is a count, an id or a
measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, country_code_for_region
from phonenumbers.phonemetadata import PhoneMetadata

from otel_bridge.config import REGIONS
from otel_bridge.privacy.redaction.context import (
    AFTER,
    BEFORE,
    END,
    WINDOW,
    follows_key,
    follows_word,
    is_joined,
    is_technical,
    starts_word,
)
from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.phone_shapes import SHAPES, shape_pattern

# An area code in parentheses, of any of these regions: (011) 4123-4567, (11) 91234-5678, (380) 15 123-4567.
_IN_PARENTHESES = (
    r"(?:\((?:34|5[1-8]|50[2-7]|59[1358])\)[ .-]?[0-9]{1,3}[ .-][0-9]{2,4}(?:[ .-]?[0-9]{2,4}){1,2}|"
    r"\(0[0-9]{2,3}\)[ .-]?[0-9]{3}[.-][0-9]{2}[.-][0-9]{2}|"
    r"\(0?[1-9][0-9]{0,3}\)[ .-]?(?:15[ .-]?)?(?:9[ ])?[0-9]{2,5}[ .-]?[0-9]{3,4}(?:[ .-]?[0-9]{2})?)"
)

# Eight digits in two groups are a telephone in half of the regions, and a range or a date elsewhere: a telephone only
# after a word that announces one (`_CUE`).
_SHORT = re.compile(
    rf"{BEFORE}(?:[2-9][0-9]{{3}}[ -][0-9]{{4}}|[2-7][ -][0-9]{{3}}[ -]?[0-9]{{4}}|[2-9][0-9]{{2}}-[0-9]{{4}}){AFTER}"
)
_CUE = re.compile(
    r"(?:\b(?:al|marca[rd]?|marque|ll[aá]m\w+|n[uú]mero(?: es)?|contacto|contactar|soporte|guardia)[ :]{1,2}|"
    r"\ben (?:(?-i:[A-ZÁÉÍÓÚÑ])\w+[ ]){1,3}[:]?[ ]?)\Z",
    re.IGNORECASE,
).search

_LABEL = re.compile(
    r"(?:tel[eé]fonos?|tel[eé]f\.?|telf?\.?|tfno\.?|tlf\.?|m[oó]vil(?:es)?|cel(?:ular(?:es)?)?\.?|whats?app|wasap|"
    r"wsp|fijo|"
    r"phone(?:_?number)?|msisdn|caller_?id|sms_number|tel[eé]fono_\w{1,16}|celu|mobile|ll[aá]m[ae](?:me|r|rme|"
    r"nos)?|fax|wa\.me)"
    r"(?![^\W\d_])(?:[\s:=#(\"'*/|\-]|n[º°o]\.?|n[uú]mero|nro\.?|n[uú]m\.?|number|es|is|el|al|de|en|mi|contacto)*+\+?\Z"
).search
# «móvil argentino …», «teléfono de Costa Rica: …»: some words between the label and the number.
_LABEL_APART = re.compile(
    r"(?:tel[eé]fonos?|tel[eé]f\.?|tfno\.?|tlf\.?|m[oó]vil|celular|whats?app|wasap|phone|mobile)"
    r"(?: [^\W\d_]+){1,3}:? ?\(?\Z"
).search
_LABEL_AFTER = re.compile(
    r",? (?:(?:es|son) )?(?:(?:mi|el|su|nuestro|tu|de|por|m[ií]o|en) ){0,2}"
    r"(?:n[uú]mero de )?(?:whats?app|wasap|celular|cel\b|m[oó]vil|tel[eé]fono|tel\b|n[uú]mero\b|fijo\b)"
).match
_LABELLED = re.compile(r"[0-9](?:[ .\-()/]{0,2}[0-9]){5,14}+")
_APART = re.compile(r"[0-9](?:[ .\-()]{0,2}[0-9]){6,11}+(?!\w|[.,:/-][0-9])")

_INTERNATIONAL = (
    r"(?P<plus>(?<![\w+])\+[1-9](?:[ .\-()/]{0,2}[0-9]){7,14}+|"
    rf"{BEFORE}(?<!:)\(?00[1-9](?:[ .()-]{{0,2}}[0-9]){{8,13}}+(?![^\W\d]))"
)
_GROUPED = re.compile(rf"{BEFORE}\(?[0-9]{{1,5}}(?:[ -]|\)[ -]?)[0-9]{{2,5}}(?:[ -][0-9]{{2,5}}){{0,3}}{AFTER}")
# Two numbers of a row before this one.
_ROW = re.compile(r"(?<![0-9.])[0-9.]{1,20}[,;] ?[0-9.]{4,20}[,;] ?\Z").search
# Dates and the postal codes of the United States are written in groups, too.
_NO_NUMBER = re.compile(r"(?:19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}|^[0-9]{5}-[0-9]{4}$").search
_POWERS = frozenset(("128", "256", "512", "1024", "2048", "4096", "8192"))
_CODES = frozenset(map(str, COUNTRY_CODE_TO_REGION_CODE))
_ENCODED = re.compile(r"[1-9][0-9]{7,14}(?![0-9])").match
_GROUP = re.compile(r"\(?\+?[0-9]+")
_NOT_DIGIT = re.compile(r"[^0-9]+")


@lru_cache
def _national(region: str) -> tuple[re.Pattern[str] | None, re.Pattern[str]]:
    """The trunk prefix of a region, and the pattern of its fixed and mobile numbers, by libphonenumber's metadata."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    if metadata is None:
        raise ValueError(f"{region!r} is no region that phonenumbers knows")
    prefix = metadata.national_prefix_for_parsing
    kinds = [metadata.fixed_line, metadata.mobile]
    patterns = [kind.national_number_pattern for kind in kinds if kind is not None and kind.national_number_pattern]
    return re.compile(prefix) if prefix else None, re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


def _lengths(region: str) -> frozenset[int]:
    """How many digits a telephone of a region has, with its country's code."""
    metadata = PhoneMetadata.metadata_for_region(region, None)
    code = country_code_for_region(region)
    if metadata is None or metadata.mobile is None or metadata.fixed_line is None:
        return frozenset()
    lengths = {*metadata.mobile.possible_length, *metadata.fixed_line.possible_length}
    if code == 52:
        lengths.add(11)  # the 1 that was written before mobiles until 2019
    return frozenset(len(str(code)) + length for length in lengths)


class Phones:
    """Finds the telephones of some regions. Building it takes 10 ms."""

    def __init__(self, regions: Sequence[str] = REGIONS) -> None:
        """Raises ValueError for an unknown region."""
        self._regions = [_national(region) for region in regions]
        self._codes = {str(country_code_for_region(region)) for region in regions}
        self._lengths = {str(country_code_for_region(region)): _lengths(region) for region in regions}
        shapes = [
            shape_pattern(shape.pattern, number)
            for number, shape in enumerate(SHAPES)
            if not set(regions).isdisjoint(shape.regions.split())
        ]
        shaped = "".join(f"(?:{shape})|" for shape in shapes)
        self._number = re.compile(
            rf"(?=[0-9+(])(?:{_INTERNATIONAL}|{BEFORE}(?:(?P<parentheses>{_IN_PARENTHESES}){END}|"
            rf"(?P<shape>{shaped}(?!)){AFTER}))"
        )
        # Right behind another number: 612345678,698765432,…
        self._joined = re.compile(self._number.pattern.replace(BEFORE, ""))

    def find(self, text: str, low: str, start: int, stop: int, until: int, last: int = -2) -> Iterator[Finding]:
        """Telephones that begin within [start, stop). Looks no further than `until`. `last`: where the finding before
        them ends."""
        position, before = 0, last
        for finding in (self._labelled(text, low, start, stop, until), _encoded(text, low, start, until)):
            if finding is not None:
                yield finding
                position = last = finding[1]
        if position < stop:
            for finding in self._written(text, low, start, stop, until, position, last):
                yield finding
                last = finding[1]
        if last == before:
            finding = self._grouped(text, low, start, stop, until, last)
            if finding is not None:
                yield finding

    def _labelled(self, text: str, low: str, start: int, stop: int, until: int) -> Finding | None:
        """A number with a label. A label takes up to fifteen digits: it ends where the next number begins."""
        finding = _behind_label(text, low, start, until)
        if finding is None:
            return None
        first, end, kind = finding
        match = self._number.match(text, first, until)
        if match and match.end() < end:
            number_end = self._cut(text, first, match.end(), stop) if match["plus"] else match.end()
            rest = _NOT_DIGIT.sub("", text[number_end : min(stop, number_end + 2 * WINDOW)])
            if first < number_end and len(rest) >= 7:
                end = number_end
        return first, end, kind

    def _written(
        self, text: str, low: str, start: int, stop: int, until: int, position: int, last: int
    ) -> Iterator[Finding]:
        """Numbers from `position` on that are written as telephones are: with a sign, in parentheses, in a shape."""
        for begin in _beginnings(text, start, stop):
            if begin < position:
                continue
            number = self._joined if is_joined(text, begin, last) else self._number
            if (match := number.match(text, begin, until)) is None:
                continue
            end = match.end()
            if match["plus"]:
                end = self._cut(text, begin, end, stop)
            sure = match["parentheses"] or (match["plus"] and self._has_country(text[begin:end]))
            if sure or (not match["plus"] and self._is_phone(text, low, begin, end, last)):
                yield begin, end, "phone"
                position = last = end

    def _grouped(self, text: str, low: str, start: int, stop: int, until: int, last: int) -> Finding | None:
        """The least sure look: the first number in groups that a word announces, or that is valid in a region."""
        hyphens = text.count("-", start, stop)
        for begin in _beginnings(text, start, stop):
            if match := _SHORT.match(text, begin, until):
                if _CUE(text, max(0, begin - WINDOW), begin):
                    return *match.span(), "phone"
            elif (
                (hyphens > 1 or text[begin] in "0(")
                and (match := _GROUPED.match(text, begin, until))
                and self._is_phone(text, low, *match.span(), last)
                and self._is_valid(match[0])
            ):
                return *match.span(), "phone"
        return None

    def _cut(self, text: str, start: int, end: int, stop: int) -> int:
        """Where an international number ends: with its digits, or where another number begins among them."""
        digits = _NOT_DIGIT.sub("", text[start:end]).removeprefix("00")
        lengths = next((self._lengths[digits[:size]] for size in (1, 2, 3) if digits[:size] in self._lengths), None)
        if lengths is None:
            return end if not text[end : end + 1].isdigit() else start
        count = 0
        zeros = 2 if text[start] != "+" else 0
        best = 0
        for match in _GROUP.finditer(text, start, min(stop, end + 16)):
            count += sum(map(str.isdigit, match[0]))
            if count - zeros in lengths:
                best = match.end()
        if best:
            rest = _NOT_DIGIT.sub("", text[best : min(stop, best + 2 * WINDOW)])
            if len(rest) >= 7:
                return best
        return end if not text[end : end + 1].isdigit() else start

    def _has_country(self, value: str) -> bool:
        """Whether an international number begins with a country's code. After 00 only the configured regions count:
        counts and ids begin with zeros, too."""
        digits = _NOT_DIGIT.sub("", value)
        if len(digits) < 8:
            return False
        if value.startswith("+"):
            return not _CODES.isdisjoint((digits[:1], digits[:2], digits[:3]))
        if digits[2] == "1":  # North America: eleven digits, and no area begins with 0 or 1
            return "1" in self._codes and len(digits) == 13 and digits[3] > "1"
        return not self._codes.isdisjoint((digits[2:4], digits[2:5]))

    def _is_phone(self, text: str, low: str, start: int, end: int, last: int) -> bool:
        """Whether a number in the shape of a telephone is one, and no row of counts and no id."""
        value = text[start:end]
        if " " in value and all(group.endswith("0") or group in _POWERS for group in value.split()):
            return False  # 250 300 1000: measures are round, telephones are not
        if (" " in value or value.isdigit()) and start >= 2 and text[start - 1] in " \t" and start - last > 3:
            before = text[max(0, start - 8) : start].rstrip(" \t")
            if before[-1:].isdigit() or before.endswith("[ip]"):
                return False
            if before[-1:] in (",", ";") and _ROW(text, max(0, start - WINDOW), start):
                return False  # the end of a longer row
        return not is_technical(low, start) and not (value.isdigit() and follows_key(text, start))

    def _is_valid(self, value: str) -> bool:
        digits = _NOT_DIGIT.sub("", value)
        # Without a trunk prefix or a parenthesis it might as well be ports, sizes or a range.
        if _NO_NUMBER(value) or not 9 <= len(digits) <= 12 or (value[0] not in "0(" and value.count("-") < 2):
            return False
        for prefix, pattern in self._regions:
            if pattern.fullmatch(digits):
                return True
            if prefix is not None and (trunk := prefix.match(digits)) and pattern.fullmatch(digits, trunk.end()):
                return True
        return False


def _beginnings(text: str, start: int, stop: int) -> list[int]:
    """Where a number can begin within a run of digits: at a group, or at the `+` or `(` before one."""
    places = []
    for match in _GROUP.finditer(text, max(0, start - 2), stop):
        first = match.start()
        if text[first] == "(":
            if text[first + 1] == "+":
                places.append(first + 1)
            places.append(first)
            places.append(first + 1)  # Ana (612345678)
        else:
            places.append(first)
    return places


def _encoded(text: str, low: str, start: int, until: int) -> Finding | None:
    """A number whose `+` a URL encodes: ?To=%2B34612345678."""
    if start < 3 or not low.startswith("%2b", start - 3):
        return None
    match = _ENCODED(text, start, until)
    return None if match is None else (*match.span(), "phone")


def _behind_label(text: str, low: str, start: int, until: int) -> Finding | None:
    """A number right behind its label, or right before it. The search starts from a run of digits: a text without
    digits costs nothing."""
    since = max(0, start - WINDOW)
    worded = follows_word(low, start)
    if worded and starts_word(low, _LABEL(low, since, start)):
        match = _LABELLED.match(text, start, until)
    else:
        match = _APART.match(text, start, until)
        if match is None:
            return None
        if not _LABEL_AFTER(low, match.end()) and not (worded and starts_word(low, _LABEL_APART(low, since, start))):
            return None
    if match is None:
        return None
    first = start - 1 if start and text[start - 1] in "+(" else start
    return first, match.end(), "phone"
