"""CONTRIBUTING.md draws the rooms: those whose modules it names are drawn whole."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import ROOT

PACKAGE = ROOT / "otel_bridge"
MAP = re.search(
    r"^## The rooms\n.*?^```\n(.*?)^```$", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.M | re.S
)
ROOMS = ["access", "export", "http", "intake", "journal", "mcp", "metrics", "ops", "privacy"]


def drawn(room: str) -> str:
    """The row of a room, with the lines that go on below it."""
    assert MAP is not None
    row = re.search(rf"^{room}/ .*\n(?:  +.*\n)*", MAP[1], re.M)
    assert row is not None, room
    return row[0]


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_stands_in_its_room(room: str) -> None:
    there = {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__", "__main__"}
    # A folder that has no Python of its own (a leftover __pycache__) is none.
    there |= {f"{path.parent.name}/" for path in (PACKAGE / room).glob("*/__init__.py")}
    row = drawn(room)
    missing = sorted(name for name in there if not re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", row))
    assert not missing, f"{room}/ has {missing}, which CONTRIBUTING.md does not draw"


def test_every_room_and_every_module_on_the_ground_is_drawn() -> None:
    assert MAP is not None
    ground = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    rooms = {f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")}
    for name in ground | rooms:
        assert re.search(rf"(?<![\w/]){re.escape(name)}(?!\w)", MAP[1]), name
