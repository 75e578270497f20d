"""Content with its secrets replaced: personal data and keys stay in (P6).

Redaction finds shapes and, where a number has a checksum, asks python-stdnum. Where the two errors compete,
it prefers to hide: a placeholder too many costs a reader a word, one too few costs a person their data. Only
plain measures (versions, ports, dates, counts with a unit, hashes, UUIDs) are defended from it.

Order of work, for one text: a prefilter (most texts end there), a normalised view of it (look-alike digits
and invisible characters undone, with a way back to the original), finders from the most to the least
specific, each claiming its characters, one splice. It repeats until nothing is found, which is what makes
redaction idempotent. Not handled, on purpose: homoglyphs from other alphabets, numbers spelled in words,
names, addresses, passwords written without any sign that they are one.

`redactor.py` does this work. What it looks for is in `secrets.py`, `addresses.py` and `numbers.py`.
"""

from otel_bridge.redaction.findings import REDACTION_KINDS
from otel_bridge.redaction.redactor import Redactor

__all__ = ["REDACTION_KINDS", "Redactor"]
