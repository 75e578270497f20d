"""Personal data and secrets that no one has, planted into lines of the corpus, and what of them is still there."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.redaction.contacts import addresses, mails
from benchmarks.redaction.corpus import SEED, Line
from benchmarks.redaction.documents import documents
from benchmarks.redaction.finds import PLACEHOLDER, redacted
from benchmarks.redaction.keys import keys
from benchmarks.redaction.passwords import passwords
from benchmarks.redaction.phones import phones

_PIECE = 5
"""So many characters of a value in a row are a leak."""

_NO_PROMISE = "no promise"


class Plant(NamedTuple):
    kind: str
    value: str
    text: str
    """The value with what is around it in a question: a label, a command."""
    line: str

    @property
    def promised(self) -> bool:
        """Whether docs/privacidad.md says that it is found."""
        return _NO_PROMISE not in self.kind


def plants(lines: Sequence[Line]) -> list[Plant]:
    """The same ones each time for the same lines."""
    rng = random.Random(SEED)
    made = [item for maker in (phones, phones, documents, mails, addresses, keys, passwords) for item in maker(rng)]
    carriers = [line.text for line in lines if len(line.text) <= 200]
    return [
        Plant(_kind(kind, value), value, text, _planted(text, rng.choice(carriers), rng)) for kind, value, text in made
    ]


def _kind(kind: str, value: str) -> str:
    """Eight digits without a word that leads to a telephone are a range elsewhere: no promise is made of them."""
    short = kind.startswith("phone, separators, no label") and sum(char.isdigit() for char in value) < 9
    return f"phone, eight digits, no label ({_NO_PROMISE})" if short else kind


def _planted(text: str, line: str, rng: random.Random) -> str:
    """`text` at an end of the line or between two words of it, never beside a digit or a sign of its own."""
    gaps = [match.start() for match in re.finditer(r"(?<=[^\W\d_]{2})[,;]? (?=[^\W\d_]{2})", line)]
    where = rng.choice([*gaps[:20], -1, -2])
    if where == -1:
        return f"{text}, {line}" if line[:1].isalpha() else text
    if where == -2:
        return f"{line} {text}" if line[-1:].isalpha() else f"{text}"
    # A bare number before a word is a count of it.
    stop = "," if text.isdigit() else ""
    return f"{line[:where]} {text}{stop} {line[where:].lstrip(',; ')}"


def missed(plant: Plant) -> bool:
    """Whether some of the value can still be read."""
    out = _compact(PLACEHOLDER.sub("\0", redacted(plant.line)))
    value = _compact(plant.value)
    around = _compact(plant.line.replace(plant.value, "\0"))
    size = min(_PIECE, len(value))
    pieces = {value[index : index + size] for index in range(len(value) - size + 1)}
    return any(piece in out and piece not in around for piece in pieces)


def _compact(text: str) -> str:
    return re.sub(r"[^\w\0]|_", "", unicodedata.normalize("NFC", text)).casefold()
