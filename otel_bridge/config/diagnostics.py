"""What is wrong with a configuration, collected while it is read."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TypeVar

from otel_bridge.config.readers import Reader
from otel_bridge.errors import StartRefused

V = TypeVar("V")

_MAY_HOLD_A_SECRET = re.compile(r"[@?#=;]|-----BEGIN|otb_|bearer|basic ", re.IGNORECASE)
_SHOWN_CHARS = 200
NOT_SHOWN = "un valor que puede contener un secreto (no se muestra)"


def shown(raw: object) -> str:
    """What was found, as a message shows it; not at all where a login, a query, a header or a key may be in it."""
    text = repr(raw)
    if _MAY_HOLD_A_SECRET.search(text) or len(text) > _SHOWN_CHARS:
        return NOT_SHOWN
    return text


class Diagnostics:
    """The problems of a configuration, one line each, in the order in which they were met.

    Whoever meets a problem adds it and goes on with a default, so that the rest is read, too. Until `refuse` has
    returned, what was read must not be used.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []
        """What works and is probably not meant: where it is, and what to do."""
        self.uncertain: set[str] = set()
        """Keys that somebody has tried to give and whose value is not known: it is wrong, or the key is misspelt. A
        problem that may only be a consequence of these is not added."""

    def add(self, line: str) -> None:
        """`line`: where the problem is, the value found, what was expected."""
        self.lines.append(line)

    def warn(self, line: str) -> None:
        """Adds what does not stop a start."""
        self.warnings.append(line)

    def wrong(self, place: str, raw: object, expected: object) -> None:
        """Adds a value that is not what is expected at `place`."""
        self.add(f"{place}: se encontró {shown(raw)}, se esperaba {expected}")

    def unknown(self, problem: str, name: str, names: Sequence[str]) -> str | None:
        """Adds that a name is none of `names`, with advice; returns the one that was probably meant, None where none is
        near."""
        nearest = difflib.get_close_matches(name, names, n=1)
        advice = f"¿querías decir {nearest[0]!r}?" if nearest else f"los conocidos son: {', '.join(names)}"
        self.add(f"{problem}; {advice}")
        return nearest[0] if nearest else None

    def read(self, place: str, reader: Reader[V], raw: object, default: V) -> V:
        """The value of what is written at `place`; the default where it is wrong, which is then added."""
        try:
            return reader(raw)
        except ValueError as error:
            self.wrong(place, raw, error)
            return default

    def refuse(self) -> None:
        """Raises StartRefused with every line, where there is one."""
        if self.lines:
            raise StartRefused(*self.lines)
