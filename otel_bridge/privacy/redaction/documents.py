"""Identity documents and tax numbers of persons: Spain, Latin America, the United States.

A document that has the shape of any long number needs a valid checksum, or a label before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

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

from otel_bridge.privacy.redaction.budget import Budget
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

# A document with a check letter may also be a value or a part of a path: ?dni=…, /clientes/….
_CHECKED_BEFORE = r"(?<![\w.+#$€@])(?<![0-9][,/:-])(?<![0-9a-f]{4}-)(?<![A-Za-z_]-)"

# `shape`: documents whose separators nothing else uses. With a typing error they are no less personal, so their
# checksum is not checked. `check` and `bare`: only a checksum tells them from a count.
_DOCUMENT = re.compile(
    r"(?=[0-9VEJGPXYZxyz])(?:"
    rf"(?P<shape>{BEFORE}(?:"
    r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9kK]|"  # Chile (RUT), Uruguay (CI)
    r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{1,2}|"  # Brazil (CPF), Colombia (NIT)
    r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}|"  # Brazil (CNPJ)
    r"[0-9]{2}-[0-9]{8}-[0-9]|"  # Argentina (CUIT, CUIL)
    r"[0-9]{3}-[0-9]{7}-[0-9]|"  # Dominican Republic
    r"[0-9]{4}-[0-9]{4}-[0-9]{5}|[0-9]{4}-[0-9]{6}-[0-9]{3}-[0-9]|"  # Honduras, El Salvador (NIT)
    r"[VE]-[0-9]{1,2}\.?[0-9]{3}\.?[0-9]{3}(?:-?[0-9])?|[JGP]-[0-9]{8}-?[0-9]|"  # Venezuela
    r"(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"  # United States (SSN)
    rf"){END})|"
    rf"(?P<check>{_CHECKED_BEFORE}(?:"
    r"[0-9]{8}(?:[A-Za-z]|[ -][A-Z])|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}(?:[A-Za-z]|[ -][A-Z])|"  # Spain (DNI)
    r"[XYZxyz][ -]?[0-9]{7}[ -]?[A-Za-z]|"  # Spain (NIE)
    r"[0-9]{7,9}-[0-9kK]|[0-9]{7,8}[kK]"  # Chile, Ecuador, Colombia
    rf")(?!\w|-[0-9]))|"
    rf"(?P<bare>{BEFORE}(?:[0-9]{{14}}|[0-9]{{11,13}}){AFTER})"
    r")"
)
_JOINED = re.compile(_DOCUMENT.pattern.replace(BEFORE, "").replace(_CHECKED_BEFORE, ""))
_HAS_SHAPE = re.compile(r"[./-]|[0-9]{7}").search
"""What every document above has in its digits, or right before them: groups with spaces between are none of them."""
_CURP_RFC = re.compile(
    r"[A-ZÑ&]{4}[0-9]{6}[HM][A-Z]{5}[A-Z0-9][0-9](?!\w)|[A-ZÑ&]{3,4}[ -]?[0-9]{6}[ -]?[A-Z0-9]{3}(?!\w)"
)

Check = Callable[[str], bool]


def _is_national_id(value: str) -> bool:
    """Whether python-stdnum accepts a value as a document of one of the countries that use its shape."""
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


def find_documents(
    text: str, low: str, start: int, stop: int, until: int, budget: Budget, last: int = -2
) -> Iterator[Finding]:
    """Documents that begin within [start - 2, stop): a letter may stand before the first digit. `last`: where the
    finding before them ends."""
    if _HAS_SHAPE(text, max(0, start - 1), stop) is None:
        return
    position = 0
    for begin in _beginnings(text, start, stop):
        if begin < position:
            continue
        pattern = _JOINED if is_joined(text, begin, last) else _DOCUMENT
        if (match := pattern.match(text, begin, until)) is None:
            continue
        if match["bare"] and (is_technical(low, begin) or follows_key(text, begin)):
            continue
        if match["shape"] or budget.spent() or _is_national_id(match[0]):
            position = last = match.end()
            yield begin, position, "national_id"


_BEGINNING = re.compile(r"(?<![^\W_])(?:[VEJGPXYZxyz][ -]?)?(?P<digits>[0-9])[0-9]*+")


def _beginnings(text: str, start: int, stop: int) -> Iterator[int]:
    """Where an id can begin within a run of digits: at a group, or at the letter before one."""
    for match in _BEGINNING.finditer(text, max(0, start - 2), stop):
        yield match.start()
        if match.start("digits") != match.start():
            yield match.start("digits")


def find_curps(text: str, position: int, before: int, stop: int) -> Iterator[Finding]:
    """A CURP or RFC whose letters stand just before a run of digits, which starts at `before`."""
    last = text[max(0, before - 2) : before].rstrip(" -")[-1:]
    if not (last.isupper() or last == "&"):
        return  # a tenth of the search's time
    match = _CURP_RFC.search(text, position, stop)
    if match and match.start() < before:
        start, value = match.start(), match[0]
        if start and (text[start - 1].isalnum() or text[start - 1] in "_-"):
            return
        compact = value.replace("-", "").replace(" ", "")
        if len(compact) == 18:
            # Without the check digit: with a birth date, a sex and a state, the shape is unique.
            valid = curp.is_valid(compact, validate_check_digits=False)
        else:
            valid = rfc.is_valid(compact, validate_check_digits=True)
        if valid:
            yield start, match.end(), "national_id"


# `run` and `ci` alone are no labels: they are technical words. The search goes backwards from each run of digits: a
# text without digits costs nothing.
_LABEL = re.compile(
    r"(?:dni|nie|nif|cif|curp|cuit|cuil|rut|nit|cpf|cnpj|rif|ruc|c\.i\.|ci:|c\.c\.|cc|dui|dpi|nss|ssn|"
    r"clabe|cbu|cvu|c[eé]dula|documento|carn[eé]t? de identidad|pasaporte|passport|identificaci[oó]n)"
    r"(?:(?<=dni|nie|nif)(?:[-:. ])?|[\s:=#(\"'*/|.\-]|n[º°o]\.?)(?:[\s:=#(\"'*/|\-]|n[º°o]\.?|n[uú]mero|nro\.?|"
    r"n[uú]m\.?|number|es|is|el|al|de|en|mi|(?:peruan|argentin|bolivian|chilen|colombian|mexican|ecuatorian)[oa]|"
    r"per[uú]\)?|panameñ[oa]|"
    r"uruguay[oa]|identidad|ciudadan[ií]a|extranjer[ií]a|nacional)*+\Z"
).search
_LABELLED = re.compile(
    r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}(?![0-9])|"
    # The whole number at once: else the number after it would be cut.
    r"(?:[0-9]{7,13}|[0-9]{18}|[0-9]{22}|[0-9]{1,3}(?:\.[0-9]{3}){2,3})(?![0-9.])(?:-?[0-9A-Za-z](?!\w))?(?!-[0-9])|"
    r"[0-9](?:[ .-]?[0-9]){5,12}+(?:-?[A-Za-z](?!\w))?"
)
_LETTERS = re.compile(r"(?<![^\W_])[A-Za-z]{1,3}-?\Z").search


def find_labelled(text: str, low: str, start: int) -> Finding | None:
    """A number right behind the name of a document."""
    first = start
    if letters := _LETTERS(text, max(0, start - 4), start):  # pasaporte AAB123456, cédula V12345678
        label = _LABEL(low, max(0, letters.start() - WINDOW), letters.start())
        if label is not None and label[0][:3] in ("pas", "céd", "ced"):
            first = letters.start()
    if not follows_word(low, first):
        return None
    label = _LABEL(low, max(0, first - WINDOW), first)
    if label is None or not starts_word(low, label):
        return None
    match = _LABELLED.match(text, start)
    kind = "iban" if label[0][:3] in ("cla", "cbu", "cvu") else "national_id"
    return None if match is None else (first, match.end(), kind)
