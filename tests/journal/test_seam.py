"""Nothing above the journal's line knows what is below it: no SQLite, no PostgreSQL, no write-ahead log, no file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import otel_bridge
from otel_bridge import journal
from tests.journal.backends import Backend

PACKAGE = Path(otel_bridge.__file__).parent
BELOW = (PACKAGE / "journal" / "sqlite", PACKAGE / "journal" / "postgres")
FORBIDDEN = re.compile(
    r"psycopg|Postgres[A-Z]|\.postgres\b|import sqlite3?\b|from sqlite3|sqlite3\.|Sqlite[A-Z]|\.sqlite\b|(?i:\bwal\b)|"
    r"\bstatvfs\b|journal_path"
)
ALLOWED = {
    "config/settings.py": {"journal_path"},  # reads the URL, and puts the key of user hashes beside the file
    "journal/__init__.py": {"import sqlite", "psycopg"},  # chooses the backend, and says what it needs
}
ABOVE = sorted(path for path in PACKAGE.rglob("*.py") if not any(map(path.is_relative_to, BELOW)))


@pytest.mark.parametrize("path", ABOVE, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_above_the_line_knows_the_backend(path: Path) -> None:
    words = {match[0] for match in FORBIDDEN.finditer(path.read_text(encoding="utf-8"))}
    assert words <= ALLOWED.get(str(path.relative_to(PACKAGE)), set())


def test_what_opens_has_every_method_of_the_page(backend: Backend) -> None:
    store = backend.open()
    for protocol, opened in ((journal.Store, store), (journal.Reader, store.reader())):
        names = [name for name in vars(protocol) if not name.startswith("_")] + list(protocol.__annotations__)
        assert names and not [name for name in names if not hasattr(opened, name)]


@pytest.mark.parametrize("protocol", [journal.Store, journal.Reader])
def test_the_page_says_what_each_method_does(protocol: type) -> None:
    plain = {"begin", "close"}
    methods = {name: value for name, value in vars(protocol).items() if callable(value) and not name.startswith("_")}
    assert {name for name, method in methods.items() if not method.__doc__} <= plain
