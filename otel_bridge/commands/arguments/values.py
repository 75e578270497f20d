"""Values that arguments have, and how a command names its body."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def of_a_journal(common: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """What a command takes that works on a journal: the parent of its parser, in place of `common`."""
    place = argparse.ArgumentParser(add_help=False, parents=[common])
    place.add_argument("--journal", metavar="URL", help="el diario (por defecto: el de la configuración)")
    return place


def lazy(name: str) -> Callable[[argparse.Namespace], int]:
    """The body of a command. Its module is imported only when it runs: it may need what takes long to import."""
    module, _, function = name.partition(":")

    def run(arguments: argparse.Namespace) -> int:
        body: Callable[[argparse.Namespace], int] = getattr(import_module(f"otel_bridge.commands.{module}"), function)
        return body(arguments)

    return run


LAST_SEQ = (1 << 63) - 1
"""The largest number that a journal can give a record."""


def whole(low: int, high: int) -> Callable[[str], int]:
    """Makes the reader of a whole number within the bounds."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaba un número entero de {low} a {high}")
        return value

    return read


def positive(text: str) -> float:
    value = number(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaba un número mayor que 0 y menor que 1e9")
    return value


def seconds(text: str) -> float:
    value = number(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaban segundos, de 0 a menos de 1e9")
    return value


def weeks(text: str) -> float:
    value = number(text)
    if not 0 < value <= 104:
        raise argparse.ArgumentTypeError(f"dice {text[:40]}; se esperaba un número de semanas, hasta 104")
    return value


def target(text: str) -> float:
    value = number(text)
    if not 0.5 <= value <= 0.99999:
        raise argparse.ArgumentTypeError(f"dice {text[:40]}; se esperaba una parte de 0.5 a 0.99999, como 0.99")
    return value


def hour(text: str) -> float:
    value = number(text)
    if not 0 <= value <= 24:
        raise argparse.ArgumentTypeError(f"se encontró {text[:40]}, se esperaba una hora de 0 a 24")
    return value


def number(text: str) -> float:
    """Not a number where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
