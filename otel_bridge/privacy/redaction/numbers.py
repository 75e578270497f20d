"""Personal numbers, around each run of digits of a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from otel_bridge.privacy.redaction.accounts import find_cards, find_ibans
from otel_bridge.privacy.redaction.budget import Budget
from otel_bridge.privacy.redaction.documents import find_curps, find_documents, find_labelled
from otel_bridge.privacy.redaction.findings import Finding
from otel_bridge.privacy.redaction.phones import Phones

# The look ahead passes over what is too short (3.11) in half of the time.
RUN = re.compile(r"[0-9](?=[0-9 .\-/()]{5})(?:[ .\-/()]{0,2}[0-9]){5,}+")
AHEAD = 40
"""How many characters after a run are read: the letters of an id, a unit. A number that begins there belongs to the
next run."""
_DATE = re.compile(
    r"(?:19|20)[0-9]{2}[-/.](?:0[1-9]|1[0-2])[-/.][0-3][0-9]|[0-3]?[0-9][-/.][01]?[0-9][-/.](?:19|20)[0-9]{2}"
).match


def find_numbers(text: str, low: str, run: re.Match[str] | None, phones: Phones, budget: Budget) -> Iterator[Finding]:
    """Findings with six digits or more, from the run of digits `run` on."""
    last = -9
    while run is not None:
        start, stop = run.span()
        until = min(len(text), stop + AHEAD)
        yield from find_curps(text, max(0, start - 5), start, until)
        yield from find_ibans(text, max(0, start - 11), start, stop, budget)
        if stop - start >= 12:
            yield from find_cards(text, start, stop, until, budget)
        dated = _DATE(text, start) is not None
        labelled = None if dated else find_labelled(text, low, start)
        if labelled is not None:
            last = labelled[1]
            yield labelled
        else:
            for finding in find_documents(text, low, start, stop, until, budget, last):
                last = finding[1]
                yield finding
            if not dated or stop - start > 12:
                for finding in phones.find(text, low, start, stop, until, last):
                    last = finding[1]
                    yield finding
        run = RUN.search(text, stop)
