"""docs/failure-modes.md and the suite name each other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "failure-modes.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("|") and "::" in line]
NAMED = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) for row in ROWS]


def _tests(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_row_has_its_five_columns_and_a_test_that_exists() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and not line.startswith(("|---", "| what hap"))]
    assert rows == ROWS
    for row, named in zip(ROWS, NAMED, strict=True):
        assert row.count(" | ") == 4 and named, row
        for file, test in named:
            assert test in _tests(ROOT / file), f"{file} has no {test}"


def test_every_chaos_test_has_its_row() -> None:
    named = {test for row in NAMED for file, test in row if file.startswith("tests/chaos/")}
    here = {
        test
        for path in Path(__file__).parent.rglob("test_*.py")
        for test in _tests(path)
        if path.name != Path(__file__).name
    }
    assert here == named


def test_what_the_page_calls_an_alert_or_an_error_exists() -> None:
    alerts = {path.stem for path in (ROOT / "docs" / "runbooks").glob("*.md") if path.stem != "README"}
    assert set(re.findall(r"\bBridge[A-Z]\w+", PAGE)) <= alerts
