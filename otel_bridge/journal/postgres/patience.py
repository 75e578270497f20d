"""A connection that waits for an answer, and not for ever.

A server whose machine is gone is noticed by the kernel. One that stands still (its disk hangs, it was halted) is not:
its kernel goes on acknowledging. Meanwhile its standby may have been promoted. So a connection on which nothing comes
for long is closed: what was asked on it is as with every connection that is lost.

That is safe for a commit too. It is not cancelled: it may be carried out yet, and whoever asks what became of it asks
by a write under a new epoch (holding.py), which waits for it or keeps it out.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

R = TypeVar("R")


class Patience:
    """One replica's with one server. Connections that wait longer than this end what they wait for when one that waits
    just so long does: it has asked for little."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.given_up = 0


class Patient(psycopg.Connection[tuple[Any, ...]]):
    """`patience`: where that ends the connection is closed, and psycopg.OperationalError raised."""

    patience: Patience | None = None
    seconds = 0.0

    def wait(self, gen: Generator[Any, Any, R], *args: Any, **kwargs: Any) -> R:
        return super().wait(gen if self.patience is None else self._bounded(gen, self.patience), *args, **kwargs)

    def _bounded(self, gen: Generator[Any, Any, R], patience: Patience) -> Generator[Any, Any, R]:
        began, given_up = time.monotonic(), patience.given_up
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready:  # a while has passed, and nothing came
                    waited = time.monotonic() - began
                    if waited > self.seconds or patience.given_up != given_up:
                        patience.given_up += self.seconds == patience.seconds
                        break
                wanted = gen.send(ready)
        except StopIteration as end:
            result: R = end.value
            return result
        self.close()
        raise psycopg.OperationalError(f"the server has not answered for {waited:.0f} s")
