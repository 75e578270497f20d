"""How many candidates of one text are looked at closely."""

from __future__ import annotations

CHARS_A_CHECK = 256
"""A text gets a check for so many of its characters, and `FREE` of them whatever its length."""
FREE = 24


class Budget:
    """A checksum or an address costs 10 to 200 µs: a text of well-shaped wrong numbers would cost ten times what others
    cost. What is over the budget is taken for what it looks like."""

    __slots__ = ("_left",)

    def __init__(self, text: str) -> None:
        self._left = FREE + len(text) // CHARS_A_CHECK

    def spent(self) -> bool:
        """Takes one check. Whether there was none left."""
        self._left -= 1
        return self._left < 0
