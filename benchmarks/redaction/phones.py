"""Telephones of Spain and Latin America as people write them, made by none of the redactor's own patterns.

The numbers follow the numbering plans (their shapes are those that libphonenumber prints); the last digits are drawn.
"""

from __future__ import annotations

import random
import re

CODES = {
    "ES": "34", "MX": "52", "AR": "54", "CL": "56", "CO": "57", "PE": "51", "EC": "593", "UY": "598", "BR": "55",
    "VE": "58", "BO": "591", "PY": "595", "CR": "506", "PA": "507", "GT": "502", "HN": "504", "SV": "503",
    "NI": "505", "DO": "1", "CU": "53", "PR": "1", "US": "1",
}  # fmt: skip

# As dialled at home | after the country's code. The last four digits are replaced.
_PLAN = {
    "ES": ("612 34 56 78|612 34 56 78", "712 345 678|712 345 678", "91 234 56 78|91 234 56 78",
           "934 12 34 56|934 12 34 56", "810 12 34 56|810 12 34 56"),
    "MX": ("55 1234 5678|55 1234 5678", "222 123 4567|222 123 4567",
           "(55) 1234 5678|1 55 1234 5678", "81 8123 4567|81 8123 4567"),
    "AR": ("011 2345-6789|11 2345-6789", "011 15-2345-6789|9 11 2345-6789",
           "(0351) 423-4567|351 423-4567", "11 2345-6789|9 11 2345-6789"),
    "CL": ("(2) 2123 4567|2 2123 4567", "9 6123 4567|9 6123 4567", "+56 9 6123 4567|9 6123 4567"),
    "CO": ("(601) 234 5678|601 2345678", "321 123 4567|321 1234567", "310 123 45 67|310 123 4567"),
    "PE": ("(01) 123 4567|1 1234567", "912 345 678|912 345 678"),
    "EC": ("(02) 212-3456|2-212-3456", "099 123 4567|99 123 4567"),
    "UY": ("2123 1234|2123 1234", "094 231 234|94 231 234"),
    "BR": ("(11) 2345-6789|11 2345-6789", "(11) 96123-4567|11 96123-4567", "11 96123-4567|11 96123-4567"),
    "VE": ("0212-1234567|212-1234567", "0412-1234567|412-1234567", "0414-123.45.67|414-123.45.67"),
    "BO": ("(2) 212-3456|2 2123456", "712-34567|71234567"),
    "PY": ("(021) 234 5678|21 234 5678", "0961 456789|961 456789", "0981 123 456|981 123456"),
    "CR": ("2212 3456|2212 3456", "8312-3456|8312 3456"),
    "PA": ("200-1234|200-1234", "6123-4567|6123-4567"),
    "GT": ("2245 6789|2245 6789", "5123-4567|5123 4567"),
    "HN": ("2212-3456|2212-3456", "9123-4567|9123-4567"),
    "SV": ("2123 4567|2123 4567", "7012-3456|7012 3456"),
    "NI": ("2123 4567|2123 4567", "8123-4567|8123 4567"),
    "DO": ("(809) 234-5678|809-234-5678", "829-234-5678|829-234-5678"),
    "CU": ("(07) 123 4567|7 1234567", "5 123 4567|5 1234567"),
    "PR": ("(787) 234-5678|787-234-5678", "939-234-5678|939-234-5678"),
    "US": ("(201) 555-0123|201-555-0123", "415-555-2671|415-555-2671"),
}  # fmt: skip

_LABELS = (
    "mi teléfono es {}", "tel. {}", "Tel: {}", "mi número de móvil es {}", "móvil: {}", "celular {}", "cel. {}",
    "WhatsApp {}", "llámame al {}", "llamar al {}", "telefono: {}", "mi whatsapp es {}", "teléfono de contacto: {}",
    "phone: {}", '"phone": "{}"', "tfno {}", "TELEFONO={}", "Telf. {}", "me puedes escribir al {} por WhatsApp",
)  # fmt: skip


def _drawn(shape: str, rng: random.Random) -> str:
    """The shape with its last four digits drawn; never the same digit four times, which no one has."""
    places = [match.start() for match in re.finditer(r"[0-9]", shape)][-4:]
    digits = [str(rng.randrange(10)) for _ in places]
    if len(set(digits)) == 1:
        digits[0] = str((int(digits[0]) + 1) % 10)
    out = list(shape)
    for place, digit in zip(places, digits, strict=True):
        out[place] = digit
    return "".join(out)


def _compact(number: str) -> str:
    return re.sub(r"[^0-9+]", "", number)


def phones(rng: random.Random) -> list[tuple[str, str, str]]:
    """Kind, value, and the text that holds it; one of each form for each line of the plan."""
    made = []
    for country, shapes in _PLAN.items():
        code = CODES[country]
        for shape in shapes:
            home, abroad = (_drawn(part, rng) for part in shape.split("|"))
            label = rng.choice(_LABELS)
            sign = rng.choice(" -.")
            separated = f"+{code}{sign}{re.sub('[ .-]', sign, abroad)}"
            made += [
                (f"phone, international ({country})", value, value)
                for value in (f"+{code} {abroad}", f"+{code}{_compact(abroad)}", f"00{code} {abroad}", separated,
                              f"(+{code}) {abroad}", f"00{code}{_compact(abroad)}")
            ]  # fmt: skip
            made += [
                (f"phone, labelled ({country})", home, label.format(home)),
                (
                    f"phone, labelled, no separators ({country})",
                    _compact(home),
                    rng.choice(_LABELS).format(_compact(home)),
                ),
                (f"phone, separators, no label ({country})", home, home),
            ]
            if not home.startswith("+"):
                made.append((f"phone, bare (no promise) ({country})", _compact(home), _compact(home)))
    return made
