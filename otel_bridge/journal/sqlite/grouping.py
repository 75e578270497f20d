"""A commit's rows, of all tables, as one statement.

A statement hands the interpreter's lock to the event loop, and a busy loop gives it back after the switch interval
(`server.py`). So the rows go into one view, whose triggers put each where it belongs: the lock changes hands once a
commit and not once a table, and a statement without a transaction around it is one by itself (SQLite keeps or undoes it
whole).
View and triggers are TEMP: they are the connection's, and nothing of them is in the file.

Measured against one INSERT a table within BEGIN and COMMIT, alternating, eight rounds of single events at half of the
maximum with a scrape each second, medians: p99 7.3 ms instead of 12.1, p50 1.5 instead of 2.2, processor time a request
54 µs instead of 56.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

_COLUMNS = "abcdefg"


def _new(count: int) -> str:
    return ", ".join(f"NEW.{column}" for column in _COLUMNS[:count])


_VIEW = f"""
CREATE TEMP VIEW taken AS SELECT NULL AS kind, {", ".join(f"NULL AS {column}" for column in _COLUMNS)};

CREATE TEMP TRIGGER taken_keys INSTEAD OF INSERT ON taken WHEN NEW.kind = 1 BEGIN
    INSERT INTO key (row, generation, width, keys, arrived, rest) VALUES ({_new(6)});
END;

CREATE TEMP TRIGGER taken_segment INSTEAD OF INSERT ON taken WHEN NEW.kind = 2 BEGIN
    INSERT INTO segment (last, count, spans, arrived_us, crc, total, body) VALUES ({_new(7)});
END;

-- Found from now on; its totals come behind (`totals.py`).
CREATE TEMP TRIGGER taken_session INSTEAD OF INSERT ON taken WHEN NEW.kind = 3 BEGIN
    INSERT INTO session (id, gpt, user, started_us, last_us, digest, active_us, events, failed, tokens_in, tokens_out,
        stretch_events, live, fill) VALUES ({_new(7)}, 0, 0, 0, 0, 0, 1, 0) ON CONFLICT (id) DO NOTHING;
END;
"""

_FIRST_SESSIONS = 64
_SIZES = (512, 64)
"""Rows of one statement; what is left of them goes in one more. Each number of rows is a text of its own, and SQLite
keeps it prepared: any number up to 512 would come to 200 MiB."""


def portions(count: int) -> Iterator[slice]:
    """Cuts rows into runs of a few sizes."""
    start = 0
    while start < count:
        size = next((size for size in _SIZES if size <= count - start), count - start)
        yield slice(start, start + size)
        start += size


def prepare(db: sqlite3.Connection) -> None:
    db.executescript(_VIEW)


def statements(
    keys: Sequence[Sequence[Any]],
    segments: Sequence[Sequence[Any]],
    sessions: Sequence[Sequence[Any]],
) -> Iterator[tuple[str, list[Any]]]:
    """What writes these rows: usually one statement, more where it opens many sessions."""
    first, rest = sessions[:_FIRST_SESSIONS], sessions[_FIRST_SESSIONS:]
    values: list[Any] = []
    for row in (*keys, *segments, *first):
        values += row
    yield _insert(len(keys), len(segments), len(first)), values
    for portion in portions(len(rest)):
        rows = rest[portion]
        yield _insert(0, 0, len(rows)), [value for row in rows for value in row]


@lru_cache(256)
def _insert(keys: int, segments: int, sessions: int) -> str:
    rows = [_row(1, 6)] * keys + [_row(2, 7)] * segments + [_row(3, 7)] * sessions
    return f"INSERT INTO taken VALUES {', '.join(rows)}"


def _row(kind: int, width: int) -> str:
    return f"({', '.join([str(kind), *'?' * width, *['NULL'] * (len(_COLUMNS) - width)])})"
