"""Redaction: placeholders take the place of personal data and secrets in a content.

It finds shapes; where a number has a checksum, python-stdnum checks it. Of the two errors it prefers to hide too much:
a placeholder too many costs a reader a word, one too few costs a person their data. Only plain measures (versions,
ports, dates, counts with a unit, hashes, UUIDs) are protected from it.

The steps for one text: a prefilter (most texts end there); a normalised view (look-alike digits, accents in two pieces
and invisible characters undone, with the places in the original); finders from the most to the least specific, each of
which claims its characters; placeholders in place of the findings. The steps repeat until nothing is found: that makes
redaction idempotent. Not handled, on purpose: homoglyphs from other alphabets, numbers spelled in words, names, postal
addresses, passwords without any sign that they are one.

`redactor.py` runs these steps. What it looks for:

- `announced.py`: secrets that a label, a command or a kind of document announces (`labels.py`, `values.py`,
  `assignments.py`, `programs.py`, `commands.py`, `manifests.py`, `markup.py`, `tables.py`, `statements.py`,
  `sentences.py`, `headers.py`, `defaults.py`)
- `providers.py`: keys of providers that stand alone, by a table; `secrets.py`: private keys, URL passwords, JWT
- `addresses.py`: e-mail and IP addresses
- `numbers.py`: runs of digits, and in them `accounts.py`, `documents.py` and `phones.py` (`phone_shapes.py`); the text
  around a number (`context.py`) and how many numbers are checked (`budget.py`)
"""

from otel_bridge.privacy.redaction.redactor import Redactor

__all__ = ["Redactor"]
