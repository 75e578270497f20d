"""How many expensive checks one text gets."""

from __future__ import annotations

CHARS_A_CHECK = 256
"""A text gets one check for this many characters, and `FREE` checks whatever its length."""
FREE = 24


class Budget:
    """A check of a checksum or an address takes 10 to 200 µs: a text full of wrong numbers in the right shape would
    cost ten times what others cost. Past the budget a number counts as what it looks like, unchecked."""

    __slots__ = ("_left",)

    def __init__(self, text: str) -> None:
        self._left = FREE + len(text) // CHARS_A_CHECK

    def spent(self) -> bool:
        """Uses one check; True where none was left."""
        self._left -= 1
        return self._left < 0
