"""argparse's own words in Spanish: what it writes around the commands' texts, and how it refuses what is no command.
And numbers, as Spanish writes them.
"""

from __future__ import annotations

import argparse

_WORDS = {
    "usage: ": "uso: ",
    "positional arguments": "argumentos",
    "options": "opciones",
    "show this help message and exit": "muestra esta ayuda y termina",
    "show program's version number and exit": "muestra la versión y termina",
    "%(prog)s: error: %(message)s\n": "%(prog)s: error: %(message)s\n",
    "argument %(argument_name)s: %(message)s": "argumento %(argument_name)s: %(message)s",
    "the following arguments are required: %s": "faltan estos argumentos: %s",
    "one of the arguments %s is required": "hace falta uno de los argumentos %s",
    "unrecognized arguments: %s": "argumentos desconocidos: %s",
    "ambiguous option: %(option)s could match %(matches)s": "opción ambigua: %(option)s puede ser %(matches)s",
    "not allowed with argument %s": "no se puede usar con el argumento %s",
    "ignored explicit argument %r": "no lleva valor, y se encontró %r",
    "expected one argument": "se esperaba un valor",
    "expected at most one argument": "se esperaba un valor como mucho",
    "expected at least one argument": "se esperaba al menos un valor",
    "expected %s argument": "se esperaba %s valor",
    "expected %s arguments": "se esperaban %s valores",
    "invalid %(type)s value: %(value)r": "valor no válido: %(value)r",
    "invalid choice: %(value)r (choose from %(choices)s)": "se encontró %(value)r, se esperaba uno de: %(choices)s",
    "invalid choice: %(value)r, maybe you meant %(suggestion)r? (choose from %(choices)s)": (
        "se encontró %(value)r, ¿querías decir %(suggestion)r? Se esperaba uno de: %(choices)s"
    ),
    "unknown parser %(parser_name)r (choices: %(choices)s)": "orden desconocida %(parser_name)r; hay: %(choices)s",
}
"""By argparse's English, of all Pythons that are supported. What a user cannot meet (a parser that is put together
wrongly) is not here, and stays English."""


def number(value: float, digits: int = 0) -> str:
    """As Spanish writes it, 1.234,5: with so many digits behind the comma at the most."""
    text = f"{value:,.{digits}f}".replace(",", " ").replace(".", ",").replace(" ", ".")
    return text.rstrip("0").rstrip(",") if "," in text else text


def speak() -> None:
    """From here on argparse speaks Spanish in this process, whatever the locale: it takes its words from gettext, which
    would need a catalogue that Python does not bring."""
    setattr(argparse, "_", lambda text: _WORDS.get(text, text))  # noqa: B010 no stub has it
    setattr(  # noqa: B010
        argparse, "ngettext", lambda one, many, count: _WORDS.get(one if count == 1 else many, one)
    )
