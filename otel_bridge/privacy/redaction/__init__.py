"""Content with its secrets replaced: personal data and keys stay in (P6).

Redaction finds shapes and, where a number has a checksum, asks python-stdnum. Where the two errors compete,
it prefers to hide: a placeholder too many costs a reader a word, one too few costs a person their data. Only
plain measures (versions, ports, dates, counts with a unit, hashes, UUIDs) are defended from it.

Order of work, for one text: a prefilter (most texts end there), a normalised view of it (look-alike digits, accents in
two pieces and invisible characters undone, with a way back to the original), finders from the most to the least
specific, each claiming its characters, one splice. It repeats until nothing is found, which is what makes redaction
idempotent. Not handled, on purpose: homoglyphs from other alphabets, numbers spelled in words, names, postal addresses,
passwords written without any sign that they are one.

`redactor.py` does this work. What it looks for:

- `announced.py`: secrets that a label, a command or a kind of document announces (`labels.py`, `values.py`,
  `assignments.py`, `commands.py`, `manifests.py`, `markup.py`, `tables.py`, `statements.py`, `sentences.py`,
  `headers.py`, `defaults.py`)
- `providers.py`: keys of providers alone in a text, a table; `secrets.py`: private keys, URL passwords, JWT
- `addresses.py`: e-mail and IP addresses
- `numbers.py`: runs of digits, and in them `accounts.py`, `documents.py` and `phones.py`, with what stands around a
  number (`context.py`) and how many may be looked at closely (`budget.py`)
"""

from otel_bridge.privacy.redaction.redactor import Redactor

__all__ = ["Redactor"]
