"""Alternatives of a pattern, in the form in which the regex engine passes over what none of them begins with."""

from __future__ import annotations

from collections.abc import Iterable


def by_first_letter(alternatives: Iterable[str]) -> str:
    """`pass`, `clave`, `pwd` → `p(?:ass|wd)|c(?:lave)`: a search stops at those letters only, and tries few there.

    Each is a pattern whose first letter stands for itself, once. Those of one letter keep their order; of those of two
    letters only one can match.
    """
    rests: dict[str, list[str]] = {}
    for alternative in alternatives:
        rests.setdefault(alternative[0], []).append(alternative[1:])
    return "|".join(f"{letter}(?:{'|'.join(rest)})" for letter, rest in rests.items())
