"""docs/respaldo.md: what it says to do by hand."""

from __future__ import annotations

import re
from pathlib import Path

from otel_bridge.journal.sqlite import schema

PAGE = Path(__file__).parents[2].joinpath("docs", "respaldo.md").read_text(encoding="utf-8")


def test_a_journal_that_is_saved_by_hand_is_none_for_releases_that_cannot_read_it() -> None:
    assert re.findall(r"PRAGMA user_version = (\d+)", PAGE) == [str(schema.VERSION)]
