"""Numbers of bank accounts and cards."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from stdnum import iban, luhn, numdb

from otel_bridge.privacy.redaction.budget import Budget
from otel_bridge.privacy.redaction.context import WINDOW, follows_key, is_technical
from otel_bridge.privacy.redaction.findings import Finding

_IBAN = re.compile(r"[A-Za-z]{2}(?<![^\W_][A-Za-z]{2})[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}+")
_IBAN_BEGINS = re.compile(r"[A-Za-z]{2}[0-9]{2}").search


@functools.cache
def _iban_length(country: str) -> int:
    """How long an IBAN of this country is, by the registry that python-stdnum ships; 0 where it has none."""
    properties = numdb.get("iban").info(country)[0][1]
    lengths = re.findall(r"([0-9]+)!", properties.get("bban", ""))
    return 4 + sum(map(int, lengths)) if lengths else 0


def find_ibans(text: str, position: int, start: int, stop: int, budget: Budget) -> Iterator[Finding]:
    """IBANs that begin between `position` and the run of digits [start, stop)."""
    if _IBAN_BEGINS(text, position, start + 2) is None:
        return
    while (match := _IBAN.search(text, position, stop + 34)) and match.start() < stop:
        first = match.start()
        position = first + 4
        # The pattern runs on into the next words: the country's length says where the IBAN ends.
        needed = _iban_length(match[0][:2].upper())
        if not needed:
            continue
        compact: list[str] = []
        end = first
        for end in range(first, match.end()):
            if text[end] not in " -":
                compact.append(text[end])
                if len(compact) == needed:
                    break
        number = "".join(compact).upper()
        following = text[end + 1 : end + 2]
        # The sum takes 3 µs here and 100 in the library: only a right sum is passed on to it.
        if len(number) != needed or following.isalnum():
            continue
        if int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1 and (
            budget.spent() or iban.is_valid(number, check_country=False)
        ):
            position = end + 1
            yield first, position, "iban"


_CARD = re.compile(r"[2-6](?<![\w.][0-9])(?<![0-9a-f]{4}-[0-9])[0-9]{3}(?:[ .-]?[0-9]){8,15}(?!\w)")
_CARD_GROUPS = re.compile(
    r"[2-6][0-9]{3}(?:(?P<a>[ .-])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}|"
    r"(?P<b>[ .-])[0-9]{6}(?P=b)[0-9]{4,5})(?![0-9])"
)
# Issuer ranges by length: without them, one of ten long numbers would pass as a card.
_CARD_ISSUER = re.compile(
    r"(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7]|35)[0-9]{14}|3[47][0-9]{13}|3[0689][0-9]{12}|"
    r"(?:6|5[0678])[0-9]{11,18})"
).fullmatch


_BARE = re.compile(r"[0-9]{13,19}(?!\w)")
# A row of counts is no card: bare, or in the groups that cards are printed in.
_IN_GROUPS = re.compile(
    r"[0-9]{13,19}|[0-9]{4}(?:[ .-][0-9]{4}){2}[ .-][0-9]{1,7}|[0-9]{4}[ .-][0-9]{6}[ .-][0-9]{4,5}"
).fullmatch


def _is_card(value: str, budget: Budget) -> bool:
    number = value.replace(" ", "").replace("-", "").replace(".", "")
    return _CARD_ISSUER(number) is not None and (budget.spent() or luhn.is_valid(number))


def _is_count(text: str, match: re.Match[str]) -> bool:
    """Whether bare digits are part of a row of numbers, or the value of a key that names no card."""
    start = match.start()
    if not match[0].isdigit():
        return False
    before = text[max(0, start - WINDOW) : start]
    if is_technical(before.lower(), len(before)) and _CARD_KEY(before) is None:
        return True
    if before[-1:] == " " and before[-2:-1].isdigit():
        return True
    return follows_key(text, start) and _CARD_KEY(before) is None


_CARD_KEY = re.compile(
    r"(?i:tarjeta|card|cuenta|account|pedido|order|total|pan\b|visa|master|amex|pago|payment|n[uú]mero|number|cc)"
).search


def find_cards(text: str, start: int, stop: int, until: int, budget: Budget) -> Iterator[Finding]:
    """Cards that begin within [start, stop)."""
    position = start
    while (match := _CARD.search(text, position, until)) and match.start() < stop:
        # Groups of a printed card first: what follows it (expiry, CVV) belongs to the same run of digits.
        groups = _CARD_GROUPS.match(text, match.start())
        if groups and _is_card(groups[0], budget):
            position = groups.end()
            yield groups.start(), position, "card"
            continue
        # Bare digits next: another number may follow them.
        match = _BARE.match(text, match.start(), until) or match
        if _IN_GROUPS(match[0]) and not _is_count(text, match) and _is_card(match[0], budget):
            position = match.end()
            yield match.start(), position, "card"
        else:
            position = match.start() + 1
