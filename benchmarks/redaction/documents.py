"""Documents of identity, cards and bank accounts with check digits that are right, computed here."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence

Rng = random.Random


def _digits(rng: Rng, count: int) -> str:
    return str(rng.randrange(1, 10)) + "".join(str(rng.randrange(10)) for _ in range(count - 1))


def _weighted(number: str, weights: Sequence[int]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(number, weights, strict=True))


def luhn(body: str) -> str:
    total = 0
    for index, digit in enumerate(reversed(body)):
        value = int(digit) * (2 if index % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


def _dni(rng: Rng) -> list[str]:
    number = f"{rng.randrange(1_000_000, 99_999_999):08}"
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]
    dotted = f"{number[:2]}.{number[2:5]}.{number[5:]}"
    return [
        number + letter,
        f"{number}-{letter}",
        f"{dotted}-{letter}",
        (number + letter).lower(),
        f"{number} {letter}",
    ]


def _nie(rng: Rng) -> list[str]:
    number = f"{rng.randrange(10_000_000):07}"
    first = rng.randrange(3)
    letter = "TRWAGMYFPDXBNJZSQVHLCKE"[int(f"{first}{number}") % 23]
    return [f"{'XYZ'[first]}{number}{letter}", f"{'XYZ'[first]}-{number}-{letter}"]


def _drawn(rng: Rng, *alphabets: str) -> str:
    return "".join(map(rng.choice, alphabets))


def _birth(rng: Rng) -> str:
    return f"{rng.randrange(50, 99):02}{rng.randrange(1, 13):02}{rng.randrange(1, 29):02}"


def _curp(rng: Rng) -> list[str]:
    digits = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"
    name = _drawn(rng, "BCDFGHJKLMNPQRSTVWXYZ", "AEIOU", *["GLMRST"] * 2)
    state = rng.choice(("DF", "JC", "NL", "MC"))
    body = f"{name}{_birth(rng)}{rng.choice('HM')}{state}{_drawn(rng, *['BCDFGLMNR'] * 3)}0"
    check = -sum((18 - index) * digits.index(char) for index, char in enumerate(body)) % 10
    return [f"{body}{check}"]


def _rfc(rng: Rng) -> list[str]:
    alphabet = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ Ñ"
    name = _drawn(rng, "GLMRST", "AEIOU", *["GLMRST"] * 2)
    body = f"{name}{_birth(rng)}{_drawn(rng, 'ABCDEFGHJKLMNPQRSTUV', 'ABCDEFGHJKLMNPQRSTUVWXYZ123456789')}"
    check = -sum((13 - index) * alphabet.index(char) for index, char in enumerate(body)) % 11
    last = "A" if check == 10 else str(check)
    return [body + last, f"{body[:4]}-{body[4:10]}-{body[10:]}{last}"]


def _eleven(number: str, weights: Sequence[int]) -> int:
    return -_weighted(number, weights) % 11


def _cuit(rng: Rng) -> list[str]:
    while True:
        body = rng.choice(("20", "27", "23", "30")) + f"{rng.randrange(5_000_000, 60_000_000):08}"
        check = _eleven(body, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2))
        if check < 10:
            return [f"{body[:2]}-{body[2:]}-{check}", f"{body}{check}"]


def _rut_cl(rng: Rng) -> list[str]:
    body = str(rng.randrange(5_000_000, 26_000_000))
    total = sum(int(digit) * (2 + index % 6) for index, digit in enumerate(reversed(body)))
    check = "0123456789K0"[-total % 11]
    dotted = f"{int(body):,}".replace(",", ".")
    return [f"{dotted}-{check}", f"{body}-{check}", f"{dotted}-{check.lower()}"]


def _nit_co(rng: Rng) -> list[str]:
    body = f"{rng.choice(('8', '9'))}{_digits(rng, 8)}"
    total = _weighted(body, (41, 37, 29, 23, 19, 17, 13, 7, 3)) % 11
    check = total if total < 2 else 11 - total
    return [f"{body[:3]}.{body[3:6]}.{body[6:]}-{check}", f"{body}-{check}"]


def _ruc_pe(rng: Rng) -> list[str]:
    body = rng.choice(("10", "20")) + _digits(rng, 8)
    return [f"{body}{_eleven(body, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 10}"]


def _ci_ec(rng: Rng) -> list[str]:
    body = f"{rng.randrange(1, 25):02}{rng.randrange(6)}{_digits(rng, 6)}"
    total = sum(value - 9 if value > 9 else value for value in (int(d) * (2 - i % 2) for i, d in enumerate(body)))
    full = f"{body}{-total % 10}"
    return [f"{full[:9]}-{full[9]}", f"{full}001"]


def _ci_uy(rng: Rng) -> list[str]:
    body = _digits(rng, 7)
    check = -_weighted(body, (2, 9, 8, 7, 6, 3, 4)) % 10
    return [f"{body[0]}.{body[1:4]}.{body[4:]}-{check}"]


def _rut_uy(rng: Rng) -> list[str]:
    while True:
        body = f"{rng.randrange(1, 22):02}{_digits(rng, 6)}001"
        check = _eleven(body, (4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2))
        if check < 10:
            return [f"{body}{check}"]


def _cpf(rng: Rng) -> list[str]:
    body = _digits(rng, 9)
    for _ in range(2):
        body += str(_eleven(body, range(len(body) + 1, 1, -1)) % 11 % 10)
    return [f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}", body]


def _cnpj(rng: Rng) -> list[str]:
    body = f"{_digits(rng, 8)}0001"
    for _ in range(2):
        weights = [2 + index % 8 for index in range(len(body))][::-1]
        body += str(_eleven(body, weights) % 10)
    return [f"{body[:2]}.{body[2:5]}.{body[5:8]}/{body[8:12]}-{body[12:]}", body]


def _rif(rng: Rng) -> list[str]:
    letter, body = rng.choice("VEJG"), _digits(rng, 8)
    check = (-({"V": 4, "E": 8, "J": 12, "G": 20}[letter] + _weighted(body, (3, 2, 7, 6, 5, 4, 3, 2))) % 11) % 10
    return (
        [f"{letter}-{body}-{check}", f"{letter}-{body[:2]}.{body[2:5]}.{body[5:]}"]
        if letter in "VE"
        else [f"{letter}-{body}-{check}"]
    )


def _card(rng: Rng) -> list[str]:
    amex = luhn(rng.choice(("34", "37")) + _digits(rng, 12))
    number = luhn(rng.choice(("4539", "4917", "5425", "5105", "2223", "2720", "6011", "3530")) + _digits(rng, 11))
    fours = [number[index : index + 4] for index in range(0, 16, 4)]
    return [number, " ".join(fours), "-".join(fours), ".".join(fours), amex, f"{amex[:4]} {amex[4:10]} {amex[10:]}"]


_IBAN = {
    "ES": "n" * 20, "DE": "n" * 18, "FR": "n" * 23, "PT": "n" * 21, "IT": "a" + "n" * 22, "GB": "aaaa" + "n" * 14,
    "BR": "n" * 23 + "an", "CR": "0" + "n" * 17, "DO": "aaaa" + "n" * 20, "GT": "n" * 24, "SV": "aaaa" + "n" * 20,
    "NL": "aaaa" + "n" * 10, "CH": "n" * 17,
}  # fmt: skip


def _iban(rng: Rng) -> list[str]:
    made = []
    for country, shape in _IBAN.items():
        body = "".join(
            rng.choice(string.ascii_uppercase) if kind == "a" else "0" if kind == "0" else str(rng.randrange(10))
            for kind in shape
        )
        if country == "ES":  # the two check digits of a Spanish account
            bank, account = body[:8], body[10:]
            weights = (1, 2, 4, 8, 5, 10, 9, 7, 3, 6)
            checks = [(11 - _weighted(part.zfill(10), weights) % 11) % 11 for part in (bank, account)]
            body = bank + "".join(str(1 if check == 10 else check) for check in checks) + account
        check = 98 - int("".join(str(int(char, 36)) for char in f"{body}{country}00")) % 97
        whole = f"{country}{check:02}{body}"
        made += [whole, " ".join(whole[index : index + 4] for index in range(0, len(whole), 4))]
        if country == "ES":
            made += ["-".join(whole[index : index + 4] for index in range(0, len(whole), 4)), whole.lower()]
    return made


_CHECKED: dict[str, Callable[[Rng], list[str]]] = {
    "DNI (ES)": _dni, "NIE (ES)": _nie, "CURP (MX)": _curp, "RFC (MX)": _rfc, "CUIT (AR)": _cuit, "RUT (CL)": _rut_cl,
    "NIT (CO)": _nit_co, "RUC (PE)": _ruc_pe, "CI, RUC (EC)": _ci_ec, "CI (UY)": _ci_uy, "RUT (UY)": _rut_uy,
    "CPF (BR)": _cpf, "CNPJ (BR)": _cnpj, "RIF (VE)": _rif,
}  # fmt: skip
# Without a check digit, or written bare: found by the word before.
_LABELLED = {
    "DNI (AR)": ("mi DNI es {}", "{d8p}"), "DNI (PE)": ("DNI: {}", "{d8}"),
    "cédula (CO)": ("cédula de ciudadanía {}", "{d10}"), "C.C. (CO)": ("C.C. {}", "{d8p}"),
    "cédula (VE)": ("cédula V-{}", "{d8}"), "cédula (EC)": ("mi cédula es {}", "{d10}"),
    "CI (BO)": ("carnet de identidad {}", "{d7}"), "DPI (GT)": ("DPI {}", "{d13}"),
    "DUI (SV)": ("DUI {}", "{d8}-{d1}"), "cédula (CR)": ("cédula 1-{}", "{d4}-{d4}"),
    "pasaporte": ("pasaporte nº {}", "{d9}"), "NSS (MX)": ("NSS: {}", "{d11}"),
    "cédula (PY)": ("documento: {}", "{d1}.{d3}.{d3}"), "RUT (CL), bare": ("mi RUT: {}", "{d8}"),
}  # fmt: skip


def documents(rng: Rng) -> list[tuple[str, str, str]]:
    made = []
    for kind, maker in _CHECKED.items():
        for _ in range(8):
            made += [(f"national_id, {kind}", value, value) for value in maker(rng)]
    for kind, (label, shape) in _LABELLED.items():
        for _ in range(6):
            value = shape.replace("{d8p}", "{d2}.{d3}.{d3}")
            for count in (13, 11, 10, 9, 8, 7, 4, 3, 2, 1):
                while f"{{d{count}}}" in value:
                    value = value.replace(f"{{d{count}}}", _digits(rng, count), 1)
            made.append((f"national_id, labelled {kind}", value, label.format(value)))
    for _ in range(20):
        made += [("card", value, value) for value in _card(rng)]
    for _ in range(6):
        made += [("iban", value, value) for value in _iban(rng)]
    return made
