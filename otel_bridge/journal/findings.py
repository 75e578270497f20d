"""What is wrong with the place a journal is kept in, as `otel-bridge check` tells it."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Severity(IntEnum):
    """How bad it is; the worst sorts first."""

    STOPS = 0
    """No bridge can serve there."""
    WRONG = 1
    """A bridge serves, and a promise does not hold."""
    WARNING = 2
    """It holds now, and may not later; or is not meant."""


class Finding(NamedTuple):
    severity: Severity
    name: str
    """Of the server's setting, or of what was looked at."""
    found: str
    todo: str

    def line(self) -> str:
        return f"{self.name}: {self.found}. {self.todo}"
