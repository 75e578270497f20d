"""Numbers that name a person: of bank accounts, of cards, of identity documents, of telephones.

What is by its shape no more than a long number is asked for its checksum, or for a label before it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator

from stdnum import iban, luhn, numdb
from stdnum.ar import cuit
from stdnum.br import cnpj, cpf
from stdnum.cl import rut
from stdnum.co import nit
from stdnum.ec import ci as ec_ci
from stdnum.ec import ruc as ec_ruc
from stdnum.es import dni, nie
from stdnum.mx import curp, rfc
from stdnum.pe import ruc as pe_ruc
from stdnum.uy import rut as uy_rut

from otel_bridge.redaction.findings import Finding

_CHECKS = 4000


class _Budget:
    """How many candidates of one text get their checksum computed; the rest are taken for what they look like.

    A checksum costs 10 to 100 µs: a megabyte of well-shaped wrong numbers would hold a core for seconds.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _CHECKS

    def spent(self) -> bool:
        self._left -= 1
        return self._left < 0


RUN = re.compile(r"[0-9](?:[ .\-/()]{0,2}[0-9]){5,}+")

_IBAN = re.compile(r"[A-Za-z]{2}(?<![^\W_][A-Za-z]{2})[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,30}+")


@functools.cache
def _iban_length(country: str) -> int:
    """How long an IBAN of this country is, by the registry that python-stdnum ships; 0 where it has none."""
    properties = numdb.get("iban").info(country)[0][1]
    lengths = re.findall(r"([0-9]+)!", properties.get("bban", ""))
    return 4 + sum(map(int, lengths)) if lengths else 0


def _find_ibans(text: str, position: int, stop: int, budget: _Budget) -> Iterator[Finding]:
    while (match := _IBAN.search(text, position, stop + 34)) and match.start() < stop:
        start = match.start()
        position = start + 4
        # The pattern runs on into the next words: cut by the country's length, keep where it ends.
        needed = _iban_length(match[0][:2].upper())
        if not needed:
            continue
        compact: list[str] = []
        end = start
        for end in range(start, match.end()):
            if text[end] not in " -":
                compact.append(text[end])
                if len(compact) == needed:
                    break
        number = "".join(compact).upper()
        following = text[end + 1 : end + 2]
        # The sum costs 3 µs here and 100 in the library, which then has the last word.
        if len(number) != needed or following.isalnum():
            continue
        if int("".join(str(int(char, 36)) for char in number[4:] + number[:4])) % 97 == 1 and (
            budget.spent() or iban.is_valid(number, check_country=False)
        ):
            position = end + 1
            yield start, position, "iban"


_CARD = re.compile(r"[2-6](?<![\w.][0-9])(?<![0-9a-f]{4}-[0-9])[0-9]{3}(?:[ .-]?[0-9]){8,15}(?!\w)")
_CARD_GROUPS = re.compile(
    r"[2-6][0-9]{3}(?:(?P<a>[ .-])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}|"
    r"(?P<b>[ .-])[0-9]{6}(?P=b)[0-9]{4,5})(?![0-9])"
)
# Issuer ranges by length: without them, one in ten of all long numbers is a card.
_CARD_ISSUER = re.compile(
    r"(?:4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|(?:5[1-5]|2[2-7]|35)[0-9]{14}|3[47][0-9]{13}|3[0689][0-9]{12}|"
    r"(?:6|5[0678])[0-9]{11,18})"
).fullmatch


def _is_card(value: str, budget: _Budget) -> bool:
    number = value.replace(" ", "").replace("-", "").replace(".", "")
    return _CARD_ISSUER(number) is not None and (budget.spent() or luhn.is_valid(number))


def _find_cards(text: str, start: int, stop: int, budget: _Budget) -> Iterator[Finding]:
    position = start
    while match := _CARD.search(text, position, stop):
        # Groups of a printed card first: what follows it (expiry, CVV) belongs to the same run of digits.
        groups = _CARD_GROUPS.match(text, match.start())
        if groups and _is_card(groups[0], budget):
            position = groups.end()
            yield groups.start(), position, "card"
        elif _is_card(match[0], budget):
            position = match.end()
            yield match.start(), position, "card"
        else:
            position = match.start() + 1


# A number with a unit, a currency or a counted noun behind is a measure.
_UNIT = (
    r"(?! ?(?:[kKMGTP]i?[Bb]\b|[Bb]ytes?\b|B\b|bits?\b|[mµun]?s\b|seg|min\b|hora|d[ií]as|%|€|\$|"
    r"USD|EUR|MXN|COP|ARS|CLP|"
    r"peticion|request|evento|event|token|registro|record|fila|row|l[ií]nea|line|usuario|user|ve(?:z|ces)|mensaje|"
    r"message|objeto|object|item|elemento|entrada|salida|byte|cliente|sesion|llamada|segundo|operacion|milisegundo))"
)
_BEFORE = r"(?<![\w.,+#$€/])(?<![0-9]-)(?<![0-9a-f]{4}-)(?<![0-9]:)"
_AFTER = r"(?!\w|[.,:/-][0-9])" + _UNIT

# By shape. The first group holds ids whose separators nothing else uses: a typing error in one is no less
# personal, so no checksum is asked. Then phones. Then bare digits, which only a checksum tells from a count.
_NUMBER = re.compile(
    r"(?=[0-9+(VEJGPXYZxyz])(?:"
    rf"(?P<id_shape>{_BEFORE}(?:"
    r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9kK]|"  # Chile (RUT), Uruguay (CI)
    r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{1,2}|"  # Brazil (CPF), Colombia (NIT)
    r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}|"  # Brazil (CNPJ)
    r"[0-9]{2}-[0-9]{8}-[0-9]|"  # Argentina (CUIT, CUIL)
    r"[0-9]{3}-[0-9]{7}-[0-9]|"  # Dominican Republic
    r"[0-9]{4}-[0-9]{4}-[0-9]{5}|[0-9]{4}-[0-9]{6}-[0-9]{3}-[0-9]|"  # Honduras, El Salvador (NIT)
    r"[VE]-[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}(?:-?[0-9])?|[JGP]-[0-9]{8}-?[0-9]|"  # Venezuela
    r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"  # United States (SSN)
    rf"){_AFTER})|"
    rf"(?P<id_check>{_BEFORE}(?:"
    r"[0-9]{8}(?:[A-Za-z]|[ -][A-Z])|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}(?:[A-Za-z]|[ -][A-Z])|"  # Spain (DNI)
    r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]|"  # Spain (NIE)
    r"[0-9]{7,9}-[0-9kK]|[0-9]{7,8}[kK]"  # Chile, Ecuador, Colombia
    rf")(?!\w|-[0-9]))|"
    # International: from + or 00 on, up to the fifteen digits that E.164 allows.
    r"(?P<phone_plus>(?<![\w+])\+[1-9](?:[ .\-()/]{0,2}[0-9]){7,14}+|"
    rf"{_BEFORE}00[1-9](?:[ .()-]?[0-9]){{8,13}}+(?!\w))|"
    rf"(?P<phone>{_BEFORE}(?:"
    r"[679][0-9]{2}(?P<p1>[ -])[0-9]{3}(?P=p1)[0-9]{3}|"  # Spain, Peru, Chile
    r"[689][0-9]{2}(?P<p2>[ .-])[0-9]{2}(?P=p2)[0-9]{2}(?P=p2)[0-9]{2}|"  # Spain
    r"9[0-9](?P<p3>[ .-])[0-9]{3}(?P=p3)[0-9]{2}(?P=p3)[0-9]{2}|"  # Spain, landlines
    r"[67](?![0-9]*0000\b)[0-9]{8}|9[0-8](?![0-9]*0000\b)[0-9]{7}|"  # Spain, Chile, Peru
    r"\(0?[1-9][0-9]{0,3}\)[ .-]?[0-9]{3,5}[ .-]?[0-9]{4}|"  # (011) 4123-4567, (11) 91234-5678
    r"[2-9][0-9]{2}(?P<p4>[ .-])[0-9]{3}(?P=p4)[0-9]{4}|"  # Mexico, Colombia, North America
    r"0?(?:55|56|33|81|11|15)(?P<p5>[ -])[0-9]{4}[ -][0-9]{4}|"  # Mexico, Argentina
    r"0?[1-9][0-9]-[0-9]{4}-[0-9]{4}|"
    r"[1-9][0-9][ -]?9[0-9]{4}-[0-9]{4}|9(?P<p6>[ -])[0-9]{4}(?P=p6)[0-9]{4}|"  # Brazil, Chile
    r"0[24][0-9]{2}[ .-]?[0-9]{3}[ .-]?[0-9]{2}[ .-]?[0-9]{2}|"  # Venezuela
    r"09[0-9][ -]?[0-9]{3}[ -]?[0-9]{3,4}|"  # Ecuador, Uruguay
    r"3[0-5](?![0-9]*0000\b)[0-9]{8}|(?:55|33|81)(?![0-9]*0000\b)[0-9]{8}"  # Colombia, Mexico
    rf"){_AFTER})|"
    rf"(?P<id_bare>{_BEFORE}(?:[0-9]{{14}}|[0-9]{{11,13}}){_AFTER})"
    r")"
)
_CURP_RFC = re.compile(
    r"[A-ZÑ&]{4}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9](?!\w)|[A-ZÑ&]{3,4}[ -]?[0-9]{6}[ -]?[A-Z0-9]{3}(?!\w)"
)

Check = Callable[[str], bool]


def _is_national_id(value: str) -> bool:
    """Asks python-stdnum; the shape says which countries can be meant."""
    number = value.replace(".", "").replace("-", "").replace(" ", "").upper()
    checks: tuple[Check, ...]
    if number[0] in "XYZ":
        checks = (nie.is_valid,)
    elif number[-1] == "K":
        checks = (rut.is_valid,)
    elif not number[-1].isdigit():
        checks = (dni.is_valid,)
    elif "-" in value:
        checks = (ec_ci.is_valid, nit.is_valid) if len(number) == 10 else (rut.is_valid,)
    elif len(number) == 11:
        checks = (cuit.is_valid, cpf.is_valid, pe_ruc.is_valid)
    elif len(number) == 12:
        checks = (uy_rut.is_valid,) if number[8:11] == "001" else ()
    elif len(number) == 13:
        checks = (ec_ruc.is_valid,) if number.endswith("001") else ()
    else:
        checks = (cnpj.is_valid,)
    return any(check(number) for check in checks)


def _find_numbers(text: str, start: int, stop: int, budget: _Budget) -> Iterator[Finding]:
    position = start
    while match := _NUMBER.search(text, position, stop):
        group = match.lastgroup
        if match["id_check"] or match["id_bare"]:
            if not (budget.spent() or _is_national_id(match[0])):
                position = match.start() + 1
                continue
            group = "id"
        elif match["id_shape"]:
            group = "id"
        position = match.end()
        yield match.start(), position, "national_id" if group == "id" else "phone"


def _find_curps(text: str, position: int, before: int, stop: int) -> Iterator[Finding]:
    """A CURP or RFC whose letters stand just before a run of digits, which starts at `before`."""
    match = _CURP_RFC.search(text, position, stop)
    if match and match.start() < before:
        start, value = match.start(), match[0]
        if start and (text[start - 1].isalnum() or text[start - 1] in "_-"):
            return
        compact = value.replace("-", "").replace(" ", "")
        if len(compact) == 18:
            # Without the check digit: the shape has a birth date, a sex and a state, nothing else looks so.
            found = curp.is_valid(compact, validate_check_digits=False)
        else:
            found = rfc.is_valid(compact, validate_check_digits=True)
        if found:
            yield start, match.end(), "national_id"


# A bare number right behind its label. Looked for backwards from each run of digits, so that a text without
# one pays nothing. `run` and `ci` alone are no labels: they are words of this trade.
_FILLER = (
    r"(?![^\W\d_])(?:[\s:=#(\"'*/\-]|n[º°o]\.?|n[uú]mero|nro\.?|n[uú]m\.?|number|es|is|el|al|de|en|mi|contacto|"
    r"identidad|ciudadan[ií]a|extranjer[ií]a|nacional)*+\+?\Z"
)
_ID_LABEL = re.compile(
    r"(?:dni|nie|nif|cif|curp|cuit|cuil|rut|nit|cpf|cnpj|rif|ruc|c\.i\.|ci:|c\.c\.|cc|dui|dpi|nss|ssn|"
    r"c[eé]dula|documento|carn[eé]t? de identidad|pasaporte|passport|identificaci[oó]n)" + _FILLER
).search
_PHONE_LABEL = re.compile(
    r"(?:tel[eé]fonos?|tel[eé]f\.?|telf?\.?|tfno\.?|tlf\.?|m[oó]vil|cel(?:ular)?\.?|whats?app|wasap|wsp|fijo|"
    r"phone|mobile|ll[aá]m[ae](?:me|r|rme|nos)?|fax|wa\.me)" + _FILLER
).search
_LABELLED = re.compile(r"[0-9](?:[ .-]?[0-9]){5,12}+(?:-?[A-Za-z](?!\w))?")
_LABELLED_PHONE = re.compile(r"[0-9](?:[ .\-()/]{0,2}[0-9]){5,14}+")
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/.](?:0[1-9]|1[0-2])[-/.][0-3][0-9]|[0-3]?[0-9][-/.][01]?[0-9][-/.](?:19|20)[0-9]{2}"
).match
_WINDOW = 40


def _starts_word(text: str, match: re.Match[str] | None) -> bool:
    return match is not None and (match.start() == 0 or not text[match.start() - 1].isalnum())


def _find_labelled(text: str, low: str, start: int) -> Iterator[Finding]:
    if _DATE(text, start):
        return
    since = max(0, start - _WINDOW)
    if _starts_word(low, _ID_LABEL(low, since, start)):
        if match := _LABELLED.match(text, start):
            yield start, match.end(), "national_id"
    elif _starts_word(low, _PHONE_LABEL(low, since, start)) and (match := _LABELLED_PHONE.match(text, start)):
        first = start - 1 if text[start - 1] in "+(" else start
        yield first, match.end(), "phone"


def find_runs(text: str, low: str, run: re.Match[str] | None) -> Iterator[Finding]:
    """What has six digits or more, around each such run."""
    budget = _Budget()
    while run is not None:
        start, stop = run.span()
        # Some room around: letters that belong to an id before, units after.
        since, until = max(0, start - 3), min(len(text), stop + 16)
        yield from _find_curps(text, max(0, start - 5), start, min(len(text), stop + 12))
        yield from _find_ibans(text, max(0, start - 11), stop, budget)
        if stop - start >= 12:
            yield from _find_cards(text, since, until, budget)
        yield from _find_labelled(text, low, start)
        yield from _find_numbers(text, since, until, budget)
        run = RUN.search(text, stop)
