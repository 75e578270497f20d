"""What counting costs, by which its pauses go."""

from __future__ import annotations


class Cost:
    """Grows by steps: one count that took long, for the store stood still meanwhile, is no measure of the next."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def took(self, seconds: float) -> None:
        self.seconds = min(seconds, 2 * self.seconds + 0.1)
